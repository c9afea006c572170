// Owns the agent's build: TypeScript -> ES module chunks (esbuild, rollup) -> QuickJS bytecode (qjsc) -> one static musl binary, or its
// twin with ASAN and UBSAN (glibc, dynamic). Equal sources give equal bytes, wherever they and the cache lie. Must never leave a
// half-made file where the binary goes.
import { readFile, stat, symlink, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";
import { scratch, sumOf } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { publish } from "../lib/publish.js";
import { run } from "../lib/run.js";
import { together } from "../lib/together.js";
import type { SourcePin } from "../steps/apt.js";
import { librarySource } from "../steps/debian-source.js";
import { compileBytecode, flatName, type Sizes } from "./bytecode.js";
import { compileObject, compilerFor, kernelHeaders, WARN, type Compiler } from "./compiler.js";
import { libseccomp } from "./libseccomp.js";
import { bytesOf, holdBudgets, readProfiles } from "./profiles.js";
import { quickjs, type QuickJs } from "./quickjs.js";
import { revision } from "./revision.js";

export interface AgentBuild {
  readonly debug: boolean;
  readonly arch: string;
  /** The first module; another than the agent's own has no budgets. */
  readonly entry: string | undefined;
  readonly output: string;
  readonly quickjs: string | undefined;
  readonly libseccomp: string | undefined;
}

export interface AgentBuilt {
  readonly changed: boolean;
  readonly bytes: number;
  readonly sha256: string;
  /** Bytes of bytecode: of each chunk, and of what each profile loads. */
  readonly chunks: Sizes;
  readonly profiles: Readonly<Record<string, number>>;
}

/** Blocks up to this size come from the host's own heap (agent/native/heap.c); none where the sanitizers are to see every one. */
const SMALL = 512;
const HOST = ["main.c", "heap.c", "native.c"];

/** Builds the agent and puts it at `output`. Throws BuildError. */
export async function buildAgent(context: Context, build: AgentBuild): Promise<AgentBuilt> {
  const agent = join(context.root, "agent");
  const entry = resolve(build.entry ?? join(agent, "init/main.ts"));
  if ((await stat(entry).catch(() => undefined)) === undefined) throw new BuildError("missing", `there is no entry ${entry}`, "--entry takes a TypeScript module");
  const bundler = import("./bundle.js"); // takes long to load; compilers answer meanwhile
  const compiler = await compilerFor(context, build.debug);
  const [profiles, { version, commit }, libraries] = await Promise.all([readProfiles(join(agent, "profiles.json")), revision(context), makeLibraries(context, compiler, build)]);
  return scratch(context, "agent", async (dir) => {
    await symlink(join(agent, "native"), join(dir, "native"));
    await symlink(libraries.engine.folder, join(dir, "quickjs"));
    await symlink(libraries.seccomp, join(dir, "libseccomp"));
    const flags = [...WARN, "-D_GNU_SOURCE", `-DSMALL=${build.debug ? 0 : SMALL}`, "-Inative", "-Iquickjs", "-Ilibseccomp", ...(await kernelHeaders(compiler, dir))];
    const object = (source: string): Promise<string> => compileObject(context, compiler, dir, source, flags);
    const host = Promise.all(HOST.map((name) => object(`native/${name}`)));
    host.catch(() => undefined); // it is awaited below; what fails before must not leave it unheard
    context.progress.step("bundling the agent");
    const parts = await (await bundler).bundle(dir, { agent, entry, arch: build.arch, version, commit, debug: build.debug, stub: await stubCode(context, dir), profiles });
    const loaded = new Map([...parts.loaded].map(([name, files]) => [name, files.map(flatName)]));
    const chunks = await compileBytecode(context, dir, parts.files, new Set([...loaded.values()].flat()), libraries.engine.qjsc, build.debug);
    if (build.entry === undefined && !build.debug) holdBudgets(profiles, loaded, chunks);
    context.progress.step("linking the agent");
    const objects = [...(await host), await object("bytecode.c")];
    await run(compiler.cc, [...compiler.flags, ...objects, "quickjs/libquickjs.a", "libseccomp/libseccomp.a", ...compiler.link, "-o", "program"], { cwd: dir, signal: context.signal, package: compiler.from });
    const sum = await sumOf(join(dir, "program"));
    const output = resolve(build.output);
    const changed = await publish(join(dir, "program"), output, sum);
    if (!changed) await utimes(output, new Date(), new Date()); // newer than its sources, for make
    return { changed, ...sum, chunks, profiles: Object.fromEntries([...loaded].map(([name, files]) => [name, bytesOf(files, chunks)])) };
  });
}

async function makeLibraries(context: Context, compiler: Compiler, build: AgentBuild): Promise<{ readonly engine: QuickJs; readonly seccomp: string }> {
  const pins = JSON.parse(await readFile(join(context.root, "image-builder/pins.json"), "utf8")) as { readonly quickjs: SourcePin; readonly libseccomp: SourcePin };
  const [engine, seccomp] = await together(context,
    async (own) => quickjs(own, compiler, await librarySource(own, pins.quickjs, build.quickjs, "agent --quickjs")),
    async (own) => libseccomp(own, compiler, await librarySource(own, pins.libseccomp, build.libseccomp, "agent --libseccomp"), build.arch));
  return { engine, seccomp };
}

/**
 * The program that a container's process is for its last steps (agent/native/stub.c): bare code for the address at which
 * engine/child/exec-stub.ts puts it, a character for each byte. It has no C library, so every compiler of the architecture makes the same.
 */
async function stubCode(context: Context, dir: string): Promise<string> {
  const flags = ["-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-pic", "-no-pie", "-Os", "-fno-stack-protector", "-fno-toplevel-reorder",
    "-fno-asynchronous-unwind-tables", "-fno-jump-tables", "-fcf-protection=none", ...WARN];
  await run("gcc", [...flags, "native/stub.c", "-o", "stub.bin", "-Wl,--build-id=none,-Ttext=0x10088,-e,_start,--oformat=binary"], { cwd: dir, signal: context.signal, package: "gcc" });
  return readFile(join(dir, "stub.bin"), "latin1");
}
