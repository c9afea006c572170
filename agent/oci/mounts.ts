// One mounts[] entry to what the kernel is told: flags, data, propagation, recursive attributes (runtime-spec config.md
// "Mounts", mount(2), mount_setattr(2)). Pure: constants are those of the kernel's headers.
import type { Mount } from "./spec.js";

const RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, SYNC = 0x10, REMOUNT = 0x20, MAND = 0x40, DIRSYNC = 0x80, NOSYMFOLLOW = 0x100, NOATIME = 0x400;
const NODIRATIME = 0x800, BIND = 0x1000, REC = 0x4000, SILENT = 0x8000, UNBINDABLE = 0x20000, PRIVATE = 0x40000, SLAVE = 0x80000, SHARED = 0x100000;
const RELATIME = 0x200000, IVERSION = 0x800000, STRICTATIME = 0x1000000, LAZYTIME = 0x2000000;

const SET: { readonly __proto__: null; readonly [option: string]: number | null | undefined } = {
  __proto__: null,
  ro: RDONLY, nosuid: NOSUID, nodev: NODEV, noexec: NOEXEC, sync: SYNC, dirsync: DIRSYNC, noatime: NOATIME, nodiratime: NODIRATIME, relatime: RELATIME,
  strictatime: STRICTATIME, lazytime: LAZYTIME, iversion: IVERSION, mand: MAND, silent: SILENT, nosymfollow: NOSYMFOLLOW, bind: BIND, rbind: BIND | REC, remount: REMOUNT,
};
const CLEAR: { readonly __proto__: null; readonly [option: string]: number | null | undefined } = {
  __proto__: null,
  rw: RDONLY, suid: NOSUID, dev: NODEV, exec: NOEXEC, async: SYNC, atime: NOATIME, diratime: NODIRATIME, norelatime: RELATIME, nostrictatime: STRICTATIME,
  nolazytime: LAZYTIME, noiversion: IVERSION, nomand: MAND, loud: SILENT, symfollow: NOSYMFOLLOW, defaults: 0,
};
const PROPAGATION: { readonly __proto__: null; readonly [option: string]: number | null | undefined } = {
  __proto__: null,
  private: PRIVATE, rprivate: PRIVATE | REC, shared: SHARED, rshared: SHARED | REC, slave: SLAVE, rslave: SLAVE | REC, unbindable: UNBINDABLE, runbindable: UNBINDABLE | REC,
};
/** mount_setattr(2): [attributes set, attributes cleared]. Any access-time attribute clears the whole enumeration (0x70) first. */
const RECURSIVE: { readonly __proto__: null; readonly [option: string]: readonly [number, number] | null | undefined } = {
  __proto__: null,
  rro: [1, 0], rrw: [0, 1], rnosuid: [2, 0], rsuid: [0, 2], rnodev: [4, 0], rdev: [0, 4], rnoexec: [8, 0], rexec: [0, 8], rnodiratime: [0x80, 0], rdiratime: [0, 0x80],
  rrelatime: [0, 0x70], rnorelatime: [0, 0x70], rnoatime: [0x10, 0x70], ratime: [0, 0x70], rstrictatime: [0x20, 0x70], rnostrictatime: [0, 0x70], rnosymfollow: [0x200000, 0], rsymfollow: [0, 0x200000],
};

export interface MountPlan {
  readonly source: string;
  readonly at: string;
  readonly type: string;
  readonly flags: number;
  /** Flags that the options cleared in so many words: a bind keeps the source's others. */
  readonly cleared: number;
  readonly data: string;
  readonly propagation: readonly number[];
  readonly setRecursive: number;
  readonly clearRecursive: number;
  /** tmpfs that begins with a copy of what lies below it. */
  readonly copyUp: boolean;
}

/** Is it a bind mount? */
export const isBind = (plan: { readonly flags: number }): boolean => (plan.flags & BIND) !== 0;

const NONE: readonly string[] = [];

/** Reads the options of one entry; unknown ones become data for the file system. */
export function mountPlan(mount: Mount): MountPlan {
  let flags = mount.type === "bind" ? BIND : 0;
  let cleared = 0;
  let setRecursive = 0;
  let clearRecursive = 0;
  let copyUp = false;
  const propagation: number[] = [];
  let data = "";
  const other = (option: string): void => {
    const change = RECURSIVE[option];
    const spread = PROPAGATION[option];
    if (spread != null) propagation.push(spread);
    else if (change != null) {
      setRecursive = (setRecursive & ~change[1]) | change[0];
      clearRecursive = (clearRecursive & ~change[0]) | change[1];
    } else if (option === "tmpcopyup") copyUp = true;
    else if (option !== "") data = data === "" ? option : `${data},${option}`;
  };
  for (const option of mount.options ?? NONE) {
    const set = SET[option];
    const clear = set == null ? CLEAR[option] : undefined;
    if (set != null) {
      flags |= set;
      cleared &= ~set;
    } else if (clear != null) {
      flags &= ~clear;
      cleared |= clear;
    } else other(option);
  }
  const at = mount.destination.startsWith("/") ? mount.destination : `/${mount.destination}`;
  return { source: mount.source ?? mount.type ?? "none", at, type: mount.type ?? "none", flags, cleared, data, propagation, setRecursive, clearRecursive, copyUp };
}
