// Owns where things are for everything that runs on the build's side: the tree, the build's results, the cache outside the tree. Makes
// nothing there.
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** An environment variable's text, with "" as if it were not set. */
const told = (env: NodeJS.ProcessEnv, name: string): string | undefined => (env[name] === "" ? undefined : env[name]);

/** Top of the source tree, found from this file. */
export const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** The folder with the build's results: KATA_DIST, or dist/ of this tree. */
export const distFolder = resolve(told(process.env, "KATA_DIST") ?? join(projectRoot, "dist"));

/** One of the build's results by its name. */
export const distFile = (name: string): string => join(distFolder, name);

/** The cache outside the tree: KATA_CACHE, or ~/.cache/kata-agent. It need not be there yet. */
export const cacheFolder = (env: NodeJS.ProcessEnv = process.env): string => resolve(told(env, "KATA_CACHE") ?? join(homedir(), ".cache", "kata-agent"));
