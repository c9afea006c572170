// Small questions to sysfs(5) and /dev: entries of a directory, the numbers and the node of a device. Nothing here waits: names
// that come from outside are looked up in /dev alone, and neither a mount nor a link leads away from there.
import { O, RESOLVE, S } from "../abi/flags.js";
import { check, isErrno } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { Fd } from "../sys/fd.js";
import { fstat, getdents, open, openat2Raw, type Stat } from "../sys/file.js";
import { AppError } from "../lib/errors.js";

/** Names in a directory, sorted; empty when there is no such directory. */
export function namesIn(path: string): string[] {
  try {
    using dir = open(path, O.RDONLY | O.DIRECTORY);
    return getdents(dir).map((e) => e.name).sort();
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENOTDIR, E.ENODEV)) return [];
    throw error;
  }
}

/** True when a stat is that of a block device. */
export const isBlock = (s: Stat): boolean => (s.mode & S.IFMT) === S.IFBLK;

/**
 * The node at a path of /dev; undefined when there is none. Throws AppError "internal" for a path that leads elsewhere. What is
 * mounted below /dev is not entered (openat2(2), RESOLVE_NO_XDEV): it may be a file system that does not answer.
 */
export function deviceAt(path: string): Stat | undefined {
  if (!path.startsWith("/dev/")) throw new AppError("internal", `Invalid device ${path}: not in /dev`);
  using dev = open("/dev", O.PATH | O.DIRECTORY);
  const n = openat2Raw(dev, path.slice("/dev/".length), O.PATH, RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_MAGICLINKS);
  if (n === -E.ENOENT || n === -E.ENOTDIR) return undefined;
  if (n === -E.EXDEV || n === -E.ELOOP) throw new AppError("internal", `Invalid device ${path}: not in /dev`);
  using node = new Fd(check("openat2", n));
  return fstat(node);
}

/** The first block device in a sysfs `block` folder as a path in /dev; undefined until its node is there as well. */
export function nodeIn(blockDir: string): string | undefined {
  for (const name of namesIn(blockDir)) {
    const node = `/dev/${name.split("!").join("/")}`; // sysfs writes "!" for "/"
    const found = deviceAt(node);
    if (found !== undefined && isBlock(found)) return node;
  }
  return undefined;
}
