// One 512-byte header of a tar archive to its fields, as bytes (latin1 text) and numbers, in every dialect: v7, ustar, old GNU, star.
// Pure. Sources: POSIX pax(1) "ustar Interchange Format", tar(5) of libarchive, GNU tar's manual "Basic Tar Format".
import { ImageError, shown } from "./tree.js";

export const BLOCK = 512;

export interface RawHeader {
  /** "gnu" and "v7" have no prefix field; "v7" has neither users' names nor device numbers. */
  format: "ustar" | "gnu" | "v7";
  name: string;
  mode: number;
  uid: number;
  gid: number;
  /** As stated, also for types without data; 0 when one of these states no number. */
  size: number;
  mtime: number;
  /** The type flag; NUL of the oldest archives is "0". */
  type: string;
  link: string;
  major: number;
  minor: number;
}

/** Bytes up to the first NUL. */
const text = (block: Buffer, at: number, length: number): string => {
  const end = block.indexOf(0, at);
  return block.toString("latin1", at, end < 0 || end > at + length ? at + length : end);
};

// Two's complement, big-endian; the top bit is the mark. The rest must fit a double exactly.
const base256 = (field: Buffer, what: string): number => {
  const negative = ((field[0] ?? 0) & 0x40) !== 0;
  let value = BigInt((field[0] ?? 0) & 0x3f) - (negative ? 0x40n : 0n);
  for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < -BigInt(Number.MAX_SAFE_INTEGER)) throw new ImageError(`damaged header: ${what} is too large`);
  return Number(value);
};

/** A number of a header: octal digits among blanks and NULs, or base-256. An empty field is 0. Throws ImageError. */
export const numberAt = (block: Buffer, at: number, length: number, what: string): number => {
  const field = block.subarray(at, at + length);
  if (((field[0] ?? 0) & 0x80) !== 0) return base256(field, what);
  const digits = /^[\0 ]*(-?[0-7]*)(?:[\0 ].*)?$/s.exec(field.toString("latin1"))?.[1];
  const value = digits === undefined ? Number.NaN : digits === "" ? 0 : digits.startsWith("-") ? -parseInt(digits.slice(1), 8) : parseInt(digits, 8);
  if (Number.isNaN(value)) throw new ImageError(`damaged header: ${what} is no number`);
  return value;
};

/** Is its checksum right? Old writers added signed bytes. Throws nothing. */
export const isHeader = (block: Buffer): boolean => {
  if (block.length < BLOCK) return false;
  const stored = /^[\0 ]*([0-7]+)/.exec(block.toString("latin1", 148, 156))?.[1];
  let unsigned = 8 * 0x20;
  let high = 0;
  for (let i = 0; i < BLOCK; i += 1) {
    if (i === 148) i = 156;
    const byte = block[i] ?? 0;
    unsigned += byte;
    if (byte > 127) high += 1;
  }
  const sum = stored === undefined ? -1 : parseInt(stored, 8);
  return sum === unsigned || sum === unsigned - 256 * high;
};

export const isZero = (block: Buffer): boolean => block.every((byte) => byte === 0);

// star marks its headers behind the prefix, which is shorter there because two times follow it.
const prefixOf = (block: Buffer): string => text(block, 345, block.toString("latin1", 508, 512) === "tar\0" ? 131 : 155);

const WITHOUT_DATA = "123456";

const sizeOf = (block: Buffer, type: string): number => {
  try {
    return numberAt(block, 124, 12, "size");
  } catch (error) {
    if (WITHOUT_DATA.includes(type)) return 0;
    throw error;
  }
};

/** The fields of a header whose checksum is right. Throws ImageError that names the entry and the field. */
export const parseHeader = (block: Buffer): RawHeader => {
  const magic = block.toString("latin1", 257, 263);
  const format = magic === "ustar\0" ? "ustar" : magic === "ustar " ? "gnu" : "v7";
  const prefix = format === "ustar" ? prefixOf(block) : "";
  const own = text(block, 0, 100);
  const name = prefix === "" ? own : `${prefix}/${own}`;
  try {
    const type = block.toString("latin1", 156, 157);
    const device = type === "3" || type === "4";
    return {
      format, name, type: type === "\0" ? "0" : type, link: text(block, 157, 100),
      mode: numberAt(block, 100, 8, "mode"), uid: numberAt(block, 108, 8, "uid"), gid: numberAt(block, 116, 8, "gid"),
      size: sizeOf(block, type), mtime: numberAt(block, 136, 12, "mtime"),
      major: device && format !== "v7" ? numberAt(block, 329, 8, "major") : 0, minor: device && format !== "v7" ? numberAt(block, 337, 8, "minor") : 0,
    };
  } catch (error) {
    throw new ImageError(`entry '${shown(name)}': ${(error as Error).message}`, { cause: error });
  }
};
