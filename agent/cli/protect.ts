// Makes the command's own file unreachable for writing. A process of the container that may trace others (CAP_SYS_PTRACE) can open
// /proc/PID/exe of a further process before that becomes its program, and write to the file when nobody runs it any more
// (CVE-2019-5736; without that capability the kernel refuses: the process is not dumpable). So the command runs itself again
// from a read-only mount of its own that is nowhere attached: every way to the file through /proc ends with EROFS.
import { AT_FDCWD, statfs } from "../sys/file.js";
import { MOUNT_ATTR, mountSetattr, OPEN_TREE, openTree } from "../sys/mount.js";
import { execveat } from "../sys/process.js";
import { SysError } from "../sys/call.js";
import { lazy } from "../lib/lazy.js";
import type { Process } from "../oci/spec.js";

const SELF = "/proc/self/exe";
const ST_RDONLY = 1;
const AT_EMPTY_PATH = 0x1000;

const labels = lazy<typeof import("../engine/labels.js")>("engine/labels.js");

/** The same for a process that gets an LSM's label: with it the file is not left by way of a stub (see engine/child.ts). */
export function protectLabelled(process: Partial<Process> | undefined): void {
  if (labels().isLabelled(process)) protectSelf();
}

/** Comes back only when the program's file is on a read-only mount already. To be called before anything is made. Throws SysError. */
export function protectSelf(): void {
  if ((statfs(SELF).flags & ST_RDONLY) !== 0) return;
  using self = openTree(AT_FDCWD, SELF, OPEN_TREE.CLONE);
  mountSetattr(self, "", AT_EMPTY_PATH, MOUNT_ATTR.RDONLY, 0);
  throw new SysError("execveat", -execveat(self, native.args, native.env));
}
