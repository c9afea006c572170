// A terminal of a container's own devpts, in its child; and its master, taken from there.
import { MAGIC, S } from "../../abi/flags.js";
import type { Fd } from "../../sys/fd.js";
import { fstat, statfs } from "../../sys/file.js";
import { pidfdGetfd } from "../../sys/process.js";
import { openPtyAt, ptyNumber } from "../../sys/tty.js";
import { AppError, attempt } from "../../lib/errors.js";

const TTYAUX_MAJOR = 5, PTMX_MINOR = 2;

/** Both ends of a new terminal in the devpts that `pts` (a directory) is. Throws AppError "invalid" when it is another file system. */
export function openTerminal(pts: Fd): { master: Fd; slave: Fd } {
  if (statfs(pts).type !== MAGIC.DEVPTS_SUPER_MAGIC) throw new AppError("invalid", "process.terminal needs a devpts file system on /dev/pts");
  return openPtyAt(pts);
}

/** Takes descriptor `n` of a process, which is said to be a terminal's master. Throws AppError when it is none. See pidfd_getfd(2). */
export function takeMasterOf(pidfd: Fd, n: number): Fd {
  const master = pidfdGetfd(pidfd, n);
  try {
    attempt("the terminal of the process", () => {
      const { mode, rdevMajor, rdevMinor } = fstat(master);
      if ((mode & S.IFMT) !== S.IFCHR || rdevMajor !== TTYAUX_MAJOR || rdevMinor !== PTMX_MINOR) throw new AppError("internal", "is no ptmx device");
      ptyNumber(master);
    });
    return master;
  } catch (error) {
    master.close();
    throw error;
  }
}
