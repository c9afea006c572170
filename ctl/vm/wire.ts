// How host and guest talk: chooses among vhost-vsock of the kernel, vhost-user-vsock with its daemon, and virtio-serial, and
// starts what the choice needs. It says what it took and why.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Address } from "../client/address.js";
import type { Wire } from "./machine.js";
import type { Program } from "./program.js";
import { buildVsockDaemon, findCargo, findVsockDaemon, startVsockDaemon } from "./vsock-daemon.js";

/** What a user may ask for: "auto" takes the first that works here. */
export type WireChoice = "auto" | "vsock" | "vhost-vsock" | "vhost-user-vsock" | "serial";

export const WIRE_CHOICES: readonly WireChoice[] = ["auto", "vsock", "vhost-vsock", "vhost-user-vsock", "serial"];

export interface OpenWire {
  wire: Wire;
  address: Address;
  /** In words for the user: what was taken and why. */
  why: string;
  daemon?: Program;
}

const hasVhost = (): boolean => existsSync("/dev/vhost-vsock");

/** The kind to use. Throws Error when the asked one cannot be had here. */
export const chooseWire = (choice: WireChoice): { kind: Wire["kind"]; why: string } => {
  const daemon = findVsockDaemon() !== undefined;
  if (choice === "serial") return { kind: "serial", why: "as asked" };
  if (choice === "vhost-vsock" && !hasVhost()) throw new Error("there is no /dev/vhost-vsock: load the module vhost_vsock, or use --transport vsock");
  if (choice === "vhost-vsock" || (choice !== "vhost-user-vsock" && hasVhost())) return { kind: "vhost-vsock", why: "/dev/vhost-vsock is there" };
  // a compile of the daemon is for those who ask for vsock
  if (choice === "auto" && !daemon) return { kind: "serial", why: "there is neither /dev/vhost-vsock nor a vhost-device-vsock; --transport vsock builds that once, with cargo" };
  if (daemon || findCargo() !== undefined) return { kind: "vhost-user-vsock", why: hasVhost() ? "as asked" : "there is no /dev/vhost-vsock" };
  throw new Error("no vsock here: neither /dev/vhost-vsock nor vhost-device-vsock nor cargo to build it; use --transport serial");
};

// A guest's CID must be its own on this host; ours come from the process id, far above the small ones people choose.
const freeCid = (): number => 0x10000 + (process.pid & 0xffff) * 16 + Math.floor(Math.random() * 16);

/** Open the wire for one VM, with its sockets in `folder`. `progress` tells of a build that may be needed once. */
export const openWire = async (choice: WireChoice, folder: string, progress: (line: string) => void): Promise<OpenWire> => {
  const { kind, why } = chooseWire(choice);
  if (kind === "vhost-vsock") {
    const cid = freeCid();
    return { wire: { kind, cid }, address: { kind: "vsock", cid, port: 1024 }, why };
  }
  if (kind === "serial") {
    const socket = join(folder, "serial.sock");
    return { wire: { kind, socket }, address: { kind: "serial", path: socket }, why };
  }
  const daemon = findVsockDaemon() ?? (await buildVsockDaemon(progress));
  const { program, vhostSocket, hostSocket } = await startVsockDaemon(daemon, folder);
  return { wire: { kind, socket: vhostSocket }, address: { kind: "hybrid", path: hostSocket, port: 1024 }, why, daemon: program };
};
