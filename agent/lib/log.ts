// The agent's log: one JSON object a line, all values strings, in the shape the Kata host's forwarder reads (facts: keys msg,
// level, ts, version, subsystem, pid, name, source). Logging never throws and never waits for a reader.
import { sys } from "../sys/call.js";
import { modeOf, O, open, S } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { CLOCK, clockMs, getpid } from "../sys/system.js";

const LEVELS = ["CRIT", "ERRO", "WARN", "INFO", "DEBG", "TRCE"] as const;
export const enum Level { CRIT = 0, ERROR = 1, WARN = 2, INFO = 3, DEBUG = 4, TRACE = 5 }
export type Fields = { readonly [key: string]: string | number | boolean | undefined };

let threshold: Level = Level.INFO;
let output = 1;
let isSocket = false;
let torn = false; // the last line went out in part
const MSG_DONTWAIT_NOSIGNAL = 0x4040;

function sink(line: Uint8Array): void {
  const whole = torn ? new Uint8Array([10, ...line]) : line;
  const n = isSocket ? sys(NR.sendto, output, whole, whole.length, MSG_DONTWAIT_NOSIGNAL, null, 0) : sys(NR.write, output, whole, whole.length);
  if (n > 0) torn = n < whole.length;
}

/**
 * Makes sure that who stops reading the log stops nobody: lines that do not fit a full pipe or socket are dropped. A pipe is opened
 * anew for that, because others may share its standard output. A terminal or file needs nothing.
 */
export function unblockLog(): void {
  try {
    const type = modeOf(1) & S.IFMT;
    isSocket = type === S.IFSOCK;
    if (type === S.IFIFO) output = open("/proc/self/fd/1", O.WRONLY | O.NONBLOCK).take();
  } catch {
    // no standard output, or no /proc: it stays as it is
  }
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

/** Writes one record when its level is on. Field names of the record itself (msg, level, ...) cannot be overridden. */
export function log(level: Level, msg: string, fields?: Fields, subsystem = "agent"): void {
  if (level > threshold) return;
  if (other !== undefined) return other(level, msg);
  // put together by hand: every call of a host costs such a line
  let more = "";
  for (const key in fields) {
    const value = fields[key];
    if (value !== undefined && !OWN_KEYS.includes(` ${key} `)) more += `,${JSON.stringify(key)}:${JSON.stringify(String(value))}`;
  }
  const ts = rfc3339(clockMs(CLOCK.REALTIME));
  sink(native.utf8Encode(
    `{"msg":${JSON.stringify(msg)},"level":"${LEVELS[level]}","ts":"${ts}","version":"${__VERSION__}","subsystem":"${subsystem}","pid":"${getpid()}","name":"kata-agent","source":"agent"${more}}\n`,
  ));
}
