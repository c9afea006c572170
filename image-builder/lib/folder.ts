// Owns making folders with their parents. Not the recursive mkdir of Node: that one never returns below /proc, where a parent can
// be neither found nor made.
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoCode, explainDisk } from "./errors.js";

/** Makes `path` and what is missing above it. Throws BuildError naming the path when that cannot be. */
export async function ensureFolder(path: string): Promise<void> {
  try {
    await make(path);
  } catch (error) {
    throw explainDisk(error, path);
  }
}

async function make(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const code = errnoCode(error);
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    await make(dirname(path));
    await mkdir(path).catch((again: unknown) => {
      if (errnoCode(again) !== "EEXIST") throw again;
    });
  }
}

/** Is there a folder? A path that cannot be looked at is none. */
export function isFolder(path: string): Promise<boolean> {
  return stat(path).then((st) => st.isDirectory(), () => false);
}
