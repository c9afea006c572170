// Protobuf bytes to objects, driven by the schema (proto3 rules: unknown fields are skipped, the last scalar wins, messages that
// come twice are merged, lists of numbers may be packed or not). Synchronous and not reentrant: the position lives in this module.
// It must never read outside [start, end) and never copies: bytes fields are views on the given buffer.
// A request is bounded while it is decoded: by elements of each field (protos/gen.ts), and by what all of it costs in time and memory.
// Source: protobuf.dev, "Encoding".
import { utf8Decode } from "../../sys/utf8.js";
import type { Messages } from "../gen/messages.js";
import { KIND, LABEL, LONGEST_KEY, type Schema, defaultOf, partOf, schemaOf } from "./schema.js";

/** Bytes that are not the message they should be; the message names the place. */
export class DecodeError extends Error {}

/** A request that holds more than the agent takes; the message names the field. */
export class TooMuchError extends DecodeError {}

type Fields = Record<string, unknown>;

const GROUP_DEPTH = 64;
/**
 * What a request may cost when it is decoded, in bytes: what its objects take in memory, and for names, paths and options what looking
 * at them takes in time. Texts that may be long (arguments, variables, annotations) are bounded by the frame. FIELD is also a price of
 * time: a field that is passed over takes no memory, but there may not be more of them than can be looked at in a moment.
 */
const MOST_COST = 8388608;
const FIELD = 128;
const CHARACTER = 4;
const NUMBER = 24;
const ENTRY = 256; // of a map: a property and its name
const NOT_UTF8 = "it is not valid UTF-8";
const TWO_32 = 4294967296;

const NOTHING: Uint8Array = new Uint8Array(0);
let buffer = NOTHING; // only while it is decoded: it may be large
let p = 0;
let low = 0; // result of varint(): bits 0 to 31, unsigned
let high = 0; // and bits 32 to 63, unsigned
let place: Schema; // for errors: where we are
let placeNumber = 0;
let left = 0; // of MOST_COST
let entries = 0; // of all maps so far

/**
 * Decode message `type` from bytes [start, end) of `bytes`, whatever its size. Views into `bytes` are part of the result. Throws DecodeError.
 */
export function decode<K extends keyof Messages>(type: K, bytes: Uint8Array, start = 0, end = bytes.length): Messages[K] {
  return decodeAs(schemaOf(type), bytes, start, end, Infinity) as Messages[K];
}

/** The same for a request and a schema at hand, within bounds. Throws DecodeError, of those TooMuchError. */
export function decodeAs(schema: Schema, bytes: Uint8Array, start: number, end: number, cost = MOST_COST): Fields {
  buffer = bytes;
  p = start;
  left = cost;
  entries = 0;
  const message = fresh(schema);
  try {
    fill(schema, message, end);
  } finally {
    buffer = NOTHING;
  }
  return message;
}

function fieldName(): string {
  const field = place.names[placeNumber];
  return `${place.name}${placeNumber === 0 ? "" : `.${field === undefined || field === "" ? placeNumber : field}`}`;
}

function spend(cost: number): void {
  if ((left -= cost) < 0) throw new TooMuchError(`${fieldName()}: the request holds more up to here than ${MOST_COST} bytes of memory`);
}

/** Counts the element that is to be added to a list, or the entry to a map. */
function one(schema: Schema, number: number, there: number): void {
  const most = schema.elements[number] as number;
  if (there < most || left === Infinity) return;
  place = schema;
  placeNumber = number;
  throw new TooMuchError(`${fieldName()}: more than ${most} elements`);
}

/** Pays for the characters of a text. */
function characters(schema: Schema, number: number, length: number): void {
  const most = schema.lengths[number] as number;
  if (length > most && left !== Infinity) throw new TooMuchError(`${fieldName()}: more than ${most} bytes`);
  if (most !== Infinity) left -= CHARACTER * length;
}

function fail(what: string): never {
  throw new DecodeError(`${fieldName()}: ${what}`);
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
    if ((left -= FIELD) < 0) spend(0);
    if ((tag & 7) === 2) {
      let stop = p < end ? (bytes[p] as number) : 128;
      stop = stop < 128 ? stop + ++p : longLength(end) + p;
      if (stop > end) fail("its length reaches past the end");
      if (number === 0) fail("field number 0 is not allowed");
      if (code === KIND.STRING) {
        if (stop - p > LONGEST_KEY) characters(schema, number, stop - p);
        else left -= CHARACTER * (stop - p);
        const value = utf8Decode(bytes, p, stop); // a singular string: the most common field, so not by way of functions
        message[names[number] as string] = value === undefined ? fail(NOT_UTF8) : value;
        p = stop;
      } else if (kind === 0) p = stop;
      else lengthField(schema, message, names[number] as string, number, code, stop);
    } else if ((tag & 7) === 0 && kind >= KIND.BOOL && (code & 48) !== LABEL.MAP) {
      const value = scalar(kind, end);
      if ((code & 48) === LABEL.LIST) {
        const list = message[names[number] as string] as unknown[];
        one(schema, number, list.length);
        list.push(value);
      } else message[names[number] as string] = value;
    } else skip(tag, end, 0);
  }
  if (p > end) fail("it ends in the middle");
}

/** A field that came with a length; `p` is at its first byte, `stop` after its last. */
function lengthField(schema: Schema, message: Fields, name: string, number: number, code: number, stop: number): void {
  if ((code & 48) === LABEL.MAP) return mapEntry(schema, message[name] as Fields, number, code, stop);
  const kind = code & 15;
  const isList = (code & 48) === LABEL.LIST;
  if (isList && kind < KIND.BOOL) one(schema, number, (message[name] as unknown[]).length);
  if (kind >= KIND.BOOL) {
    if (isList) numbers(schema, message[name] as unknown[], number, kind, stop);
    p = stop; // a single number with a length is not this field: skipped like an unknown one
    return;
  }
  if (kind === KIND.MESSAGE) {
    const part = partOf(schema, number);
    const before = isList ? undefined : message[name];
    if (before === undefined) spend(part.cost);
    const value = before === undefined ? fresh(part) : (before as Fields);
    fill(part, value, stop);
    if (isList) (message[name] as unknown[]).push(value);
    else message[name] = value;
    return;
  }
  if (kind === KIND.STRING) characters(schema, number, stop - p);
  const value = kind === KIND.STRING ? text(stop) : view(stop);
  if (isList) (message[name] as unknown[]).push(value);
  else message[name] = value;
}

/** A list of numbers in one piece. */
function numbers(schema: Schema, list: unknown[], number: number, kind: number, stop: number): void {
  while (p < stop) {
    one(schema, number, list.length);
    spend(NUMBER);
    list.push(scalar(kind, stop));
  }
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
  one(schema, number, entries++);
  spend(ENTRY);
  let key = "";
  let value: unknown = kind === KIND.MESSAGE ? fresh(partOf(schema, number)) : defaultOf(kind);
  while (p < stop) {
    place = schema;
    placeNumber = number;
    spend(FIELD);
    const tag = longTagFrom(stop);
    if (tag === 10) key = text(lengthWithin(stop, LONGEST_KEY));
    else if (tag === 18 && kind === KIND.MESSAGE) fill(partOf(schema, number), value as Fields, lengthWithin(stop));
    else if (tag === 18 && kind === KIND.STRING) value = text(lengthWithin(stop, schema.lengths[number]));
    else if (tag === 16 && kind >= KIND.BOOL) value = scalar(kind, stop);
    else if ((tag & 7) === 2) p = lengthWithin(stop);
    else skip(tag, stop, 0);
  }
  map[key] = value;
}

/** Reads a length and returns where its bytes stop. */
function lengthWithin(end: number, most = Infinity): number {
  const stop = longLength(end) + p;
  if (stop > end) fail("its length reaches past the end");
  if (stop - p > most && left !== Infinity) throw new TooMuchError(`${fieldName()}: more than ${most} bytes`);
  return stop;
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
    spend(FIELD);
    const tag = longTagFrom(end);
    if ((tag & 7) === 4) {
      if (tag >>> 3 !== number) fail("a group ends that did not begin");
      return;
    }
    skip(tag, end, depth);
  }
}
