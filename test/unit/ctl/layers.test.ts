// Layers applied to a tree: what images may hold, and what hostile ones try. Nothing may ever appear on this machine outside
// the work folder; the tree is the only thing that changes.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readContent } from "../../../ctl/image/content.js";
import { parsePax } from "../../../ctl/image/pax.js";
import { applyLayer } from "../../../ctl/image/read-layer.js";
import { Tree, type TreeNode } from "../../../ctl/image/tree.js";
import { paxRecord, tarOf } from "../../../ctl/image/write-tar.js";
import { tarball, type TarEntry } from "../../helpers/tarball.js";

let work: string;
beforeEach(() => (work = mkdtempSync(join(tmpdir(), "layers-"))));
afterEach(() => rmSync(work, { recursive: true, force: true }));

let count = 0;
const layer = async (tree: Tree, entries: TarEntry[], pack: (data: Buffer) => Buffer = (data) => data): Promise<void> => {
  const data = pack(await tarball(entries));
  const file = join(work, `layer-${count++}`);
  writeFileSync(file, data);
  await applyLayer(tree, { file, offset: 0, size: data.length }, work, "layer 1");
};

const treeOf = async (...layers: TarEntry[][]): Promise<Tree> => {
  const tree = new Tree();
  for (const entries of layers) await layer(tree, entries);
  return tree;
};

/** All paths of the tree, directories with a slash, symlinks with their target. */
const paths = (tree: Tree): string[] => {
  const out: string[] = [];
  const walk = (path: string, node: TreeNode): void => {
    for (const [name, { node: child }] of node.children ?? []) {
      const inner = `${path}${name}`;
      out.push(child.kind === "directory" ? `${inner}/` : child.kind === "symlink" ? `${inner}->${child.target}` : inner);
      walk(`${inner}/`, child);
    }
  };
  walk("", tree.root);
  return out.sort();
};

const text = async (tree: Tree, path: string): Promise<string> => {
  const content = tree.lookup(path)?.content;
  if (content === undefined) throw new Error(`${path} has no content`);
  const pieces: Buffer[] = [];
  for await (const piece of readContent(content)) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString();
};

describe("applying layers", () => {
  it("keeps names, modes, owners, times, links and devices", async () => {
    const tree = await treeOf([
      { name: "./", type: "directory", mode: 0o755 },
      { name: "bin/", type: "directory", mode: 0o755 },
      { name: "bin/su", data: "x", mode: 0o4755, uid: 7, gid: 8 },
      { name: "bin/sh", type: "symlink", linkname: "su" },
      { name: "bin/su2", type: "link", linkname: "bin/su" },
      { name: "dev/null", type: "character-device", devmajor: 1, devminor: 3, mode: 0o666 },
      { name: "dev/sda", type: "block-device", devmajor: 8, devminor: 0 },
      { name: "run/pipe", type: "fifo" },
    ]);
    expect(paths(tree)).toEqual(["bin/", "bin/sh->su", "bin/su", "bin/su2", "dev/", "dev/null", "dev/sda", "run/", "run/pipe"]);
    expect(tree.lookup("bin/su")).toMatchObject({ kind: "file", mode: 0o4755, uid: 7, gid: 8 });
    expect(tree.lookup("bin/su2")).toBe(tree.lookup("bin/su"));
    expect(tree.lookup("dev/null")).toMatchObject({ kind: "character-device", major: 1, minor: 3 });
    expect(await text(tree, "bin/sh")).toBe("x");
  });

  it("takes gzip, zstd and plain layers alike", async () => {
    const zstd = (data: Buffer): Buffer => execFileSync("zstd", ["-c"], { input: data, maxBuffer: 1 << 26 });
    const big = "0123456789".repeat(100_000);
    for (const pack of [(d: Buffer) => d, gzipSync as (d: Buffer) => Buffer, zstd]) {
      const tree = new Tree();
      await layer(tree, [{ name: "big", data: big }], pack);
      expect(await text(tree, "big")).toBe(big);
    }
  });

  it("reads names longer than a header holds", async () => {
    const long = `${"d".repeat(120)}/${"e".repeat(200)}`;
    const tree = await treeOf([{ name: long, data: "deep" }, { name: "l", type: "symlink", linkname: `/${long}` }]);
    expect(await text(tree, "l")).toBe("deep");
  });

  it("replaces files, merges directories, and puts a file in place of a directory", async () => {
    const tree = await treeOf(
      [{ name: "a", data: "1" }, { name: "d/x", data: "1" }, { name: "e/y", data: "1" }],
      [{ name: "a", data: "2" }, { name: "d/", type: "directory", mode: 0o700 }, { name: "d/z", data: "2" }, { name: "e", data: "now a file" }],
    );
    expect(paths(tree)).toEqual(["a", "d/", "d/x", "d/z", "e"]);
    expect(tree.lookup("d")?.mode).toBe(0o700);
    expect(await text(tree, "a")).toBe("2");
  });

  it("hides lower entries by whiteouts, also whole directories, and never those of the same layer", async () => {
    const tree = await treeOf(
      [{ name: "keep", data: "1" }, { name: "gone", data: "1" }, { name: "dir/a", data: "1" }, { name: "dir/b", data: "1" }, { name: "old/x", data: "1" }],
      [{ name: "old/new", data: "2" }, { name: ".wh.gone" }, { name: "dir/.wh.a" }, { name: ".wh.old" }, { name: ".wh.never-there" }],
    );
    expect(paths(tree)).toEqual(["dir/", "dir/b", "keep", "old/", "old/new"]);
  });

  it("empties a directory of lower entries by an opaque mark, wherever the mark stands in the layer", async () => {
    for (const order of [0, 1]) {
      const upper: TarEntry[] = [{ name: "d/new", data: "2" }, { name: "d/.wh..wh..opq" }];
      const tree = await treeOf([{ name: "d/old", data: "1" }, { name: "d/sub/old", data: "1" }], order === 0 ? upper : upper.reverse());
      expect(paths(tree)).toEqual(["d/", "d/new"]);
    }
  });

  it("follows symlinked directories inside the root, as the container would", async () => {
    const tree = await treeOf([{ name: "usr/bin/", type: "directory" }, { name: "bin", type: "symlink", linkname: "usr/bin" }], [{ name: "bin/tool", data: "t" }]);
    expect(paths(tree)).toEqual(["bin->usr/bin", "usr/", "usr/bin/", "usr/bin/tool"]);
  });

  it("keeps binary extended attributes byte for byte, of both spellings", async () => {
    const capability = Buffer.from("0100000200200000000000000000000000000000ff", "hex");
    const pax = Buffer.concat([paxRecord("SCHILY.xattr.security.capability", capability), paxRecord("LIBARCHIVE.xattr.user.a%20b", Buffer.from(Buffer.from("v").toString("base64")))]);
    expect(parsePax(pax).get("SCHILY.xattr.security.capability")).toEqual(capability);
    const plain = await tarball([{ name: "ping", data: "p" }]);
    const header = await tarball([{ name: "pax", data: pax }]);
    header.write("x", 156);
    header.fill(" ", 148, 156);
    header.write(`${header.subarray(0, 512).reduce((a, b) => a + b, 0).toString(8).padStart(6, "0")}\0 `, 148);
    writeFileSync(join(work, "x.tar"), Buffer.concat([header.subarray(0, 1024), plain]));
    const tree = new Tree();
    await applyLayer(tree, { file: join(work, "x.tar"), offset: 0, size: 1024 + plain.length }, work, "x");
    expect(tree.lookup("ping")?.xattrs.get("security.capability")).toEqual(capability);
    expect(tree.lookup("ping")?.xattrs.get("user.a b")?.toString()).toBe("v");
  });

  it("takes large owners from pax records", async () => {
    const tree = await treeOf([{ name: "f", data: "", pax: { uid: "2000000000", gid: "4294967294" } }]);
    expect(tree.lookup("f")).toMatchObject({ uid: 2000000000, gid: 4294967294 });
  });
});

describe("hostile layers", () => {
  const refused = (entries: TarEntry[], words: RegExp): Promise<void> => expect(treeOf(entries)).rejects.toThrow(words);

  it("refuses names that climb out of the root", async () => {
    await refused([{ name: "../escape", data: "x" }], /layer 1: entry '\.\.\/escape' points outside the root/);
    await refused([{ name: "a/../../escape", data: "x" }], /outside the root/);
    await refused([{ name: "/../../etc/passwd", data: "x" }], /outside the root/);
    await refused([{ name: "x", type: "link", linkname: "../../etc/passwd" }], /outside the root/);
    await refused([{ name: "../.wh.x" }], /outside the root/);
  });

  it("keeps absolute names and names through symlinks inside the root", async () => {
    const victim = join(work, "victim");
    mkdirSync(victim);
    const tree = await treeOf([
      { name: "/etc/shadow", data: "inside" },
      { name: "up", type: "symlink", linkname: "../../../../../../.." },
      { name: "up/top", data: "inside" },
      { name: "out", type: "symlink", linkname: victim },
      { name: "out/planted", data: "inside" },
    ]);
    expect(readdirSync(victim)).toEqual([]);
    expect(await text(tree, "etc/shadow")).toBe("inside");
    expect(await text(tree, "top")).toBe("inside");
    expect(await text(tree, `${victim.slice(1)}/planted`)).toBe("inside");
  });

  it("refuses hard links to nothing and to directories", async () => {
    await refused([{ name: "x", type: "link", linkname: "nowhere" }], /hard link 'x' points to 'nowhere', which is not in the image/);
    await refused([{ name: "d/", type: "directory" }, { name: "x", type: "link", linkname: "d" }], /points to the directory 'd'/);
  });

  it("refuses a root that is no directory", async () => {
    await refused([{ name: "./", type: "symlink", linkname: "/etc" }], /root of the file system is a symlink/);
    await refused([{ name: ".", data: "x" }], /root of the file system is a file/);
  });

  it("refuses symlink loops, files used as directories and names that are too long", async () => {
    await refused([{ name: "a", type: "symlink", linkname: "b" }, { name: "b", type: "symlink", linkname: "a" }, { name: "a/x", data: "" }], /too many symbolic links/);
    await refused([{ name: "f", data: "" }, { name: "f/x", data: "" }], /'f' is a file, not a directory/);
    await refused([{ name: "n".repeat(300), data: "" }], /longer than 255 bytes/);
  });

  it("refuses whiteouts that name no file", async () => {
    await refused([{ name: "a/.wh.." }], /names no file/);
    await refused([{ name: "a/.wh..." }], /names no file/);
  });

  it("says which layer is damaged", async () => {
    const good = await tarball([{ name: "f", data: "x".repeat(5000) }]);
    const cases: [string, Buffer, RegExp][] = [
      ["cut", good.subarray(0, 3000), /layer 9 is damaged/],
      ["garbage", Buffer.alloc(4096, 0x41), /layer 9 is damaged or no tar archive/],
      ["gzip", gzipSync(good).subarray(0, 40), /layer 9 is damaged \(gzip\)/],
      ["zstd", Buffer.concat([Buffer.from("28b52ffd", "hex"), Buffer.alloc(50, 0xee)]), /layer 9 is damaged \(zstd\)/],
    ];
    for (const [name, data, words] of cases) {
      const file = join(work, name);
      writeFileSync(file, data);
      await expect(applyLayer(new Tree(), { file, offset: 0, size: data.length }, work, "layer 9")).rejects.toThrow(words);
    }
  });
});

describe("writing a tree as tar", () => {
  it("gives GNU tar what was read, with hard links and long names", async () => {
    const tree = await treeOf([
      { name: "a/b", data: "hello", mode: 0o640, uid: 5, gid: 6 }, { name: "a/hard", type: "link", linkname: "a/b" },
      { name: `${"x".repeat(150)}/${"y".repeat(150)}`, data: "deep" }, { name: "s", type: "symlink", linkname: "z".repeat(180) },
      { name: "null", type: "character-device", devmajor: 1, devminor: 3 }, { name: "big-owner", data: "", pax: { uid: "3000000000" } },
    ]);
    const pieces: Buffer[] = [];
    for await (const piece of tarOf(tree)) pieces.push(piece);
    const list = execFileSync("tar", ["-tv", "--numeric-owner"], { input: Buffer.concat(pieces) }).toString();
    expect(list).toMatch(/-rw-r----- 5\/6 +5 .* a\/b\n/);
    expect(list).toMatch(/a\/hard link to a\/b/);
    expect(list).toContain(`${"x".repeat(150)}/${"y".repeat(150)}`);
    expect(list).toContain(`s -> ${"z".repeat(180)}`);
    expect(list).toMatch(/crw-r--r-- 0\/0 +1,3 .* null/);
    expect(list).toMatch(/3000000000\/0 .* big-owner/);
  });
});
