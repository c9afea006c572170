// ttRPC frames: a header of ten bytes (length, stream, type, flags; big-endian) and the request or response envelope. Pure: bytes in,
// numbers out. What it finds in a request it leaves in place; what it puts before a reply goes into the room kept in front of it.
// Source: the protocol text of containerd/ttrpc.
import { DecodeError, decodeAs } from "./decode.js";
import type { Request } from "../gen/messages.js";
import { schemaOf } from "./schema.js";
import { utf8Decode } from "../../sys/utf8.js";

export const HEADER_BYTES = 10;
/** The most that may follow a header, by the protocol. */
export const MAX_DATA = 4194304;
/** Room to keep in front of a reply's payload: header, status, and tag and length of the payload and of one bytes field in it. */
export const HEAD_ROOM = 32;

export const enum FRAME { REQUEST = 1, RESPONSE = 2, DATA = 3 }

/** Reads a big-endian 32-bit number. */
export function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) * 16777216 + (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
}

/** Writes the header of a frame whose data is `length` bytes long. */
export function putHeader(bytes: Uint8Array, at: number, length: number, stream: number, type: number): void {
  bytes[at] = 0; // the limit has only 23 bits
  bytes[at + 1] = length >>> 16;
  bytes[at + 2] = length >>> 8;
  bytes[at + 3] = length;
  bytes[at + 4] = stream >>> 24;
  bytes[at + 5] = stream >>> 16;
  bytes[at + 6] = stream >>> 8;
  bytes[at + 7] = stream;
  bytes[at + 8] = type;
  bytes[at + 9] = 0;
}

/** Could a frame begin here? Asked only on a stream that may hold garbage; ten bytes must be there. */
export function looksLikeHeader(bytes: Uint8Array, at: number): boolean {
  const type = bytes[at + 8] as number;
  return type >= FRAME.REQUEST && type <= FRAME.DATA && (bytes[at + 9] as number) <= 7 && ((bytes[at + 7] as number) & 1) === 1 && u32(bytes, at) <= MAX_DATA;
}

/** What a request frame holds. One object is reused for all requests. */
export interface Envelope {
  /** The bytes that name service and method, as text; "" when they are not in the usual form: then ask `namesIn`. */
  route: string;
  payloadStart: number;
  payloadEnd: number;
  /** Nanoseconds; 0 for none (also for negative ones and those of many years). */
  timeoutNano: number;
}

/**
 * Find the parts of the request envelope in [start, end). Throws DecodeError. The usual form (what every client writes) costs one
 * conversion to text; anything else that is valid goes through the general decoder.
 */
export function openRequest(bytes: Uint8Array, start: number, end: number, into: Envelope): void {
  into.route = "";
  into.payloadStart = into.payloadEnd = start;
  into.timeoutNano = 0;
  let p = start + 2 + (bytes[start + 1] as number);
  if (bytes[start] !== 0x0a || !(p < start + 130) || bytes[p] !== 0x12 || !((bytes[p + 1] as number) < 128)) return openSlowly(bytes, start, end, into);
  p += 2 + (bytes[p + 1] as number);
  if (p > end) return openSlowly(bytes, start, end, into);
  const route = utf8Decode(bytes, start, p);
  if (route === undefined) return openSlowly(bytes, start, end, into);
  if (p < end) {
    p = payloadAt(bytes, p, end, into);
    if (p < end) p = timeoutAt(bytes, p, end, into);
    if (p < end && !onlyMetadata(bytes, p, end)) return openSlowly(bytes, start, end, into);
    if (p > end) return openSlowly(bytes, start, end, into);
  }
  into.route = route;
}

/** Field 3 at `p`, if it is there; returns where the next field begins, which is beyond `end` if the payload is cut. */
function payloadAt(bytes: Uint8Array, p: number, end: number, into: Envelope): number {
  if (bytes[p] !== 0x1a) return p;
  let length = 0;
  let unit = 1;
  let byte = 128;
  for (p++; byte >= 128 && p < end && unit < TWO_32; unit *= 128) {
    byte = bytes[p++] as number;
    length += (byte & 127) * unit;
  }
  if (byte >= 128) return end + 1;
  into.payloadStart = p;
  return (into.payloadEnd = p + length);
}

const TWO_32 = 4294967296;
const LONGEST = 2 ** 56;

/** Field 4 at `p`, if it is there. */
function timeoutAt(bytes: Uint8Array, p: number, end: number, into: Envelope): number {
  if (bytes[p] !== 0x20) return p;
  let nano = 0;
  let unit = 1;
  for (p++; p < end; unit *= 128) {
    const byte = bytes[p++] as number;
    nano += (byte & 127) * unit;
    if (byte < 128) {
      into.timeoutNano = nano < LONGEST ? nano : 0;
      return unit < LONGEST ? p : end + 1; // longer ones: let the general decoder see whether they are valid
    }
  }
  return end + 1;
}

/** Is the rest nothing but a few fields 5 with a short length? */
function onlyMetadata(bytes: Uint8Array, p: number, end: number): boolean {
  for (let n = 0; p < end && n < 256; n++) {
    if (bytes[p] !== 0x2a || p + 1 >= end || (bytes[p + 1] as number) > 127) return false;
    p += 2 + (bytes[p + 1] as number);
  }
  return p === end;
}

function openSlowly(bytes: Uint8Array, start: number, end: number, into: Envelope): void {
  const { payload, timeoutNano } = namesIn(bytes, start, end);
  into.route = "";
  into.payloadStart = payload.length === 0 ? start : payload.byteOffset - bytes.byteOffset;
  into.payloadEnd = into.payloadStart + payload.length;
  into.timeoutNano = timeoutNano > 0 && timeoutNano < LONGEST ? timeoutNano : 0;
}

/** A request envelope, by the general decoder. */
export function namesIn(bytes: Uint8Array, start: number, end: number): Request {
  return decodeAs(schemaOf("Request"), bytes, start, end) as unknown as Request;
}

export { DecodeError };

/**
 * Put header and success envelope in front of the payload in [start, end); HEAD_ROOM bytes before `start` are free for it.
 * Returns where the frame begins.
 */
export function wrapPayload(bytes: Uint8Array, start: number, end: number, stream: number): number {
  let p = start;
  if (end > start) p = lengthBefore(bytes, p, end - start, 0x12);
  bytes[--p] = 0;
  bytes[--p] = 0x0a; // a status that says nothing: OK
  const at = p - HEADER_BYTES;
  putHeader(bytes, at, end - p, stream, FRAME.RESPONSE);
  return at;
}

/** Put tag and length in front of a field whose content begins at `p`; returns where it begins now. */
export function lengthBefore(bytes: Uint8Array, p: number, length: number, tag: number): number {
  if (length < 128) bytes[--p] = length;
  else {
    const size = length < 16384 ? 2 : length < 2097152 ? 3 : 4;
    p -= size;
    for (let i = 0; i < size; i++) {
      bytes[p + i] = (length & 127) | (i < size - 1 ? 128 : 0);
      length >>>= 7;
    }
  }
  bytes[--p] = tag;
  return p;
}
