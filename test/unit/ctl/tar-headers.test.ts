// Single headers, right and wrong, byte by byte: what no writer at hand makes and hostile ones do.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headOf, readContent } from "../../../ctl/image/content.js";
import { applyLayer } from "../../../ctl/image/read-layer.js";
import { forEachEntry, type TarEntry } from "../../../ctl/image/read-tar.js";
import { Tree } from "../../../ctl/image/tree.js";
import { plainTar } from "../../../ctl/image/unpack.js";
import { paxRecord } from "../../../ctl/image/write-tar.js";
import { having } from "../../helpers/suite.js";

let work: string;
beforeEach(() => (work = mkdtempSync(join(tmpdir(), "headers-"))));
afterEach(() => rmSync(work, { recursive: true, force: true }));

interface Fields {
  name?: string | Buffer;
  type?: string;
  /** Octal digits, or the field as it stands. */
  size?: number | Buffer;
  link?: string;
  magic?: string;
  prefix?: string;
  mtime?: Buffer;
  uid?: Buffer;
  signed?: boolean;
  data?: string | Buffer;
  /** Bytes at places of the header. */
  at?: [number, string | Buffer][];
}

const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);

const entry = (fields: Fields): Buffer => {
  const block = Buffer.alloc(512);
  const data = Buffer.from(fields.data ?? "");
  const put = (place: number, value: string | Buffer): void => void Buffer.from(value as string, "latin1").copy(block, place);
  put(0, fields.name ?? "f");
  put(100, "0000644\0");
  put(108, fields.uid ?? "0000000\0");
  put(116, "0000000\0");
  const size = fields.size ?? data.length;
  put(124, typeof size === "number" ? size.toString(8).padStart(11, "0") : size);
  put(136, fields.mtime ?? "00000000000\0");
  put(156, fields.type ?? "0");
  put(157, fields.link ?? "");
  put(257, fields.magic ?? "ustar\x0000");
  put(345, fields.prefix ?? "");
  for (const [place, value] of fields.at ?? []) put(place, value);
  put(148, "        ");
  const sum = block.reduce((total, byte) => total + (fields.signed === true && byte > 127 ? byte - 256 : byte), 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return Buffer.concat([block, padded(data)]);
};

const pax = (records: [string, string | Buffer][], type = "x"): Buffer => entry({ name: "pax", type, data: Buffer.concat(records.map(([key, value]) => paxRecord(key, Buffer.from(value as string)))) });

const END = Buffer.alloc(1024);
let count = 0;
const write = (data: Buffer): { file: string; offset: number; size: number } => {
  const file = join(work, `a${count++}`);
  writeFileSync(file, data);
  return { file, offset: 0, size: data.length };
};

const read = async (...parts: Buffer[]): Promise<TarEntry[]> => {
  const entries: TarEntry[] = [];
  await forEachEntry(write(Buffer.concat(parts)), "layer", (one) => entries.push(one));
  return entries;
};
const text = (one: TarEntry | undefined): string => (one?.content === undefined ? "" : headOf(one.content, 1 << 20).toString("latin1"));

describe("types without data", () => {
  it.each(["1", "2", "3", "4", "5", "6"])("type %s has none, whatever size it states", async (type) => {
    for (const size of [512, 5000, Buffer.from("\u0080\0\0\0\0\0\0\0\0\0\x10\0", "latin1"), Buffer.alloc(12, 0xff), Buffer.from("zzzzzzzzzzz\0")]) {
      const entries = await read(entry({ name: "d", type, size, link: "f" }), entry({ name: "f", data: "after" }), END);
      expect(entries.map((one) => one.path)).toEqual(["d", "f"]);
      expect(text(entries[1])).toBe("after");
    }
    expect((await read(pax([["size", "4096"]]), entry({ name: "d", type, link: "f" }), entry({ name: "f", data: "x" }), END)).length).toBe(2);
  });
  it("skips a hard link's data when some pax writer stored it again", async () => {
    const entries = await read(entry({ name: "f", data: "data" }), entry({ name: "l", type: "1", link: "f", data: "data" }), entry({ name: "g", data: "y" }), END);
    expect(entries.map((one) => [one.path, one.kind])).toEqual([["f", "file"], ["l", "link"], ["g", "file"]]);
  });
  it("takes a slash at a name's end for a directory, as before there was a type for it", async () => {
    expect((await read(entry({ name: "d/", type: "\0", magic: "" }), entry({ name: "e/", magic: "" }), entry({ name: "f", type: "\0", data: "x" }), END)).map((one) => one.kind)).toEqual(["directory", "directory", "file"]);
  });
});

describe("numbers and names", () => {
  it("reads octal among blanks, base-256, and negative times", async () => {
    const [one] = await read(entry({ size: Buffer.from("      3 \0\0\0\0"), uid: Buffer.from("   21 \0"), mtime: Buffer.alloc(12, 0xff), data: "abc" }), END);
    expect(one).toMatchObject({ uid: 17, mtime: -1 });
    expect(text(one)).toBe("abc");
    const [two] = await read(entry({ size: Buffer.concat([Buffer.from([0x80]), Buffer.alloc(10), Buffer.from([3])]), uid: Buffer.from("80000000b2d05e00", "hex"), data: "abc" }), END);
    expect(two?.uid).toBe(3_000_000_000);
    expect(text(two)).toBe("abc");
    expect((await read(entry({ uid: Buffer.from("fffffffffffffffe", "hex") }), END))[0]?.uid).toBe(4294967294);
    expect((await read(entry({ name: Buffer.from([0xe9, 0xff]), signed: true }), END))[0]?.path).toBe("\u00e9\u00ff");
  });
  it.each<[string, Fields, RegExp]>([
    ["negative sizes", { size: Buffer.alloc(12, 0xff) }, /layer: entry 'f': its size is negative/],
    ["sizes that are no number", { size: Buffer.from("12x45\0") }, /entry 'f': damaged header: size is no number/],
    ["sizes beyond all", { size: Buffer.concat([Buffer.from([0x80]), Buffer.alloc(11, 0xee)]) }, /size is too large/],
    ["owners that are none", { uid: Buffer.from("8000000fffffffff", "hex") }, /owner \d+ is not between 0 and 4294967294/],
    ["kinds that nobody knows", { type: "Z" }, /entry 'f': is of a kind \(type flag 'Z'\) that is not supported/],
    ["parts of other volumes", { type: "M" }, /another volume/],
    ["sparse files of star", { type: "S", size: 0 }, /form of star/],
  ])("refuses %s", async (_what, fields, words) => {
    await expect(read(entry(fields), END)).rejects.toThrow(words);
  });
  it("knows ustar's and star's prefix, and that GNU and v7 have none", async () => {
    const paths = async (fields: Fields): Promise<string | undefined> => (await read(entry({ ...fields, prefix: "p/q" }), END))[0]?.path;
    expect(await paths({})).toBe("p/q/f");
    expect(await paths({ at: [[476, "00000000000 00000000000 "], [508, "tar\0"]] })).toBe("p/q/f");
    expect(await paths({ magic: "ustar  \0" })).toBe("f");
    expect(await paths({ magic: "" })).toBe("f");
  });
  it("takes the last of repeated long names, for one entry only", async () => {
    const long = (type: string, name: string): Buffer => entry({ name: "././@LongLink", type, magic: "ustar  \0", data: `${name}\0` });
    const entries = await read(long("L", "a".repeat(200)), long("L", "b".repeat(200)), long("K", "c".repeat(150)), long("K", "d".repeat(150)), entry({ type: "2", magic: "ustar  \0" }), entry({ name: "g" }), END);
    expect(entries.map((one) => [one.path, one.link])).toEqual([["b".repeat(200), "d".repeat(150)], ["g", ""]]);
  });
});

describe("pax records", () => {
  it("overrides every field, for one entry or from there on", async () => {
    const entries = await read(
      pax([["uid", "7"], ["mtime", "1.9"], ["comment", "c"]], "g"), pax([["path", "long"], ["uid", "8"], ["gid", "4294967294"], ["mtime", "-1.5"], ["size", "3"], ["SCHILY.devmajor", "9"]]), entry({ size: 0, data: "abc" }),
      entry({ name: "g" }), pax([["uid", ""]], "g"), entry({ name: "h" }), END,
    );
    expect(entries).toMatchObject([{ path: "long", uid: 8, gid: 4294967294, mtime: -2 }, { path: "g", uid: 7, gid: 0, mtime: 1 }, { path: "h", uid: 0, mtime: 1 }]);
    expect(text(entries[0])).toBe("abc");
  });
  it("takes an empty value as nothing said, but keeps an attribute that is empty", async () => {
    const [one, two] = await read(
      pax([["SCHILY.xattr.user.g", "v"]], "g"), pax([["path", ""], ["uid", ""], ["size", ""], ["mtime", ""], ["linkpath", ""], ["SCHILY.xattr.user.g", ""], ["SCHILY.xattr.user.e", ""]]), entry({ data: "x" }), entry({ name: "g" }), END,
    );
    expect(one).toMatchObject({ path: "f", uid: 0, mtime: 0, link: "" });
    expect([...(one?.xattrs ?? [])]).toEqual([["user.e", Buffer.alloc(0)]]);
    expect([...(two?.xattrs ?? [])]).toEqual([["user.g", Buffer.from("v")]]);
  });
  it("reads names of attributes as bytes, and what is no escape as it stands", async () => {
    const [one] = await read(pax([["LIBARCHIVE.xattr.user.100%", "dg"], ["LIBARCHIVE.xattr.user.%zz%E9%3d", "dg=="], [Buffer.from("SCHILY.xattr.user.\u00ff").toString("latin1"), "w"], ["SCHILY.xattr.user.a%3Db%25", "q"]]), entry({}), END);
    expect([...(one?.xattrs ?? [])].map(([key, value]) => [key, value.toString()])).toEqual([["user.100%", "v"], ["user.%zz\u00e9=", "v"], ["user.\u00c3\u00bf", "w"], ["user.a=b%", "q"]]);
  });
  it.each<[string, Buffer, RegExp]>([
    ["without length", Buffer.from("path=x\n"), /damaged pax header/], ["too long", Buffer.from("99 path=x\n"), /damaged pax header/], ["without its end", Buffer.from("9 path=xy"), /damaged pax header/],
    ["of no number", paxRecord("uid", Buffer.from("x")), /pax record uid is no proper number/], ["of no time", paxRecord("mtime", Buffer.from("1e9")), /pax record mtime is no time/],
    ["of no size", paxRecord("size", Buffer.from("1.5")), /pax record size/], ["with NUL in a link", paxRecord("linkpath", Buffer.from("a\0b")), /NUL byte in its link/],
  ])("refuses records %s", async (_what, data, words) => {
    await expect(read(entry({ type: "x", data }), entry({ type: data.includes("size") ? "0" : "2" }), END)).rejects.toThrow(words);
  });
});

describe("the end of an archive", () => {
  it("is a block of zeros; what stands behind is ignored", async () => {
    for (const end of [END, END.subarray(0, 512), Buffer.alloc(0)]) expect((await read(entry({ data: "x" }), end)).length).toBe(1);
    for (const junk of [entry({ name: "evil", data: "x" }), Buffer.alloc(700, 0x41), Buffer.from("PK\u0003\u0004")]) {
      expect((await read(entry({ data: "x" }), END, junk)).map((one) => one.path)).toEqual(["f"]);
      expect((await read(entry({ data: "x" }), END.subarray(0, 512), junk)).map((one) => one.path)).toEqual(["f"]);
    }
  });
  it.each<[string, Buffer]>([
    ["a header", entry({}).subarray(0, 300)], ["data", entry({ data: "x".repeat(600) }).subarray(0, 1000)], ["an extended header", pax([["path", "x".repeat(600)]]).subarray(0, 700)],
    ["front of an entry", pax([["path", "x"]])], ["front of the zeros", Buffer.concat([pax([["path", "x"]]), END])], ["blocks", Buffer.concat([entry({}), Buffer.alloc(512, 0x41)])],
    ["a sparse map", entry({ type: "S", magic: "ustar  \0", size: 0, at: [[482, "1"], [483, "00000000000\0"]] })],
  ])("is an error in the middle of %s", async (_what, data) => {
    await expect(read(data)).rejects.toThrow(/^layer(: entry .*cut short| is damaged or no tar archive)/);
  });
});

describe("sparse files", () => {
  const v1 = (map: string, data: string, size: number, minor = "0"): Buffer =>
    Buffer.concat([pax([["GNU.sparse.major", "1"], ["GNU.sparse.minor", minor], ["GNU.sparse.name", "real"], ["GNU.sparse.realsize", String(size)]]), entry({ name: "GNUSparseFile.0/real", data: Buffer.concat([padded(Buffer.from(map)), Buffer.from(data)]) }), END]);
  it("keeps name, holes and size", async () => {
    const [one] = await read(v1("2\n10\n3\n20\n2\n", "abcde", 30));
    expect(one?.path).toBe("real");
    expect(text(one)).toBe(`${"\0".repeat(10)}abc${"\0".repeat(7)}de${"\0".repeat(8)}`);
    const streamed: Buffer[] = [];
    for await (const piece of readContent(one?.content ?? write(END))) streamed.push(piece as Buffer);
    expect(Buffer.concat(streamed).toString("latin1")).toBe(text(one));
  });
  it.each<[string, Buffer, RegExp]>([
    ["overlap", v1("2\n10\n3\n12\n2\n", "abcde", 30), /damaged sparse map/], ["leave the file", v1("1\n28\n3\n", "abc", 30), /damaged sparse map/], ["lack data", v1("1\n0\n9\n", "abc", 30), /sparse map of 9 bytes where the archive has 3/],
    ["are no numbers", v1("1\nx\n9\n", "abc", 30), /damaged sparse map/], ["have no end", v1("1\n0", "", 30), /sparse map|cut short|damaged/], ["are of a later version", v1("0\n", "", 30, "7"), /entry 'real': sparse file of version 1\.7, which is not known/],
    ["are larger than all", v1("0\n", "", 2 ** 50), /sparse file of 1125899906842624 bytes/],
  ])("refuses maps that %s", async (_what, data, words) => {
    await expect(read(data)).rejects.toThrow(words);
  });
});

describe("what is packed", () => {
  const tarball = (): Buffer => Buffer.concat([entry({ data: "hello" }), END]);
  const open = async (data: Buffer): Promise<string> => {
    const tree = new Tree();
    await applyLayer(tree, write(data), work, "layer");
    return headOf(tree.lookup("f")?.content ?? write(END), 99).toString();
  };
  const zstd = (data: Buffer, ...options: string[]): Buffer => execFileSync("zstd", ["-qc", ...options], { input: data, maxBuffer: 1 << 26 });
  const skippable = Buffer.concat([Buffer.from("5a2a4d1804000000", "hex"), Buffer.from("note")]);

  having("program:zstd")("takes zstd of several frames, with notes before, between and behind", async () => {
    const data = tarball();
    const frames = [data.subarray(0, 100), data.subarray(100, 900), data.subarray(900)].map((part) => zstd(part));
    for (const parts of [frames, [skippable, ...frames], frames.flatMap((frame) => [frame, skippable]), [zstd(data, "--no-check")]]) expect(await open(Buffer.concat(parts))).toBe("hello");
  });
  having("program:zstd")("refuses damaged zstd: checksum, cut, bytes behind, in every place", async () => {
    const whole = zstd(tarball());
    const flipped = Buffer.from(whole);
    flipped.writeUInt8((flipped.at(-1) ?? 0) ^ 1, flipped.length - 1);
    for (const data of [flipped, whole.subarray(0, -2), whole.subarray(0, 12), Buffer.concat([whole, Buffer.from("behind")]), Buffer.concat([whole, skippable.subarray(0, 9)]), Buffer.concat([whole, flipped, whole])]) {
      await expect(open(data)).rejects.toThrow(/layer is damaged \(zstd\): /);
    }
    expect(readdirSync(work).filter((name) => name.startsWith("unpacked"))).toEqual([]);
  });
  it("takes gzip of several members with bytes behind, and refuses damaged ones", async () => {
    const data = tarball();
    expect(await open(Buffer.concat([gzipSync(data.subarray(0, 700)), gzipSync(data.subarray(700)), Buffer.alloc(100)]))).toBe("hello");
    const whole = gzipSync(data);
    const flipped = Buffer.from(whole);
    flipped.writeUInt8((flipped.at(-6) ?? 0) ^ 1, flipped.length - 6);
    for (const bad of [flipped, whole.subarray(0, -3), whole.subarray(0, 15)]) await expect(open(bad)).rejects.toThrow(/layer is damaged \(gzip\)/);
  });
  it.each([["xz", "fd377a585a00"], ["bzip2", "425a6839"], ["lz4", "04224d18"], ["zip", "504b0304"], ["7z", "377abcaf271c"]])("refuses %s by its name", async (name, hex) => {
    await expect(open(Buffer.concat([Buffer.from(hex, "hex"), Buffer.alloc(600, 0x41)]))).rejects.toThrow(`layer is packed with ${name}, which is not supported: plain tar, gzip and zstd are`);
  });
  it("lets a plain archive's first name look like anything", async () => {
    expect((await read(entry({ name: "BZh9" }), END))[0]?.path).toBe("BZh9");
    const plain = write(Buffer.concat([entry({ name: "BZh9" }), END]));
    expect(await plainTar(plain, work, "x")).toBe(plain);
  });
  it("reads a layer that lies as a sparse file in its archive", async () => {
    const inner = Buffer.concat([entry({ name: "hole", data: Buffer.alloc(4096) }), entry({ data: "hello" }), END]);
    // data of the inner archive but for the zeros of its first entry
    const kept = Buffer.concat([inner.subarray(0, 512), inner.subarray(4608)]);
    const [layer] = await read(pax([["GNU.sparse.size", String(inner.length)], ["GNU.sparse.name", "layer"], ["GNU.sparse.map", `0,512,4608,${inner.length - 4608}`]]), entry({ data: kept }), END);
    const tree = new Tree();
    await applyLayer(tree, layer?.content ?? write(END), work, "layer");
    expect(headOf(tree.lookup("f")?.content ?? write(END), 99).toString()).toBe("hello");
    expect(tree.lookup("hole")?.content?.size).toBe(4096);
    expect(statSync(join(work, readdirSync(work).find((name) => name.startsWith("unpacked")) ?? "")).size).toBe(inner.length);
  });
});
