// kernel --check: which features of the agent a configuration leaves out, wherever the configuration comes from.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readFileSync, readdirSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { checkKernel } from "../../../image-builder/commands/check-kernel.js";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import { parseFragments } from "../../../image-builder/steps/kconfig.js";
import { FEATURES, judge } from "../../../image-builder/steps/kernel-features.js";
import { projectRoot } from "../../../tools/places.js";
import { bzImage, deb, elfKernel, kernelTree, RELEASE } from "./ready-made.js";
import { cli, context, removeTemps, temp, write } from "./stage.js";

afterEach(removeTemps);

const symbols = (needs: string): string[] => needs.split(" ").map((n) => (n.split("@")[0] ?? "").split("|")[0] ?? "");
const all = FEATURES.flatMap((f) => symbols(f.needs));
const config = (leave: readonly string[] = [], value = "y"): string => `# Linux/x86 6.12.1 Kernel Configuration\nCONFIG_MODULES=y\n${[...new Set(all)].filter((s) => !leave.includes(s)).map((s) => `CONFIG_${s}=${value}\n`).join("")}`;

describe("a configuration", () => {
  it.each(FEATURES.map((f) => [f.name, f.needs] as const))("that lacks what it takes: %s", (name, needs) => {
    for (const symbol of symbols(needs)) {
      const broken = judge(config([symbol, ...needs.split(" ").filter((n) => n.startsWith(`${symbol}|`)).flatMap((n) => (n.split("@")[0] ?? "").split("|"))])).broken;
      expect(broken.find((b) => b.feature === name)?.missing.join(), symbol).toContain(`CONFIG_${symbol}`);
    }
  });
  it("that has everything lacks nothing, built in or as modules", () => {
    expect(judge(config())).toMatchObject({ version: "6.12.1", broken: [], modules: [] });
    const modular = judge(config([], "m"));
    expect([modular.broken, modular.modules.includes("CONFIG_VIRTIO_BLK")]).toEqual([[], true]);
  });
  it("with modules but without CONFIG_MODULES has none of them", () => {
    expect(judge("CONFIG_EXT4_FS=m\n").broken.find((b) => b.feature === "ext4")).toBeDefined();
  });
  it("is satisfied by either of two symbols, and not asked for one that its version does not have", () => {
    expect(judge(config(["ACPI_NFIT"]) + "CONFIG_VIRTIO_PMEM=y\n").broken).toEqual([]);
    expect(judge(config(["MEMCG_V1", "CPUSETS_V1"]).replace("6.12.1", "6.1.192")).broken).toEqual([]);
    expect(judge(config(["MEMCG_V1"])).broken.map((b) => b.feature)).toEqual(["cgroup version 1"]);
  });
  it("without both transports is one that nobody reaches", () => {
    expect(judge(config(["VIRTIO_CONSOLE"])).broken.map((b) => b.must)).toEqual([false]);
    expect(judge(config(["VIRTIO_CONSOLE", "VSOCKETS"])).broken.map((b) => b.must)).toEqual([true, true]);
  });
  it("of our own fragments leaves out nothing but what they leave out on purpose", () => {
    const fragments = ["common", "x86_64"].flatMap((dir) => readdirSync(join(projectRoot, "kernel-configs", dir)).map((name) => ({ name, text: readFileSync(join(projectRoot, "kernel-configs", dir, name), "utf8") })));
    const wishes = parseFragments(fragments).flatMap((w) => w.any).map((r) => `CONFIG_${r.symbol}=${r.value}`);
    const granted = ["TTY", "FS_DAX", "BLOCK"].map((s) => `CONFIG_${s}=y`);
    expect(judge([...wishes, ...granted].join("\n")).broken.map((b) => b.feature)).toEqual(["AppArmor", "SELinux"]);
  });
});

describe("kernel --check", () => {
  const asked = async (what: string): Promise<{ readonly [key: string]: unknown }> => (await checkKernel(context(), what)) as { readonly [key: string]: unknown };
  const lacking = config(["9P_FS"]);
  it.each([
    ["a file", (): string => write(join(temp(), ".config"), lacking)],
    ["/proc/config.gz", (): string => write(join(temp(), "config.gz"), gzipSync(lacking))],
    ["a packed file of another kind", (): string => write(join(temp(), "config.xz"), execFileSync("xz", { input: lacking }))],
    ["a kernel that holds it", (): string => write(join(temp(), "bzImage"), bzImage(elfKernel(RELEASE, lacking)))],
    ["a package", (): string => deb("linux-image-x", kernelTree({ config: lacking }))],
    ["a folder", (): string => kernelTree({ config: lacking })],
  ])("reads %s", async (_, make) => {
    expect(await asked(make())).toMatchObject({ works: true, broken: [{ feature: "folders of the host by 9p", missing: ["CONFIG_9P_FS"] }] });
  });
  it.each([
    ["nothing there", "does not exist", (): string => join(temp(), "x")],
    ["a file that is neither", "is neither a kernel's configuration nor a kernel", (): string => write(join(temp(), "x"), "hello\n")],
    ["a kernel without it", "does not hold its configuration", (): string => write(join(temp(), "bzImage"), bzImage())],
    ["a package without it", "holds no configuration", (): string => deb("linux-image-x", kernelTree({ config: "" }))],
  ])("refuses %s", async (_, message, make) => {
    const error = await checkKernel(context(), make()).then(() => undefined, (e: BuildError) => e);
    expect(error).toMatchObject({ failure: "missing", message: expect.stringContaining(message) });
  });
  it("prints a line for each feature, or JSON", async () => {
    const file = write(join(temp(), ".config"), lacking);
    const text = await cli(["kernel", "--check", file], { KATA_CACHE: join(temp(), "cache") });
    expect([text.code, text.stdout]).toEqual([0, `${file} (Linux 6.12.1): 1 features would not work, for want of these symbols\n  folders of the host by 9p: CONFIG_9P_FS\n`]);
    const json = await cli(["kernel", "--check", file, "--json"], { KATA_CACHE: join(temp(), "cache") });
    expect(JSON.parse(json.stdout)).toMatchObject({ checked: file, works: true, broken: [{ missing: ["CONFIG_9P_FS"] }] });
  });
});
