// One mounts[] entry to what the kernel is told: flags, data, propagation, recursive attributes (runtime-spec config.md
// "Mounts", mount(2), mount_setattr(2)). Pure: constants are those of the kernel's headers.
import type { Mount } from "./spec.js";

const RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, SYNC = 0x10, REMOUNT = 0x20, MAND = 0x40, DIRSYNC = 0x80, NOSYMFOLLOW = 0x100, NOATIME = 0x400;
const NODIRATIME = 0x800, BIND = 0x1000, REC = 0x4000, SILENT = 0x8000, UNBINDABLE = 0x20000, PRIVATE = 0x40000, SLAVE = 0x80000, SHARED = 0x100000;
const RELATIME = 0x200000, IVERSION = 0x800000, STRICTATIME = 0x1000000, LAZYTIME = 0x2000000;

const SET: { readonly [option: string]: number } = {
  ro: RDONLY, nosuid: NOSUID, nodev: NODEV, noexec: NOEXEC, sync: SYNC, dirsync: DIRSYNC, noatime: NOATIME, nodiratime: NODIRATIME, relatime: RELATIME,
  strictatime: STRICTATIME, lazytime: LAZYTIME, iversion: IVERSION, mand: MAND, silent: SILENT, nosymfollow: NOSYMFOLLOW, bind: BIND, rbind: BIND | REC, remount: REMOUNT,
};
const CLEAR: { readonly [option: string]: number } = {
  rw: RDONLY, suid: NOSUID, dev: NODEV, exec: NOEXEC, async: SYNC, atime: NOATIME, diratime: NODIRATIME, norelatime: RELATIME, nostrictatime: STRICTATIME,
  nolazytime: LAZYTIME, noiversion: IVERSION, nomand: MAND, loud: SILENT, symfollow: NOSYMFOLLOW, defaults: 0,
};
const PROPAGATION: { readonly [option: string]: number } = {
  private: PRIVATE, rprivate: PRIVATE | REC, shared: SHARED, rshared: SHARED | REC, slave: SLAVE, rslave: SLAVE | REC, unbindable: UNBINDABLE, runbindable: UNBINDABLE | REC,
};
/** mount_setattr(2): [attributes set, attributes cleared]. Any access-time attribute clears the whole enumeration (0x70) first. */
const RECURSIVE: { readonly [option: string]: readonly [number, number] } = {
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

export const isBind = (plan: { readonly flags: number }): boolean => (plan.flags & BIND) !== 0;

/** Reads the options of one entry; unknown ones become data for the file system. */
export function mountPlan(mount: Mount): MountPlan {
  let flags = mount.type === "bind" ? BIND : 0;
  let cleared = 0;
  let setRecursive = 0;
  let clearRecursive = 0;
  let copyUp = false;
  const propagation: number[] = [];
  const data: string[] = [];
  for (const option of mount.options ?? []) {
    if (Object.hasOwn(SET, option)) {
      flags |= SET[option] as number;
      cleared &= ~(SET[option] as number);
    } else if (Object.hasOwn(CLEAR, option)) {
      flags &= ~(CLEAR[option] as number);
      cleared |= CLEAR[option] as number;
    } else if (Object.hasOwn(PROPAGATION, option)) propagation.push(PROPAGATION[option] as number);
    else if (Object.hasOwn(RECURSIVE, option)) {
      const [set, clear] = RECURSIVE[option] as readonly [number, number];
      setRecursive = (setRecursive & ~clear) | set;
      clearRecursive = (clearRecursive & ~set) | clear;
    } else if (option === "tmpcopyup") copyUp = true;
    else if (option !== "") data.push(option);
  }
  const at = mount.destination.startsWith("/") ? mount.destination : `/${mount.destination}`;
  return { source: mount.source ?? mount.type ?? "none", at, type: mount.type ?? "none", flags, cleared, data: data.join(","), propagation, setRecursive, clearRecursive, copyUp };
}
