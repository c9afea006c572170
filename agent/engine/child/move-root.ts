// The change of root where pivot_root cannot be: the root file system that the kernel unpacked (initramfs) can only be covered.
// Whatever full procfs or sysfs lies outside the container's root goes first: covered, they would still give a container in a
// user namespace the right to mount new ones (container-engine 2.2, step 14; switch_root(8)).
import { AT, MNT, MS } from "../../abi/flags.js";
import { type Fd, fdPath } from "../../sys/fd.js";
import { chdir, fchdir, readlinkat } from "../../sys/file.js";
import { chroot, mount, tryUmount } from "../../sys/mount.js";
import { listMounts } from "../../lib/mountinfo.js";

/** Moves the container's root over the old one and enters it. */
export function moveRoot(root: Fd): void {
  const own = readlinkat(AT.FDCWD, fdPath(root));
  for (const { root: part, point, fstype } of listMounts().reverse()) {
    if (part !== "/" || (fstype !== "proc" && fstype !== "sysfs") || point === own || point.startsWith(`${own}/`)) continue;
    if (tryUmount(point, MNT.DETACH) < 0) mount("tmpfs", point, "tmpfs", MS.RDONLY, "nr_blocks=1"); // locked, or the root itself
  }
  fchdir(root);
  mount(".", "/", undefined, MS.MOVE);
  chroot(".");
  chdir("/");
}
