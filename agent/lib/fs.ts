// Files as texts and trees: small reads and writes, directories made step by step, removal that never follows a link or
// crosses a mount, and `inside`: the only way to a path below a container's root.
import { AT, O, RESOLVE } from "../abi/flags.js";
import { isErrno, SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { open, openat2, read, statx, writeAll, type At, type Path, type Stat } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { bytesText } from "../sys/utf8.js";
import { AppError } from "./errors.js";
import { lazy } from "./lazy.js";

const trees = lazy<typeof import("./remove-tree.js")>("lib/remove-tree.js");

/** All bytes of a file; throws AppError "exhausted" above `limit`. */
export function readBytes(path: Path, limit = 1 << 20): Uint8Array {
  using fd = open(path, O.RDONLY);
  return readFd(fd, typeof path === "string" ? path : "file", limit);
}

/** All bytes that a descriptor still gives. */
export function readFd(fd: Fd, what: string, limit: number): Uint8Array {
  let bytes = new Uint8Array(4096);
  let size = 0;
  for (;;) {
    if (size === bytes.length) {
      const bigger = new Uint8Array(bytes.length * 2);
      bigger.set(bytes);
      bytes = bigger;
    }
    const n = read(fd, bytes, size);
    if (n === 0) return bytes.subarray(0, size);
    size += n;
    if (size > limit) throw new AppError("exhausted", `${what} is larger than ${limit} bytes`);
  }
}

/** A document's text: bytes that are not UTF-8 make it an error. */
export function readDocument(path: string, limit?: number): string {
  return native.utf8Decode(readBytes(path, limit)) ?? fail(path);
}

function fail(path: string): never {
  throw new AppError("invalid", `${path} is not UTF-8 text`);
}

/** A file's text; its bytes are exact (see sys/utf8.ts). */
export function readText(path: Path, limit?: number): string {
  return bytesText(readBytes(path, limit));
}

/** A file's text, or undefined when it does not exist. */
export function readTextIf(path: string): string | undefined {
  try {
    return readText(path);
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENOTDIR)) return undefined;
    throw error;
  }
}

/** stat(2), or undefined for what does not exist or leads nowhere. */
export function statIf(path: string): Stat | undefined {
  return lookAt(AT.FDCWD, path, 0);
}

/** The same of a name in a directory; a link is not followed. */
export function statIn(dir: Fd, name: string): Stat | undefined {
  return lookAt(dir, name, AT.SYMLINK_NOFOLLOW);
}

function lookAt(at: At, path: string, flags: number): Stat | undefined {
  try {
    return statx(at, path, flags);
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENOTDIR, E.ELOOP)) return undefined;
    throw error;
  }
}

/** Writes an existing control file (proc, sysfs, cgroupfs) with one write(2); errors name the file. */
export function writeText(path: string, text: string): void {
  writeFile(path, text, O.WRONLY, 0);
}

/** Creates or replaces a regular file. */
export function createFile(path: string, text: string | Uint8Array, mode = 0o644): void {
  writeFile(path, text, O.WRONLY | O.CREAT | O.TRUNC, mode);
}

function writeFile(path: string, text: string | Uint8Array, flags: number, mode: number): void {
  try {
    using fd = open(path, flags, mode);
    writeAll(fd, text);
  } catch (error) {
    if (error instanceof SysError) error.message = `${path}: ${error.message}`;
    throw error;
  }
}

/** mkdir -p: makes what is missing; an existing component that is no directory is an error (ENOTDIR). */
export function mkdirs(path: string, mode = 0o755): void {
  const make = (part: string): number => sys(NR.mkdirat, AT.FDCWD, part, mode);
  let r = make(path);
  let cut = path.length;
  while (r === -E.ENOENT && (cut = path.lastIndexOf("/", cut - 1)) > 0) r = make(path.slice(0, cut)); // up to what is there
  if (r === -E.EEXIST || r === -E.EROFS) {
    open(path.slice(0, cut), O.PATH | O.DIRECTORY).close();
    r = 0;
  }
  while (r === 0 && cut < path.length) {
    const next = path.indexOf("/", cut + 1);
    cut = next < 0 ? path.length : next;
    r = make(path.slice(0, cut));
    if (r === -E.EEXIST) r = 0; // somebody was faster, or two slashes in a row
  }
  if (r < 0) throw new SysError(`mkdir ${path}`, -r);
}

/** Opens `path` as if `root` were the root directory: `..` and links cannot leave it. See openat2(2) RESOLVE_IN_ROOT. */
export function inside(root: At, path: string, flags: number, mode = 0): Fd {
  return openat2(root, path, flags, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS, mode);
}

/**
 * Removes a file or a whole tree of any depth and width. Links are removed, not followed; what is immutable is removed too. A mount
 * point inside is not emptied but stays (EBUSY), or with `unmount` is taken out of sight. What does not exist is no error. It may take
 * long: what somebody else has filled is for a child. Throws AppError with what stays and why, or SysError for the top itself.
 */
export function removeTree(path: Path, at: At = AT.FDCWD, unmount = false): void {
  const plain = sys(NR.unlinkat, typeof at === "number" ? at : at.n, path, 0);
  if (plain === 0 || plain === -E.ENOENT) return;
  if (plain !== -E.EISDIR && plain !== -E.EPERM) throw new SysError("unlinkat", -plain);
  trees().removeFolder(at, path, unmount);
}
