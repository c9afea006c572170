// Walks the entries of a plain tar archive as all writers make them. It owns what a header and the extended headers before it
// mean together; data is never read, only pointed at. Where readers differ it does as Go's archive/tar, which other container
// tools read layers with. Sources: pax(1), tar(5) of libarchive, GNU tar's manual and list.c, Go's archive/tar/reader.go.
import { open, type FileHandle } from "node:fs/promises";
import type { Content, Piece } from "./content.js";
import { integerIn, layRecords, paxList, secondsIn, xattrsIn, type Records } from "./pax.js";
import { oldGnuSparse, paxSparse } from "./sparse.js";
import { BLOCK, isHeader, isZero, parseHeader, type RawHeader } from "./tar-header.js";
import { ImageError, shown, type NodeKind } from "./tree.js";

/** One entry; names and link targets are byte strings (latin1). */
export interface TarEntry {
  kind: NodeKind | "link";
  path: string;
  link: string;
  mode: number;
  uid: number;
  gid: number;
  /** Whole seconds since 1970, perhaps negative. */
  mtime: number;
  major: number;
  minor: number;
  xattrs: ReadonlyMap<string, Buffer>;
  /** Of a file. */
  content?: Content;
}

/** The archive breaks off or is none. */
class Damaged extends ImageError {}

const MAX_EXTENDED = 8 * 1024 * 1024;
const WINDOW = 64 * 1024;

const whole = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

/** The archive's bytes by their place, read a window at a time. */
class Blocks {
  at = 0;
  #window = Buffer.alloc(0);
  #from = 0;
  constructor(readonly handle: FileHandle, readonly archive: Content) {}

  /** `size` bytes at `at`, which moves behind them; fewer at the archive's end. */
  async take(size: number): Promise<Buffer> {
    const bytes = await this.look(this.at, size);
    this.at += size;
    return bytes;
  }

  async look(at: number, size: number): Promise<Buffer> {
    if (at < this.#from || at + size > this.#from + this.#window.length) {
      const window = Buffer.alloc(Math.max(0, Math.min(Math.max(WINDOW, size), this.archive.size - at)));
      let filled = 0;
      while (filled < window.length) {
        const { bytesRead } = await this.handle.read(window, filled, window.length - filled, this.archive.offset + at + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      this.#window = window.subarray(0, filled);
      this.#from = at;
    }
    return this.#window.subarray(at - this.#from, at - this.#from + size);
  }
}

/** What extended headers said of the entry that comes next. */
interface Said {
  list: [string, Buffer][];
  name?: string;
  link?: string;
}

const idOf = (value: number, what: string): number => {
  // Some writers mean the id's 32 bits.
  const id = value < 0 && value >= -(2 ** 31) ? value + 2 ** 32 : value;
  if (!(id >= 0 && id < 0xffffffff)) throw new ImageError(`${what} ${value} is not between 0 and 4294967294`);
  return id;
};

const KINDS: Readonly<Record<string, NodeKind | "link">> = {
  "0": "file", "7": "file", "S": "file", "1": "link", "2": "symlink", "3": "character-device", "4": "block-device", "5": "directory", "D": "directory", "6": "fifo",
};

const KNOWN: Readonly<Record<string, string>> = { M: "the rest of a file that began on another volume", N: "a list of long names of an old GNU tar" };

const kindOf = (header: RawHeader, path: string): NodeKind | "link" => {
  const kind = KINDS[header.type];
  if (kind === undefined) throw new ImageError(`is ${KNOWN[header.type] ?? `of a kind (type flag '${header.type}')`} that is not supported`);
  // Before directories had a type of their own, the slash told them.
  return kind === "file" && header.type !== "S" && path.endsWith("/") ? "directory" : kind;
};

/** Bytes of data that follow the header: types without data have none, whatever their size says. */
const storedSize = async (blocks: Blocks, header: RawHeader, kind: NodeKind | "link", records: Records): Promise<number> => {
  if (kind === "file" || header.type === "D") {
    const size = integerIn(records, "size") ?? header.size;
    if (size < 0) throw new ImageError("its size is negative");
    return size;
  }
  // pax(1) may store a hard link's data again (-o linkdata): told by the next header standing behind it and not here.
  const said = kind === "link" ? header.size : 0;
  if (said <= 0 || blocks.at + said > blocks.archive.size) return 0;
  const [here, behind] = [Buffer.from(await blocks.look(blocks.at, BLOCK)), await blocks.look(blocks.at + whole(said), BLOCK)];
  return !isHeader(here) && !isZero(here) && (isHeader(behind) || isZero(behind)) ? said : 0;
};

const contentOf = async (blocks: Blocks, block: Buffer, header: RawHeader, stored: number, records: Records, list: [string, Buffer][]): Promise<Content> => {
  const { file, offset } = blocks.archive;
  const next = async (): Promise<Buffer | undefined> => {
    const bytes = await blocks.take(BLOCK);
    return bytes.length < BLOCK ? undefined : bytes;
  };
  if (header.type === "S" && header.format !== "gnu") throw new ImageError("is a sparse file in the form of star, which is not supported");
  const begin = blocks.at;
  const map = header.type === "S" ? await oldGnuSparse(block, stored, next) : await paxSparse(records, list, stored, next);
  if (header.type !== "S") blocks.at = begin;
  const data = blocks.at + (map?.before ?? 0);
  const only = map?.pieces.length === 1 ? map.pieces[0] : undefined;
  if (map === undefined || (only?.at === 0 && only.size === map.size)) return { file, offset: offset + data, size: map?.size ?? stored };
  return { file, offset: offset + data, size: map.size, pieces: map.pieces as Piece[] };
};

const entryOf = async (blocks: Blocks, block: Buffer, header: RawHeader, global: Records, said: Said): Promise<TarEntry> => {
  const records = layRecords(global, new Map(said.list));
  const bytes = (key: string): string | undefined => records.get(key)?.toString("latin1");
  const path = bytes("GNU.sparse.name") ?? said.name ?? bytes("path") ?? header.name;
  const link = said.link ?? bytes("linkpath") ?? header.link;
  try {
    if (link.includes("\0")) throw new ImageError("has a NUL byte in its link");
    const kind = kindOf(header, path);
    const stored = await storedSize(blocks, header, kind, records);
    const content = kind === "file" ? await contentOf(blocks, block, header, stored, records, said.list) : undefined;
    const end = blocks.at + stored;
    if (end > blocks.archive.size) throw new Damaged(`the archive is cut short in '${shown(path)}'`);
    blocks.at += whole(stored);
    return {
      kind, path, link, mode: header.mode & 0o7777, xattrs: xattrsIn(records), mtime: secondsIn(records, "mtime") ?? header.mtime,
      uid: idOf(integerIn(records, "uid") ?? header.uid, "owner"), gid: idOf(integerIn(records, "gid") ?? header.gid, "group"),
      major: integerIn(records, "SCHILY.devmajor") ?? header.major, minor: integerIn(records, "SCHILY.devminor") ?? header.minor,
      ...(content === undefined ? {} : { content }),
    };
  } catch (error) {
    if (error instanceof Damaged || !(error instanceof ImageError)) throw error;
    throw new ImageError(`entry '${shown(path)}': ${error.message}`, { cause: error });
  }
};

const untilNul = (bytes: Buffer): string => bytes.toString("latin1", 0, bytes.indexOf(0) < 0 ? bytes.length : bytes.indexOf(0));

/** The data of a header that speaks of others. */
const extended = async (blocks: Blocks, header: RawHeader): Promise<Buffer> => {
  if (!(header.size >= 0 && header.size <= MAX_EXTENDED)) throw new Damaged(`an extended header of ${header.size} bytes: at most ${MAX_EXTENDED} are taken`);
  const bytes = Buffer.from(await blocks.look(blocks.at, header.size));
  if (bytes.length < header.size) throw new Damaged("the archive is cut short in an extended header");
  blocks.at += whole(header.size);
  return bytes;
};

async function* walk(blocks: Blocks): AsyncGenerator<TarEntry> {
  let global: Records = new Map();
  let said: Said = { list: [] };
  for (let waits = false; ; ) {
    const place = blocks.at;
    const block = Buffer.from(await blocks.take(BLOCK));
    // One block of zeros ends the archive; what stands behind it is nobody's business.
    const end = block.length === 0 || (block.length === BLOCK && isZero(block));
    if (end && waits) throw new Damaged("the archive ends behind an extended header");
    if (end) return;
    if (block.length < BLOCK) throw new Damaged("the archive is cut short");
    if (!isHeader(block)) throw new Damaged(`no header at byte ${place}`);
    const header = parseHeader(block);
    waits = true;
    if (header.type === "x" || header.type === "X") said.list = paxList(await extended(blocks, header));
    else if (header.type === "g") [global, waits] = [layRecords(global, new Map(paxList(await extended(blocks, header)))), false];
    else if (header.type === "L") said.name = untilNul(await extended(blocks, header));
    else if (header.type === "K") said.link = untilNul(await extended(blocks, header));
    else if (header.type === "V" || header.type === "A") [, waits] = [await extended(blocks, header), false]; // a label; lists for access of Solaris
    else {
      yield await entryOf(blocks, block, header, global, said);
      said = { list: [] };
      waits = false;
    }
  }
}

/** Call `visit` for each entry of a plain tar. Throws ImageError that names the archive, and the entry when one is wrong. */
export const forEachEntry = async (archive: Content, name: string, visit: (entry: TarEntry) => void): Promise<void> => {
  const handle = await open(archive.file, "r");
  try {
    for await (const entry of walk(new Blocks(handle, archive))) visit(entry);
  } catch (error) {
    if (error instanceof Damaged) throw new ImageError(`${name} is damaged or no tar archive: ${error.message}`, { cause: error });
    throw error instanceof ImageError ? new ImageError(`${name}: ${error.message}`, { cause: error }) : error;
  } finally {
    await handle.close();
  }
};
