// Owns the command `clean`: removes what the builder made in dist, and the cache when asked. Must never remove a file that the
// builder did not write.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.js";
import type { Json } from "../lib/hash.js";

export interface CleanOptions {
  readonly output: string;
  readonly cache?: boolean;
}

const MADE = ["kata-agent", "kata-agent.debug", "bzImage", "vmlinux", "kernel.config", "modules", "initrd.img", "rootfs.img", "manifest.json"];
const CACHE_KINDS = ["agent", "quickjs", "qjsc", "libseccomp", "kernel", "initrd", "image"];

/** Runs the command; answers with the paths that were removed. Compiled kernels and downloads go only with `cache`. */
export async function clean(context: Context, options: CleanOptions): Promise<Json> {
  const removed: string[] = [];
  const remove = async (dir: string, names: readonly string[]): Promise<void> => {
    const there = new Set(await readdir(dir).catch(() => []));
    for (const name of names.filter((n) => there.has(n))) {
      await rm(join(dir, name), { recursive: true, force: true });
      removed.push(join(dir, name));
    }
  };
  await remove(options.output, MADE);
  if (options.cache === true) {
    await remove(context.cache, CACHE_KINDS);
    await remove(join(context.cache, "apt"), ["image-builder", "sources"]);
    await remove(context.cache, ["downloads"]);
  }
  context.progress.note(removed.length === 0 ? "nothing to remove" : `removed ${removed.join(", ")}`);
  return { removed };
}
