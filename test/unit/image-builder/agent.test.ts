// The text work of the agent's build: libseccomp's sources, qjsc's output, the modules that are loaded by name, and what the profiles may
// load. A text that is not as expected fails with a word, it does not build something else.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join, relative } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { bundle, lazyModules, withoutCycles, withoutDebug } from "../../../image-builder/agent/bundle.js";
import { flatName, flatten, withTable } from "../../../image-builder/agent/bytecode.js";
import { slimSyscalls, versioned } from "../../../image-builder/agent/libseccomp.js";
import { bytesOf, holdBudgets, parseProfiles } from "../../../image-builder/agent/profiles.js";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import type { fetchSource } from "../../../image-builder/steps/apt.js";
import { librarySource, seriesOf } from "../../../image-builder/steps/debian-source.js";
import { projectRoot } from "../../../tools/places.js";
import { cli, context, removeTemps, temp, write } from "./stage.js";

afterEach(() => {
  vi.unstubAllEnvs();
  removeTemps();
});

const failing = (work: () => unknown): BuildError => {
  try {
    work();
  } catch (error) {
    return error as BuildError;
  }
  throw new Error("did not fail");
};

describe("libseccomp's table of system calls", () => {
  const NAMES = ["x86", "x86_64", "arm", "s390"];
  const header = (names = NAMES): string =>
    `#include "arch.h"\n/* NOTE */\nstruct arch_syscall_table {\n\tint name;\n\tint index;\n\n\t/* each arch listed here */\n\n${names.map((n) => `\tint ${n};\n\tenum scmp_kver ${n}_kver;\n`).join("\n")}};\n#define SYSTBL_OFFSET(NAME) offsetof(struct arch_syscall_table, NAME)\n`;
  const row = (name: number, index: number, cells: readonly (number | string)[], comma = ","): string =>
    `    {(int)(size_t)&((struct stringpool_t *)0)->stringpool_str${name},${index},${cells.map((c) => `${c},SCMP_KV_UNDEF`).join(",")}}${comma}\n`;
  const table = `static const struct arch_syscall_table wordlist[] = {\n${row(7, 1, [11, 22, "__PNR_send", 44])}    {-1},\n${row(9, 2, [1, "__PNR_dup2", 3, 4], "")}};\n`;

  it("keeps the columns of the architecture in the struct's order, and one place for the others", () => {
    const slim = slimSyscalls(header(), table, ["x86", "x86_64"]);
    expect(slim.header).toContain("struct arch_syscall_table { int name; int index; union { int x86, arm, s390; }; int x86_64; union { enum scmp_kver x86_kver, x86_64_kver, arm_kver, s390_kver; }; };");
    expect(slim.header.split("\n")[0]).toBe('#include "arch.h"');
    expect(slim.table).toBe(
      "static const struct arch_syscall_table wordlist[] = {\n    {(int)(size_t)&((struct stringpool_t *)0)->stringpool_str7,1,11,22,SCMP_KV_UNDEF},\n    {-1},\n" +
      "    {(int)(size_t)&((struct stringpool_t *)0)->stringpool_str9,2,1,__PNR_dup2,SCMP_KV_UNDEF}\n};\n");
    expect(slimSyscalls(header(), table, ["arm"]).table).toContain("stringpool_str7,1,__PNR_send,SCMP_KV_UNDEF}");
  });
  it.each([
    ["a struct of another name", header().replace("arch_syscall_table {", "other {"), table],
    ["a field that is neither number nor version", header().replace("int arm;", "int arm;\n\tint more;"), table],
    ["an architecture that is not there", header(["x86", "arm"]), table],
    ["a row with a column less", header(), table.replace(",44,SCMP_KV_UNDEF", "")],
    ["a row in another form", header(), table.replace("str9,2,", "str9, 2,")],
    ["no rows", header(), "static const struct arch_syscall_table wordlist[] = { };\n"],
  ])("refuses %s", (_what, head, rows) => {
    expect(failing(() => slimSyscalls(head, rows, ["x86", "x86_64"]))).toMatchObject({ failure: "failed", message: expect.stringMatching(/has another form than expected$/) as string });
  });
  it("a compiler reads the same numbers from it", () => {
    const dir = temp();
    const c = (at: { header: string; table: string }, name: string): string => {
      const text = `#include <stddef.h>\n#include <stdio.h>\n#define __PNR_send -101\n#define __PNR_dup2 -102\nenum scmp_kver { SCMP_KV_UNDEF = 5 };\nstruct stringpool_t { char stringpool_str7[4], stringpool_str9[4]; };\n${at.header.replace('#include "arch.h"', "")}${at.table}
int main(void) { for (int i = 0; i < 3; i += 2) printf("%d %d %d %d %d\\n", wordlist[i].name, wordlist[i].index, wordlist[i].x86, wordlist[i].x86_64, wordlist[i].x86_64_kver); return 0; }\n`;
      execFileSync("gcc", ["-Wall", "-Werror", "-Wno-missing-braces", "-x", "c", write(join(dir, `${name}.c`), text), "-o", join(dir, name)]);
      return execFileSync(join(dir, name), { encoding: "utf8" });
    };
    const slim = c(slimSyscalls(header(), table, ["x86", "x86_64"]), "slim");
    expect(slim).toBe(c({ header: header(), table }, "whole"));
    expect(slim).toBe("0 1 11 22 5\n4 2 1 -102 5\n");
  });
  it("gets its version from configure.ac", () => {
    expect(versioned("#define SCMP_VER_MAJOR @VERSION_MAJOR@\n@VERSION_MINOR@ @VERSION_MICRO@", "AC_INIT([libseccomp], [2.6.0])")).toBe("#define SCMP_VER_MAJOR 2\n6 0");
    expect(failing(() => versioned("", "AC_INIT(libseccomp, 2.7)")).message).toContain("configure.ac");
  });
});

describe("qjsc", () => {
  const of = (symbol: string, size: number): string => `\nconst uint32_t ${symbol}_size = ${size};\n\nconst uint8_t ${symbol}[${size}] = {\n ${"0x0a, ".repeat(size)}\n};\n`;

  it("is given chunks with flat names, also where they import each other", () => {
    const { flat, imported } = flatten([
      { file: "main.js", text: 'import{a}from"./chunk-1.js";import"./lib/x.js";const s="from \'./no.js\'"' },
      { file: "lib/x.js", text: 'export*from"../chunk-1.js";import y from "../init/y.js"' },
      { file: "chunk-1.js", text: "" },
    ]);
    expect(flat.map(({ name }) => name)).toEqual(["main.js", "lib__x.js", "chunk-1.js"]);
    expect(flat.map(({ text }) => text).slice(0, 2)).toEqual(['import{a}from"./chunk-1.js";import"./lib__x.js";const s="from \'./no.js\'"', 'export*from"./chunk-1.js";import y from"./init__y.js"']);
    expect([...imported].sort()).toEqual(["chunk-1.js", "init__y.js", "lib__x.js"]);
  });
  it("gives arrays that go into a section of their own, and a table of them behind", () => {
    const { text, sizes } = withTable(`/* File generated automatically */\n${of("qjsc_chunk_1", 30)}${of("qjsc_lib__x", 4)}`, ["lib__x.js", "chunk-1.js"]);
    expect(sizes).toEqual({ "lib__x.js": 4, "chunk-1.js": 30 });
    expect(text.match(/__attribute__\(\(section\("bytecode"\)\)\) const uint8_t qjsc_/g)).toHaveLength(2);
    expect(text).toContain('qjsc_lib__x[4] = "\\x0a\\x0a\\x0a\\x0a";');
    expect(text).toContain('const struct chunk chunks[] = {\n    { "lib__x.js", qjsc_lib__x, 4, 0 },\n    { "chunk-1.js", qjsc_chunk_1, 30, 0 },\n};\nconst unsigned chunk_count = 2;\n');
  });
  it.each([
    ["a chunk is missing", of("qjsc_a", 3), ["a.js", "b.js"], "qjsc made no bytecode for b.js"],
    ["a name is only the end of another's", of("xqjsc_a", 3), ["a.js"], "qjsc made no bytecode for a.js"],
    ["there is one more", of("qjsc_a", 3) + of("qjsc_b", 3), ["a.js"], "qjsc made 2 arrays for 1 chunks"],
    ["its arrays have another form", of("qjsc_a", 3).replace("const uint8_t", "static const unsigned char"), ["a.js"], "qjsc made 0 arrays for 1 chunks"],
    ["an array has fewer bytes than it says", of("qjsc_a", 3).replace("0x0a, ", ""), ["a.js"], "qjsc's array qjsc_a has another form than expected"],
    ["an array has more than bytes", of("qjsc_a", 3).replace("0x0a, ", "X, "), ["a.js"], "qjsc's array qjsc_a has another form than expected"],
    ["two names are one in C", of("qjsc_a_b", 3), ["a-b.js", "a_b.js"], "two chunks have the same name in C"],
  ])("is refused when %s", (_what, text, names, message) => expect(failing(() => withTable(text, names)).message).toBe(message));
  it("names chunks as the agent's loader asks for them", () => expect(readFileSync(join(projectRoot, "agent/lib/lazy.ts"), "utf8")).toContain(`.split("/").join("${flatName("/")}")`));
});

describe("modules that are loaded by name", () => {
  it("are found by the path in the type", () => expect(lazyModules("engine/a.ts", '// lazy<typeof import(PATH)>(NAME)\nconst a = lazy<typeof import("./b.js")>("engine/b.js"), c = lazy<typeof import("../lib/c.js")>("lib/c.js");')).toEqual(["engine/b.js", "lib/c.js"]));
  it("of debug builds alone are not in the others", () => {
    const text = 'const a = lazy<typeof import("./a.js")>("engine/a.js");\nconst b = __DEBUG__ ? lazy<typeof import("./b.js")>("engine/b.js") : undefined;';
    expect([lazyModules("engine/c.ts", text), lazyModules("engine/c.ts", withoutDebug(text))]).toEqual([["engine/a.js", "engine/b.js"], ["engine/a.js"]]);
  });
  it("have one name", () => expect(failing(() => lazyModules("engine/a.ts", 'lazy<typeof import("./b.js")>("b.js")'))).toMatchObject({ failure: "config", message: 'engine/a.ts: lazy("b.js") must be named "engine/b.js"' }));
  it.each(['lazy<B>("engine/b.js")', 'lazy<typeof import("./b.js")>(\n  "engine/b.js")', "lazy(name)", 'lazy<typeof import("./b.js")>(`engine/b.js`)'])("are not loaded by %s, which would not be in the binary", (call) => {
    expect(failing(() => lazyModules("engine/a.ts", `const b = ${call};`)).message).toContain("another form");
  });
  it("keep no cycle for each `using`", () => {
    const helper = "var next = (it) => { if (it[0]) return Promise.resolve(result).then(next, (e) => (fail(e), next())); };";
    expect(withoutCycles(helper + helper)).toEqual({ text: "var next = (it) => {  };".repeat(2), found: 2 });
    expect(withoutCycles("nothing").found).toBe(0);
  });
});

describe("profiles", () => {
  const parse = (value: unknown) => parseProfiles(JSON.stringify(value), "profiles.json");
  it("follow one another", () => {
    expect(parse({ a: { loads: ["x.js"], bytes: 5 }, b: { after: "a", loads: ["y.js"] } })).toEqual([{ name: "a", loads: ["x.js"], bytes: 5 }, { name: "b", loads: ["x.js", "y.js"], bytes: undefined }]);
  });
  it.each([[{ a: { after: "b", loads: [] } }, /a comes after b/], [{ a: {} }, /no list "loads"/], [{ a: { loads: [], bytes: "9" } }, /bytes of a/], [{ a: { loads: [], byte: 9 } }, /unknown byte/]])("refuse %j", (value, message) => {
    expect(failing(() => parse(value))).toMatchObject({ failure: "config", message: expect.stringMatching(message) as string });
  });
  it("fail the build when they load more than they may, and say what", () => {
    const profiles = parse({ idle: { loads: ["x.js"], bytes: 100 } });
    const loaded = new Map([["idle", ["main.js", "big.js"]]]);
    expect(() => holdBudgets(profiles, loaded, { "main.js": 40, "big.js": 60, "other.js": 1000 })).not.toThrow();
    expect(failing(() => holdBudgets(profiles, loaded, { "main.js": 41, "big.js": 60 })).message).toBe('the profile "idle" loads 101 bytes of bytecode, its budget is 100:\n  big.js 60\n  main.js 41');
    expect(bytesOf(["a", "b"], { a: 1, b: 2, c: 4 })).toBe(3);
  });
  it("of the agent name modules that are loaded by name, and the idle one has a budget", () => {
    const agent = join(projectRoot, "agent");
    const profiles = parseProfiles(readFileSync(join(agent, "profiles.json"), "utf8"), "agent/profiles.json");
    const sources = readdirSync(agent, { recursive: true, withFileTypes: true }).filter((e) => e.name.endsWith(".ts")).map((e) => join(e.parentPath, e.name));
    const lazy = new Set(sources.flatMap((file) => lazyModules(relative(agent, file), readFileSync(file, "utf8"))));
    expect(profiles.flatMap((p) => p.loads).filter((name) => !lazy.has(name))).toEqual([]);
    expect(profiles.find((p) => p.name === "idle")?.bytes).toBeGreaterThan(0);
  });
});

describe("the source of a library", () => {
  const sum = (text: string | Buffer): string => createHash("sha256").update(text).digest("hex");
  /** A package "lib" 1-1 of two archives, and an apt-get that has it. */
  const archive = (): { pin: Parameters<typeof fetchSource>[1]; log: string } => {
    const dir = temp();
    write(join(dir, "in/lib-1/a.c"), "old\n");
    write(join(dir, "in/debian/patches/series"), "# first\nfix.patch -p1 # why\n\n");
    write(join(dir, "in/debian/patches/fix.patch"), "--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-old\n+new\n");
    execFileSync("tar", ["-czf", join(dir, "lib_1.orig.tar.gz"), "-C", join(dir, "in"), "lib-1"]);
    execFileSync("tar", ["-cJf", join(dir, "lib_1-1.debian.tar.xz"), "-C", join(dir, "in"), "debian"]);
    const files = Object.fromEntries(["lib_1.orig.tar.gz", "lib_1-1.debian.tar.xz"].map((name) => [name, sum(readFileSync(join(dir, name)))]));
    write(join(dir, "bin/apt-get"), `#!/bin/sh\necho "$*" >> ${dir}/log\ncase "$*" in *" source lib=1-1") cp ${dir}/*.tar.* .;; *update) :;; *) exit 100;; esac\n`, 0o755);
    vi.stubEnv("PATH", `${join(dir, "bin")}:${process.env["PATH"] ?? ""}`);
    return { pin: { package: "lib", version: "1-1", suites: { archive: ["trixie"], security: [] }, files }, log: join(dir, "log") };
  };

  it("is the pinned package with Debian's patches; it is fetched when it is unpacked, and once", async () => {
    const { pin, log } = archive();
    const at = context();
    const source = await librarySource(at, pin, undefined, "--lib");
    expect(existsSync(log)).toBe(false);
    const [one, two] = [join(temp(), "one"), join(temp(), "two")];
    await source.unpack(one);
    await source.unpack(two);
    expect([one, two].map((dir) => readFileSync(join(dir, "a.c"), "utf8"))).toEqual(["new\n", "new\n"]);
    expect(readFileSync(log, "utf8").split("\n").filter((l) => l.includes("source"))).toEqual(["-q --download-only source lib=1-1"]);
    expect(readFileSync(join(at.cache, "apt/sources/etc/sources.list"), "utf8")).toMatch(/^deb-src /);
  });
  it("is refused when a file has another sum than the pinned one", async () => {
    const { pin } = archive();
    const at = context();
    const other = { ...pin, files: { ...pin.files, "lib_1.orig.tar.gz": "ab".repeat(32) } };
    await expect((await librarySource(at, other, undefined, "--lib")).unpack(join(temp(), "x"))).rejects.toMatchObject({ failure: "fetch", message: expect.stringMatching(/^lib_1\.orig\.tar\.gz of lib 1-1 has SHA-256 .*, pinned is abab/) as string });
    expect(readdirSync(join(at.cache, "downloads")).filter((name) => name.startsWith("abab"))).toEqual([]);
  });
  it("says how to go on when the archive has not the pinned version", async () => {
    const { pin } = archive();
    await expect((await librarySource(context(), { ...pin, version: "2-1" }, undefined, "--lib")).unpack(join(temp(), "x"))).rejects.toMatchObject({ failure: "fetch", hint: expect.stringContaining("--lib DIR") as string });
  });
  it("is a folder that the user names, with a key of its content", async () => {
    const { pin } = archive();
    const dir = temp();
    write(join(dir, "a.c"), "1");
    const key = async () => JSON.stringify((await librarySource(context(), pin, dir, "--lib")).key);
    const before = await key();
    expect(await key()).toBe(before);
    write(join(dir, "a.c"), "2");
    expect(await key()).not.toBe(before);
    await expect(librarySource(context(), pin, join(dir, "a.c"), "--lib")).rejects.toMatchObject({ failure: "missing" });
  });
  it("has the patches that the series lists", () => expect(seriesOf("a.patch\n\n# b.patch\n c.patch -p0 # why\n")).toEqual(["a.patch", "c.patch"]));
});

describe("the command agent", () => {
  it("has help, and refuses an architecture it does not know", async () => {
    const help = await cli(["agent", "--help"]);
    for (const option of ["--json", "--quiet", "--debug", "--entry", "--output", "--arch", "--quickjs", "--libseccomp"]) expect(help.stdout).toContain(option);
    expect(await cli(["agent", "--arch", "vax"])).toMatchObject({ code: 2, stderr: expect.stringContaining("known: x86_64, aarch64") as string });
  });
});

it("the binary that is shipped has nothing of the faults from outside, no table of the calls' names, and nothing of a handover", async () => {
  const dir = temp();
  const agent = join(projectRoot, "agent");
  const profiles = parseProfiles(readFileSync(join(agent, "profiles.json"), "utf8"), "profiles.json");
  const { files } = await bundle(dir, { agent, entry: join(agent, "init/main.ts"), arch: "x86_64", commit: "unknown", version: "0", debug: false, stub: "", profiles });
  const text = files.map((file) => readFileSync(join(dir, file), "utf8")).join("\n");
  expect(text).toContain("openat2");
  expect(["KATA_FAULTS", "njectFault", "remembered", "gettid", "KATA_AGENT_RECORD", "handover", "holdRequests", "carried"].filter((word) => text.includes(word))).toEqual([]);
  expect(files.filter((file) => file.includes("faults") || file.includes("handover"))).toEqual([]);
}, 120_000);
