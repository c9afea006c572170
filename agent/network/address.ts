// Addresses as text and as bytes: IPv4, IPv6 (RFC 4291, written as RFC 5952 says), prefixes, MAC addresses. Pure; it knows no
// interface. What cannot be parsed is undefined, so that the caller can say whose address it was.
import { decimal, parseBase } from "../lib/text.js";

/** An address: 4 or 16 bytes, in network order. */
export type Ip = Uint8Array;

function parseV4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes: number[] = [];
  for (const part of parts) {
    const value = decimal(part);
    if (value === undefined || value > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    bytes.push(value);
  }
  return bytes;
}

/** The bytes of colon-separated groups of hex digits; at the end of an address the last may be an IPv4 address. */
function groups(text: string, atEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const parts = text.split(":");
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string;
    if (part.includes(".")) {
      const v4 = atEnd && i === parts.length - 1 ? parseV4(part) : undefined;
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
      continue;
    }
    const value = part.length > 4 ? undefined : parseBase(part, 16);
    if (value === undefined) return undefined;
    bytes.push(value >> 8, value & 255);
  }
  return bytes;
}

/** Parses an IPv4 or IPv6 address; undefined when it is neither. Zone names (%eth0) are not taken. */
export function parseIp(text: string): Ip | undefined {
  if (!text.includes(":")) {
    const v4 = parseV4(text);
    return v4 === undefined ? undefined : new Uint8Array(v4);
  }
  const gap = text.indexOf("::");
  const head = groups(gap < 0 ? text : text.slice(0, gap), gap < 0);
  const tail = gap < 0 ? [] : groups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined) return undefined;
  const size = head.length + tail.length;
  if (gap < 0 ? size !== 16 : size > 14) return undefined;
  const ip = new Uint8Array(16);
  ip.set(head, 0);
  ip.set(tail, 16 - tail.length);
  return ip;
}

/** The text of an address: dotted, or lower-case hex groups with the longest run of zeros left out. */
export function formatIp(ip: Ip): string {
  if (ip.length === 4) return ip.join(".");
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push(((ip[i] as number) << 8) | (ip[i + 1] as number));
  let best = 0;
  let length = 0;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && words[i + n] === 0) n++;
    if (n > length) [best, length] = [i, n];
  }
  const hex = (from: number, to: number): string => words.slice(from, to).map((w) => w.toString(16)).join(":");
  return length < 2 ? hex(0, 8) : `${hex(0, best)}::${hex(best + length, 8)}`;
}

/** An address and the number of its leading bits that count; `bits` is undefined when the text had no "/". */
export interface Prefix { readonly ip: Ip; readonly bits: number | undefined }

/** Parses "address" or "address/bits". */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  if (slash < 0) return { ip, bits: undefined };
  const bits = prefixLength(text.slice(slash + 1), ip);
  return bits === undefined ? undefined : { ip, bits };
}

/** A prefix length for `ip` as decimal text, or undefined. */
export function prefixLength(text: string, ip: Ip): number | undefined {
  const bits = decimal(text);
  return bits === undefined || bits > ip.length * 8 ? undefined : bits;
}

/** The address with its host bits (those after the first `bits`) all zero, or all one. */
export function withHostBits(ip: Ip, bits: number, one: boolean): Ip {
  return ip.map((byte, i) => {
    const keep = 0xff & (0xff00 >> Math.min(8, Math.max(0, bits - i * 8)));
    return one ? byte | (0xff & ~keep) : byte & keep;
  });
}

/** Parses six hex bytes with colons; undefined for anything else. */
export function parseMac(text: string): Uint8Array | undefined {
  const parts = text.split(":");
  const bytes = parts.map((p) => (p.length > 2 ? undefined : parseBase(p, 16)));
  return parts.length === 6 && bytes.every((b) => b !== undefined) ? new Uint8Array(bytes as number[]) : undefined;
}

/** A hardware address as hosts know it: six bytes in upper-case hex; those of IP tunnels as IP; others as "". */
export function formatHardware(bytes: Uint8Array): string {
  if (bytes.length === 4 || bytes.length === 16) return formatIp(bytes);
  if (bytes.length !== 6) return "";
  return [...bytes].map((b) => b.toString(16).toUpperCase().padStart(2, "0")).join(":");
}
