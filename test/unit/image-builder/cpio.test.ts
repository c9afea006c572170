// The newc archive byte by byte, and as GNU cpio reads it back.
import { execFileSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import { checkNodes, newc, sortNodes, type Node } from "../../../image-builder/formats/cpio.js";

const own = { uid: 0, gid: 0 };
const file = (path: string, text: string, mode = 0o644): Node => ({ kind: "file", path, mode, ...own, content: { size: Buffer.byteLength(text), chunks: () => [Buffer.from(text)] } });
const dir = (path: string): Node => ({ kind: "dir", path, mode: 0o755, ...own });
const archive = (nodes: readonly Node[], mtime = 7): Buffer => Buffer.concat([...newc(nodes, mtime)]);
const temps: string[] = [];
const temp = (): string => {
  const path = mkdtempSync(join(tmpdir(), "cpio-test-"));
  temps.push(path);
  return path;
};
afterEach(() => temps.splice(0).forEach((t) => rmSync(t, { recursive: true, force: true })));

describe("newc", () => {
  it("writes the header fields in the order the kernel reads them", () => {
    const bytes = archive([{ ...(file("a", "hello", 0o4755) as Extract<Node, { kind: "file" }>), uid: 1000, gid: 65534 }], 0x12345678);
    expect(bytes.subarray(0, 112).toString("latin1")).toBe(
      "070701" + "00000001" + "000089ed" + "000003e8" + "0000fffe" + "00000001" + "12345678" + "00000005" + "00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "a\0");
    expect(bytes.subarray(112, 120).toString("latin1")).toBe("hello\0\0\0");
    expect(bytes.subarray(120, 120 + 110).toString("latin1")).toBe("070701" + "00000000".repeat(4) + "00000001" + "00000000".repeat(6) + "0000000b" + "00000000");
    expect(bytes.subarray(230, 241).toString("latin1")).toBe("TRAILER!!!\0");
    expect(bytes.length).toBe(512);
  });

  it("gives the same bytes whatever the order of the list", () => {
    const nodes = [file("b/z", "1"), dir("b"), file("a", ""), dir("b-c"), file("b/a", "2")];
    expect(archive(nodes)).toEqual(archive([...nodes].reverse()));
    expect(sortNodes(nodes).map((n) => n.path)).toEqual(["a", "b", "b-c", "b/a", "b/z"]);
  });

  it("is unpacked by cpio with modes, links, hard links with shared data and device numbers", () => {
    const nodes: Node[] = [dir("d"), file("d/one", "shared data", 0o640), { kind: "link", path: "a-first", target: "d/one" }, { kind: "link", path: "z-last", target: "d/one" },
      { kind: "symlink", path: "d/sym", mode: 0o777, ...own, target: "../a-first" }, { kind: "fifo", path: "pipe", mode: 0o600, ...own }, file("empty", ""),
      { kind: "char", path: "null", mode: 0o666, ...own, major: 1, minor: 3 }, { kind: "block", path: "vda", mode: 0o660, ...own, major: 254, minor: 258 }];
    const bytes = archive(nodes);
    const list = execFileSync("cpio", ["-tvn", "--quiet"], { input: bytes, encoding: "utf8", env: { ...process.env, LC_ALL: "C", TZ: "UTC" } }).split("\n").map((l) => l.replace(/\s+/g, " "));
    expect(list).toContain("crw-rw-rw- 1 0 0 1, 3 Jan 1 1970 null");
    expect(list).toContain("brw-rw---- 1 0 0 254, 258 Jan 1 1970 vda");
    const root = temp();
    execFileSync("cpio", ["-idm", "--quiet", "--no-preserve-owner", "a-first", "d", "d/*", "z-last", "pipe", "empty"], { input: bytes, cwd: root });
    for (const name of ["a-first", "d/one", "z-last"]) expect(readFileSync(join(root, name), "utf8")).toBe("shared data");
    expect(statSync(join(root, "d/one")).nlink).toBe(3);
    expect(new Set(["a-first", "d/one", "z-last"].map((n) => statSync(join(root, n)).ino)).size).toBe(1);
    expect(lstatSync(join(root, "d/one")).mode & 0o7777).toBe(0o640);
    expect(readFileSync(join(root, "d/sym"), "utf8")).toBe("shared data");
    expect(lstatSync(join(root, "pipe")).isFIFO()).toBe(true);
    expect(statSync(join(root, "empty")).size).toBe(0);
  });

  it("round-trips any names and contents through cpio", () => {
    const name = fc.stringMatching(/^[A-Za-z0-9._+ äß-]{1,40}$/).filter((n) => n !== "." && n !== ".." && n.trim() === n);
    fc.assert(fc.property(fc.dictionary(name, fc.uint8Array({ maxLength: 50 }), { maxKeys: 12, noNullPrototype: true }), (files) => {
      const nodes: Node[] = Object.entries(files).map(([path, data]) => ({ kind: "file", path, mode: 0o644, ...own, content: { size: data.length, chunks: () => [data] } }));
      const listed = execFileSync("cpio", ["-t", "--quiet", "-0"], { input: archive(nodes) }).toString("utf8");
      expect(listed.split(/\n|\0/).filter((n) => n !== "").length).toBe(nodes.length);
    }), { numRuns: 25 });
  });
});

describe("what the archive refuses", () => {
  const refused = (nodes: readonly Node[]): (() => void) => () => checkNodes(nodes);
  it.each(["", "/a", "a/", "a//b", "./a", "a/../b", "..", "a\0b", "TRAILER!!!", "x".repeat(4096)])("the name %j", (path) => {
    expect(refused([dir("a"), file(path, "")])).toThrow(/archive entry/);
  });
  it("a name twice", () => expect(refused([file("a", ""), file("a", "x")])).toThrow(/"a" is named twice/));
  it("a file without its directory", () => expect(refused([file("d/a", "")])).toThrow(/"d\/a" has no parent directory/));
  it("a file below a symlink", () => expect(refused([{ kind: "symlink", path: "d", mode: 0o777, ...own, target: "/" }, file("d/a", "")])).toThrow(/no parent directory/));
  it("a hard link to nothing or to a directory", () => {
    expect(refused([{ kind: "link", path: "l", target: "gone" }])).toThrow(/"gone", which is not a file/);
    expect(refused([dir("d"), { kind: "link", path: "l", target: "d" }])).toThrow(/not a file/);
  });
  it("a file of 4 GiB, before it reads a byte of it", () => {
    let read = false;
    const content = { size: 2 ** 32, chunks: () => { read = true; return []; } };
    expect(() => [...newc([{ kind: "file", path: "big", mode: 0o644, ...own, content }], 0)]).toThrow(/"big" has 4294967296 bytes; this archive format holds files below 4 GiB/);
    expect(read).toBe(false);
  });
  it("accepts one byte less", () => {
    expect(refused([{ kind: "file", path: "big", mode: 0o644, ...own, content: { size: 2 ** 32 - 1, chunks: () => [] } }])).not.toThrow();
  });
  it("a file that is shorter than it said", () => {
    expect(() => [...newc([{ kind: "file", path: "f", mode: 0o644, ...own, content: { size: 3, chunks: () => [Buffer.from("ab")] } }], 0)]).toThrow(/changed while it was read/);
  });
  it("modes and owners that do not fit", () => {
    expect(refused([{ ...dir("d"), mode: 0o10000 } as Node])).toThrow(/has mode/);
    expect(refused([{ ...dir("d"), uid: -1 } as Node])).toThrow(/has uid -1/);
  });
});
