// Where things are: the results of the build, the cache outside the tree, and the folder of running VMs.
// It owns these paths and nothing in them.
import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Top of the source tree. */
export const TOP = fileURLToPath(new URL("../..", import.meta.url));

/** The folder with the build's results: KATA_DIST, or dist/ of this tree. */
export const DIST = process.env["KATA_DIST"] || join(TOP, "dist");

/** The cache outside the tree: KATA_CACHE, or ~/.cache/kata-agent. Made when missing. */
export const cacheFolder = (): string => {
  const folder = process.env["KATA_CACHE"] || join(homedir(), ".cache", "kata-agent");
  mkdirSync(folder, { recursive: true });
  return folder;
};

/** The folder that holds one file for each running VM: KATACTL_STATE, /run/katactl for root, else in the user's run folder. */
export const stateFolder = (): string => {
  const own = process.env["KATACTL_STATE"];
  const run = process.env["XDG_RUNTIME_DIR"];
  const folder = own || (process.getuid?.() === 0 ? "/run/katactl" : run ? join(run, "katactl") : join(homedir(), ".katactl"));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
};

/** A new private folder for one VM. Its path is short, because socket names hold 107 bytes. */
export const runFolder = (): string => {
  const base = tmpdir();
  return mkdtempSync(join(base.length > 60 ? "/tmp" : base, "katactl-"));
};

/** A file that is needed. Throws Error that says what it is for and how to get it. */
export const needed = (file: string, what: string, how: string): string => {
  if (!existsSync(file)) throw new Error(`no ${what} at ${file}: ${how}`);
  return file;
};
