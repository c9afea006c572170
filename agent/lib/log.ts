// The agent's log: one JSON object a line, all values strings, in the shape the Kata host's forwarder reads (agent-api 5.1: keys msg,
// level, ts, version, subsystem, pid, name, source). Logging never throws and never waits for a reader; what somebody else may make
// long is cut.
import { CLOCK } from "../abi/flags.js";
import { clockMs, getpid } from "../sys/system.js";
import { Outlet } from "./outlet.js";

const LEVELS = ["CRIT", "ERRO", "WARN", "INFO", "DEBG", "TRCE"] as const;
export const enum Level { CRIT = 0, ERROR = 1, WARN = 2, INFO = 3, DEBUG = 4, TRACE = 5 }
export type Fields = { readonly [key: string]: string | number | boolean | undefined };

let threshold: Level = Level.INFO;
let output: Outlet | undefined;
let errors: Outlet | undefined;

/** Opens the ways out of the log, which until then are made when they are first needed. */
export function openLog(): void {
  output ??= new Outlet(1);
}

/** The log's own descriptor, for a child that goes on writing to it; -1 without one. */
export function logDescriptor(): number {
  return output?.n ?? -1;
}

/** In a child whose descriptors are no longer the agent's: the log's numbers may be those of other files. */
export function closeLog(): void {
  output = new Outlet(-1);
}

/** Writes one line to standard error, whatever state the log is in, for at most `ms` milliseconds. */
export function errorLine(text: string, ms = 200): void {
  (errors ??= new Outlet(2)).write(native.utf8Encode(`${cut(text, FIELD_CHARS * 4)}\n`), ms);
}

let other: ((level: Level, msg: string) => void) | undefined;

/** Gives the records to somebody else, in place of writing them. */
export function divertLog(to: (level: Level, msg: string) => void): void {
  other = to;
}

/** Records above this level are dropped. */
export function setLevel(level: Level): void {
  threshold = level;
}
/** Is this level on? */
export function logs(level: Level): boolean {
  return level <= threshold;
}
const pad = (n: number, width: number): string => String(n).padStart(width, "0");

/** "2026-01-31T12:00:00" of a second since the epoch (days to civil date: proleptic Gregorian). */
function civil(second: number): string {
  const days = Math.floor(second / 86400);
  const s = second - days * 86400;
  const z = days + 719468;
  const era = Math.floor(z / 146097);
  const doe = z - era * 146097;
  const yoe = Math.floor((doe - Math.floor(doe / 1460) + Math.floor(doe / 36524) - Math.floor(doe / 146096)) / 365);
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100));
  const mp = Math.floor((5 * doy + 2) / 153);
  const month = mp < 10 ? mp + 3 : mp - 9;
  const year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  const time = `${pad(Math.floor(s / 3600), 2)}:${pad(Math.floor(s / 60) % 60, 2)}:${pad(s % 60, 2)}`;
  return `${year}-${pad(month, 2)}-${pad(doy - Math.floor((153 * mp + 2) / 5) + 1, 2)}T${time}`;
}

let lastSecond = -1; // many records fall into one second
let lastCivil = "";

/** RFC 3339 in UTC with nanosecond digits, from milliseconds since the epoch. */
export function rfc3339(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastCivil = civil(second);
  }
  return `${lastCivil}.${pad(Math.floor((ms - second * 1000) * 1e6), 9)}Z`;
}

const OWN_KEYS = " msg level ts version subsystem pid name source ";
const MOST_BYTES = 8192;
const MSG_CHARS = 4096;
const FIELD_CHARS = 1024;
const FEW_CHARS = 512; // for a line that is too long all the same: a character may take six bytes

/** At most `most` characters and how many there were. */
export function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}... (${text.length} characters)` : text;
}

/** Writes one record when its level is on. Field names of the record itself (msg, level, ...) cannot be overridden. */
export function log(level: Level, msg: string, fields?: Fields, subsystem = "agent"): void {
  if (level > threshold) return;
  if (other !== undefined) return other(level, msg);
  // put together by hand: every call of a host costs such a line
  let more = "";
  for (const key in fields) {
    const value = fields[key];
    if (value !== undefined && more.length < MOST_BYTES && !OWN_KEYS.includes(` ${key} `)) more += `,${JSON.stringify(key)}:${JSON.stringify(cut(String(value), FIELD_CHARS))}`;
  }
  let line = record(level, msg.length > MSG_CHARS ? cut(msg, MSG_CHARS) : msg, more, subsystem);
  if (line.length > MOST_BYTES) line = record(level, cut(msg, FEW_CHARS), "", subsystem);
  const out = (output ??= new Outlet(1));
  out.unbounded = threshold >= Level.DEBUG;
  const urgent = level <= Level.ERROR; // a fault is not lost in a flood of refusals
  const lost = (n: number): Uint8Array => record(Level.WARN, `${n} lines of the log were dropped: nobody has read them, or they came too fast`, "", "agent");
  if (out.tellLost(lost, urgent)) out.write(line, 0, urgent);
}

function record(level: Level, msg: string, more: string, subsystem: string): Uint8Array {
  const ts = rfc3339(clockMs(CLOCK.REALTIME));
  return native.utf8Encode(
    `{"msg":${JSON.stringify(msg)},"level":"${LEVELS[level]}","ts":"${ts}","version":"${__VERSION__}","subsystem":"${subsystem}","pid":"${getpid()}","name":"kata-agent","source":"agent"${more}}\n`,
  );
}
