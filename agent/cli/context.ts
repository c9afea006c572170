// What every command gets: where state is kept, where messages go, and how it ends.
import { sys } from "../sys/call.js";
import { O, open, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { CLOCK, clockMs } from "../sys/system.js";
import { textBytes } from "../sys/utf8.js";
import { AppError, messageOf } from "../lib/errors.js";
import { rfc3339 } from "../lib/log.js";
import type { Options } from "./options.js";

export interface Context {
  /** The name it was called by, for messages. */
  readonly self: string;
  readonly root: string;
  /** The caller has named the root: it is an error when it is not there. */
  readonly rootNamed: boolean;
  readonly debug: boolean;
  /** File for messages; undefined: standard error. */
  readonly log: string | undefined;
  readonly json: boolean;
  readonly rootless: boolean;
}

/** A command: its exit status. */
export type Run = (context: Context, options: Options, rest: readonly string[]) => number | Promise<number>;

/** Writes to a standard stream; who has closed it is no error. */
export function print(fd: 1 | 2, text: string): void {
  const bytes = textBytes(text);
  for (let at = 0; at < bytes.length; ) {
    const n = sys(NR.write, fd, bytes.subarray(at), bytes.length - at);
    if (n <= 0) return;
    at += n;
  }
}

function line({ json }: Pick<Context, "json">, level: string, message: string): string {
  const time = rfc3339(clockMs(CLOCK.REALTIME));
  return json ? `${JSON.stringify({ level, msg: message, time })}\n` : `time="${time}" level=${level} msg=${JSON.stringify(message)}\n`;
}

/** Writes a message to the log; to standard error when there is none or it cannot be written. */
export function say(context: Pick<Context, "log" | "json">, level: "error" | "warning" | "debug", message: string): void {
  const text = line(context, level, message);
  if (context.log === undefined) return print(2, text);
  try {
    using file = open(context.log, O.WRONLY | O.CREAT | O.APPEND, 0o644);
    writeAll(file, text);
  } catch (error) {
    print(2, line({ json: false }, "warning", `write the log ${context.log}: ${messageOf(error)}`));
    print(2, text);
  }
}

/** One line that changes no terminal, whatever a configuration may have put into it. */
const oneLine = (text: string): string => {
  let out = "";
  for (const c of text.slice(0, 2000)) out += c < " " ? JSON.stringify(c).slice(1, -1) : c >= "\x7f" && c < "\xa0" ? "?" : c;
  return out;
};

/** The end of a command that failed: the log gets it, and a person reads it on standard error. */
export function complain(context: Pick<Context, "log" | "json" | "self">, error: unknown): void {
  const message = messageOf(error);
  if (context.log !== undefined) say(context, "error", message);
  print(2, `${context.self}: ${oneLine(message)}\n`);
}

/** The only word of a command that takes an id. */
export function idOf(options: Options): string {
  return options.words[0] as string;
}

export const invalid = (why: string): never => {
  throw new AppError("invalid", why);
};
