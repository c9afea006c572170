// The flags of a mount as mount_setattr(2) wants them, and those of binds with what the kernel locks. See mount(2), MS_REMOUNT;
// mount_namespaces(7), "Restrictions on mount namespaces".
import { AT, MOUNT_ATTR, MS, ST } from "../../abi/flags.js";
import { isErrno } from "../../sys/call.js";
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
  if (flags & ATIMES) {
    clear |= MOUNT_ATTR._ATIME | MOUNT_ATTR.NODIRATIME;
    if (flags & MS.STRICTATIME) set |= MOUNT_ATTR.STRICTATIME;
    else if (flags & MS.NOATIME) set |= MOUNT_ATTR.NOATIME;
    if (flags & MS.NODIRATIME) set |= MOUNT_ATTR.NODIRATIME;
  }
  return { set, clear };
}

/** The flags that a mount has, of those that can be locked. */
function lockable(tree: Fd): number {
  const { flags } = statfs(tree);
  const times = flags & (MS.NOATIME | MS.NODIRATIME);
  return (flags & SAME) | times | (flags & ST.RELATIME ? MS.RELATIME : times & MS.NOATIME ? 0 : MS.STRICTATIME);
}

type Flags = Pick<MountPlan, "flags" | "cleared" | "dropped">;

/** Gives a mount its flags. Those that it is only to drop stay where the kernel has locked them. Throws EPERM when an option speaks against one that is. */
export function flag(tree: Fd, { flags, cleared, dropped }: Flags, how: number = AT.EMPTY_PATH): void {
  const give = (also: number): void => {
    const { set, clear } = attributes(flags, cleared | also);
    if ((set | clear) !== 0) mountSetattr(tree, "", how, set, clear);
  };
  try {
    give(dropped);
  } catch (error) {
    if (dropped === 0 || !isErrno(error, E.EPERM)) throw error;
    const has = lockable(tree); // from here on as runc: what is asked for in so many words must be there
    if ((has & cleared) !== 0 || ((flags & ATIMES) !== 0 && (flags & ATIMES) !== (has & ATIMES))) throw error;
    give(dropped & ~SAME);
  }
}
