// The drivers by the names that hosts use for them, and which of them give the pod something that outlives a container.
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { mountGeneric } from "./mount.js";
import type { Driver } from "./types.js";

const disk = lazy<typeof import("./block-storage.js")>("storage/block-storage.js");
const layers = lazy<typeof import("./overlay.js")>("storage/overlay.js");
const memory = lazy<typeof import("./ephemeral.js")>("storage/ephemeral.js");
const watched = lazy<typeof import("./watchable.js")>("storage/watchable.js");

const generic: Driver = ({ source, mountPoint, fstype, options }) => mountGeneric({ source, target: mountPoint, fstype, options });

const DRIVERS: Readonly<Record<string, Driver>> = {
  blk: (s, c) => disk().blk(s, c),
  mmioblk: (s, c) => disk().node(s, c),
  nvdimm: (s, c) => disk().node(s, c),
  scsi: (s, c) => disk().scsi(s, c),
  "virtio-fs": generic,
  "9p": generic,
  bind: ({ source, mountPoint, options }) => mountGeneric({ source, target: mountPoint, fstype: "bind", options }),
  overlayfs: (s, c) => layers().overlay(s, c),
  ephemeral: (s, c) => memory().ephemeral(s, c),
  local: (s, c) => memory().local(s, c),
  "watchable-bind": (s, c) => watched().watchable(s, c),
};

/** Names of all drivers, sorted (GetGuestDetails). */
export const driverNames = (): string[] => Object.keys(DRIVERS).sort();

/** The driver of that name. Throws AppError. */
export function driverNamed(name: string): Driver {
  const driver = Object.hasOwn(DRIVERS, name) ? DRIVERS[name] : undefined;
  if (driver === undefined) throw new AppError("internal", `Failed to find the storage handler ${name}`);
  return driver;
}

/** Does what this driver makes stay until the sandbox ends? */
export const isLasting = (name: string): boolean => name === "ephemeral" || name === "local";
