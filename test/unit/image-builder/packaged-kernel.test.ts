// kernel --from: package files and folders as distributions lay them out, what comes out of them, and what is refused.
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { kernel, type KernelOptions } from "../../../image-builder/commands/kernel.js";
import { readKernelImage } from "../../../image-builder/formats/kernel-image.js";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import { bzImage, deb, elfKernel, kernelTree, moduleFile, RELEASE } from "./ready-made.js";
import { cli, configs, context, fakeKernel, leftovers, removeTemps, temp, write } from "./stage.js";

afterEach(removeTemps);

const options = (from: readonly string[], output: string, more: Partial<KernelOptions> = {}): KernelOptions => ({ from, arch: "x86_64", configs: configs(""), fragment: [], output, ...more });
const failure = async (work: Promise<unknown>): Promise<BuildError> => work.then(() => { throw new Error("did not fail"); }, (e: BuildError) => e);
const signal = new AbortController().signal;

describe("a kernel's boot file", () => {
  it.each([["gzip", "-9n"], ["xz", "--check=crc32"], ["zstd", "-q"], ["lz4", "-l", "-q"], ["bzip2"]])("has its ELF kernel packed by %s taken out", async (...pack) => {
    const elf = elfKernel();
    const image = await readKernelImage("vmlinuz", bzImage(elf, RELEASE, pack), signal);
    expect([image.vmlinux?.equals(elf), image.release]).toEqual([true, RELEASE]);
  });
  it("without a known packing is a bzImage without an ELF kernel", async () => {
    expect((await readKernelImage("vmlinuz", bzImage(Buffer.from("not a kernel")), signal)).vmlinux).toBeUndefined();
  });
  it("may be the ELF kernel itself, with its configuration inside", async () => {
    const image = await readKernelImage("vmlinux", elfKernel("9.9.9", "CONFIG_X=y\n"), signal);
    expect([image.boot, image.release, image.config]).toEqual([undefined, "9.9.9", "CONFIG_X=y\n"]);
  });
  it.each([["text", Buffer.from("hello")], ["nothing", Buffer.alloc(0)], ["half a header", bzImage().subarray(0, 0x210)]])("is refused when it is %s", async (_, bytes) => {
    expect(await failure(readKernelImage("it", bytes, signal))).toMatchObject({ failure: "missing", message: expect.stringContaining("it is no kernel") });
  });
});

describe("kernel --from", () => {
  it("takes a package: boot file, ELF kernel, configuration and modules, told in the manifest; a second time nothing is done", async () => {
    const at = context();
    const out = temp();
    const file = deb("linux-image-test", kernelTree({ modules: { virtio: {}, erofs: {} } }));
    expect(await kernel(at, options([file], out))).toMatchObject({ cached: false, release: RELEASE, source: "linux-image-test 1.0-1", changed: ["bzImage", "vmlinux", "kernel.config", "modules"] });
    expect(readFileSync(join(out, "vmlinux"))).toEqual(elfKernel());
    expect(readFileSync(join(out, "kernel.config"), "utf8")).toBe("CONFIG_A=y\nCONFIG_M=m\n");
    expect(readdirSync(join(out, "modules", RELEASE, "kernel/drivers")).sort()).toEqual(["erofs.ko", "virtio.ko"]);
    const manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")) as Record<string, { inputs: object; outputs: object }>;
    expect(manifest["kernel"]?.inputs).toMatchObject({ packaged: { origin: "linux-image-test 1.0-1", release: RELEASE } });
    expect(Object.keys(manifest["kernel"]?.outputs ?? {})).toEqual(["bzImage", "vmlinux", "kernel.config", "modules"]);
    expect(await kernel(at, options([file], out))).toMatchObject({ cached: true, changed: [] });
    expect(leftovers(at.cache, "kernel")).toEqual([]);
  });
  it("has the same sums from the same kernel, whatever the times and owners of its files", async () => {
    const sums = await Promise.all([1, 2].map(async () => ((await kernel(context(), options([kernelTree()], temp()))) as { outputs: object }).outputs));
    expect(sums[0]).toEqual(sums[1]);
  });
  it("joins packages: the kernel in one, its modules in another, in any order", async () => {
    const tree = kernelTree();
    const modules = temp();
    renameSync(join(tree, "lib"), join(modules, "lib"));
    const out = temp();
    await kernel(context(), options([deb("linux-modules", modules), deb("linux-image", tree)], out));
    expect(existsSync(join(out, "modules", RELEASE, "kernel/drivers/virtio.ko"))).toBe(true);
  });
  it.each([
    ["boot/ and lib/modules/", (): string => kernelTree()],
    ["the kernel beside its modules in usr/lib/modules/", (): string => {
      const tree = kernelTree();
      mkdirSync(join(tree, "usr"));
      renameSync(join(tree, "lib"), join(tree, "usr/lib"));
      renameSync(join(tree, "boot", `vmlinuz-${RELEASE}`), join(tree, "usr/lib/modules", RELEASE, "vmlinuz"));
      return tree;
    }],
    ["a vmlinuz and modules/", (): string => {
      const tree = temp();
      write(join(tree, "vmlinuz"), bzImage());
      write(join(tree, "modules", RELEASE, "kernel/a.ko"), moduleFile("a"));
      return tree;
    }],
  ])("takes a folder with %s", async (_, make) => {
    const out = temp();
    expect(await kernel(context(), options([make()], out))).toMatchObject({ release: RELEASE });
    expect(readdirSync(join(out, "modules"))).toContain(RELEASE);
  });
  it("takes a kernel without modules, with the configuration from inside, and leaves no modules of another one", async () => {
    const at = context();
    const out = temp();
    await kernel(at, options([kernelTree()], out));
    const tree = temp();
    write(join(tree, "vmlinux"), elfKernel("1.2.3", "CONFIG_INSIDE=y\n"));
    await kernel(at, options([tree], out));
    expect([existsSync(join(out, "modules")), existsSync(join(out, "bzImage")), readFileSync(join(out, "kernel.config"), "utf8")]).toEqual([false, false, "CONFIG_INSIDE=y\n"]);
  });
  it("has its modules taken away when a compiled kernel comes to the same place", async () => {
    const at = context();
    const out = temp();
    await kernel(at, options([kernelTree()], out));
    await kernel(at, { arch: "x86_64", source: fakeKernel(join(temp(), "count"), { known: [] }), configs: configs(""), fragment: [], output: out });
    expect(existsSync(join(out, "modules"))).toBe(false);
  });
  it.each([
    ["nothing there", "missing", "does not exist", (): string[] => [join(temp(), "none.deb")]],
    ["a file that is no package", "missing", "is no Debian package", (): string[] => [write(join(temp(), "x.deb"), "text")]],
    ["a folder without a kernel", "missing", "there is no kernel in", (): string[] => [temp()]],
    ["two kernels", "usage", `there are 2 kernels in`, (): string[] => {
      const tree = kernelTree();
      write(join(tree, "boot/vmlinuz-other"), bzImage(elfKernel("other"), "other"));
      return [tree];
    }],
    ["modules of another release", "missing", `are for ${RELEASE}, its kernel is 5.5.5`, (): string[] => {
      const tree = kernelTree();
      write(join(tree, `boot/vmlinuz-${RELEASE}`), bzImage(elfKernel("5.5.5"), "5.5.5"));
      return [tree];
    }],
    ["a folder and a package", "usage", "one folder, or package files", (): string[] => [temp(), deb("x", kernelTree())]],
  ] as const)("refuses %s", async (_, failed, message, from) => {
    const at = context();
    expect(await failure(kernel(at, options(from(), temp())))).toMatchObject({ failure: failed, message: expect.stringContaining(message) });
    expect(leftovers(at.cache, "kernel")).toEqual([]);
  });
  it.each([["source", { source: "x" }], ["fragment", { fragment: ["x"] }], ["config-only", { configOnly: true }], ["verify", { verify: true }]])("is not for --%s", async (name, more) => {
    expect(await failure(kernel(context(), options(["debian"], temp(), more)))).toMatchObject({ failure: "usage", message: expect.stringContaining(`--${name}`) });
  });
  it("is on the command line, more than once for packages", async () => {
    const tree = kernelTree();
    const out = temp();
    const ended = await cli(["kernel", "--from", deb("image", tree), "--output", out, "--json"], { KATA_CACHE: join(temp(), "cache") });
    expect([ended.code, (JSON.parse(ended.stdout) as { release: string }).release]).toEqual([0, RELEASE]);
  });
});
