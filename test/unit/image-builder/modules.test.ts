// The modules in the guest's root: which are taken, in what order they load, how packed ones arrive, and the index the agent reads.
import { readFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { image } from "../../../image-builder/commands/image.js";
import { initrd } from "../../../image-builder/commands/initrd.js";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import { projectRoot } from "../../../tools/places.js";
import { stageModules, type ModuleOptions } from "../../../image-builder/steps/stage-modules.js";
import { kernelTree, moduleFile, RELEASE, type FakeTree } from "./ready-made.js";
import { context, removeTemps, staticProgram, temp, write } from "./stage.js";

afterEach(removeTemps);

const failure = async (work: Promise<unknown>): Promise<BuildError> => work.then(() => { throw new Error("did not fail"); }, (e: BuildError) => e);
const list = (text: string): string => write(join(temp(), "modules.txt"), text);
const folder = (modules: FakeTree["modules"], builtin: readonly string[] = []): string => join(kernelTree({ modules: modules ?? {}, builtin }), "lib/modules", RELEASE);
const options = (modules: string, wanted: string, more: Partial<ModuleOptions> = {}): ModuleOptions => ({ modules, module: [], list: list(wanted), output: join(temp(), "initrd.img"), ...more });

/** The staged files by name, and the lines of the index. */
async function staged(o: ModuleOptions): Promise<{ readonly files: ReadonlyMap<string, Buffer>; readonly index: string[] }> {
  const files = new Map<string, Buffer>();
  for (const node of await stageModules(context(), o)) if (node.kind === "file") files.set(node.path, Buffer.concat([...node.content.chunks()]));
  return { files, index: (files.get(`lib/modules/${RELEASE}/kata-modules`) ?? Buffer.alloc(0)).toString().split("\n").filter((l) => l !== "") };
}

describe("modules for the guest", () => {
  it("come with all they need, in an order that loads, and without what nobody asked for", async () => {
    const modules = { a: { depends: ["b", "c"], alias: ["fs-a", "virtio:d00000001v*"] }, b: { depends: ["d"] }, c: { depends: ["d"], softdep: "pre: e no-such post: b" }, d: {}, e: {}, other: {} };
    const { files, index } = await staged(options(folder(modules, ["ext4", "snd-x"]), "a # the one\n"));
    expect(index).toEqual(["a d,b,e,c fs_a virtio:d00000001v*", "b d", "c e,d", "d -", "e -", "= ext4 snd_x"]);
    expect([...files.keys()].filter((f) => f.endsWith(".ko"))).toEqual(["a", "b", "c", "d", "e"].map((n) => `lib/modules/${RELEASE}/${n}.ko`));
  });
  it.each([[".gz", "gzip"], [".xz", "xz", "--check=crc32"], [".zst", "zstd", "-q"]] as const)("are unpacked when they end in .ko%s", async (...pack) => {
    const { files } = await staged(options(folder({ "dm-mod": { pack } }), "dm_mod"));
    expect(files.get(`lib/modules/${RELEASE}/dm_mod.ko`)).toEqual(moduleFile("dm-mod"));
  });
  it("may be built in or absent; those that are asked for by name may not be absent", async () => {
    const dir = folder({ a: {} }, ["ext4"]);
    expect((await staged(options(dir, "a ext4 9p"))).index).toEqual(["a -", "= ext4"]);
    expect((await staged(options(dir, "", { module: ["a", "ext4"] }))).index).toEqual(["a -", "= ext4"]);
    expect(await failure(stageModules(context(), options(dir, "", { module: ["9p"] })))).toMatchObject({ failure: "missing", message: "this kernel has no module 9p" });
  });
  it("have aliases the agent can match: none with other patterns than *", async () => {
    expect((await staged(options(folder({ a: { alias: ["fs-a", "pci:v[0-9]*", "acpi*:LNRO0005:*", "x?"] }, vsock: {} }), "a vsock"))).index).toEqual(["a - fs_a acpi*:LNRO0005:*", "vsock - net_pf_40", "="]);
  });
  it.each([
    ["one that needs a module that is not there", { a: { depends: ["gone"] } }, "the module a needs gone"],
    ["two that need each other", { a: { depends: ["b"] }, b: { depends: ["a"] } }, "a -> b -> a"],
    ["those of two kernels", { a: { depends: ["b"] }, b: { vermagic: "9.9 SMP" } }, "are of several kernels"],
  ] as const)("are refused: %s", async (_, modules, message) => {
    expect((await failure(stageModules(context(), options(folder(modules), "a")))).message).toContain(message);
  });
  it.each([["text", Buffer.from("text")], ["a cut file", moduleFile("a").subarray(0, 100)], ["nothing", Buffer.alloc(0)], ["an offset beyond its end", ((): Buffer => {
    const bytes = moduleFile("a");
    bytes.writeBigUInt64LE(1n << 60n, 40);
    return bytes;
  })()]])("are refused: a file that is %s", async (_, bytes) => {
    const dir = folder({});
    write(join(dir, "kernel/a.ko"), bytes);
    expect(await failure(stageModules(context(), options(dir, "a")))).toMatchObject({ failure: "missing", message: "a.ko is no kernel module of a 64-bit machine" });
  });
  it("are those beside the output with `auto`, none where there are none, and never chosen among several kernels", async () => {
    const out = temp();
    const at = (modules: string): ModuleOptions => options(modules, "a", { output: join(out, "initrd.img") });
    expect(await stageModules(context(), at("auto"))).toEqual([]);
    expect(await stageModules(context(), at("none"))).toEqual([]);
    write(join(out, "modules", RELEASE, "kernel/a.ko"), moduleFile("a"));
    expect((await stageModules(context(), at("auto"))).map((n) => n.path)).toContain(`lib/modules/${RELEASE}/a.ko`);
    write(join(out, "modules/other/kernel/a.ko"), moduleFile("a"));
    expect((await failure(stageModules(context(), at("auto")))).message).toMatch(/there are modules of 2 kernels/);
    expect((await failure(stageModules(context(), at(join(out, "none-there"))))).message).toMatch(/there is no folder/);
    expect((await failure(stageModules(context(), at(temp())))).message).toMatch(/there are no kernel modules/);
  });
});

describe("the roots", () => {
  it("hold the modules, with the same bytes twice from folders with other times", async () => {
    const agent = write(join(temp(), "agent"), staticProgram(), 0o755);
    const make = async (): Promise<readonly Buffer[]> => {
      const at = { ...context(projectRoot), dist: temp() };
      const common = { agent, rootfs: join(projectRoot, "rootfs"), arch: "x86_64", modules: folder({ erofs: { depends: ["libcrc32c"] }, libcrc32c: {} }) };
      await initrd(at, { ...common, output: join(at.dist, "initrd.img"), compress: "raw" });
      await image(at, { ...common, output: join(at.dist, "rootfs.img"), fs: "erofs" });
      return ["initrd.img", "rootfs.img"].map((name) => readFileSync(join(at.dist, name)));
    };
    const [one, two] = [await make(), await make()];
    expect(one).toEqual(two);
    expect(execFileSync("cpio", ["-t", "--quiet"], { input: one[0] as Buffer, encoding: "utf8" })).toContain(`lib/modules/${RELEASE}/erofs.ko`);
  });
});
