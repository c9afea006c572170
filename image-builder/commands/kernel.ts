// Owns the command `kernel`: source, fragments and tool versions to a key, the cache, and the files in dist. The steps do the
// work; this decides what is rebuilt. Must never compile twice what the cache has, except for --verify, which asks for just that.
import { readFile, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { cached, keyOf, lookup, scratch, sumOf, type Entry } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { isFolder } from "../lib/folder.js";
import { sha256File, type Json } from "../lib/hash.js";
import { writeSection } from "../lib/manifest.js";
import { clock } from "../lib/progress.js";
import { publish } from "../lib/publish.js";
import { checkKernel } from "./check-kernel.js";
import { packagedKernel, removeModules } from "./packaged-kernel.js";
import { kernelSource, readPin, type KernelSource } from "../steps/kernel-source.js";
import { parseAllowMissing, parseFragments, type Fragment } from "../steps/kconfig.js";
import { applyPatches, ARCHES, compile, configure, defaultJobs, FIXED, toolVersions, type Patch, type Recipe } from "../steps/make-kernel.js";

export interface KernelOptions {
  readonly from?: readonly string[];
  /** Nothing is made: what would not work on the kernel with this configuration. */
  readonly check?: string;
  /** Whichever is at hand: our own when the cache has it, else Debian's. Nothing is compiled. */
  readonly ready?: boolean;
  readonly source?: string;
  readonly arch: string;
  readonly configs: string;
  readonly fragment: readonly string[];
  /** false: the source as it is. */
  readonly patches?: boolean;
  readonly output: string;
  readonly jobs?: number;
  readonly configOnly?: boolean;
  readonly verify?: boolean;
}

/** Raised when the way a kernel is made changes, so that old cache entries are not taken for new ones. */
const RECIPE_VERSION = 1;

/** Runs the command; the returned value is what --json prints. */
export async function kernel(context: Context, options: KernelOptions): Promise<Json> {
  if (options.check !== undefined) return checkKernel(context, options.check);
  if (options.from !== undefined && options.from.length > 0) {
    const other = [["--source", options.source], ["--fragment", options.fragment[0]], ["--no-patches", options.patches === false ? true : undefined], ["--config-only", options.configOnly], ["--verify", options.verify]].find(([, value]) => value !== undefined);
    if (other !== undefined) throw new BuildError("usage", `${String(other[0])} is for a kernel that is compiled, --from takes a ready-made one`, "leave out one of the two");
    return packagedKernel(context, options.from, options.output);
  }
  if (options.ready === true && !(await isCompiled(context, options))) {
    return packagedKernel(context, ["debian"], options.output, "; `make kernel` compiles our own, 15 to 25 minutes once, which boots faster");
  }
  const started = Date.now();
  let recipe = await readRecipe(options);
  if (recipe.patches.length > 0 && options.source !== undefined && (await isFolder(options.source))) {
    recipe = { ...recipe, patches: [] };
    context.progress.note(`${options.source} is a folder and taken as it is: the patches in ${join(options.configs, "patches")} are not applied`);
  }
  const tools = await toolVersions(context);
  const keyInputs = keyInputsOf(recipe, tools);
  const isBuilt = async (sha256: string): Promise<boolean> => options.configOnly !== true && (await lookup(context, "kernel", keyOf("kernel", keyInputs(sha256)))) !== undefined;
  const source = await kernelSource(context, options.source, isBuilt);
  if (options.configOnly === true) return configOnly(context, source, recipe, options);
  const names = [recipe.arch.image, "vmlinux", "config"];
  if (options.verify === true) return verify(context, source, recipe, keyInputs(source.sha256), names);
  const entry = await cached(context, "kernel", keyInputs(source.sha256), names, (dir) => build(context, source, recipe, dir));
  const changed: string[] = [];
  for (const [name, to] of [[recipe.arch.image, recipe.arch.image], ["vmlinux", "vmlinux"], ["config", "kernel.config"]] as const) {
    if (await publish(join(entry.dir, name), join(options.output, to), entry.files[name] as Entry["files"][string])) changed.push(to);
  }
  await removeModules(options.output);
  const { config, ...images } = entry.files;
  const outputs = { ...images, "kernel.config": config as Entry["files"][string] };
  await writeSection(context, options.output, "kernel", { key: entry.key, inputs: keyInputs({ origin: source.origin, sha256: source.sha256 }), outputs });
  context.progress.note(`kernel: ${source.origin}, ${entry.cached ? "nothing to rebuild" : `built in ${clock(Date.now() - started)}`}; ${recipe.arch.image} ${images[recipe.arch.image]?.bytes} bytes, vmlinux ${images["vmlinux"]?.bytes} bytes${options.ready === true ? "; `make run FROM=debian` takes Debian's" : ""}`);
  return { key: entry.key, cached: entry.cached, changed, source: source.origin, outputs: outputs as unknown as Json };
}

type KeyInputs = (source: Json) => { readonly [key: string]: Json };

/** The package's name is for the reader: the same bytes from a folder or another version string are the same kernel. */
const keyInputsOf = (recipe: Recipe, tools: Readonly<Record<string, string>>): KeyInputs => (source) => ({
  recipe: RECIPE_VERSION,
  arch: recipe.arch.name,
  source,
  requests: recipe.wishes.map((w) => w.any.map((r) => `${r.symbol}=${r.value}`).join(" | ")),
  ...(recipe.patches.length > 0 ? { patches: recipe.patches.map((p) => p.sha256) } : {}),
  tools: { ...tools },
  fixed: { ...FIXED },
});

/** Has the cache our own kernel, of a pinned source and these fragments? What is not installed for a compile means no. */
async function isCompiled(context: Context, options: KernelOptions): Promise<boolean> {
  try {
    const inputs = keyInputsOf(await readRecipe(options), await toolVersions(context));
    for (const { sha256 } of (await readPin(context.root, "kernel")).versions) if ((await lookup(context, "kernel", keyOf("kernel", inputs(sha256)))) !== undefined) return true;
    return false;
  } catch (error) {
    if (error instanceof BuildError && error.failure === "missing") return false;
    throw error;
  }
}

async function readRecipe(options: KernelOptions): Promise<Recipe> {
  const arch = ARCHES.find((a) => a.name === options.arch);
  if (arch === undefined) throw new BuildError("usage", `unknown architecture ${options.arch}`, `known: ${ARCHES.map((a) => a.name).join(", ")}`);
  const fragments: Fragment[] = [];
  for (const dir of ["common", arch.name]) {
    const names = await readdir(join(options.configs, dir)).catch(() => {
      throw new BuildError("missing", `there is no folder ${join(options.configs, dir)} with kernel fragments`, "--configs takes a folder laid out as kernel-configs/ is");
    });
    for (const name of names.filter((n) => n.endsWith(".conf")).sort()) {
      fragments.push({ name: `${dir}/${name}`, text: await readFile(join(options.configs, dir, name), "utf8") });
    }
  }
  for (const path of options.fragment) {
    const text = await readFile(path, "utf8").catch(() => {
      throw new BuildError("missing", `the fragment ${path} cannot be read`, "--fragment takes a file of CONFIG_NAME=value lines");
    });
    fragments.push({ name: path, text });
  }
  const allow = await readFile(join(options.configs, "allow-missing.txt"), "utf8").catch(() => "");
  return { arch, wishes: parseFragments(fragments), allowed: parseAllowMissing("allow-missing.txt", allow), jobs: options.jobs ?? defaultJobs(), patches: options.patches === false ? [] : await readPatches(join(options.configs, "patches")) };
}

/** In the order of their names; a folder laid out without any is no error. */
async function readPatches(dir: string): Promise<Patch[]> {
  const names = (await readdir(dir).catch(() => [])).filter((name) => name.endsWith(".patch")).sort();
  return Promise.all(names.map(async (name) => ({ name, path: resolve(dir, name), sha256: await sha256File(join(dir, name)) })));
}

/** The source in a folder of the builder's own, with the patches; a folder that the user has named as it is. */
async function unpack(context: Context, source: KernelSource, recipe: Recipe, into: string): Promise<string> {
  const tree = await source.unpack(into);
  await applyPatches(context, tree, recipe.patches);
  return tree;
}

async function build(context: Context, source: KernelSource, recipe: Recipe, dir: string): Promise<void> {
  // unpacked and compiled in folders that go away with the cache's temporary one, whatever happens
  const tree = await unpack(context, source, recipe, join(dir, "source"));
  const out = join(dir, "objects");
  await configure(context, tree, out, recipe);
  await compile(context, tree, out, recipe, dir);
}

async function configOnly(context: Context, source: KernelSource, recipe: Recipe, options: KernelOptions): Promise<Json> {
  return scratch(context, "kernel", async (dir) => {
    const tree = await unpack(context, source, recipe, join(dir, "source"));
    await configure(context, tree, join(dir, "objects"), recipe);
    const sum = await sumOf(join(dir, "objects/.config"));
    await publish(join(dir, "objects/.config"), join(options.output, "kernel.config"), sum);
    context.progress.note(`all ${recipe.wishes.length} requests are in the final configuration, ${join(options.output, "kernel.config")}`);
    return { requests: recipe.wishes.length, config: { ...sum } };
  });
}

/** Builds once more in another folder and compares with what the cache holds. */
async function verify(context: Context, source: KernelSource, recipe: Recipe, keyInputs: Json, names: readonly string[]): Promise<Json> {
  const first = await lookup(context, "kernel", keyOf("kernel", keyInputs));
  if (first === undefined) throw new BuildError("missing", "there is no built kernel to compare with", "run the command without --verify first");
  return scratch(context, "kernel", async (dir) => {
    await build(context, source, recipe, dir);
    const differing: string[] = [];
    for (const name of names) if ((await sumOf(join(dir, name))).sha256 !== first.files[name]?.sha256) differing.push(name);
    if (differing.length > 0) throw new BuildError("failed", `a second build of the same inputs gave other bytes: ${differing.join(", ")}`, "some input is not in the key");
    context.progress.note(`a second build gave the same bytes: ${names.join(", ")}`);
    return { key: first.key, equal: true, compared: [...names] };
  });
}
