// Owns dist/manifest.json: for each thing that was built its inputs, and size and sum of every file that came out. Holds no time
// and no machine path, so equal builds give an equal manifest. Must never be the only place a key is kept: the cache has its own.
import { existsSync } from "node:fs";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { lock, type FileSum } from "./cache.js";
import type { Context } from "./context.js";
import { errnoCode, explainDisk } from "./errors.js";
import { canonical, sha256, type Json } from "./hash.js";
import { ensureFolder } from "./folder.js";

export interface Section {
  /** The cache key: the hash of `inputs`. */
  readonly key: string;
  readonly inputs: Json;
  readonly outputs: Readonly<Record<string, FileSum>>;
}

export type Manifest = Readonly<Record<string, Section>>;

/** The manifest in `dist`; empty when there is none or it cannot be read as one. */
export async function readManifest(dist: string): Promise<Manifest> {
  try {
    const value = JSON.parse(await readFile(join(dist, "manifest.json"), "utf8")) as unknown;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Manifest) : {};
  } catch (error) {
    if (error instanceof SyntaxError || errnoCode(error) === "ENOENT") return {};
    throw error;
  }
}

/**
 * Replaces one section; the others stay as long as their files do. The file is replaced by a rename, and left alone when nothing
 * changed; several builders at once wait for each other.
 */
export async function writeSection(context: Context, dist: string, name: string, section: Section): Promise<void> {
  const unlock = await lock(context, "manifest", sha256(resolve(dist)));
  try {
    await ensureFolder(dist);
    const before = await readManifest(dist);
    const after: Record<string, Section> = { ...before, [name]: section };
    for (const [other, { outputs }] of Object.entries(before)) {
      const gone = other !== name && Object.keys(outputs).some((file) => !existsSync(join(dist, file)));
      if (gone) delete after[other];
    }
    const sorted = Object.fromEntries(Object.keys(after).sort().map((k) => [k, after[k] as Section]));
    if (canonical(before as unknown as Json) === canonical(sorted as unknown as Json)) return;
    const temp = join(dist, `.manifest-${process.pid}`);
    await writeFile(temp, `${JSON.stringify(sorted, null, 2)}\n`);
    await rename(temp, join(dist, "manifest.json"));
  } catch (error) {
    throw explainDisk(error, dist);
  } finally {
    await unlock();
  }
}
