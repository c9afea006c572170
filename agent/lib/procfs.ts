// Files of procfs that are written to: a path that something was mounted over, or that leads elsewhere by a link, is no such file
// (CVE-2025-52881: a label or a sysctl went where an image had bent the path to).
import { MAGIC, O, RESOLVE } from "../abi/flags.js";
import { SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { open, openat2, readlinkat, statfs, writeAll } from "../sys/file.js";
import { AppError } from "./errors.js";

/**
 * Opens a file below /proc: every part of the path is procfs itself, no link and no mount on the way. A first part "self" or
 * "thread-self" is this process. Throws AppError "denied" when /proc is no procfs, SysError of openat2(2) else.
 */
export function openProc(path: string, flags: number): Fd {
  using proc = open("/proc", O.PATH | O.DIRECTORY);
  if (statfs(proc).type !== MAGIC.PROC_SUPER_MAGIC) throw new AppError("denied", "/proc is not a proc file system");
  const cut = path.indexOf("/");
  const first = path.slice(0, cut);
  const real = first === "self" || first === "thread-self" ? readlinkat(proc, first) + path.slice(cut) : path;
  return openat2(proc, real, flags, RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS);
}

/** Writes to a file below /proc with one write(2); errors name it. */
export function writeProc(path: string, text: string): void {
  try {
    using file = openProc(path, O.WRONLY);
    writeAll(file, text);
  } catch (error) {
    if (error instanceof SysError) error.message = `/proc/${path}: ${error.message}${error.errno === E.EXDEV ? " (something is mounted there)" : ""}`;
    throw error;
  }
}
