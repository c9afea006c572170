// Owns what every step is handed: where the tree and the cache are, how to report, and the signal that says stop. Must never
// hold state of a build.
import type { Progress } from "./progress.js";

export interface Context {
  /** The project's folder. */
  readonly root: string;
  /** Where results go, and manifest.json with them. */
  readonly dist: string;
  /** The cache outside the tree. */
  readonly cache: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}
