// Owns what every step is handed: where the tree and the cache are, how to report, and the signal that says stop. Must never
// hold state of a build.
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Progress } from "./progress.js";

export interface Context {
  /** The project's folder. */
  readonly root: string;
  /** The cache outside the tree. */
  readonly cache: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** The project's folder, found from this file. */
export const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** KATA_CACHE, or ~/.cache/kata-agent. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const chosen = env["KATA_CACHE"];
  return chosen === undefined || chosen === "" ? join(homedir(), ".cache", "kata-agent") : resolve(chosen);
}
