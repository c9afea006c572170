// Writing to a control group: only through a descriptor that is known to be in a cgroup file system. See openat2(2), statfs(2).
import { AT, MAGIC, O, RESOLVE } from "../../abi/flags.js";
import { SysError } from "../../sys/call.js";
import { Fd } from "../../sys/fd.js";
import { openat2, statfs, writeAll } from "../../sys/file.js";
import { AppError } from "../../lib/errors.js";

export const STRICT = RESOLVE.NO_MAGICLINKS | RESOLVE.NO_SYMLINKS;

/** Opens a group's folder (O_PATH); the caller closes it. Throws when it is in no cgroup file system. */
export function openDir(dir: string): Fd {
  const fd = openat2(AT.FDCWD, dir, O.PATH | O.DIRECTORY, STRICT);
  try {
    const { type } = statfs(fd);
    if (type === MAGIC.CGROUP2_SUPER_MAGIC || type === MAGIC.CGROUP_SUPER_MAGIC) return fd;
    throw new AppError("precondition", `${dir} is not in a cgroup file system`);
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** One write(2) for each text into a control file of a group. */
export function put(dir: string | Fd, file: string, ...texts: readonly string[]): void {
  const own = dir instanceof Fd ? undefined : openDir(dir);
  try {
    using fd = openat2(own ?? (dir as Fd), file, O.WRONLY, STRICT | RESOLVE.BENEATH | RESOLVE.NO_XDEV);
    for (const text of texts) writeAll(fd, text);
  } catch (error) {
    if (error instanceof SysError) error.message = `${own === undefined ? "" : `${dir as string}/`}${file}: ${error.message}`;
    throw error;
  } finally {
    own?.close();
  }
}
