// Extended headers of pax archives: their records, and what these say of an entry. Values are bytes. Pure.
// Sources: pax(1) "pax Extended Header", star's SCHILY.xattr, libarchive's LIBARCHIVE.xattr records, GNU tar's xattr.c.
import { ImageError } from "./tree.js";

/** Records by keyword; the last of several counts. */
export type Records = ReadonlyMap<string, Buffer>;

/** All records in their order, for the one use where a keyword comes again (sparse maps of version 0.0). Throws ImageError. */
export const paxList = (bytes: Buffer): [string, Buffer][] => {
  const records: [string, Buffer][] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? "" : bytes.toString("latin1", at, Math.min(space, at + 16));
    const end = /^\d+$/.test(digits) ? at + Number(digits) : 0;
    const equals = bytes.indexOf(0x3d, space + 1);
    if (end > bytes.length || equals < 0 || equals >= end || bytes[end - 1] !== 0x0a) throw new ImageError("damaged pax header");
    records.push([bytes.toString("latin1", space + 1, equals), Buffer.from(bytes.subarray(equals + 1, end - 1))]);
    at = end;
  }
  return records;
};

/** Records of a pax header, values as bytes. Throws ImageError. */
export const parsePax = (bytes: Buffer): Map<string, Buffer> => new Map(paxList(bytes));

const XATTR = "SCHILY.xattr.";
const LIBARCHIVE_XATTR = "LIBARCHIVE.xattr.";

const isXattr = (key: string): boolean => key.startsWith(XATTR) || key.startsWith(LIBARCHIVE_XATTR);

/**
 * The records of one entry over those of the archive. An empty value takes back what was said before (of all entries, or in the
 * header itself); only an extended attribute that was said nowhere else is one with an empty value.
 */
export const layRecords = (global: Records, own: Records): Map<string, Buffer> => {
  const all = new Map(global);
  for (const [key, value] of own) {
    if (value.length > 0 || (isXattr(key) && !all.has(key))) all.set(key, value);
    else all.delete(key);
  }
  return all;
};

// What is no escape stands for itself, as in libarchive.
const unescape = (text: string, only: RegExp): string => text.replace(only, (_all, hex: string) => String.fromCharCode(parseInt(hex, 16)));

/** Extended attributes; names are byte strings. GNU tar escapes `=` and `%` in names, libarchive more and values as base64. */
export const xattrsIn = (records: Records): Map<string, Buffer> => {
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (key.startsWith(LIBARCHIVE_XATTR)) {
      xattrs.set(unescape(key.slice(LIBARCHIVE_XATTR.length), /%([0-9A-Fa-f]{2})/g), Buffer.from(value.toString("latin1"), "base64"));
    }
  }
  for (const [key, value] of records) if (key.startsWith(XATTR)) xattrs.set(unescape(key.slice(XATTR.length), /%(3D|25)/g), value);
  for (const name of xattrs.keys()) if (name === "" || name.includes("\0")) throw new ImageError("an extended attribute has no proper name");
  return xattrs;
};

/** A whole number in a record; undefined when there is none. Throws ImageError when it is no number or too large. */
export const integerIn = (records: Records, key: string): number | undefined => {
  const text = records.get(key)?.toString("latin1");
  if (text === undefined) return undefined;
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new ImageError(`pax record ${key} is no proper number`);
  return value;
};

/** A time in a record, in whole seconds; undefined when there is none. Throws ImageError. */
export const secondsIn = (records: Records, key: string): number | undefined => {
  const text = records.get(key)?.toString("latin1");
  if (text === undefined) return undefined;
  if (!/^-?(\d+\.?\d*|\.\d+)$/.test(text)) throw new ImageError(`pax record ${key} is no time`);
  return Math.floor(Number(text));
};
