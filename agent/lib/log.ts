// The agent's log: one JSON object a line, all values strings, in the shape the Kata host's forwarder reads (facts: keys msg,
// level, ts, version, subsystem, pid, name, source). Logging never throws and never waits for a reader.
import { sys } from "../sys/call.js";
import { NR } from "../sys/nr.js";
import { CLOCK, clockMs, getpid } from "../sys/system.js";

const LEVELS = ["CRIT", "ERRO", "WARN", "INFO", "DEBG", "TRCE"] as const;
export const enum Level { CRIT = 0, ERROR = 1, WARN = 2, INFO = 3, DEBUG = 4, TRACE = 5 }
export type Fields = { readonly [key: string]: string | number | boolean | undefined };

let threshold: Level = Level.INFO;
let sink = (line: Uint8Array): void => {
  sys(NR.write, 1, line, line.length);
};

/** Records above this level are dropped. */
export function setLevel(level: Level): void {
  threshold = level;
}
export function logs(level: Level): boolean {
  return level <= threshold;
}
/** Sends finished lines (bytes, newline included) elsewhere. */
export function setSink(to: (line: Uint8Array) => void): void {
  sink = to;
}

const pad = (n: number, width: number): string => String(n).padStart(width, "0");

/** RFC 3339 in UTC with nanosecond digits, from milliseconds since the epoch (days to civil date: proleptic Gregorian). */
export function rfc3339(ms: number): string {
  const days = Math.floor(ms / 86400000);
  const rest = ms - days * 86400000;
  const z = days + 719468;
  const era = Math.floor(z / 146097);
  const doe = z - era * 146097;
  const yoe = Math.floor((doe - Math.floor(doe / 1460) + Math.floor(doe / 36524) - Math.floor(doe / 146096)) / 365);
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100));
  const mp = Math.floor((5 * doy + 2) / 153);
  const month = mp < 10 ? mp + 3 : mp - 9;
  const year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  const s = Math.floor(rest / 1000);
  const time = `${pad(Math.floor(s / 3600), 2)}:${pad(Math.floor(s / 60) % 60, 2)}:${pad(s % 60, 2)}`;
  return `${year}-${pad(month, 2)}-${pad(doy - Math.floor((153 * mp + 2) / 5) + 1, 2)}T${time}.${pad(Math.floor((rest % 1000) * 1e6), 9)}Z`;
}

/** Writes one record when its level is on. Field names of the record itself (msg, level, ...) cannot be overridden. */
export function log(level: Level, msg: string, fields?: Fields, subsystem = "agent"): void {
  if (level > threshold) return;
  const record: Record<string, string> = { msg, level: LEVELS[level] as string, ts: rfc3339(clockMs(CLOCK.REALTIME)), version: "0.1.0", subsystem, pid: String(getpid()), name: "kata-agent", source: "agent" };
  for (const key in fields) {
    const value = fields[key];
    if (value !== undefined && !Object.hasOwn(record, key)) record[key] = String(value);
  }
  sink(native.utf8Encode(`${JSON.stringify(record)}\n`));
}
