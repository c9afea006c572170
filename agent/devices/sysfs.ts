// Small questions to sysfs(5): entries of a directory, the numbers and the /dev node of a device. Nothing here waits.
import { isErrno } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { getdents, O, open, S, type Stat } from "../sys/file.js";
import { statIf } from "../lib/fs.js";

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

/** The first block device in a sysfs `block` folder as a path in /dev; undefined until its node is there as well. */
export function nodeIn(blockDir: string): string | undefined {
  for (const name of namesIn(blockDir)) {
    const node = `/dev/${name.split("!").join("/")}`; // sysfs writes "!" for "/"
    const found = statIf(node);
    if (found !== undefined && isBlock(found)) return node;
  }
  return undefined;
}
