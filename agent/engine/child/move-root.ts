// The change of root where pivot_root cannot be: the root file system that the kernel unpacked (initramfs) can only be covered.
// Whatever full procfs or sysfs lies outside the container's root goes first: covered, they would still give a container in a
// user namespace the right to mount new ones (container-engine 2.2, step 14; switch_root(8)).
import { AT, MNT, MS } from "../../abi/flags.js";
import { type Fd, fdPath } from "../../sys/fd.js";
import { chdir, fchdir, readlinkat } from "../../sys/file.js";
import { chroot, mount, tryUmount } from "../../sys/mount.js";
import { readText } from "../../lib/fs.js";
import { lines, words } from "../../lib/text.js";

/** Moves the container's root over the old one and enters it. */
export function moveRoot(root: Fd): void {
  const own = readlinkat(AT.FDCWD, fdPath(root));
  for (const line of lines(readText("/proc/self/mountinfo", 16 << 20)).reverse()) {
    const [, , , part, at = "", ...rest] = words(line);
    const type = rest[rest.indexOf("-") + 1];
    if (part !== "/" || (type !== "proc" && type !== "sysfs") || at === own || at.startsWith(`${own}/`)) continue;
    if (tryUmount(at, MNT.DETACH) < 0) mount("tmpfs", at, "tmpfs", MS.RDONLY, "nr_blocks=1"); // locked, or the root itself
  }
  fchdir(root);
  mount(".", "/", undefined, MS.MOVE);
  chroot(".");
  chdir("/");
}
