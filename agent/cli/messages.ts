// What a command says besides its results: lines as runc's logger (logrus) writes them, which callers look through for "level=error
// msg=", or JSON; for a person at a terminal one plain line.
import { CLOCK, O } from "../abi/flags.js";
import { open, writeAll } from "../sys/file.js";
import { clockMs } from "../sys/system.js";
import { isTerminal } from "../sys/tty.js";
import { messageOf } from "../lib/errors.js";
import { cut, rfc3339 } from "../lib/log.js";
import { print } from "./print.js";

/** Where messages go: see Context. */
export interface Outlets { readonly self: string; readonly log: string | undefined; readonly json: boolean }

export type Level = "error" | "warning" | "debug";

const LONGEST = 8000;
const LETTERS = "abtnvfr"; // of the escapes for 7 to 13

/** May logrus leave out the quotes around this? */
const isPlain = (c: string): boolean => (c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || (c >= "0" && c <= "9") || "-._/@^+".includes(c);

/** Characters beyond ASCII that nobody sees, or that change how others are shown: Go's quotes do not let them through. See Unicode, categories C and Z. */
const isUnseen = (n: number): boolean =>
  n <= 0xa0 || n === 0xad || n === 0x61c || (n >= 0x2000 && n < 0x2010) || (n >= 0x2028 && n < 0x2030) || (n >= 0x205f && n < 0x2070) || n === 0x3000 || (n >= 0xd800 && n < 0xf900) || n === 0xfeff || (n >= 0xfff0 && n < 0xfffc) || n >= 0xe0000;

/** A text in Go's quotes (strconv.Quote). A byte that is no UTF-8 is shown as one: see sys/utf8.ts. */
function goQuoted(text: string): string {
  const hex = (n: number, width: number): string => n.toString(16).padStart(width, "0");
  let out = '"';
  for (const c of text) {
    const n = c.codePointAt(0) as number;
    if (c === '"' || c === "\\") out += `\\${c}`;
    else if (n >= 7 && n <= 13) out += `\\${LETTERS[n - 7]}`;
    else if (n < 0x20 || n === 0x7f) out += `\\x${hex(n, 2)}`;
    else if (n < 0x7f || !isUnseen(n)) out += c;
    else if (n >= 0xdc80 && n < 0xdd00) out += `\\x${hex(n - 0xdc00, 2)}`;
    else out += n < 0x10000 ? `\\u${hex(n, 4)}` : `\\U${hex(n, 8)}`;
  }
  return `${out}"`;
}

/** One record: in logrus's text form only what is not one plain word has quotes. */
export function line(json: boolean, level: Level, message: string): string {
  const time = `${rfc3339(clockMs(CLOCK.REALTIME)).slice(0, 19)}Z`;
  const msg = cut(message, LONGEST);
  return json ? `${JSON.stringify({ level, msg, time })}\n` : `time="${time}" level=${level} msg=${[...msg].every(isPlain) ? msg : goQuoted(msg)}\n`;
}

/** Writes a message to the log; to standard error when there is none or it cannot be written. */
export function say({ log, json }: Pick<Outlets, "log" | "json">, level: Level, message: string): void {
  const text = line(json, level, message);
  if (log === undefined) return print(2, text);
  try {
    using file = open(log, O.WRONLY | O.CREAT | O.APPEND, 0o644);
    writeAll(file, text);
  } catch (error) {
    print(2, line(false, "warning", `write the log ${log}: ${messageOf(error)}`));
    print(2, text);
  }
}

/** One line that changes no terminal, whatever a configuration may have put into it. */
function oneLine(text: string): string {
  let out = "";
  for (const c of text.slice(0, 2000)) out += c < " " ? JSON.stringify(c).slice(1, -1) : c >= "\x7f" && c < "\xa0" ? "?" : c;
  return out;
}

/**
 * The end of a command that failed, as runc tells it: the log gets it. Without one, standard error is the log; beside one, it has the
 * message alone. A person at a terminal reads who says it.
 */
export function complain(context: Outlets, error: unknown): void {
  const message = messageOf(error);
  const person = isTerminal(2);
  const logs = context.log !== undefined || context.json;
  if (logs || !person) say(context, "error", message);
  if (context.log !== undefined || (person && !logs)) print(2, `${person ? `${context.self}: ` : ""}${oneLine(message)}\n`);
}
