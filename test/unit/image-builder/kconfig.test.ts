// Fragments to requests, requests against a final configuration, and the reason a request was lost.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BuildError } from "../../../image-builder/lib/errors.js";
import { findLost, lostMessage, parseAllowMissing, parseConfig, parseFragments, splitAllowed, toAllConfig } from "../../../image-builder/steps/kconfig.js";
import { evaluate, explain, readDefinitions, type Definitions } from "../../../image-builder/steps/kconfig-why.js";

const wishes = (text: string): ReturnType<typeof parseFragments> => parseFragments([{ name: "t.conf", text }]);
const lostOf = (fragment: string, config: string): string[] => findLost(wishes(fragment), parseConfig(config)).map((l) => l.wish.any.map((r) => r.symbol).join("|"));

describe("fragments", () => {
  it("become the text kconfig reads", () => {
    expect(toAllConfig(wishes("# a comment\nCONFIG_A=y\n\nCONFIG_B=n\nCONFIG_N=64\nCONFIG_H=0x1f\nCONFIG_S=\"x y\"\none-of: CONFIG_P=y CONFIG_Q=y\n")))
      .toBe("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\nCONFIG_H=0x1f\nCONFIG_S=\"x y\"\nCONFIG_P=y\nCONFIG_Q=y\n");
  });
  it("are refused with every bad line at once", () => {
    const bad = (): unknown => wishes("CONFIG_A=y\nFOO=y\nCONFIG_B=m\nCONFIG_A=y\nCONFIG_A=n\n# CONFIG_C is not set\none-of: CONFIG_X\n");
    expect(bad).toThrow(BuildError);
    expect(bad).toThrow(/5 bad lines[\s\S]*t.conf:2: cannot read "FOO=y"[\s\S]*t.conf:3:[\s\S]*t.conf:4: CONFIG_A was asked for already in t.conf:1[\s\S]*t.conf:5: CONFIG_A=n contradicts =y in t.conf:1[\s\S]*t.conf:7/);
  });
});

describe("the final configuration", () => {
  const config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\nCONFIG_S=\"x\"\n";
  it("fulfils positive, negative, number and text requests", () => {
    expect(lostOf("CONFIG_A=y\nCONFIG_B=n\nCONFIG_N=64\nCONFIG_S=\"x\"", config)).toEqual([]);
  });
  it("a negative request on a symbol that is not even visible is fulfilled", () => expect(lostOf("CONFIG_NOWHERE=n", config)).toEqual([]));
  it("names every lost request: off, absent, other number, on although unwanted", () => {
    expect(lostOf("CONFIG_B=y\nCONFIG_GONE=y\nCONFIG_N=32\nCONFIG_A=n\nCONFIG_S=\"y\"", config)).toEqual(["B", "GONE", "N", "A", "S"]);
  });
  it("one-of holds when any holds, and is lost when none does", () => {
    expect(lostOf("one-of: CONFIG_GONE=y CONFIG_A=y", config)).toEqual([]);
    expect(lostOf("one-of: CONFIG_GONE=y CONFIG_B=y", config)).toEqual(["GONE|B"]);
  });
  it("lets pass only what allow-missing names with a reason", () => {
    const lost = findLost(wishes("CONFIG_B=y\nCONFIG_GONE=y"), parseConfig(config));
    const { failing, excused } = splitAllowed(lost, parseAllowMissing("allow", "# c\nCONFIG_GONE: removed in 6.14\n"));
    expect(failing.map((l) => l.wish.any[0]?.symbol)).toEqual(["B"]);
    expect(excused.map((l) => l.wish.any[0]?.symbol)).toEqual(["GONE"]);
    expect(() => parseAllowMissing("allow", "CONFIG_GONE\n")).toThrow(/allow:1: "CONFIG_GONE" gives no reason/);
    expect(() => parseAllowMissing("allow", "CONFIG_GONE:  \n")).toThrow(/gives no reason/);
  });
});

describe("why a request was lost", () => {
  let tree = "";
  let definitions: Definitions;
  beforeAll(() => {
    tree = mkdtempSync(join(tmpdir(), "kconfig-test-"));
    mkdirSync(join(tree, "net"));
    mkdirSync(join(tree, "arch/x86"), { recursive: true });
    writeFileSync(join(tree, "Kconfig"), "mainmenu \"x\"\nsource \"arch/$(SRCARCH)/Kconfig\"\nconfig NET\n\tbool \"net\"\n\thelp\n\t  if this then\n\t  config FAKE\n\nif NET\nsource \"net/Kconfig\"\nendif\n");
    writeFileSync(join(tree, "arch/x86/Kconfig"), "config X86\n\tdef_bool y\nconfig PCI\n\tbool \"pci\"\n");
    writeFileSync(join(tree, "net/Kconfig"), "menuconfig VSOCK\n\ttristate \"v\"\n\tdepends on PCI && \\\n\t\t(X86 || ARM)\nmenu \"m\"\n\tdepends on !X86\nconfig DEEP\n\tbool \"d\"\nendmenu\nconfig HIDDEN\n\tbool\n");
    definitions = readDefinitions(tree, "x86");
  });
  afterAll(() => rmSync(tree, { recursive: true, force: true }));
  const why = (symbol: string, config: string): string => explain(symbol, definitions, parseConfig(config));

  it("reads through sources, if blocks and menus, not through help texts", () => {
    expect([...definitions.keys()].sort()).toEqual(["DEEP", "HIDDEN", "NET", "PCI", "VSOCK", "X86"]);
  });
  it("names the conditions that do not hold and their values", () => {
    expect(why("VSOCK", "CONFIG_NET=y\nCONFIG_X86=y\n")).toMatch(/^depends on PCI && .*\(X86 \|\| ARM\), where PCI=n X86=y ARM=n$/);
    expect(why("VSOCK", "CONFIG_PCI=y\nCONFIG_X86=y\n")).toBe("depends on NET, where NET=n");
    expect(why("DEEP", "CONFIG_NET=y\nCONFIG_X86=y\n")).toBe("depends on !X86, where X86=y");
  });
  it("tells an unknown symbol and one without a prompt", () => {
    expect(why("NO_SUCH_THING", "")).toBe("this kernel has no symbol NO_SUCH_THING");
    expect(why("HIDDEN", "CONFIG_NET=y\n")).toMatch(/HIDDEN cannot be asked for, other symbols select it \(net\/Kconfig\)/);
  });
  it("puts both into the message, with the fragment's line", () => {
    const lost = findLost(wishes("CONFIG_NO_SUCH=y\nCONFIG_VSOCK=y"), parseConfig("CONFIG_NET=y\n"));
    expect(lostMessage(lost, (r) => why(r.symbol, "CONFIG_NET=y\n"))).toMatch(/CONFIG_NO_SUCH=y \(t.conf:1\): is off; this kernel has no symbol NO_SUCH\n {2}CONFIG_VSOCK=y \(t.conf:2\): is off; depends on/);
  });
  it("evaluates kconfig expressions", () => {
    const c = parseConfig("CONFIG_A=y\nCONFIG_M=m\nCONFIG_N=64\n");
    for (const [text, want] of [["A", true], ["!A", false], ["A && B", false], ["A || B", true], ["!(A && B)", true], ["M", true], ["N=64", true], ["A!=y", false], ["B || (A && !B)", true], ["A=\"y\"", true]] as const) {
      expect([text, evaluate(text, c)]).toEqual([text, want]);
    }
    expect(evaluate("$(cc-option,-x)", c)).toBeUndefined();
  });
});

describe("the shipped fragments", () => {
  const folder = new URL("../../../kernel-configs/", import.meta.url).pathname;
  const all = ["common", "x86_64"].flatMap((d) => readdirSync(join(folder, d)).sort().map((n) => ({ name: `${d}/${n}`, text: readFileSync(join(folder, d, n), "utf8") })));
  it("can be read, with no request twice", () => expect(parseFragments(all).length).toBeGreaterThan(400));
  it("ask for everything that the Kata runtime needs of a guest kernel", () => {
    const asked = new Set(parseFragments(all).flatMap((w) => w.any.map((r) => `${r.symbol}=${r.value}`)));
    for (const symbol of ["VIRTIO_PCI", "VIRTIO_CONSOLE", "VSOCKETS", "VIRTIO_VSOCKETS", "VIRTIO_FS", "TMPFS", "CGROUPS", "MEMCG", "MEMCG_V1", "CGROUP_PIDS", "CGROUP_FREEZER", "CFS_BANDWIDTH", "VIRTIO_NET",
      "SCSI_VIRTIO", "BLK_DEV_SD", "ACPI_HOTPLUG_CPU", "ACPI_HOTPLUG_MEMORY", "EXT4_FS", "EROFS_FS", "EROFS_FS_ZIP_ZSTD", "SQUASHFS", "OVERLAY_FS", "VIRTIO_BLK", "VIRTIO_MMIO", "DM_VERITY", "NET_9P_VIRTIO",
      "NF_TABLES", "NFT_COMPAT", "UTS_NS", "TIME_NS", "IPC_NS", "USER_NS", "PID_NS", "NET_NS", "SECCOMP_FILTER", "CGROUP_BPF"]) expect(asked).toContain(`${symbol}=y`);
  });
});
