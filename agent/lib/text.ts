// Text without regular expressions (the guest's engine has none): lines, words, numbers. Pure; it imports nothing.

/** The lines of a text without their ends; a final newline makes no empty last line. */
export function lines(text: string): string[] {
  const all = text.split("\n");
  if (all[all.length - 1] === "") all.pop();
  return all;
}

/** The words of a text, separated by any ASCII white space. By calls that are the engine's own: mountinfo is some 10 KB. */
export function words(text: string): string[] {
  let spaced = text;
  for (const blank of "\t\n\v\f\r") if (spaced.includes(blank)) spaced = spaced.split(blank).join(" ");
  return spaced.split(" ").filter((word) => word !== "");
}

/** A whole decimal number without sign, at most 2^53-1; undefined for anything else ("", "1x", " 1", "+1"). */
export function decimal(text: string): number | undefined {
  if (text.length === 0 || text.length > 16) return undefined;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 48 || c > 57) return undefined;
  }
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** A whole number in base 8 or 16 made only of that base's digits; undefined for anything else. */
export function parseBase(text: string, base: 8 | 16): number | undefined {
  if (text.length === 0 || text.length > 16) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i) | 32;
    const digit = c <= 57 ? c - 48 : c - 87;
    if (digit < 0 || digit >= base || (c > 57 && c < 97)) return undefined;
    value = value * base + digit;
  }
  return value;
}

/** Splits "a=b=c" into "a" and "b=c"; the second part is undefined without "=". */
export function keyValue(text: string): [string, string | undefined] {
  const at = text.indexOf("=");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
