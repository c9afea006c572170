// Owns QuickJS for the agent: the engine as a library with the headers that agent/native includes, and qjsc, which makes bytecode and
// runs on this machine. Both are in the cache, keyed by their source and compiler.
import { cp, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { cached, type Entry } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { run } from "../lib/run.js";
import { together } from "../lib/together.js";
import type { LibrarySource } from "../steps/debian-source.js";
import { compilerVersion, makeArchive, type Compiler } from "./compiler.js";

const ENGINE = ["quickjs.c", "libregexp.c", "libunicode.c", "cutils.c", "dtoa.c"];
const HEADERS = ["quickjs.h", "cutils.h"];
const QJSC = ["qjsc.c", "quickjs-libc.c"];

export interface QuickJs {
  /** Folder with libquickjs.a and the headers. */
  readonly folder: string;
  readonly qjsc: string;
}

/** The engine and its bytecode compiler, from the cache or made. Throws BuildError when they cannot be fetched or compiled. */
export async function quickjs(context: Context, compiler: Compiler, source: LibrarySource): Promise<QuickJs> {
  const asLibrary = (own: Context): Promise<Entry> => cached(own, "quickjs", { recipe: 1, source: source.key, compiler: compiler.key }, ["libquickjs.a", ...HEADERS], async (dir) => {
    const defs = await unpacked(source, dir);
    await makeArchive(own, compiler, dir, "libquickjs.a", ENGINE.map((name) => `quickjs/${name}`), [...defs, "-w"]);
    for (const name of HEADERS) await cp(join(dir, "quickjs", name), join(dir, name));
  });
  const gcc = await compilerVersion(context, "gcc", "gcc");
  const asTool = (own: Context): Promise<Entry> => cached(own, "qjsc", { recipe: 2, source: source.key, compiler: gcc }, ["qjsc"], async (dir) => {
    const defs = await unpacked(source, dir);
    own.progress.step("compiling qjsc"); // it runs for some milliseconds in each build
    const sources = [...ENGINE, ...QJSC].map((name) => `quickjs/${name}`);
    await run("gcc", ["-O0", "-w", ...defs, ...sources, "-o", "qjsc", "-lm", "-ldl", "-lpthread"], { cwd: dir, signal: own.signal, package: "gcc" });
  });
  const [library, tool] = await together(context, asLibrary, asTool);
  return { folder: library.dir, qjsc: join(tool.dir, "qjsc") };
}

/** Unpacks into `dir`/quickjs; returns the definitions that QuickJS's own Makefile would give the compiler. */
async function unpacked(source: LibrarySource, dir: string): Promise<string[]> {
  const at = join(dir, "quickjs");
  await source.unpack(at);
  const missing = [...ENGINE, ...QJSC, ...HEADERS, "VERSION"].filter(((there) => (name: string) => !there.has(name))(new Set(await readdir(at))));
  if (missing.length > 0) throw new BuildError("missing", `the source of QuickJS has no ${missing.join(", ")}`, "name a folder with QuickJS 2025-04-26 or one laid out as it is");
  return ["-D_GNU_SOURCE", `-DCONFIG_VERSION="${(await readFile(join(at, "VERSION"), "utf8")).trim()}"`];
}
