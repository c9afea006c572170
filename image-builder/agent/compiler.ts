// Owns the C compiler of the agent: which one, with which flags, for the binary and for its twin with sanitizers. Everything is
// compiled with names relative to a folder that is mapped away, so that no path of the machine is in the bytes.
import { existsSync } from "node:fs";
import { mkdir, stat, symlink } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { ensureFolder } from "../lib/folder.js";
import type { Json } from "../lib/hash.js";
import { run } from "../lib/run.js";

/** Bytecode has a mapping of its own: the kernel maps the pages around one that is read, and constants in use would keep its own in memory. */
export const SECTION = "bytecode"; // a C name: the linker tells where it begins and ends
const SECTION_AT = "0x1000000";

/**
 * The linker begins the data on a page of its own, and fills the file up to it, where that would save a page in memory, as it thinks: it
 * does not know that zeroed data begin a page here. Told of small pages, it always packs: a page of the file, and it is no matter of luck.
 */
const PACKED = "-Wl,-z,common-page-size=64";

interface Flavour {
  readonly cc: string;
  /** The Debian package that brings `cc`. */
  readonly from: string;
  readonly flags: readonly string[];
  readonly link: readonly string[];
}

const RELEASE: Flavour = {
  cc: "musl-gcc", from: "musl-tools",
  flags: ["-O2", "-fno-plt", "-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-ffunction-sections", "-fdata-sections", "-fno-pie"],
  link: ["-static", "-no-pie", "-Wl,--gc-sections", "-Wl,-z,norelro", `-Wl,--section-start=${SECTION}=${SECTION_AT}`, PACKED, "-Wl,--build-id=none", "-s", "-lm"],
};

const SANITIZED: Flavour = {
  cc: "gcc", from: "gcc",
  flags: ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"],
  link: ["-fsanitize=address,undefined", "-lm", "-lpthread"],
};

export const WARN: readonly string[] = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-sign-compare"];

export interface Compiler extends Flavour {
  readonly debug: boolean;
  /** What decides, beside the sources, the bytes of whatever it compiles; for cache keys. */
  readonly key: Json;
}

/** The compiler of the binary, or of the twin. Throws BuildError "missing" naming the package. */
export async function compilerFor(context: Context, debug: boolean): Promise<Compiler> {
  const flavour = debug ? SANITIZED : RELEASE;
  const version = await compilerVersion(context, flavour.cc, flavour.from);
  return { ...flavour, debug, key: { version, flags: flavour.flags } };
}

/** First line of what a compiler says of itself. */
export async function compilerVersion(context: Context, cc: string, from: string): Promise<string> {
  return (await run(cc, ["--version"], { signal: context.signal, package: from })).split("\n")[0] ?? "";
}

/** A folder with only the kernel's headers: the C library's own must not be seen by musl-gcc. Returns the flags that name it. */
export async function kernelHeaders(compiler: Compiler, folder: string): Promise<string[]> {
  if (compiler.debug) return [];
  await mkdir(join(folder, "kernel"));
  const multiarch = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/asm`;
  const parts = [["linux", "/usr/include/linux"], ["asm-generic", "/usr/include/asm-generic"], ["asm", existsSync(multiarch) ? multiarch : "/usr/include/asm"]] as const;
  for (const [name, from] of parts) await symlink(from, join(folder, "kernel", name));
  return ["-Ikernel"];
}

/** Compiles `source` to an object in `folder`; both are named relative to it. Throws BuildError with the compiler's words. */
export async function compileObject(context: Context, compiler: Compiler, folder: string, source: string, flags: readonly string[]): Promise<string> {
  const object = `${source.replace(/\.c$/, "").replaceAll("/", "-")}.o`;
  const args = [...compiler.flags, `-ffile-prefix-map=${folder}=.`, ...flags, "-c", source, "-o", object];
  await run(compiler.cc, args, { cwd: folder, signal: context.signal, package: compiler.from });
  return object;
}

/** Compiles all sources, as many at once as there are processors, and puts them into the archive `name`. */
export async function makeArchive(context: Context, compiler: Compiler, folder: string, name: string, sources: readonly string[], flags: readonly string[]): Promise<void> {
  if (sources.length === 0) throw new BuildError("failed", `${name} has no sources`);
  await ensureFolder(folder);
  const sized = await Promise.all(sources.map(async (source) => ({ source, kb: Math.ceil((await stat(join(folder, source))).size / 1000) })));
  const waiting = sized.sort((a, b) => b.kb - a.kb);
  const total = sized.reduce((sum, { kb }) => sum + kb, 0);
  const objects: string[] = [];
  let done = 0;
  const show = (): void => context.progress.step(`compiling ${name}, KB`, done, total); // a file takes as long as it is large
  const work = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
      objects.push(await compileObject(context, compiler, folder, one.source, flags));
      done += one.kb;
      show();
    }
  };
  show();
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  await run("ar", ["rcs", name, ...objects.sort()], { cwd: folder, signal: context.signal, package: "binutils" });
}
