// Owns the content-keyed store outside the tree. An entry is a folder <cache>/<kind>/<key>: the files a build made, and
// entry.json with their sizes and sums. It appears by one rename, so a failed or stopped build leaves nothing that looks like a
// result, and it is checked against its sums before it is used. Must never be told a key that leaves out an input.
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, open, readFile, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "./context.js";
import { BuildError, errnoCode, explainDisk } from "./errors.js";
import { canonical, sha256, sha256File, type Json } from "./hash.js";
import { ensureFolder } from "./folder.js";

export interface FileSum {
  readonly bytes: number;
  readonly sha256: string;
}

export interface Entry {
  readonly key: string;
  readonly dir: string;
  readonly files: Readonly<Record<string, FileSum>>;
  /** False when this call built it. */
  readonly cached: boolean;
}

/** How many entries of a kind are kept; kernels cost 20 minutes each, the others a second. */
const KEEP: Readonly<Record<string, number>> = { kernel: 6, initrd: 8, image: 8 };

/** The key of a set of inputs: equal inputs, equal key. */
export function keyOf(kind: string, inputs: Json): string {
  return sha256(`${kind}\n${canonical(inputs)}`);
}

/** The entry if it is there and whole; a damaged one is removed and reported as absent. */
export async function lookup(context: Context, kind: string, key: string): Promise<Entry | undefined> {
  const dir = join(context.cache, kind, key);
  let files: Record<string, FileSum>;
  try {
    files = JSON.parse(await readFile(join(dir, "entry.json"), "utf8")) as Record<string, FileSum>;
  } catch (error) {
    if (errnoCode(error) !== "ENOENT" && !(error instanceof SyntaxError)) throw explainDisk(error, dir);
    if (errnoCode(error) === "ENOENT") return undefined;
    await rm(dir, { recursive: true, force: true });
    return undefined;
  }
  for (const [name, sum] of Object.entries(files)) {
    const path = join(dir, name);
    const whole = await stat(path).then(async (st) => st.size === sum.bytes && (await sha256File(path)) === sum.sha256, () => false);
    if (!whole) {
      context.progress.note(`the cached ${kind} ${key.slice(0, 12)} is damaged (${name}): building it again`);
      await rm(dir, { recursive: true, force: true });
      return undefined;
    }
  }
  const now = new Date();
  await utimes(dir, now, now).catch(() => undefined);
  return { key, dir, files, cached: true };
}

/**
 * The entry for `inputs`, built by `fill` when the cache has none. `fill` writes the named files into the folder it is given (those
 * whose name ends in "?" only where the input has them); anything else there is thrown away. Two builders of one key wait for each other.
 */
export async function cached(context: Context, kind: string, inputs: Json, names: readonly string[],
  fill: (dir: string) => Promise<void>): Promise<Entry> {
  const key = keyOf(kind, inputs);
  const found = await lookup(context, kind, key);
  if (found !== undefined) return found;
  const home = join(context.cache, kind);
  const unlock = await lock(context, kind, key);
  const temp = join(home, `.building-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    const late = await lookup(context, kind, key);
    if (late !== undefined) return late;
    await ensureFolder(join(temp, "out"));
    await fill(join(temp, "out"));
    const files: Record<string, FileSum> = {};
    const ready = join(temp, "entry");
    await mkdir(ready);
    for (const wanted of names) {
      const name = wanted.replace(/\?$/, "");
      if (name !== wanted && !(await stat(join(temp, "out", name)).then(() => true, () => false))) continue;
      files[name] = await sumOf(join(temp, "out", name));
      await rename(join(temp, "out", name), join(ready, name));
    }
    await writeFile(join(ready, "entry.json"), JSON.stringify(files, null, 1));
    await writeFile(join(ready, "inputs.json"), JSON.stringify(inputs, null, 1));
    const dir = join(home, key);
    await rename(ready, dir);
    await prune(home, KEEP[kind] ?? 8);
    return { key, dir, files, cached: false };
  } catch (error) {
    throw explainDisk(error, home);
  } finally {
    await rm(temp, { recursive: true, force: true });
    await unlock();
  }
}

/** Runs `work` in a folder of its own in the cache, which goes away with it. Throws BuildError when the disk is full. */
export async function scratch<T>(context: Context, kind: string, work: (dir: string) => Promise<T>): Promise<T> {
  const home = join(context.cache, kind);
  try {
    await ensureFolder(home);
    await prune(home, KEEP[kind] ?? 8);
    const dir = await mkdtemp(join(home, `.building-${process.pid}-`));
    return await work(dir).finally(() => rm(dir, { recursive: true, force: true }));
  } catch (error) {
    throw explainDisk(error, home);
  }
}

/** Size and sum of one file. Throws BuildError when a build step did not make it. */
export async function sumOf(path: string): Promise<FileSum> {
  const st = await stat(path).catch(() => undefined);
  if (st === undefined || !st.isFile()) throw new BuildError("failed", `${path} was not made`, "this is a defect of the builder or of its input");
  return { bytes: st.size, sha256: await sha256File(path) };
}

/** Removes entries beyond the newest `keep`, and folders of builders that are gone. */
async function prune(home: string, keep: number): Promise<void> {
  const entries: { readonly path: string; readonly used: number }[] = [];
  for (const name of await readdir(home)) {
    const path = join(home, name);
    const builder = /^\.building-(\d+)-/.exec(name)?.[1];
    if (builder !== undefined && !alive(Number(builder))) await rm(path, { recursive: true, force: true });
    else if (/^[0-9a-f]{64}$/.test(name)) entries.push({ path, used: (await stat(path)).mtimeMs });
  }
  entries.sort((a, b) => b.used - a.used);
  for (const old of entries.slice(keep)) await rm(old.path, { recursive: true, force: true });
}

/** Takes the lock of one key; waits while a living process has it. Returns the release. */
export async function lock(context: Context, kind: string, key: string): Promise<() => Promise<void>> {
  const home = join(context.cache, kind);
  await ensureFolder(home);
  const path = join(home, `.lock-${key}`);
  for (;;) {
    if (context.signal.aborted) throw new BuildError("interrupted", "interrupted");
    try {
      const file = await open(path, "wx");
      await file.writeFile(String(process.pid)).finally(() => file.close());
      return () => rm(path, { force: true });
    } catch (error) {
      if (errnoCode(error) !== "EEXIST") throw explainDisk(error, home);
    }
    const holder = Number(await readFile(path, "utf8").catch(() => ""));
    const age = Date.now() - (await stat(path).then((st) => st.mtimeMs, () => Date.now()));
    if (holder > 0 ? !alive(holder) : age > 10_000) await rm(path, { force: true });
    else {
      if (holder !== process.pid) context.progress.step(`waiting: process ${holder} builds the same ${kind}`);
      await new Promise((wake) => setTimeout(wake, 250));
    }
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoCode(error) === "EPERM";
  }
}
