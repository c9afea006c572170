// Protobuf bytes to objects, driven by the schema (proto3 rules: unknown fields are skipped, the last scalar wins, messages that
// come twice are merged, lists of numbers may be packed or not). Synchronous and not reentrant: the position lives in this module.
// It must never read outside [start, end) and never copies: bytes fields are views on the given buffer.
// Source: protobuf.dev, "Encoding".
import { utf8Decode } from "../sys/utf8.js";
import type { Messages } from "./gen/messages.js";
import { KIND, LABEL, type Schema, defaultOf, partOf, schemaOf } from "./schema.js";

/** Bytes that are not the message they should be; the message names the place. */
export class DecodeError extends Error {}

type Fields = Record<string, unknown>;

const GROUP_DEPTH = 64;
const NOT_UTF8 = "it is not valid UTF-8";
const TWO_32 = 4294967296;

let buffer: Uint8Array = new Uint8Array(0);
let p = 0;
let low = 0; // result of varint(): bits 0 to 31, unsigned
let high = 0; // and bits 32 to 63, unsigned
let place: Schema; // for errors: where we are
let placeNumber = 0;

/**
 * Decode message `type` from bytes [start, end) of `bytes`. Views into `bytes` are part of the result. Throws DecodeError.
 */
export function decode<K extends keyof Messages>(type: K, bytes: Uint8Array, start = 0, end = bytes.length): Messages[K] {
  return decodeAs(schemaOf(type), bytes, start, end) as Messages[K];
}

/** The same for a schema at hand. */
export function decodeAs(schema: Schema, bytes: Uint8Array, start: number, end: number): Fields {
  buffer = bytes;
  p = start;
  const message = fresh(schema);
  fill(schema, message, end);
  return message;
}

function fail(what: string): never {
  const field = place.names[placeNumber];
  throw new DecodeError(`${place.name}${placeNumber === 0 ? "" : `.${field === undefined || field === "" ? placeNumber : field}`}: ${what}`);
}

function fresh(schema: Schema): Fields {
  const message: Fields = { ...schema.scalars };
  const { containers } = schema;
  for (let i = 0; i < containers.length; i++) {
    const number = containers[i] as number;
    const isMap = ((schema.codes[number] as number) & 48) === LABEL.MAP;
    message[schema.names[number] as string] = isMap ? (Object.create(null) as Fields) : [];
  }
  return message;
}

function fill(schema: Schema, message: Fields, end: number): void {
  const bytes = buffer;
  const { codes, names } = schema;
  while (p < end) {
    place = schema;
    placeNumber = 0;
    let tag = bytes[p++] as number;
    if (tag >= 128) tag = longTag(end);
    const number = tag >>> 3;
    const code = number < codes.length ? (codes[number] as number) : 0;
    const kind = code & 15;
    placeNumber = number;
    if ((tag & 7) === 2) {
      let stop = p < end ? (bytes[p] as number) : 128;
      stop = stop < 128 ? stop + ++p : longLength(end) + p;
      if (stop > end) fail("its length reaches past the end");
      if (number === 0) fail("field number 0 is not allowed");
      if (code === KIND.STRING) {
        const value = utf8Decode(bytes, p, stop); // a singular string: the most common field, so not by way of functions
        message[names[number] as string] = value === undefined ? fail(NOT_UTF8) : value;
        p = stop;
      } else if (kind === 0) p = stop;
      else lengthField(schema, message, names[number] as string, number, code, stop);
    } else if ((tag & 7) === 0 && kind >= KIND.BOOL && (code & 48) !== LABEL.MAP) {
      const value = scalar(kind, end);
      if ((code & 48) === LABEL.LIST) (message[names[number] as string] as unknown[]).push(value);
      else message[names[number] as string] = value;
    } else skip(tag, end, 0);
  }
  if (p > end) fail("it ends in the middle");
}

/** A field that came with a length; `p` is at its first byte, `stop` after its last. */
function lengthField(schema: Schema, message: Fields, name: string, number: number, code: number, stop: number): void {
  if ((code & 48) === LABEL.MAP) return mapEntry(schema, message[name] as Fields, number, code, stop);
  const kind = code & 15;
  const isList = (code & 48) === LABEL.LIST;
  if (kind >= KIND.BOOL) {
    if (isList) for (const list = message[name] as unknown[]; p < stop; ) list.push(scalar(kind, stop));
    p = stop; // a single number with a length is not this field: skipped like an unknown one
    return;
  }
  if (kind === KIND.MESSAGE) {
    const part = partOf(schema, number);
    const before = isList ? undefined : message[name];
    const value = before === undefined ? fresh(part) : (before as Fields);
    fill(part, value, stop);
    if (isList) (message[name] as unknown[]).push(value);
    else message[name] = value;
    return;
  }
  const value = kind === KIND.STRING ? text(stop) : view(stop);
  if (isList) (message[name] as unknown[]).push(value);
  else message[name] = value;
}

function text(stop: number): string {
  const value = utf8Decode(buffer, p, stop);
  if (value === undefined) return fail(NOT_UTF8);
  p = stop;
  return value;
}

function view(stop: number): Uint8Array {
  const value = buffer.subarray(p, stop);
  p = stop;
  return value;
}

function mapEntry(schema: Schema, map: Fields, number: number, code: number, stop: number): void {
  const kind = code & 15;
  let key = "";
  let value: unknown = kind === KIND.MESSAGE ? fresh(partOf(schema, number)) : defaultOf(kind);
  while (p < stop) {
    place = schema;
    placeNumber = number;
    const tag = longTagFrom(stop);
    if (tag === 10) key = text(lengthWithin(stop));
    else if (tag === 18 && kind === KIND.MESSAGE) fill(partOf(schema, number), value as Fields, lengthWithin(stop));
    else if (tag === 18 && kind === KIND.STRING) value = text(lengthWithin(stop));
    else if (tag === 16 && kind >= KIND.BOOL) value = scalar(kind, stop);
    else if ((tag & 7) === 2) p = lengthWithin(stop);
    else skip(tag, stop, 0);
  }
  map[key] = value;
}

/** Reads a length and returns where its bytes stop. */
function lengthWithin(end: number): number {
  const stop = longLength(end) + p;
  return stop > end ? fail("its length reaches past the end") : stop;
}

/** Reads a varint into `low` and `high`. */
function varint(end: number): void {
  const bytes = buffer;
  let shift = 0;
  low = 0;
  high = 0;
  for (;;) {
    if (p >= end) fail("it ends in the middle");
    const byte = bytes[p++] as number;
    const bits = byte & 127;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high = bits >>> 4;
    } else if (shift < 63) high |= bits << (shift - 32);
    else if (byte > 1) fail("a number has more than 64 bits");
    else high |= byte << 31;
    if (byte < 128) break;
    shift += 7;
  }
  low >>>= 0;
  high >>>= 0;
}

function scalar(kind: number, end: number): unknown {
  const byte = p < end ? (buffer[p] as number) : 128;
  if (byte < 128) {
    p++;
    return kind === KIND.BOOL ? byte !== 0 : byte;
  }
  if (p + 2 < end) {
    // two or three bytes: lengths of streams, ids, modes
    const second = buffer[p + 1] as number;
    const third = buffer[p + 2] as number;
    if (second < 128 || third < 128) {
      const value = second < 128 ? (byte & 127) | (second << 7) : (byte & 127) | ((second & 127) << 7) | (third << 14);
      p += second < 128 ? 2 : 3;
      return kind === KIND.BOOL ? value !== 0 : value;
    }
  }
  varint(end);
  switch (kind) {
    case KIND.BOOL:
      return low !== 0 || high !== 0;
    case KIND.UINT32:
      return low;
    case KIND.INT32:
      return low | 0;
    case KIND.INT64:
      return (high | 0) * TWO_32 + low;
    case KIND.WIDE:
      return high < 2097152 ? high * TWO_32 + low : (BigInt(high) << 32n) | BigInt(low);
    default:
      return high * TWO_32 + low;
  }
}

/** A tag whose first byte has been read and says that more follow. */
function longTag(end: number): number {
  p--;
  return longTagFrom(end);
}

function longTagFrom(end: number): number {
  varint(end);
  if (high !== 0) fail("a field number has more than 29 bits");
  if (low < 8) fail("field number 0 is not allowed");
  return low;
}

function longLength(end: number): number {
  varint(end);
  return high * TWO_32 + low;
}

/** Passes over an unknown field whose tag has been read. */
function skip(tag: number, end: number, depth: number): void {
  const wire = tag & 7;
  if (tag >>> 3 === 0) fail("field number 0 is not allowed");
  if (wire === 0) varint(end);
  else if (wire === 1) p += 8;
  else if (wire === 2) p = lengthWithin(end);
  else if (wire === 5) p += 4;
  else if (wire === 3) skipGroup(tag >>> 3, end, depth + 1);
  else fail(wire === 4 ? "a group ends that did not begin" : `wire type ${wire} does not exist`);
  if (p > end) fail("it ends in the middle");
}

function skipGroup(number: number, end: number, depth: number): void {
  if (depth > GROUP_DEPTH) fail("groups are nested too deeply");
  for (;;) {
    const tag = longTagFrom(end);
    if ((tag & 7) === 4) {
      if (tag >>> 3 !== number) fail("a group ends that did not begin");
      return;
    }
    skip(tag, end, depth);
  }
}
