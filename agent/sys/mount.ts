// Mounting: mount(2), umount2(2), pivot_root(2) and the newer open_tree(2), move_mount(2), mount_setattr(2), fsopen(2) family.
import { MountAttr } from "../abi/layouts.js";
import { FSCONFIG, FSMOUNT, FSOPEN, MOVE_MOUNT, OPEN_TREE } from "../abi/flags.js";
import { must, sys } from "./call.js";
import { Fd } from "./fd.js";
import type { At, Path } from "./file.js";
import { NR } from "../abi/nr.js";

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

/** open_tree(2), close-on-exec: a detached copy of a mount with OPEN_TREE.CLONE. */
export function openTree(at: At, path: Path, flags: number): Fd {
  return new Fd(must("open_tree", NR.open_tree, number(at), path, flags | OPEN_TREE.CLOEXEC));
}

/** move_mount(2) of the mount that `from` names onto the place that `to` names. */
export function moveMountFds(from: Fd, to: At): void {
  must("move_mount", NR.move_mount, from.n, "", number(to), "", MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH);
}

const attr = new Uint32Array(MountAttr.SIZE / 4); // reused
const enum AttrWord { SET = MountAttr.attr_set / 4, CLEAR = MountAttr.attr_clr / 4, PROPAGATION = MountAttr.propagation / 4, USERNS = MountAttr.userns_fd / 4 }
const attrAddress = native.addressOf(attr.buffer as ArrayBuffer);
/** mount_setattr(2) on what `at` and `path` name. */
export function mountSetattr(at: At, path: string, flags: number, set: number, clear: number, propagation = 0, usernsFd = 0): void {
  attr[AttrWord.SET] = set;
  attr[AttrWord.CLEAR] = clear;
  attr[AttrWord.PROPAGATION] = propagation;
  attr[AttrWord.USERNS] = usernsFd;
  must("mount_setattr", NR.mount_setattr, number(at), path, flags, attrAddress, MountAttr.SIZE);
}

/** Makes the file system of a context (fsopen(2)) with these options, [key, value] or [flag], and a detached mount of it: fsconfig, fsmount. */
export function mountOf(context: Fd, options: readonly (readonly [string, string?])[], attributes: number): Fd {
  for (const [key, value] of options) must("fsconfig", NR.fsconfig, context.n, value === undefined ? FSCONFIG.SET_FLAG : FSCONFIG.SET_STRING, key, value ?? null, 0);
  must("fsconfig", NR.fsconfig, context.n, FSCONFIG.CMD_CREATE, null, null, 0);
  return new Fd(must("fsmount", NR.fsmount, context.n, FSMOUNT.CLOEXEC, attributes));
}

/** A new file system of `type` as a detached mount. */
export function fsMount(type: string, options: readonly (readonly [string, string?])[], attributes: number): Fd {
  using context = new Fd(must("fsopen", NR.fsopen, type, FSOPEN.CLOEXEC));
  return mountOf(context, options, attributes);
}
