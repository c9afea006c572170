// Reads one layer (a tar archive, plain or compressed with gzip or zstd) into the tree. It owns unpacking to a plain tar
// in the given work folder; file contents stay there and are only pointed at. Nothing is written anywhere else.
// Sources: OCI image-spec layer.md, pax(1), star's SCHILY.xattr and libarchive's LIBARCHIVE.xattr records.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Transform, type Readable, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Decompress } from "fzstd";
import tar from "tar-stream";
import { ImageError, shown, type Content, type NodeKind, type Tree, type TreeNode } from "./tree.js";

export type Compression = "none" | "gzip" | "zstd";

/** How the bytes are packed, from their first four. */
export const compressionOf = async (content: Content): Promise<Compression> => {
  const handle = await open(content.file, "r");
  try {
    const head = Buffer.alloc(4);
    await handle.read(head, 0, Math.min(4, content.size), content.offset);
    if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
    return head.readUInt32LE(0) === 0xfd2fb528 ? "zstd" : "none";
  } finally {
    await handle.close();
  }
};

/** The bytes of a content as a stream. */
export const readContent = (content: Content): Readable =>
  content.size === 0 ? (createReadStream("/dev/null") as Readable) : createReadStream(content.file, { start: content.offset, end: content.offset + content.size - 1 });

const unzstd = (): Transform => {
  let inner: Decompress;
  const out = new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      try {
        inner.push(new Uint8Array(chunk));
        done();
      } catch (error) {
        done(error as Error);
      }
    },
    flush(done) {
      try {
        inner.push(new Uint8Array(0), true);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
  });
  inner = new Decompress((data) => void out.push(Buffer.from(data)));
  return out;
};

const counting = (hash: { update(data: Buffer): unknown }, size: { bytes: number }): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size.bytes += chunk.length;
      done(null, chunk);
    },
  });

let unpacked = 0;

/** The same bytes without compression: `content` itself, or a new file in `work`. Throws ImageError when they are damaged. */
export const plainTar = async (content: Content, work: string, name: string): Promise<Content> => {
  const compression = await compressionOf(content);
  if (compression === "none") return content;
  const file = join(work, `unpacked-${unpacked++}.tar`);
  const size = { bytes: 0 };
  try {
    const unpack = compression === "gzip" ? createGunzip() : unzstd();
    await pipeline(readContent(content), unpack, counting({ update: () => undefined }, size), createWriteStream(file, { flags: "wx", mode: 0o600 }));
  } catch (error) {
    const cause = error as NodeJS.ErrnoException;
    if (cause.code === "ENOSPC") throw new ImageError(`no space left in ${work} while unpacking ${name}; set TMPDIR to a larger place`, { cause });
    if (cause.syscall !== undefined) throw new ImageError(`cannot unpack ${name}: ${cause.message}`, { cause });
    throw new ImageError(`${name} is damaged (${compression}): ${cause.message}`, { cause });
  }
  return { file, offset: 0, size: size.bytes };
};

/** SHA-256 of a content, as `sha256:<hex>`. */
export const digestOf = async (content: Content): Promise<string> => {
  const hash = createHash("sha256");
  for await (const chunk of readContent(content)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}`;
};

/** What tar-stream tells of an entry; byteOffset is where its data begins in the archive. */
export interface EntryHeader {
  name: string;
  type?: string | null;
  linkname?: string | null;
  mode?: number;
  uid?: number;
  gid?: number;
  size?: number;
  mtime?: Date;
  devmajor?: number;
  devminor?: number;
  byteOffset: number;
}

/** Records of a pax header, values as bytes. tar-stream gives them as UTF-8 text, which ruins binary attributes. */
export const parsePax = (bytes: Buffer): Map<string, Buffer> => {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? 0 : Number(bytes.subarray(at, space).toString("latin1"));
    const end = at + length;
    const equals = bytes.indexOf(0x3d, space + 1);
    if (!Number.isInteger(length) || length < 4 || end > bytes.length || equals < 0 || equals >= end) throw new ImageError("damaged pax header");
    records.set(bytes.subarray(space + 1, equals).toString("latin1"), Buffer.from(bytes.subarray(equals + 1, end - 1)));
    at = end;
  }
  return records;
};

type Records = ReadonlyMap<string, Buffer>;

const XATTR = "SCHILY.xattr.";
const LIBARCHIVE_XATTR = "LIBARCHIVE.xattr.";

const xattrsOf = (records: Records): Map<string, Buffer> => {
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (key.startsWith(LIBARCHIVE_XATTR)) xattrs.set(decodeURIComponent(key.slice(LIBARCHIVE_XATTR.length)), Buffer.from(value.toString("latin1"), "base64"));
  }
  for (const [key, value] of records) if (key.startsWith(XATTR)) xattrs.set(key.slice(XATTR.length), value);
  return xattrs;
};

const numberIn = (records: Records, key: string, otherwise: number): number => {
  const value = records.get(key);
  const number = value === undefined ? otherwise : Number(value.toString("latin1"));
  return Number.isFinite(number) ? number : otherwise;
};

const KINDS: Readonly<Record<string, NodeKind>> = {
  "file": "file", "contiguous-file": "file", "directory": "directory", "symlink": "symlink",
  "character-device": "character-device", "block-device": "block-device", "fifo": "fifo",
};

const nodeOf = (header: EntryHeader, kind: NodeKind, records: Records, tarball: Content): TreeNode => {
  const node: TreeNode = {
    kind,
    mode: (header.mode ?? 0o644) & 0o7777,
    uid: numberIn(records, "uid", header.uid ?? 0),
    gid: numberIn(records, "gid", header.gid ?? 0),
    mtime: Math.max(0, Math.floor(numberIn(records, "mtime", (header.mtime?.getTime() ?? 0) / 1000))),
    xattrs: xattrsOf(records),
  };
  if (kind === "symlink") node.target = header.linkname ?? "";
  if (kind === "character-device" || kind === "block-device") Object.assign(node, { major: header.devmajor ?? 0, minor: header.devminor ?? 0 });
  if (kind === "file") node.content = { file: tarball.file, offset: tarball.offset + header.byteOffset, size: header.size ?? 0 };
  return node;
};

const WHITEOUT = ".wh.";

const applyEntry = (tree: Tree, header: EntryHeader, records: Records, tarball: Content): void => {
  const path = records.get("path")?.toString("latin1") ?? header.name;
  const link = records.get("linkpath")?.toString("latin1") ?? header.linkname ?? "";
  const clean = path.replace(/\/+$/, "");
  const slash = clean.lastIndexOf("/");
  const name = clean.slice(slash + 1);
  const folder = slash < 0 ? "" : clean.slice(0, slash);
  if (name === ".wh..wh..opq") return tree.opaque(folder);
  // Names that begin with two whiteout marks are notes of aufs, no files.
  if (name.startsWith(".wh..wh.")) return;
  if (name.startsWith(WHITEOUT)) {
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") throw new ImageError(`whiteout '${shown(path)}' names no file`);
    return tree.whiteout(folder, hidden);
  }
  if (header.type === "link") return tree.hardLink(path, link);
  const kind = KINDS[header.type ?? ""];
  if (kind === undefined) throw new ImageError(`entry '${shown(path)}' is of a kind that is not supported`);
  tree.put(path, nodeOf({ ...header, linkname: link }, kind, records, tarball));
};

interface LongHeaderHook {
  _header: { type: string };
  _decodeLongHeader(bytes: Buffer): void;
}

/** Call `visit` for each entry of a plain tar. Throws ImageError that names the archive when it is damaged. */
export const forEachEntry = async (tarball: Content, name: string, visit: (header: EntryHeader, records: Records) => void): Promise<void> => {
  const extract = tar.extract({ filenameEncoding: "latin1" } as Parameters<typeof tar.extract>[0]);
  let records: Records = new Map();
  let failure: Error | undefined;
  const hook = extract as unknown as LongHeaderHook;
  const decode = hook._decodeLongHeader.bind(extract);
  hook._decodeLongHeader = (bytes) => {
    if (hook._header.type === "pax-header") records = parsePax(Buffer.from(bytes));
    decode(bytes);
  };
  extract.on("entry", (header, stream, next) => {
    try {
      visit(header as unknown as EntryHeader, records);
    } catch (error) {
      failure = error as Error;
    }
    records = new Map();
    // A cut archive fails its last entry too; the pipeline below tells of it.
    stream.on("error", () => undefined);
    stream.on("end", () => next(failure));
    stream.resume();
  });
  try {
    await pipeline(readContent(tarball), extract as unknown as NodeJS.WritableStream);
  } catch (error) {
    if (failure !== undefined) throw failure instanceof ImageError ? new ImageError(`${name}: ${failure.message}`, { cause: failure }) : failure;
    throw new ImageError(`${name} is damaged or no tar archive: ${(error as Error).message}`, { cause: error });
  }
};

/** Apply one layer to the tree; unpacks to `work` when it is compressed. Throws ImageError that names layer and entry. */
export const applyLayer = async (tree: Tree, layer: Content, work: string, name: string): Promise<Content> => {
  const plain = await plainTar(layer, work, name);
  tree.nextLayer();
  await forEachEntry(plain, name, (header, records) => applyEntry(tree, header, records, plain));
  return plain;
};
