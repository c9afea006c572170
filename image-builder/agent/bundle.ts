// Owns the way from TypeScript to the chunks that become bytecode: esbuild makes an entry of each module that is loaded by name, and of
// each set of modules that several need a chunk; rollup then joins the chunks that are always loaded together. A chunk costs some 50 us
// to load and a table of all names in it: joined, the agent is 30 KB smaller, and a command of the command line 0.7 ms faster.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { build as esbuild, transform, type BuildOptions, type Metafile, type Plugin } from "esbuild";
import { rollup, type OutputChunk, type Plugin as RollupPlugin, type RollupOutput } from "rollup";
import { BuildError } from "../lib/errors.js";
import type { Profile } from "./profiles.js";

export interface BundleOptions {
  /** The folder of the agent's sources, and the module that is loaded first. */
  readonly agent: string;
  readonly entry: string;
  readonly arch: string;
  readonly version: string;
  readonly commit: string;
  readonly debug: boolean;
  /** The code of agent/native/stub.c, a character for each byte. */
  readonly stub: string;
  readonly profiles: readonly Profile[];
}

export interface Bundle {
  /** The chunks in the folder, sorted; "main.js" is the one of the entry. */
  readonly files: readonly string[];
  /** The chunks that each profile loads. */
  readonly loaded: ReadonlyMap<string, readonly string[]>;
}

type Output = Metafile["outputs"][string];

/** Writes the chunks to `dir`. Throws BuildError when a source or a profile names a module that is not there, or esbuild's errors. */
export async function bundle(dir: string, options: BundleOptions): Promise<Bundle> {
  const split = await mkdtemp(join(dir, "split-"));
  const entries = lazyEntries(options.agent, options.debug);
  const top = dirname(options.agent); // the names of chunks come from texts with the modules' paths in them: relative to the tree
  const { metafile } = await esbuild({ ...settings(options), absWorkingDir: top, outdir: split, metafile: true, entryPoints: [
    { in: options.entry, out: "main" }, ...[...entries].map(([name, path]) => ({ in: path, out: name.replace(/\.js$/, "") })),
  ] });
  const outputs = new Map(Object.entries(metafile.outputs).map(([file, output]) => [resolve(top, file), output]));
  const { output } = await joined({ top, split, names: ["main.js", ...entries.keys()], outputs, profiles: options.profiles });
  await rm(split, { recursive: true });
  await Promise.all(output.map(async ({ fileName, code }) => {
    const small = await transform(code, { minify: !options.debug, format: "esm", target: "es2022", charset: "utf8", legalComments: "none" });
    await mkdir(dirname(join(dir, fileName)), { recursive: true });
    await writeFile(join(dir, fileName), small.code);
  }));
  const imports = new Map(output.map((chunk) => [chunk.fileName, chunk.imports]));
  return { files: [...imports.keys()].sort(), loaded: new Map(options.profiles.map((p) => [p.name, reach(["main.js", ...p.loads], (file) => imports.get(file) ?? [])])) };
}

const settings = ({ arch, version, commit, debug, stub }: BundleOptions): BuildOptions => ({
  bundle: true, splitting: true, plugins: [archTables(arch)], format: "esm", platform: "neutral", target: "es2022", chunkNames: "chunk-[hash]",
  minifySyntax: !debug, legalComments: "none", logLevel: "warning", charset: "utf8",
  define: { __ARCH__: JSON.stringify(arch), __VERSION__: JSON.stringify(version), __COMMIT__: JSON.stringify(commit), __DEBUG__: String(debug), __STUB__: JSON.stringify(stub) },
});

/** What esbuild made: the folder of the files, their names, and what each is made of and imports, by path. */
interface Split {
  /** The paths in `outputs` are relative to this folder. */
  readonly top: string;
  readonly split: string;
  readonly names: readonly string[];
  readonly outputs: ReadonlyMap<string, Output>;
  readonly profiles: readonly Profile[];
}

/** The output of rollup: what the same profiles load is one chunk. */
async function joined(made: Split): Promise<{ readonly output: readonly OutputChunk[] }> {
  const { split, outputs } = made;
  const main = join(split, "main.js");
  const bits = profilesOf(made);
  // never beside what the agent may load
  const commands = (file: string): boolean => Object.keys(outputs.get(file)?.inputs ?? {}).some((input) => input.includes("agent/cli/"));
  const helpers = { found: 0 };
  const input = Object.fromEntries(made.names.map((name) => [name.replace(/\.js$/, ""), join(split, name)]));
  const all = await rollup({ plugins: [cycleFree(helpers)], input, preserveEntrySignatures: "strict" });
  if (helpers.found === 0) throw new BuildError("failed", "esbuild's helper for `using` has another form than expected", "see withoutCycles in image-builder/agent/bundle.ts");
  const { output }: RollupOutput = await all.generate({
    format: "es", compact: true, chunkFileNames: "chunk-[hash].js", hoistTransitiveImports: false,
    // main.js loads others by name while it is evaluated: what those import must have been evaluated by then
    manualChunks: (id) => (bits.has(id) && id !== main ? `${bits.get(id)}${commands(id) ? "-command" : ""}` : undefined),
  });
  await all.close();
  return { output: output.filter((part) => part.type === "chunk") };
}

/** All that can be reached from `from` by `next`, itself included; in the order in which it is met. */
function reach(from: readonly string[], next: (file: string) => readonly string[]): string[] {
  const seen = new Set(from);
  for (const file of seen) for (const other of next(file)) seen.add(other); // a set is walked to what is added meanwhile
  return [...seen];
}

/** For each file that a profile loads, by path: the profiles, as bits. */
function profilesOf({ top, split: dir, outputs, profiles }: Split): Map<string, number> {
  const bits = new Map<string, number>();
  const importsOf = (file: string): string[] => (outputs.get(file)?.imports ?? []).filter(({ kind }) => kind === "import-statement").map(({ path }) => resolve(top, path));
  profiles.forEach(({ name, loads }, n) => {
    const missing = loads.find((module) => !outputs.has(join(dir, module)));
    if (missing !== undefined) throw new BuildError("config", `the profile "${name}" names ${missing}, which is not loaded by name`, "agent/profiles.json names what lazy(...) names in the sources");
    for (const file of reach(["main.js", ...loads].map((module) => join(dir, module)), importsOf)) bits.set(file, (bits.get(file) ?? 0) | (1 << n));
  });
  return bits;
}

/** Every lazy(...) in the sources names an entry of its own: its name and path. Throws BuildError "config" for a wrong name. */
function lazyEntries(agent: string, debug: boolean): Map<string, string> {
  const own = debug ? ["errno-text", "faults"] : ["errno-text"]; // sys/call.ts loads them itself
  const found = new Map(own.map((name) => [`sys/${name}.js`, join(agent, `sys/${name}.ts`)]));
  for (const entry of readdirSync(agent, { withFileTypes: true, recursive: true })) {
    if (!entry.name.endsWith(".ts") || entry.name.endsWith(".d.ts")) continue;
    const path = join(entry.parentPath, entry.name);
    const text = readFileSync(path, "utf8");
    for (const name of lazyModules(relative(agent, path), debug ? text : withoutDebug(text))) {
      const target = join(agent, name.replace(/\.js$/, ".ts"));
      if (!existsSync(target)) throw new BuildError("config", `${relative(agent, path)}: there is no lazy module ${name}`);
      found.set(name, target);
    }
  }
  return found;
}

/** The text of a source without the modules that debug builds alone load: `__DEBUG__ ? lazy<...>(...) : undefined`. */
export const withoutDebug = (text: string): string => text.replace(/__DEBUG__ \? lazy<[^>]*>\([^)]*\) : undefined/g, "undefined");

/**
 * The modules that `text`, the source of `file`, loads by `lazy<typeof import("./x.js")>("layer/x.js")`, by their path below agent/.
 * Throws BuildError "config" where the two names differ, or where lazy is called in a form that is not understood.
 */
export function lazyModules(file: string, text: string): string[] {
  const calls = [...text.matchAll(/\blazy<typeof import\("([^"]+)"\)>\("([^"]+)"\)/g)].map((m) => {
    const name = join(dirname(file), m[1] as string);
    if (name !== m[2]) throw new BuildError("config", `${file}: lazy("${m[2]}") must be named "${name}"`);
    return name;
  });
  const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, "").replace(/\bfunction lazy</g, "");
  if ([...code.matchAll(/\blazy\s*[<(]/g)].length !== calls.length) throw new BuildError("config", `${file}: lazy is called in another form than lazy<typeof import("./x.js")>("layer/x.js")`);
  return calls;
}

/** abi/nr.ts and abi/arch.ts hold what is x86_64's; another architecture has files of its own beside them. */
const archTables = (arch: string): Plugin => ({
  name: "arch-tables",
  setup(b) {
    if (arch !== "x86_64") b.onResolve({ filter: /\/(nr|arch)\.js$/ }, (args) => ({ path: resolve(args.resolveDir, args.path.replace(/\.js$/, `-${arch}.ts`)) }));
  },
});

const cycleFree = (count: { found: number }): RollupPlugin => ({
  name: "without-cycles",
  transform(code) {
    const { text, found } = withoutCycles(code);
    count.found += found;
    return found === 0 ? null : { code: text, map: null };
  },
});

/**
 * esbuild's helper for `using` has a branch for `await using`, by which its closure holds itself: a cycle for each use, which stays
 * until cycles are looked for. There is no `await using` in the agent, so the branch goes.
 */
export function withoutCycles(code: string): { readonly text: string; readonly found: number } {
  let found = 0;
  const branch = /if \(it\[0\]\) return Promise\.resolve\(result\)\.then\(next, \(e\) => \(fail\(e\), next\(\)\)\);/g;
  return { text: code.replace(branch, () => (found++, "")), found };
}
