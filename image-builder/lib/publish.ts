// Owns copying a cache entry's file to where the user wants it: whole or not at all, and not touched when it is the same already
// (so that make sees no change). Must never link into the cache: a later write to the copy must not reach it.
import { copyFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { FileSum } from "./cache.js";
import { explainDisk } from "./errors.js";
import { sha256File } from "./hash.js";
import { ensureFolder } from "./folder.js";

/** Puts `from` at `to`; true when the file there changed. Throws BuildError when the disk is full or may not be written. */
export async function publish(from: string, to: string, sum: FileSum): Promise<boolean> {
  const there = await stat(to).catch(() => undefined);
  if (there?.isFile() === true && there.size === sum.bytes && (await sha256File(to)) === sum.sha256) return false;
  const temp = `${to}.${process.pid}.tmp`;
  try {
    await ensureFolder(dirname(to));
    await copyFile(from, temp);
    await rename(temp, to);
    return true;
  } catch (error) {
    throw explainDisk(error, dirname(to));
  } finally {
    await rm(temp, { force: true }).catch(() => undefined);
  }
}
