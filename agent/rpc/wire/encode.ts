// Objects to protobuf bytes, driven by the schema; fields that have their default value are left out (proto3). It writes into a
// buffer that grows and is reused. Source: protobuf.dev, "Encoding".
import { utf8Encode } from "../../sys/utf8.js";
import type { Messages } from "../gen/messages.js";
import { KIND, LABEL, type Schema, partOf, schemaOf } from "./schema.js";

/** What may be given for a field of type T: parts of messages, numbers of any size for 64-bit integers. */
export type Init<T> = T extends number
  ? number | bigint
  : T extends string | boolean | bigint | Uint8Array
    ? T
    : T extends readonly (infer U)[]
      ? readonly Init<U>[]
      : { readonly [K in keyof T]?: Init<T[K]> | undefined };

type Fields = Readonly<Record<string, unknown>>;

const SMALL = 268435456; // four bytes as a varint
const TWO_32 = 4294967296;
const TWO_63 = 9223372036854775808;

/** A byte buffer that grows; `at` is where the next byte goes. */
export interface Out {
  bytes: Uint8Array;
  at: number;
}

let bytes: Uint8Array = new Uint8Array(0);
let p = 0;

/** Append message `type` with the fields of `value` to `out`. Throws TypeError if a field holds something of another type. */
export function encode<K extends keyof Messages>(type: K, value: Init<Messages[K]>, out: Out): void {
  encodeAs(schemaOf(type), value as Fields, out);
}

/** The same for a schema at hand. */
export function encodeAs(schema: Schema, value: Fields, out: Out): void {
  bytes = out.bytes;
  p = out.at;
  put(schema, value);
  out.bytes = bytes;
  out.at = p;
}

/** Makes room for `n` more bytes. */
function room(n: number): void {
  if (p + n <= bytes.length) return;
  const larger = new Uint8Array(Math.max(2 * bytes.length, p + n, 256));
  larger.set(bytes.subarray(0, p));
  bytes = larger;
}

function put(schema: Schema, message: Fields): void {
  const { codes, names } = schema;
  for (let number = 1; number < codes.length; number++) {
    const code = codes[number] as number;
    if (code === 0) continue;
    const value = message[names[number] as string];
    if (value === undefined || value === null) continue;
    if (code >= KIND.BOOL && code <= KIND.WIDE && typeof value === "number" && value > 0 && value < SMALL && number < 16) {
      room(5); // a small number: common enough in replies to be done here
      bytes[p++] = number << 3;
      let rest = value;
      for (; rest > 127; rest >>>= 7) bytes[p++] = (rest & 127) | 128;
      bytes[p++] = rest;
      continue;
    }
    switch (code & 48) {
      case LABEL.LIST:
        putList(schema, number, code & 15, value as readonly unknown[]);
        break;
      case LABEL.MAP:
        putMap(schema, number, code & 15, value as Fields);
        break;
      case LABEL.OPTIONAL:
        field(schema, number, number, code & 15, value);
        break;
      default:
        if (!isDefault(code, value)) field(schema, number, number, code & 15, value);
    }
  }
}

function isDefault(kind: number, value: unknown): boolean {
  if (kind <= KIND.BYTES) return kind !== KIND.MESSAGE && (value as string | Uint8Array).length === 0;
  return value === 0 || value === false || value === 0n;
}

function putList(schema: Schema, number: number, kind: number, list: readonly unknown[]): void {
  if (list.length === 0) return;
  if (kind < KIND.BOOL) {
    for (let i = 0; i < list.length; i++) field(schema, number, number, kind, list[i]);
    return;
  }
  const start = open((number << 3) | 2);
  for (let i = 0; i < list.length; i++) scalar(kind, list[i]);
  close(start);
}

function putMap(schema: Schema, number: number, kind: number, map: Fields): void {
  for (const key of Object.keys(map)) {
    const start = open((number << 3) | 2);
    field(schema, number, 1, KIND.STRING, key);
    field(schema, number, 2, kind, map[key]);
    close(start);
  }
}

/** One value under `tag`; for a message its schema is that of field `number`. */
function field(schema: Schema, number: number, tag: number, kind: number, value: unknown): void {
  if (kind === KIND.MESSAGE) {
    const start = open((tag << 3) | 2);
    put(partOf(schema, number), value as Fields);
    close(start);
  } else if (kind >= KIND.BOOL) {
    small(tag << 3);
    scalar(kind, value);
  } else {
    const content = kind === KIND.STRING ? utf8Encode(value as string) : (value as Uint8Array);
    small((tag << 3) | 2);
    small(content.length);
    room(content.length);
    bytes.set(content, p);
    p += content.length;
  }
}

/** Begins a part whose length is not known yet: one byte is kept free for it. */
function open(tag: number): number {
  small(tag);
  room(1);
  return ++p;
}

function close(start: number): void {
  const length = p - start;
  if (length < 128) {
    bytes[start - 1] = length;
    return;
  }
  const more = length < 16384 ? 1 : length < 2097152 ? 2 : 3;
  room(more);
  bytes.copyWithin(start + more, start, p);
  p = start - 1;
  small(length);
  p += length;
}

/** A varint of at most 32 bits. */
function small(value: number): void {
  room(5);
  while (value > 127) {
    bytes[p++] = (value & 127) | 128;
    value >>>= 7;
  }
  bytes[p++] = value;
}

function scalar(kind: number, value: unknown): void {
  if (kind === KIND.BOOL) return small(value ? 1 : 0);
  if (typeof value === "bigint") return wide(Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
  if (typeof value !== "number") throw new TypeError(`cannot encode ${typeof value} as an integer`);
  if (value >= 0 && value < TWO_32) return small(value >>> 0);
  const whole = Math.max(-TWO_63, Math.trunc(value));
  if (whole >= 2 * TWO_63 || (kind === KIND.INT64 && whole >= TWO_63)) return wide(0xffffffff, kind === KIND.INT64 ? 0x7fffffff : 0xffffffff);
  const top = Math.floor(whole / TWO_32);
  wide(whole - top * TWO_32, top >>> 0);
}

/** A varint of 64 bits from two unsigned halves. */
function wide(low: number, high: number): void {
  room(10);
  while (high > 0) {
    bytes[p++] = (low & 127) | 128;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  small(low);
}
