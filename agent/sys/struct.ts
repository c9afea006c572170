// C structures declared once and written or read by field name. Little-endian machines only (x86_64, aarch64).
// 64-bit fields are doubles: exact to 2^53, saturated at 2^64-1 (RLIM_INFINITY); a bigint is taken as it is.
type FieldType = "u8" | "u16" | "u32" | "i32" | "u64" | "i64";
type Value = number | bigint;

const WIDTH: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, i64: 8 };
/** What fits. The bits of a u32 may come as the negative number that bit operations make of them; 64 bits: see setU64. */
const LEAST: Record<FieldType, number> = { u8: 0, u16: 0, u32: -2147483648, i32: -2147483648, u64: -Infinity, i64: -Infinity };
const MOST: Record<FieldType, number> = { u8: 255, u16: 65535, u32: 4294967295, i32: 2147483647, u64: Infinity, i64: Infinity };

/** A number that is cut to its field would be another one: a length, a name's or a program's, is then a way to smuggle. */
function fits(name: string, type: FieldType, value: Value): number {
  const n = Number(value);
  if (n >= LEAST[type] && n <= MOST[type] && (WIDTH[type] === 8 || Number.isInteger(n))) return n;
  throw new RangeError(`${name}: ${value} is no ${type}`);
}

/** Writes a 64-bit integer at a byte offset. Values of 2^64 and above become 2^64-1; negative ones are two's complement. */
export function setU64(view: DataView, offset: number, value: Value): void {
  if (typeof value === "bigint") return view.setBigUint64(offset, BigInt.asUintN(64, value), true);
  if (value >= 18446744073709551616) {
    view.setUint32(offset, 0xffffffff, true);
    view.setUint32(offset + 4, 0xffffffff, true);
    return;
  }
  const high = Math.floor(value / 4294967296);
  view.setUint32(offset, value - high * 4294967296, true);
  view.setUint32(offset + 4, high >>> 0, true);
}

/** Reads an unsigned 64-bit integer (rounded above 2^53). */
export function getU64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 4294967296 + view.getUint32(offset, true);
}

/** Reads a signed 64-bit integer (rounded beyond 2^53). */
export function getI64(view: DataView, offset: number): number {
  return view.getInt32(offset + 4, true) * 4294967296 + view.getUint32(offset, true);
}

/**
 * Says that the kernel has read or written these by their addresses until here. What nothing refers to any more is freed, and the bundler
 * puts a value in the one place where it is used: a call of the C host it leaves alone.
 */
export function keepAlive(...buffers: readonly Uint8Array[]): void {
  for (const bytes of buffers) native.addressOf(bytes);
}

/** A view on all bytes of a Uint8Array. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export interface Struct<F extends Record<string, FieldType>> {
  /** Bytes, tail padding included. */
  readonly size: number;
  readonly offset: { readonly [K in keyof F]: number };
  /** New bytes with the given fields set and all others zero. Throws as `write` does. */
  make(values: { readonly [K in keyof F]?: Value }): Uint8Array;
  /** Throws RangeError for a value that its field cannot hold. */
  write(bytes: Uint8Array, values: { readonly [K in keyof F]?: Value }, at?: number): void;
  read(bytes: Uint8Array, at?: number): { [K in keyof F]: number };
}

/** Declares a structure with C's natural alignment: `struct({ flags: "u32", len: "u64" })`. Names that start with `_` are padding. */
export function struct<const F extends Record<string, FieldType>>(fields: F, packed = false): Struct<F> {
  const offset = {} as { [K in keyof F]: number };
  const names = Object.keys(fields) as (keyof F & string)[];
  let size = 0;
  let align = 1;
  for (const name of names) {
    const width = WIDTH[fields[name] as FieldType];
    if (!packed) {
      size = Math.ceil(size / width) * width;
      align = Math.max(align, width);
    }
    offset[name] = size;
    size += width;
  }
  size = Math.ceil(size / align) * align;

  function write(bytes: Uint8Array, values: { readonly [K in keyof F]?: Value }, at = 0): void {
    const view = viewOf(bytes);
    for (const name of names) {
      const value = values[name];
      if (value === undefined) continue;
      const where = at + offset[name];
      const type = fields[name] as FieldType;
      const n = fits(name, type, value);
      switch (type) {
        case "u8": view.setUint8(where, n); break;
        case "u16": view.setUint16(where, n, true); break;
        case "u32": case "i32": view.setUint32(where, n, true); break;
        default: setU64(view, where, value);
      }
    }
  }
  function read(bytes: Uint8Array, at = 0): { [K in keyof F]: number } {
    const view = viewOf(bytes);
    const out = {} as { [K in keyof F]: number };
    for (const name of names) {
      const where = at + offset[name];
      switch (fields[name]) {
        case "u8": out[name] = view.getUint8(where); break;
        case "u16": out[name] = view.getUint16(where, true); break;
        case "u32": out[name] = view.getUint32(where, true); break;
        case "i32": out[name] = view.getInt32(where, true); break;
        case "u64": out[name] = getU64(view, where); break;
        default: out[name] = getI64(view, where);
      }
    }
    return out;
  }
  return {
    size, offset, write, read,
    make(values) {
      const bytes = new Uint8Array(size);
      write(bytes, values);
      return bytes;
    },
  };
}
