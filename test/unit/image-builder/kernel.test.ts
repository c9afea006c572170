// The kernel command on a tree that compiles in a moment: what is rebuilt, what is refused, what is left behind.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { kernel, type KernelOptions } from "../../../image-builder/commands/kernel.js";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import { readManifest } from "../../../image-builder/lib/manifest.js";
import { cli, configs, context, entries, fakeKernel, leftovers, removeTemps, startCli, temp, write } from "./stage.js";

afterEach(() => {
  vi.unstubAllEnvs();
  removeTemps();
});

const options = (source: string, conf: string, output: string, more: Partial<KernelOptions> = {}): KernelOptions => ({ source, configs: conf, output, arch: "x86_64", fragment: [], jobs: 1, ...more });
const failure = async (work: Promise<unknown>): Promise<BuildError> => work.then(() => { throw new Error("did not fail"); }, (e: BuildError) => e);
const compiles = (count: string): number => (existsSync(count) ? readFileSync(count, "utf8").split("\n").length - 1 : 0);

describe("kernel", () => {
  it("builds once, publishes the files with their sums, and rebuilds nothing that has not changed", async () => {
    const count = join(temp(), "count");
    const tree = fakeKernel(count, { known: ["A", "B"] });
    const conf = configs("CONFIG_A=y\n", "CONFIG_B=n\n");
    const out = temp();
    const at = context();
    const first = await kernel(at, options(tree, conf, out));
    expect(first).toMatchObject({ cached: false, changed: ["bzImage", "vmlinux", "kernel.config"] });
    expect(readFileSync(join(out, "bzImage"), "utf8")).toBe("CONFIG_A=y\n# CONFIG_B is not set\nThu Jan  1 00:00:00 UTC 1970 1\n");
    const section = (await readManifest(out))["kernel"];
    expect(section?.outputs["bzImage"]).toEqual({ bytes: 64, sha256: execFileSync("sha256sum", [join(out, "bzImage")], { encoding: "utf8" }).slice(0, 64) });
    expect(section?.inputs).toMatchObject({ requests: ["A=y", "B=n"], fixed: { KBUILD_BUILD_VERSION: "1" } });
    const manifest = readFileSync(join(out, "manifest.json"), "utf8");
    expect(manifest).not.toContain(tree);
    expect(await kernel(at, options(tree, conf, out))).toMatchObject({ cached: true, changed: [] });
    expect(compiles(count)).toBe(1);
    expect(readFileSync(join(out, "manifest.json"), "utf8")).toBe(manifest);
    writeFileSync(join(conf, "common/a.conf"), "# another comment\nCONFIG_A=y\n");
    expect(await kernel(at, options(tree, conf, out))).toMatchObject({ cached: true });
    writeFileSync(join(conf, "common/a.conf"), "CONFIG_A=n\n");
    expect(await kernel(at, options(tree, conf, out))).toMatchObject({ cached: false, changed: ["bzImage", "kernel.config"] });
    expect(compiles(count)).toBe(2);
    expect(leftovers(at.cache, "kernel")).toEqual([]);
  });

  it("takes a tarball as well as a folder", async () => {
    const count = join(temp(), "count");
    const tree = fakeKernel(count, { known: ["A"] });
    const tar = join(temp(), "linux.tar.xz");
    execFileSync("tar", ["-cJf", tar, "-C", tree, "--transform", "s,^\\.,linux-6.12,", "."]);
    const out = temp();
    await kernel(context(), options(tar, configs("CONFIG_A=y\n"), out));
    expect(readFileSync(join(out, "bzImage"), "utf8")).toContain("CONFIG_A=y");
  });

  it("patches a source that it has unpacked, as part of what the kernel is made of, and leaves a folder alone", async () => {
    const tree = fakeKernel(join(temp(), "count"), { known: ["A"] });
    const tar = join(temp(), "linux.tar.xz");
    const pack = (): void => void execFileSync("tar", ["-cJf", tar, "-C", tree, "--transform", "s,^\\.,linux-6.12,", "."]);
    writeFileSync(join(tree, "Kconfig.extra"), "one\ntwo\nthree\n");
    pack();
    const conf = configs("CONFIG_A=y\n");
    const at = context();
    const plain = await kernel(at, options(tar, conf, temp()));
    mkdirSync(join(conf, "patches"));
    const patch = join(conf, "patches/b.patch");
    writeFileSync(patch, "why\n\n--- a/Kconfig.extra\n+++ b/Kconfig.extra\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n");
    const patched = await kernel(at, options(tar, conf, temp()));
    expect(patched).toMatchObject({ cached: false });
    expect((patched as { key: string }).key).not.toBe((plain as { key: string }).key);
    expect(await kernel(at, options(tar, conf, temp(), { patches: false }))).toMatchObject({ cached: true, key: (plain as { key: string }).key });
    expect(await kernel(at, options(tree, conf, temp()))).toMatchObject({ cached: false });
    expect(readFileSync(join(tree, "Kconfig.extra"), "utf8")).toBe("one\ntwo\nthree\n");
    writeFileSync(patch, readFileSync(patch, "utf8").replace("-two", "-zwei"));
    const error = await failure(kernel(at, options(tar, conf, temp())));
    expect(error).toMatchObject({ failure: "config" });
    expect(error.message).toContain("patches/b.patch does not fit this kernel source");
    expect(error.hint).toContain("--no-patches");
    expect(leftovers(at.cache, "kernel")).toEqual([]);
  });

  it("fails with the list of lost symbols and why, before it compiles, and caches nothing", async () => {
    const count = join(temp(), "count");
    const tree = fakeKernel(count, { known: ["A"] });
    const at = context();
    const error = await failure(kernel(at, options(tree, configs("CONFIG_A=y\nCONFIG_NO_SUCH_SYMBOL=y\none-of: CONFIG_X=y CONFIG_A=y\none-of: CONFIG_P=y CONFIG_Q=y\n"), temp())));
    expect(error.failure).toBe("config");
    expect(error.message).toMatch(/^2 of 4 requests are not in the final kernel configuration:\n {2}CONFIG_NO_SUCH_SYMBOL=y \(common\/a.conf:2\): is off; this kernel has no symbol NO_SUCH_SYMBOL\n {2}CONFIG_P=y or CONFIG_Q=y/);
    expect(compiles(count)).toBe(0);
    expect([entries(at.cache, "kernel"), leftovers(at.cache, "kernel")]).toEqual([[], []]);
  });

  it("lets a symbol be missing only when a reason is given", async () => {
    const tree = fakeKernel(join(temp(), "count"), { known: ["A"] });
    expect(await kernel(context(), options(tree, configs("CONFIG_GONE=y\n", "", "CONFIG_GONE: not in this release\n"), temp()))).toMatchObject({ cached: false });
  });

  it("checks the configuration alone with --config-only", async () => {
    const count = join(temp(), "count");
    const out = temp();
    expect(await kernel(context(), options(fakeKernel(count, { known: ["A"] }), configs("CONFIG_A=y\n"), out, { configOnly: true }))).toMatchObject({ requests: 1 });
    expect(readFileSync(join(out, "kernel.config"), "utf8")).toBe("CONFIG_A=y\n");
    expect(compiles(count)).toBe(0);
  });

  it("leaves nothing in the cache when the compiler fails, and shows what it said", async () => {
    const tree = fakeKernel(join(temp(), "count"), { known: ["A"], compile: "echo 'init/main.c:1: error: no such thing' >&2; exit 1" });
    const at = context();
    const out = temp();
    const error = await failure(kernel(at, options(tree, configs("CONFIG_A=y\n"), out)));
    expect(error.message).toMatch(/nice failed \(exit code 2\)[\s\S]*init\/main.c:1: error: no such thing/);
    expect(error.hint).toMatch(/to see it alone: nice -n 10 make/);
    expect([entries(at.cache, "kernel"), leftovers(at.cache, "kernel"), existsSync(join(out, "bzImage"))]).toEqual([[], [], false]);
  });

  it("builds a damaged cache entry again", async () => {
    const count = join(temp(), "count");
    const tree = fakeKernel(count, { known: ["A"] });
    const at = context();
    const conf = configs("CONFIG_A=y\n");
    await kernel(at, options(tree, conf, temp()));
    const file = join(at.cache, "kernel", entries(at.cache, "kernel")[0] as string, "bzImage");
    const bytes = readFileSync(file);
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const out = temp();
    expect(await kernel(at, options(tree, conf, out))).toMatchObject({ cached: false });
    expect([compiles(count), readFileSync(join(out, "bzImage"), "utf8").slice(0, 8)]).toEqual([2, "CONFIG_A"]);
  });

  it("compiles once for two builders at the same time", async () => {
    const count = join(temp(), "count");
    const tree = fakeKernel(count, { known: ["A"], compile: "i=0; while [ $$i -lt 20000 ]; do i=$$((i+1)); done" });
    const at = context();
    const conf = configs("CONFIG_A=y\n");
    const both = await Promise.all([kernel(at, options(tree, conf, temp())), kernel(at, options(tree, conf, temp()))]) as { cached: boolean }[];
    expect(both.map((b) => b.cached).sort()).toEqual([false, true]);
    expect(compiles(count)).toBe(1);
  });

  it("takes over the lock of a builder that is gone", async () => {
    const at = context();
    const tree = fakeKernel(join(temp(), "count"), { known: ["A"] });
    const conf = configs("CONFIG_A=y\n");
    const { key } = await kernel(at, options(tree, conf, temp())) as { key: string };
    execFileSync("rm", ["-r", join(at.cache, "kernel", key)]);
    write(join(at.cache, "kernel", `.lock-${key}`), "4194305");
    write(join(at.cache, "kernel/.building-4194305-aa/out/objects"), "");
    expect(await kernel(at, options(tree, conf, temp()))).toMatchObject({ cached: false });
    expect(leftovers(at.cache, "kernel")).toEqual([]);
  });

  it("--verify builds elsewhere and tells equal bytes from others", async () => {
    const count = join(temp(), "count");
    const conf = configs("CONFIG_A=y\n");
    const same = fakeKernel(count, { known: ["A"] });
    const at = context();
    expect((await failure(kernel(at, options(same, conf, temp(), { verify: true })))).message).toMatch(/no built kernel to compare with/);
    await kernel(at, options(same, conf, temp()));
    expect(await kernel(at, options(same, conf, temp(), { verify: true }))).toMatchObject({ equal: true, compared: ["bzImage", "vmlinux", "config"] });
    expect(compiles(count)).toBe(2);
    const other = fakeKernel(join(temp(), "count"), { known: ["A"], extra: "date +%s%N" });
    await kernel(at, options(other, conf, temp()));
    expect((await failure(kernel(at, options(other, conf, temp(), { verify: true })))).message).toMatch(/other bytes: bzImage$/);
  });
});

describe("the pinned package", () => {
  it("is fetched, unpacked and built; what is built already needs neither archive nor download again", async () => {
    const [count, deb, bin, root] = [join(temp(), "count"), temp(), temp(), temp()];
    mkdirSync(join(deb, "usr/src"), { recursive: true });
    execFileSync("tar", ["-cJf", join(deb, "usr/src/linux.tar.xz"), "-C", fakeKernel(count, { known: ["A"] }), "--transform", "s,^\\.,linux,", "."]);
    write(join(deb, "DEBIAN/control"), "Package: linux-x\nVersion: 1-1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n");
    const file = join(bin, "linux-x_1-1_all.deb");
    execFileSync("dpkg-deb", ["-b", deb, file], { stdio: "ignore" });
    const sha256 = execFileSync("sha256sum", [file], { encoding: "utf8" }).slice(0, 64);
    write(join(bin, "apt-get"), `#!/bin/sh\ncase "$2" in download) cp ${file} .;; esac\n`, 0o755);
    write(join(bin, "apt-cache"), "#!/bin/sh\necho 'linux-x | 1-1 | x'\n", 0o755);
    write(join(root, "image-builder/pins.json"), JSON.stringify({ kernel: { series: "1", package: "linux-x", tarball: "usr/src/linux.tar.xz", suites: { archive: ["a", "b"], security: [] }, versions: [{ version: "2-1", sha256: "00" }, { version: "1-1", sha256 }] } }));
    const [path, conf, out, at] = [process.env["PATH"] ?? "", configs("CONFIG_A=y\n"), temp(), context(root)];
    const { source, ...plain } = options("", conf, out);
    expect(source).toBe("");
    vi.stubEnv("PATH", `${bin}:${path}`);
    expect(await kernel(at, plain)).toMatchObject({ cached: false, source: "linux-x 1-1" });
    expect((await readManifest(out))["kernel"]?.inputs).toMatchObject({ source: { origin: "linux-x 1-1", sha256 } });
    rmSync(join(at.cache, "downloads"), { recursive: true });
    write(join(bin, "apt-get"), "#!/bin/sh\nexit 100\n", 0o755);
    expect(await kernel(at, plain)).toMatchObject({ cached: true, source: "linux-x 1-1" });
    expect(compiles(count)).toBe(1);
  });
});

describe("bad kernel sources", () => {
  const refused = async (source: string): Promise<BuildError> => failure(kernel(context(), options(source, configs("CONFIG_A=y\n"), temp())));
  it("absent", async () => expect(await refused("/nowhere/linux")).toMatchObject({ failure: "missing", message: "the kernel source /nowhere/linux does not exist" }));
  it("a folder without a kernel", async () => expect((await refused(temp())).message).toMatch(/holds no Linux source: there is no Makefile/));
  it("a broken tarball", async () => expect(await refused(write(join(temp(), "l.tar.xz"), "not a tar"))).toMatchObject({ failure: "missing", message: expect.stringMatching(/l.tar.xz cannot be unpacked/) as string }));
  it("a tarball of something else", async () => {
    const tar = join(temp(), "t.tar");
    execFileSync("tar", ["-cf", tar, "-C", configs("x"), "."]);
    expect((await refused(tar)).message).toMatch(/t.tar holds no Linux source/);
  });
});

describe("the command line", () => {
  it("has help and exit codes for scripts", async () => {
    const [help, none, option, arch] = await Promise.all([cli(["kernel", "--help"]), cli(["frobnicate"]), cli(["kernel", "--jobs", "0"]), cli(["kernel", "--arch", "vax"])]);
    expect([help.code, none.code, option.code, arch.code]).toEqual([0, 2, 2, 2]);
    expect(help.stdout).toContain("--config-only");
    expect(option.stderr).toMatch(/--jobs <n>.*wanted a whole number from 1/);
    expect(arch.stderr).toMatch(/unknown architecture vax\n {2}-> known: x86_64/);
  });

  it("prints JSON alone on standard output, and exits 4 with the list for a lost symbol", async () => {
    const tree = fakeKernel(join(temp(), "count"), { known: ["A"] });
    const cache = { KATA_CACHE: join(temp(), "cache") };
    const good = await cli(["kernel", "--json", "--source", tree, "--configs", configs("CONFIG_A=y\n"), "--output", temp()], cache);
    expect(JSON.parse(good.stdout)).toMatchObject({ cached: false, source: "folder" });
    const bad = await cli(["kernel", "--source", tree, "--configs", configs("CONFIG_ZZZ=y\n"), "--output", temp()], cache);
    expect([bad.code, bad.stdout]).toEqual([4, ""]);
    expect(bad.stderr).toMatch(/CONFIG_ZZZ=y \(common\/a.conf:1\): is off; this kernel has no symbol ZZZ[\s\S]* -> /);
  });

  it("Ctrl-C in the middle of a compile exits 130 and leaves no file and no process", async () => {
    const dir = temp();
    const [pid, cache] = [join(dir, "pid"), join(dir, "cache")];
    const tree = fakeKernel(join(dir, "count"), { known: ["A"], compile: `echo $$$$ > ${pid}; exec sleep 300` });
    const { child, ended } = startCli(["kernel", "--source", tree, "--configs", configs("CONFIG_A=y\n"), "--output", join(dir, "out")], { KATA_CACHE: cache });
    // the compile tells that it runs by this file
    const poll = setInterval(() => {
      if (!existsSync(pid) || !readFileSync(pid, "utf8").endsWith("\n")) return;
      clearInterval(poll);
      child.kill("SIGINT");
    }, 20);
    const end = await ended.finally(() => clearInterval(poll));
    expect([end.code, leftovers(cache, "kernel"), entries(cache, "kernel"), existsSync(join(dir, "out"))]).toEqual([130, [], [], false]);
    expect(end.stderr).toMatch(/interrupted; nothing half-made is left/);
    expect(existsSync(`/proc/${readFileSync(pid, "utf8").trim()}`)).toBe(false);
  });
});
