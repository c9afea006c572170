// Packs bytecode that is rarely loaded, in LZ4's block format, which agent/native/main.c unpacks in twenty lines. Pure and deterministic.
// Source: lz4_Block_format.md of the LZ4 project.

const MIN_MATCH = 4;
const LAST_LITERALS = 5; // the format ends with at least so many
const MATCH_ENDS = 12; // and begins no match later than so many before the end
const FAR = 65535;
const TRIES = 256; // earlier places that are compared for each

/** The packed bytes; `unpack` in main.c makes the same of them again. */
export function pack(bytes: Uint8Array): Uint8Array {
  const out: number[] = [];
  const latest = new Map<number, number>();
  const before = new Int32Array(bytes.length).fill(-1);
  const four = (at: number): number => ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) | 0;
  const enter = (at: number): void => {
    if (at + MIN_MATCH > bytes.length) return;
    before[at] = latest.get(four(at)) ?? -1;
    latest.set(four(at), at);
  };
  let start = 0;
  let at = 0;
  while (at < bytes.length - MATCH_ENDS) {
    enter(at);
    const { length, back } = longest(bytes, before, at);
    if (length < MIN_MATCH) {
      at++;
      continue;
    }
    sequence(out, bytes.subarray(start, at), back, length);
    for (let i = at + 1; i < at + length; i++) enter(i);
    at += length;
    start = at;
  }
  sequence(out, bytes.subarray(start), 0, 0);
  return Uint8Array.from(out);
}

/** The longest earlier run of bytes that is also at `at`; of equal ones the nearest. */
function longest(bytes: Uint8Array, before: Int32Array, at: number): { readonly length: number; readonly back: number } {
  const end = bytes.length - LAST_LITERALS;
  let length = 0, back = 0;
  for (let from = before[at] as number, tries = 0; from >= 0 && at - from <= FAR && tries < TRIES; from = before[from] as number, tries++) {
    let n = 0;
    while (at + n < end && bytes[from + n] === bytes[at + n]) n++;
    if (n > length) {
      length = n;
      back = at - from;
    }
  }
  return { length, back };
}

/** Literals, then a match; none at the end (`length` 0). */
function sequence(out: number[], literals: Uint8Array, back: number, length: number): void {
  const extra = length === 0 ? 0 : length - MIN_MATCH;
  out.push((Math.min(literals.length, 15) << 4) | Math.min(extra, 15));
  more(out, literals.length);
  out.push(...literals);
  if (length === 0) return;
  out.push(back & 255, back >> 8);
  more(out, extra);
}

/** What of a number does not fit into the four bits of a token. */
function more(out: number[], number: number): void {
  if (number < 15) return;
  let rest = number - 15;
  for (; rest >= 255; rest -= 255) out.push(255);
  out.push(rest);
}
