// Mounting: mount(2), umount2(2), pivot_root(2) and the newer open_tree(2), move_mount(2), mount_setattr(2), fsopen(2) family.
import { must, sys } from "./call.js";
import { Fd } from "./fd.js";
import type { At, Path } from "./file.js";
import { NR } from "../abi/nr.js";

export const enum MS {
  RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, SYNCHRONOUS = 0x10, REMOUNT = 0x20, MANDLOCK = 0x40, DIRSYNC = 0x80, NOSYMFOLLOW = 0x100,
  NOATIME = 0x400, NODIRATIME = 0x800, BIND = 0x1000, MOVE = 0x2000, REC = 0x4000, SILENT = 0x8000, UNBINDABLE = 0x20000, PRIVATE = 0x40000,
  SLAVE = 0x80000, SHARED = 0x100000, RELATIME = 0x200000, I_VERSION = 0x800000, STRICTATIME = 0x1000000, LAZYTIME = 0x2000000,
}
export const enum MNT { FORCE = 1, DETACH = 2 }

const number = (at: At): number => (typeof at === "number" ? at : at.n);

/** mount(2); an empty string or undefined becomes a null pointer where the call allows one. */
export function mount(source: Path | undefined, target: Path, type: string | undefined, flags: number, data?: string): void {
  must("mount", NR.mount, source ?? null, target, type ?? null, flags, data === undefined || data === "" ? null : data);
}

/** umount2(2). */
export function umount(target: Path, flags = 0): void {
  must("umount2", NR.umount2, target, flags);
}

/** umount2(2) that answers the negative errno. */
export function tryUmount(target: Path, flags: number): number {
  return sys(NR.umount2, target, flags);
}

/** pivot_root(2). */
export function pivotRoot(newRoot: string, putOld: string): void {
  must("pivot_root", NR.pivot_root, newRoot, putOld);
}
/** chroot(2). */
export function chroot(path: string): void {
  must("chroot", NR.chroot, path);
}

export const enum OPEN_TREE { CLONE = 1, CLOEXEC = 0x80000 }
/** open_tree(2), close-on-exec: a detached copy of a mount with OPEN_TREE.CLONE. */
export function openTree(at: At, path: Path, flags: number): Fd {
  return new Fd(must("open_tree", NR.open_tree, number(at), path, flags | OPEN_TREE.CLOEXEC));
}

/** move_mount(2) of the mount that `from` names onto the place that `to` names. */
export function moveMountFds(from: Fd, to: At): void {
  must("move_mount", NR.move_mount, from.n, "", number(to), "", 0x04 | 0x40);
}

export const enum MOUNT_ATTR { RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, NOATIME = 0x10, STRICTATIME = 0x20, ATIME = 0x70, NODIRATIME = 0x80, IDMAP = 0x100000, NOSYMFOLLOW = 0x200000 }
const attr = new Uint32Array(8); // struct mount_attr: u64 attr_set, attr_clr, propagation, userns_fd; reused
const attrAddress = native.addressOf(attr.buffer as ArrayBuffer);
/** mount_setattr(2) on what `at` and `path` name. */
export function mountSetattr(at: At, path: string, flags: number, set: number, clear: number, propagation = 0, usernsFd = 0): void {
  attr[0] = set;
  attr[2] = clear;
  attr[4] = propagation;
  attr[6] = usernsFd;
  must("mount_setattr", NR.mount_setattr, number(at), path, flags, attrAddress, 32);
}

const enum FSCONFIG { SET_FLAG = 0, SET_STRING = 1, CMD_CREATE = 6 }

/** Makes the file system of a context (fsopen(2)) with these options, [key, value] or [flag], and a detached mount of it: fsconfig, fsmount. */
export function mountOf(context: Fd, options: readonly (readonly [string, string?])[], attributes: number): Fd {
  for (const [key, value] of options) must("fsconfig", NR.fsconfig, context.n, value === undefined ? FSCONFIG.SET_FLAG : FSCONFIG.SET_STRING, key, value ?? null, 0);
  must("fsconfig", NR.fsconfig, context.n, FSCONFIG.CMD_CREATE, null, null, 0);
  return new Fd(must("fsmount", NR.fsmount, context.n, 1, attributes));
}

/** A new file system of `type` as a detached mount. */
export function fsMount(type: string, options: readonly (readonly [string, string?])[], attributes: number): Fd {
  using context = new Fd(must("fsopen", NR.fsopen, type, 1));
  return mountOf(context, options, attributes);
}
