// The flags of a mount as mount_setattr(2) wants them, and those of binds with what the kernel locks. See mount(2), MS_REMOUNT;
// mount_namespaces(7), "Restrictions on mount namespaces".
import { AT, MOUNT_ATTR, MS, ST } from "../../abi/flags.js";
import { isErrno, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import type { Fd } from "../../sys/fd.js";
import { statfs } from "../../sys/file.js";
import { mountSetattr } from "../../sys/mount.js";
import { ATIMES, type MountPlan } from "../../oci/mounts.js";

const SAME = MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC; // the same bits in all three calls: mount, mount_setattr, statfs

/** MS_* flags as mount_setattr(2) wants them: what to set and what to clear. */
export function attributes(flags: number, cleared: number): { set: number; clear: number } {
  let set = flags & SAME;
  let clear = cleared & SAME;
  if (flags & MS.NOSYMFOLLOW) set |= MOUNT_ATTR.NOSYMFOLLOW;
  if (cleared & MS.NOSYMFOLLOW) clear |= MOUNT_ATTR.NOSYMFOLLOW;
  const times = timesOf(flags);
  if (times !== 0) {
    clear |= MOUNT_ATTR._ATIME | MOUNT_ATTR.NODIRATIME;
    if (times & MS.STRICTATIME) set |= MOUNT_ATTR.STRICTATIME;
    if (times & MS.NOATIME) set |= MOUNT_ATTR.NOATIME;
    if (times & MS.NODIRATIME) set |= MOUNT_ATTR.NODIRATIME;
  }
  return { set, clear };
}

/** What a mount that is given these flags does about times of access: one of three, and NODIRATIME; 0: what it did. */
function timesOf(flags: number): number {
  if ((flags & ATIMES) === 0) return 0;
  return (flags & MS.NODIRATIME) | (flags & MS.STRICTATIME || flags & MS.NOATIME || MS.RELATIME);
}

/** The flags that a mount has, of those that can be locked. */
function lockable(tree: Fd): number {
  const { flags } = statfs(tree);
  const times = flags & (MS.NOATIME | MS.NODIRATIME);
  return (flags & SAME) | times | (flags & ST.RELATIME ? MS.RELATIME : times & MS.NOATIME ? 0 : MS.STRICTATIME);
}

type Flags = Pick<MountPlan, "flags" | "cleared" | "dropped" | "clearRecursive">;

/**
 * Gives a mount its flags. Those that it is only to drop stay where the kernel has locked them. `locked`: a copy from outside, whose flags
 * are locked as they would be had it been made in the user namespace. Throws EPERM when an option speaks against one that is.
 */
export function flag(tree: Fd, { flags, cleared, dropped, clearRecursive }: Flags, how: number = AT.EMPTY_PATH, locked = false): void {
  const give = (also: number): void => {
    const { set, clear } = attributes(flags, cleared | also);
    if ((set | clear) !== 0) mountSetattr(tree, "", how, set, clear);
  };
  try {
    if (locked) {
      const [has, times] = [lockable(tree), timesOf(flags)];
      if ((has & SAME & (cleared | dropped | clearRecursive)) !== 0 || (times !== 0 && times !== (has & ATIMES))) throw new SysError("mount_setattr", E.EPERM);
    }
    give(dropped);
  } catch (error) {
    if (dropped === 0 || !isErrno(error, E.EPERM)) throw error;
    const has = lockable(tree); // from here on as runc: what is asked for in so many words must be there
    if ((has & (cleared | (clearRecursive & SAME)) & (SAME | ATIMES)) !== 0 || ((flags & ATIMES) !== 0 && (flags & ATIMES) !== (has & ATIMES))) throw error;
    give(dropped & ~SAME);
  }
}
