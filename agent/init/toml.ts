// The TOML file of settings, as much of TOML 1.0 as it needs: comments, bare keys, basic and literal strings, integers,
// booleans, inline tables for time-outs, and [tables], which are skipped. Loaded only when a file is named.
import { AppError, attempt } from "../lib/errors.js";
import { lines } from "../lib/text.js";

type Scalar = string | number | boolean;
export type Value = Scalar | { readonly [key: string]: Scalar };

const bad = (message: string): AppError => new AppError("invalid", message);

/** Cuts a comment off, but not inside a string. */
function withoutComment(line: string): string {
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i] as string;
    if (quote !== "") {
      if (c === "\\" && quote === '"') i++;
      else if (c === quote) quote = "";
    } else if (c === '"' || c === "'") quote = c;
    else if (c === "#") return line.slice(0, i);
  }
  return line;
}

function parseValue(text: string, key: string): Value {
  return text.startsWith("{") && text.endsWith("}") ? inlineTable(text.slice(1, -1), key) : scalar(text, key);
}

function scalar(text: string, key: string): Scalar {
  if (text === "true" || text === "false") return text === "true";
  if (text.length > 1 && text.startsWith("'") && text.endsWith("'")) return text.slice(1, -1);
  if (text.length > 1 && text.startsWith('"') && text.endsWith('"')) {
    try {
      return JSON.parse(text) as string;
    } catch {
      throw bad(`${key}: not a string: ${text}`);
    }
  }
  const plain = text.split("_").join("");
  const value = Number(plain);
  if (plain === "" || !Number.isInteger(value)) throw bad(`${key}: cannot read the value ${text}`);
  return value;
}

function inlineTable(text: string, key: string): Value {
  const table: { [key: string]: Scalar } = {};
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at < 0) throw bad(`${key}: cannot read the table {${text}}`);
    table[part.slice(0, at).trim()] = scalar(part.slice(at + 1).trim(), key);
  }
  return table;
}

/** The top-level keys of a TOML text. Throws AppError "invalid" with the line's number. */
export function parseToml(text: string): Map<string, Value> {
  const found = new Map<string, Value>();
  let top = true;
  lines(text).forEach((raw, i) => {
    const line = withoutComment(raw).trim();
    if (line === "") return;
    if (line.startsWith("[")) {
      top = false;
      return;
    }
    const at = line.indexOf("=");
    if (at <= 0) throw bad(`line ${i + 1}: expected key = value`);
    const key = line.slice(0, at).trim();
    const value = attempt(`line ${i + 1}`, () => parseValue(line.slice(at + 1).trim(), key));
    if (top) found.set(key, value);
  });
  return found;
}
