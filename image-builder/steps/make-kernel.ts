// Owns configuring and compiling the kernel in a folder of its own. Every input that reaches the bytes is fixed here or is in the
// cache key: time, user, host and build number are constants, the compiler is asked for its version. Must never build inside the
// source tree. Source: Documentation/kbuild/kbuild.rst, Documentation/kbuild/reproducible-builds.rst.
import { readFile, rename, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { run, type RunOptions } from "../lib/run.js";
import { findLost, lostMessage, parseConfig, splitAllowed, toAllConfig, type Wish } from "./kconfig.js";
import { explain, readDefinitions } from "./kconfig-why.js";
import { ensureFolder } from "../lib/folder.js";

/** What kbuild would take from the clock, the user and the machine. All four are needed: without the last the banner counts. */
export const FIXED = {
  KBUILD_BUILD_TIMESTAMP: "Thu Jan  1 00:00:00 UTC 1970",
  KBUILD_BUILD_USER: "builder",
  KBUILD_BUILD_HOST: "kata-agent",
  KBUILD_BUILD_VERSION: "1",
} as const;

/** Lines of kbuild, counted in a build of the shipped fragments; only what is told of the time uses it. */
const EXPECTED_STEPS = 2530;

/** What takes longer than a usual object, in such: what one processor does at the end, while the others have nothing to do. */
const LONG: readonly (readonly [line: RegExp, objects: number])[] = [[/^\s+LD\s+vmlinux\.o$/, 30], [/^\s+LD\s+(\.tmp_)?vmlinux/, 15], [/^\s+ZSTD\d*\s/, 150]];
const EXPECTED = EXPECTED_STEPS + 30 + 3 * 15 + 150;

/** Counts what has been done: a line tells that something begins, the next one that it may be done. */
export function counting(show: (done: number, total: number) => void): (line: string) => void {
  let done = 0;
  let begun = 0;
  return (line) => {
    if (!/^\s+(CC|AS|AR|LD|HOSTCC|HOSTLD|GEN|OBJCOPY|ZSTD\d*|VDSO)\s/.test(line)) return;
    done += begun;
    begun = LONG.find(([long]) => long.test(line))?.[1] ?? 1;
    show(done, EXPECTED);
  };
}

export interface Arch {
  /** The name of the folder in kernel-configs/. */
  readonly name: string;
  /** kbuild's ARCH, and the folder below arch/ in the source. */
  readonly kbuild: string;
  readonly srcArch: string;
  readonly image: string;
  readonly imagePath: string;
}

export const ARCHES: readonly Arch[] = [
  { name: "x86_64", kbuild: "x86_64", srcArch: "x86", image: "bzImage", imagePath: "arch/x86/boot/bzImage" },
];

/** A change to the kernel's source, as `patch -p1` takes it. */
export interface Patch {
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
}

export interface Recipe {
  readonly arch: Arch;
  readonly patches: readonly Patch[];
  readonly wishes: readonly Wish[];
  readonly allowed: ReadonlyMap<string, string>;
  readonly jobs: number;
}

/** First lines of the version texts of the programs whose output is in the kernel. Throws BuildError "missing" naming the package. */
export async function toolVersions(context: Context): Promise<Record<string, string>> {
  const versionOf = async ([program, from]: readonly [string, string]): Promise<[string, string]> =>
    [program, (await run(program, ["--version"], { signal: context.signal, package: from })).split("\n")[0] ?? ""];
  const inBytes = await Promise.all(([["gcc", "gcc"], ["ld", "binutils"], ["zstd", "zstd"], ["make", "make"]] as const).map(versionOf));
  await Promise.all(([["flex", "flex"], ["bison", "bison"], ["bc", "bc"]] as const).map(versionOf));
  return Object.fromEntries(inBytes);
}

/** How many compile jobs to run at once: one for each processor. */
export function defaultJobs(): number {
  return Math.max(1, cpus().length);
}

/**
 * Applies the patches to an unpacked tree, which must be the builder's own. Throws BuildError "config" naming the patch that does not fit
 * exactly. Source: patch(1).
 */
export async function applyPatches(context: Context, tree: string, patches: readonly Patch[]): Promise<void> {
  for (const patch of patches) {
    context.progress.step(`patching the kernel source: ${patch.name}`);
    try {
      await run("patch", ["-p1", "--forward", "--fuzz=0", "--batch", "-s", "-r", "-", "-d", tree, "-i", patch.path], { signal: context.signal, package: "patch" });
    } catch (error) {
      if (!(error instanceof BuildError) || error.failure !== "failed") throw error;
      throw new BuildError("config", `${patch.path} does not fit this kernel source: ${error.message}`, "make it anew for this version, or build without patches: --no-patches", { cause: error });
    }
  }
}

/**
 * Configures the tree in `out` and returns the final configuration's text. Throws BuildError "config" with every symbol that was
 * asked for and is not there, and why.
 */
export async function configure(context: Context, tree: string, out: string, recipe: Recipe): Promise<string> {
  await ensureFolder(out);
  await writeFile(join(out, "all.config"), toAllConfig(recipe.wishes));
  context.progress.step("configuring the kernel");
  await make(context, tree, out, recipe, ["-s", "allnoconfig"], { env: { ...FIXED, KCONFIG_ALLCONFIG: join(out, "all.config") } });
  const text = await readFile(join(out, ".config"), "utf8");
  const final = parseConfig(text);
  const { failing, excused } = splitAllowed(findLost(recipe.wishes, final), recipe.allowed);
  for (const lost of excused) context.progress.note(`allowed to be missing: ${lost.wish.any.map((r) => `CONFIG_${r.symbol} (${recipe.allowed.get(r.symbol)})`).join(", ")}`);
  if (failing.length > 0) {
    const definitions = readDefinitions(tree, recipe.arch.srcArch);
    throw new BuildError("config", `${failing.length} of ${recipe.wishes.length} requests are not in the final kernel configuration:\n  ${lostMessage(failing, (r) => explain(r.symbol, definitions, final))}`,
      "ask for what they depend on, drop them from the fragment, or name them with a reason in kernel-configs/allow-missing.txt");
  }
  return text;
}

/** Compiles a configured tree; leaves the boot image, a stripped vmlinux and the configuration in `result`. */
export async function compile(context: Context, tree: string, out: string, recipe: Recipe, result: string): Promise<void> {
  const onLine = counting((done, total) => context.progress.step("compiling the kernel", done, total));
  await make(context, tree, out, recipe, [`-j${recipe.jobs}`, recipe.arch.image], { env: FIXED, onLine });
  context.progress.step("stripping the kernel");
  await run("strip", ["--strip-all", "-o", join(result, "vmlinux"), join(out, "vmlinux")], { signal: context.signal, package: "binutils" });
  await rename(join(out, recipe.arch.imagePath), join(result, recipe.arch.image));
  await rename(join(out, ".config"), join(result, "config"));
}

async function make(context: Context, tree: string, out: string, recipe: Recipe, args: readonly string[], options: RunOptions): Promise<void> {
  try {
    await run("nice", ["-n", "10", "make", "-C", tree, `O=${out}`, `ARCH=${recipe.arch.kbuild}`, ...args], { ...options, signal: context.signal });
  } catch (error) {
    if (error instanceof BuildError && /source tree is not clean|mrproper/.test(error.message)) {
      throw new BuildError("failed", `${tree} was built in before, so it cannot be built from outside`, `clean it first: make -C ${tree} mrproper`, { cause: error });
    }
    throw error;
  }
}
