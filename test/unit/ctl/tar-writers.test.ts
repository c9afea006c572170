// Archives as the world writes them: what our reader finds is held against Python's tarfile, over random trees and all formats of
// GNU tar, bsdtar, busybox and Go.
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readContent } from "../../../ctl/image/content.js";
import { applyLayer } from "../../../ctl/image/read-layer.js";
import { Tree } from "../../../ctl/image/tree.js";
import { tarOf } from "../../../ctl/image/write-tar.js";
import { ourList, pythonLists, pythonWrites, type Asked } from "../../helpers/reference-tar.js";
import { having, suite } from "../../helpers/suite.js";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "writers-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);


// Any byte but NUL and slash; dots and trailing blanks are as good as others.
const nameByte = fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 0x2f);
const name = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.uint8Array({ minLength: 90, maxLength: 255 }))
  .chain((seed) => fc.array(nameByte, { minLength: seed.length, maxLength: seed.length })).map((bytes) => Buffer.from(bytes).toString("hex"));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("2f"));
// Python's reader cuts nothing off a value, but a record of it must be UTF-8 with its escapes; any bytes are.
const bytes = (maxLength: number): fc.Arbitrary<string> => fc.uint8Array({ maxLength }).map((data) => Buffer.from(data).toString("hex"));
const xattrName = fc.stringMatching(/^user\.[a-z.]{1,20}$/).map((text) => Buffer.from(text).toString("hex"));

const entry = (format: string): fc.Arbitrary<Asked> => {
  const small = format === "ustar";
  const id = small ? fc.integer({ min: 0, max: 0o7777777 }) : fc.oneof(fc.integer({ min: 0, max: 70_000 }), fc.integer({ min: 0, max: 0xfffffffe }));
  return fc.record({
    path: small ? fc.array(nameByte, { minLength: 1, maxLength: 90 }).map((b) => Buffer.from(b).toString("hex")) : path,
    kind: fc.constantFrom("file", "file", "file", "link", "symlink", "directory", "fifo", "character-device"),
    mode: fc.integer({ min: 0, max: 0o7777 }), uid: id, gid: id,
    mtime: small ? fc.integer({ min: 0, max: 2 ** 33 - 1 }) : fc.integer({ min: -(2 ** 31), max: 2 ** 36 }),
    link: small ? fc.array(nameByte, { minLength: 1, maxLength: 90 }).map((b) => Buffer.from(b).toString("hex")) : path,
    data: bytes(1500), xattrs: fc.dictionary(xattrName, bytes(80).filter((value) => value !== ""), { maxKeys: 3 }),
  }).map((e) => ({ ...e, ...(e.kind === "file" ? {} : { data: "" }), ...(e.kind === "link" || e.kind === "symlink" ? {} : { link: "" }), ...(format === "pax" ? {} : { xattrs: {} }) }));
};

suite("any tree that Python writes", { needs: ["program:python3"] }, () => {
  it.each(["ustar", "gnu", "pax"])("in format %s is read as Python reads it", async (format) => {
    await fc.assert(fc.asyncProperty(fc.array(fc.array(entry(format), { maxLength: 8 }), { minLength: 8, maxLength: 8 }), async (archives) => {
      const files = archives.map((_, i) => at(`${i}.tar`));
      pythonWrites(archives.map((entries, i) => ({ file: files[i] ?? "", format, entries })));
      const lists = pythonLists(files);
      for (const [i, file] of files.entries()) expect(await ourList(file)).toEqual(lists[i]);
    }), { numRuns: 3 });
  });
});

/** A file of 3 MiB with data at its beginning, its middle, its end or nowhere. */
const sparse = (file: string, places: number[]): void => {
  const fd = openSync(file, "w");
  ftruncateSync(fd, 3 << 20);
  for (const place of places) writeSync(fd, Buffer.alloc(5000, 0x41 + (place % 23)), 0, 5000, place);
  closeSync(fd);
};

/** A folder with everything in it that a user may make. */
const makeTree = (top: string): void => {
  mkdirSync(join(top, "d/e"), { recursive: true });
  writeFileSync(join(top, "d/file"), "x".repeat(1000), { mode: 0o640 });
  writeFileSync(join(top, "d/empty"), "");
  writeFileSync(join(top, "d/set"), "s");
  execFileSync("sh", ["-c", "ln file hard && ln -s file soft && mkfifo fifo && chmod 4755 set && printf x > \"$(printf 'n\\377\\001me')\" && touch -d @1000000000.5 file"], { cwd: join(top, "d") });
  symlinkSync("t".repeat(90), join(top, "long"));
  sparse(join(top, "s-none"), []);
  sparse(join(top, "s-ends"), [0, 1 << 20, (3 << 20) - 5000]);
  sparse(join(top, "s-many"), Array.from({ length: 40 }, (_, i) => i * 65536));
};

const GNU: [string, string[]][] = [
  ["v7", ["--format=v7", "--exclude=fifo"]], ["oldgnu", ["--format=oldgnu"]], ["gnu", ["--format=gnu"]], ["ustar", ["--format=ustar"]], ["posix", ["--format=posix"]],
  ["sparse oldgnu", ["-S", "--format=oldgnu"]], ["sparse gnu", ["-S", "--format=gnu"]], ["sparse 0.0", ["-S", "--format=posix", "--sparse-version=0.0"]],
  ["sparse 0.1", ["-S", "--format=posix", "--sparse-version=0.1"]], ["sparse 1.0", ["-S", "--format=posix", "--sparse-version=1.0"]],
];

describe("a folder by other writers", () => {
  const compare = async (archive: string): Promise<void> => {
    expect(await ourList(archive)).toEqual(pythonLists([archive])[0]);
  };
  /** What lies in the tree, for formats where Python's reader is wrong itself. */
  const contents = async (archive: string): Promise<void> => {
    const tree = new Tree();
    await applyLayer(tree, { file: archive, offset: 0, size: statSync(archive).size }, folder, "layer");
    for (const name of ["s-none", "s-ends", "s-many", "d/file"]) {
      const content = tree.lookup(name)?.content;
      if (content === undefined) throw new Error(`${name} is not there`);
      const hash: Buffer[] = [];
      for await (const piece of readContent(content)) hash.push(piece as Buffer);
      execFileSync("cmp", ["-", at(`tree/${name}`)], { input: Buffer.concat(hash) });
    }
    expect(tree.lookup("d/n\u00ff\u0001me")?.kind).toBe("file");
    expect(tree.lookup("d/hard")).toBe(tree.lookup("d/file"));
    expect(tree.lookup("d/set")?.mode).toBe(0o4755);
  };

  having("program:python3").each(GNU)("GNU tar, %s", async (_name, options) => {
    makeTree(at("tree"));
    execFileSync("tar", ["-C", at("tree"), ...options, "-cf", at("a.tar"), "."]);
    await compare(at("a.tar"));
    await contents(at("a.tar"));
  });

  having("program:busybox", "program:python3")("busybox tar", async () => {
    makeTree(at("tree"));
    execFileSync("busybox", ["tar", "-C", at("tree"), "-cf", at("a.tar"), "."]);
    await compare(at("a.tar"));
    await contents(at("a.tar"));
  });

  having("program:bsdtar", "program:python3").each(["ustar", "pax", "gnutar", "v7"])("bsdtar, %s", async (format) => {
    makeTree(at("tree"));
    // Holes by its own pax records; the others expand them.
    execFileSync("bsdtar", ["-C", at("tree"), "--format", format, ...(format === "v7" ? ["--exclude", "fifo"] : []), "-cf", at("a.tar"), "."], { stdio: "pipe" });
    await compare(at("a.tar"));
    await contents(at("a.tar"));
  });

  it("comes out as it went in, holes and all, when GNU tar unpacks what we write", async () => {
    makeTree(at("tree"));
    execFileSync("tar", ["-C", at("tree"), "-S", "--format=posix", "-cf", at("a.tar"), "."]);
    const tree = new Tree();
    await applyLayer(tree, { file: at("a.tar"), offset: 0, size: statSync(at("a.tar")).size }, folder, "layer");
    const pieces: Buffer[] = [];
    for await (const piece of tarOf(tree)) pieces.push(piece);
    const written = Buffer.concat(pieces);
    expect(written.length).toBeLessThan(1 << 20);
    mkdirSync(at("out"));
    execFileSync("tar", ["-C", at("out"), "-xpf", "-"], { input: written });
    execFileSync("diff", ["-r", "--no-dereference", "-x", "fifo", at("tree"), at("out")]);
  });
});
