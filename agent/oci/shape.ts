// The form of JSON values as data, and one walker that holds a value against it: wrong types, missing fields and numbers out of
// range are refused with the field's path. Where it matters, integers beyond 2^53 come out exact, as bigints. Pure.
import { AppError } from "../lib/errors.js";

/**
 * "s" text, "b" boolean, "u8" "u16" "u32" "i32" "u64" "i64" whole numbers, "x64" an unsigned one that must stay exact; [shape] a list; { "*": shape } a map; else an object,
 * of which the names in "!" must be there, in any case of letters. What a shape does not name is left out.
 */
export type Shape = string | readonly [Shape] | { readonly [name: string]: Shape };

const RANGES: { readonly [kind: string]: readonly [number, number] } = {
  u8: [0, 255], u16: [0, 65535], u32: [0, 4294967295], i32: [-2147483648, 2147483647], u64: [0, 18446744073709551615], x64: [0, 18446744073709551615], i64: [-9223372036854775808, 9223372036854775807],
};
const WORDS: { readonly [kind: string]: string } = {
  u8: "an unsigned 8-bit number", u16: "an unsigned 16-bit number", u32: "an unsigned 32-bit number", i32: "a 32-bit number", u64: "an unsigned 64-bit number", x64: "an unsigned 64-bit number", i64: "a 64-bit number", s: "text", b: "true or false",
};
/** What stands before the digits of a number that JSON.parse would round. */
const MARK = "\u0001";
const DIGITS_SAFE = 15;

/** Thrown inside when a number was met that may have been rounded. */
const AGAIN = {};

class Walker {
  private readonly path: (string | number)[];
  /** Any text will do: the quick way for most of what there is. */
  private readonly plain: boolean;
  constructor(private readonly exact: boolean, private readonly noNul: boolean, place: string) {
    this.path = place === "" ? [] : [place];
    this.plain = !exact && !noNul;
  }

  private refuse(why: string): never {
    let field = "";
    for (const part of this.path) field += typeof part === "number" ? `[${part}]` : isPlain(part) ? (field === "" ? part : `.${part}`) : `[${JSON.stringify(part.slice(0, 60))}]`;
    throw new AppError("invalid", `${field === "" ? "the configuration" : field}: ${why}`);
  }

  /** Returns the value, whose parts are changed in place: it comes from JSON.parse and has no other owner. */
  walk(value: unknown, shape: Shape): unknown {
    if (typeof shape === "string") return this.scalar(value, shape);
    if (typeof value !== "object" || value === null) this.refuse(isList(shape) ? "is not a list" : "is not an object");
    if (isList(shape)) return Array.isArray(value) ? this.list(value as unknown[], shape[0]) : this.refuse("is not a list");
    return Array.isArray(value) ? this.refuse("is not an object") : this.object(value as { [name: string]: unknown }, shape);
  }

  private list(items: unknown[], shape: Shape): unknown {
    const plainText = shape === "s" && this.plain;
    for (let i = 0; i < items.length; i++) {
      if (plainText && typeof items[i] === "string") continue;
      this.path.push(i);
      items[i] = this.walk(items[i], shape);
      this.path.pop();
    }
    return items;
  }

  /** What is there is looked at, not what could be: most of what a shape names is absent. */
  private object(value: { [name: string]: unknown }, shape: { readonly [name: string]: Shape }): unknown {
    const each = shape["*"];
    const names = Object.keys(value);
    for (const name of names) {
      const given = value[name];
      const form = each ?? shape[name];
      if (form === "s" ? this.plain && typeof given === "string" && name !== "!" : form === "b" && typeof given === "boolean") continue;
      if (form === undefined || name === "!" || (given === null && each === undefined) || (each === undefined && !Object.hasOwn(shape, name))) {
        delete value[name];
        const meant = given === null || each !== undefined ? undefined : meantBy(name, names, shape);
        if (meant !== undefined) value[meant] = this.field(meant, given, shape[meant] as Shape);
        continue;
      }
      const checked = this.field(name, given, form);
      if (checked !== given) value[name] = checked; // only numbers are ever replaced, so "__proto__" as a name is left alone
    }
    const needed = shape["!"];
    if (typeof needed === "string") for (const name of needed.split(" ")) if (value[name] === undefined) this.missing(name);
    return value;
  }

  private field(name: string, given: unknown, form: Shape): unknown {
    this.path.push(name);
    if (this.noNul && name.includes("\0")) this.refuse("has a NUL byte");
    const checked = this.walk(given, form);
    this.path.pop();
    return checked;
  }

  private missing(name: string): never {
    this.path.push(name);
    this.refuse("is missing");
  }

  private scalar(value: unknown, kind: string): unknown {
    if (kind === "s") {
      if (typeof value !== "string" || (this.exact && value.startsWith(MARK))) this.refuse("is not text");
      if (this.noNul && value.includes("\0")) this.refuse("has a NUL byte");
      return value;
    }
    if (kind === "b") return typeof value === "boolean" ? value : this.refuse("is not true or false");
    return this.integer(value, kind);
  }

  private integer(value: unknown, kind: string): number | bigint {
    const [least, most] = RANGES[kind] as readonly [number, number];
    if (this.exact && typeof value === "string" && value.startsWith(MARK)) {
      const n = BigInt(value.slice(1));
      if (n < BigInt(least) || n > (kind === "i64" ? 9223372036854775807n : kind.endsWith("64") ? 18446744073709551615n : BigInt(most))) this.refuse(`${n} is not ${WORDS[kind]}`);
      return kind !== "x64" || n <= 9007199254740991n ? Number(n) : n;
    }
    if (typeof value !== "number") this.refuse(`is not ${WORDS[kind]}`);
    const rounded = value > Number.MAX_SAFE_INTEGER || value < -Number.MAX_SAFE_INTEGER;
    if (!this.exact && rounded) throw AGAIN;
    if (rounded || !Number.isInteger(value) || value < least || value > most) this.refuse(`${value} is not ${WORDS[kind]}`);
    return value;
  }
}

/** The field that a name in another case means, as Go's encoding/json reads it; undefined when there is none, or it is there in its own case. */
function meantBy(name: string, names: readonly string[], shape: { readonly [name: string]: Shape }): string | undefined {
  const plain = name.toLowerCase();
  for (const field in shape) if (field.length === name.length && field !== "!" && field.toLowerCase() === plain) return names.includes(field) ? undefined : field;
  return undefined;
}

const isList = (shape: Shape): shape is readonly [Shape] => Array.isArray(shape);

/** May a name stand behind a dot in a field's path? */
function isPlain(name: string): boolean {
  for (const c of name) if (!((c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || (c >= "0" && c <= "9") || c === "_")) return false;
  return name !== "" && name.length < 60;
}

/** Puts integers that a double cannot hold into marked strings: the text between strings is looked through, digit by digit. */
function marked(text: string): string {
  let out = "";
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 34) { // to the end of the string
      for (i++; i < text.length && text.charCodeAt(i) !== 34; i++) if (text.charCodeAt(i) === 92) i++;
    } else if (c === 45 || (c >= 48 && c <= 57)) {
      const start = i;
      for (i++; i < text.length && "0123456789.eE+-".includes(text[i] as string); i++);
      const number = text.slice(start, i);
      if (number.length > DIGITS_SAFE && wholeNumber(number)) {
        out += `${text.slice(from, start)}"\\u0001${number}"`;
        from = i;
      }
      i--;
    }
  }
  return out + text.slice(from);
}

function wholeNumber(text: string): boolean {
  for (let i = text.startsWith("-") ? 1 : 0; i < text.length; i++) if (text.charCodeAt(i) < 48 || text.charCodeAt(i) > 57) return false;
  return true;
}

const MOST_CHARACTERS = 16 << 20;

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new AppError("invalid", `the configuration: is not JSON: ${error instanceof Error ? error.message : "unreadable"}`);
  }
}

/** The value in a JSON text, in the form that `shape` says; `place` is its own path in errors. Throws AppError "invalid" naming the field. */
export function readShape(text: string, shape: Shape, place = ""): unknown {
  if (text.length > MOST_CHARACTERS) throw new AppError("invalid", `the configuration: ${text.length} characters are too many`);
  const noNul = text.includes("\\u0000");
  try {
    return new Walker(false, noNul, place).walk(fromJson(text), shape);
  } catch (error) {
    if (error !== AGAIN) throw error;
    return new Walker(true, noNul, place).walk(fromJson(marked(text)), shape);
  }
}
