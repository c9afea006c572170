// Owns what a user has on a machine where our kernel has not been compiled: a folder like dist/ with Debian's kernel and the initrd with its
// modules, and how long `make run` takes there the second time. The tree's own dist/ is left as it is.
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { projectRoot } from "../tools/places.js";
import type { Key, Results } from "./keys.js";
import { median, rounded } from "./stats.js";

const call = promisify(execFile);
const ROUNDS = 5;
const KEYS_HERE: readonly Key[] = ["first_run_again_s", "first_run_initrd_bytes"];

/** Puts Debian's kernel, the agent of `dist` and their initrd into `folder`. Rejects with the builder's words. */
export const debianDist = async (dist: string, folder: string): Promise<void> => {
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(dist, "kata-agent"), join(folder, "kata-agent"));
  const builder = ["--import", join(projectRoot, "node_modules/tsx/dist/loader.mjs"), join(projectRoot, "image-builder/main.ts"), "ready", "--from", "debian"];
  await call(process.execPath, builder, { cwd: projectRoot, env: { ...process.env, KATA_DIST: folder } });
};

/** The size of the initrd with modules, and the median time of a `make run` for which everything is there already. */
export const measureFirstRun = async (
  dist: string, progress: (text: string) => void, failed: (keys: readonly Key[], why: string) => void,
): Promise<Results> => {
  const results: Results = {};
  const folder = mkdtempSync(join(tmpdir(), "kata-bench-"));
  try {
    progress("the second `make run` on Debian's kernel");
    await debianDist(dist, folder);
    results.first_run_initrd_bytes = statSync(join(folder, "initrd.img")).size;
    const env = { ...process.env, KATA_DIST: folder };
    const run = (): Promise<unknown> => call("make", ["-C", projectRoot, "--no-print-directory", "run", "FROM=debian"], { env });
    await run();
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const begin = performance.now();
      await run();
      times.push((performance.now() - begin) / 1000);
    }
    results.first_run_again_s = rounded(median(times), 2);
  } catch (error) {
    failed(KEYS_HERE, error instanceof Error ? error.message.replaceAll("\n", "; ").slice(0, 600) : String(error));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return results;
};
