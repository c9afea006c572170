// JSON whose integers stay exact: those that a double cannot hold are bigints. Pure. Source: RFC 8259, section 6.

export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** Stands before the digits in a string that is a number in truth; no text of others has it in front. */
const markFor = (text: string): string => {
  let mark = "\u0001";
  while (text.includes(mark) || text.includes(JSON.stringify(mark).slice(1, -1))) mark += "\u0001";
  return mark;
};

const escaped = (mark: string): string => JSON.stringify(mark).slice(1, -1);

/** Reads a JSON text. Throws SyntaxError. */
export const parseExact = (text: string): Json => {
  // What is wrong is found before anything is marked, which could make it right.
  const plain = JSON.parse(text) as Json;
  if (!/\d{16}/.test(text)) return plain;
  const mark = markFor(text);
  // Strings are taken whole, so that digits in them are left alone.
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/gs, (word) =>
    /^-?(0|[1-9]\d*)$/.test(word) && !Number.isSafeInteger(Number(word)) ? `"${escaped(mark)}${word}"` : word);
  return JSON.parse(marked, (_key, value: Json) => (typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value)) as Json;
};

/** JSON text of a value with bigints in it; `replace` as in JSON.stringify. */
export const printExact = (value: unknown, replace: (key: string, value: unknown) => unknown, indent?: number): string => {
  const mark = "\u0001bigint:";
  const text = JSON.stringify(value, (key, item: unknown) => (typeof item === "bigint" ? `${mark}${item}` : replace(key, item)), indent);
  return text.replace(/"\\u0001bigint:(-?\d+)"/g, "$1");
};
