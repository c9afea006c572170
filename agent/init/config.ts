// Where the agent's settings come from: a TOML file (--config, agent.config_file=), or the words of the kernel command line
// over the defaults, then the environment. One table tells how each setting is spelt in all three; docs/settings.md is held against it by a test.
// Unknown words and keys are ignored, a setting that is known and does nothing yet is warned of.
import { AppError, attempt } from "../lib/errors.js";
import { readDocument } from "../lib/fs.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { decimal, words } from "../lib/text.js";
import type { Value } from "./toml.js";

export interface Config {
  serverAddr: string;
  logLevel: Level;
  logVport: number;
  debugConsole: boolean;
  debugConsoleVport: number;
  devMode: boolean;
  tracing: boolean;
  passfdListenerPort: number;
  hotplugTimeoutMs: number;
  /** How long a file system that is not the guest's own may let a request wait; shorter limits of single steps stay. */
  shareTimeoutMs: number;
  containerPipeSize: number;
  /** Mount the version 1 hierarchies instead of cgroup2. */
  cgroupV1: boolean;
}

export const DEFAULTS: Readonly<Config> = {
  serverAddr: "vsock://-1:1024", logLevel: Level.INFO, logVport: 0, debugConsole: false, debugConsoleVport: 0, devMode: false,
  tracing: false, passfdListenerPort: 0, hotplugTimeoutMs: 3000, shareTimeoutMs: 60_000, containerPipeSize: 0, cgroupV1: false,
};

const LEVELS: { readonly [name: string]: Level } = {
  fatal: Level.CRIT, panic: Level.CRIT, critical: Level.CRIT, error: Level.ERROR, warn: Level.WARN, warning: Level.WARN,
  info: Level.INFO, debug: Level.DEBUG, trace: Level.TRACE,
};

const bad = (message: string): AppError => new AppError("invalid", message);

/** "true"/"false", else a number that is not zero; anything else is false, never an error. */
function truth(text: string): boolean {
  return text === "true" || (decimal(text) ?? 0) > 0;
}

function level(text: string): Level {
  const found = Object.hasOwn(LEVELS, text) ? LEVELS[text] : undefined;
  if (found === undefined) throw bad(`invalid log level "${text}" (fatal, error, warn, info, debug or trace)`);
  return found;
}

function whole(word: string, text: string): number {
  const negative = text.startsWith("-");
  const value = decimal(negative ? text.slice(1) : text);
  if (value === undefined) throw bad(`${word}: "${text}" is not a number`);
  return negative ? -value : value;
}

/** How a setting is read. Undefined keeps what was there. */
interface Kind {
  /** From the text after `=` of a word of the kernel command line; absent where only the bare word counts. */
  word?(text: string, word: string): Config[keyof Config] | undefined;
  /** The bare word says true. */
  readonly bare?: true;
  /** From a value of a TOML file, which is of this type. */
  readonly type: "string" | "number" | "boolean" | "object";
  value?(value: Value, key: string): Config[keyof Config];
}

const TEXT: Kind = {
  word(text, word) {
    if (text === "") throw bad(`${word}: the value is missing`);
    return text;
  },
  type: "string",
};
const LEVEL: Kind = { word: level, type: "string", value: (value) => level(value as string) };
const TRUTH: Kind = { word: truth, bare: true, type: "boolean" };
const FLAG: Kind = { bare: true, type: "boolean" };
const NOT: Kind = { word: (text) => !truth(text), type: "boolean", value: (value) => !(value as boolean) };
const PORT: Kind = {
  word(text, word) {
    const port = whole(word, text);
    return port > 0 ? port : undefined;
  },
  type: "number",
};
const BYTES: Kind = {
  word(text, word) {
    const bytes = whole(word, text);
    if (bytes < 0) throw bad("container pipe size should not be negative");
    return bytes;
  },
  type: "number",
};
/** Seconds as a word, `{ secs = N, nanos = N }` in a file. */
const TIME: Kind = {
  word(text, word) {
    const seconds = whole(word, text);
    if (seconds < 0) throw bad(`${word}: unable to parse timeout "${text}"`);
    return seconds > 0 ? seconds * 1000 : undefined;
  },
  type: "object",
  value(time, key) {
    if (typeof time !== "object" || typeof time.secs !== "number") throw bad(`${key}: expected { secs = N, nanos = N }`);
    return time.secs * 1000 + (typeof time.nanos === "number" ? time.nanos / 1e6 : 0);
  },
};

export interface Setting {
  readonly field: keyof Config;
  readonly kind: Kind;
  /** On the kernel command line. */
  readonly word: string;
  /** In a TOML file. */
  readonly key: string;
  /** In the environment, where what cannot be read is ignored. */
  readonly variable?: string;
  /** It is accepted and does nothing. */
  readonly idle?: true;
}

export const SETTINGS: readonly Setting[] = [
  { field: "serverAddr", kind: TEXT, word: "agent.server_addr", key: "server_addr", variable: "KATA_AGENT_SERVER_ADDR" },
  { field: "logLevel", kind: LEVEL, word: "agent.log", key: "log_level", variable: "KATA_AGENT_LOG_LEVEL" },
  { field: "logVport", kind: PORT, word: "agent.log_vport", key: "log_vport", idle: true },
  { field: "debugConsole", kind: FLAG, word: "agent.debug_console", key: "debug_console", idle: true },
  { field: "debugConsoleVport", kind: PORT, word: "agent.debug_console_vport", key: "debug_console_vport", idle: true },
  { field: "devMode", kind: FLAG, word: "agent.devmode", key: "dev_mode", idle: true },
  { field: "tracing", kind: TRUTH, word: "agent.trace", key: "tracing", variable: "KATA_AGENT_TRACING", idle: true },
  { field: "passfdListenerPort", kind: PORT, word: "agent.passfd_listener_port", key: "passfd_listener_port", idle: true },
  { field: "hotplugTimeoutMs", kind: TIME, word: "agent.hotplug_timeout", key: "hotplug_timeout" },
  { field: "shareTimeoutMs", kind: TIME, word: "agent.share_timeout", key: "share_timeout" },
  { field: "containerPipeSize", kind: BYTES, word: "agent.container_pipe_size", key: "container_pipe_size" },
  { field: "cgroupV1", kind: NOT, word: "systemd.unified_cgroup_hierarchy", key: "unified_cgroup_hierarchy" },
];

const toml = lazy<typeof import("./toml.js")>("init/toml.js");

function set(config: Config, field: keyof Config, value: Config[keyof Config] | undefined): void {
  if (value !== undefined) (config as unknown as Record<string, unknown>)[field] = value;
}

/** Settings from the words of a kernel command line. Throws AppError "invalid" naming the word. */
export function fromCommandLine(text: string): Config {
  const config: Config = { ...DEFAULTS };
  for (const word of words(text)) {
    if (word.startsWith("agent.config_file=")) return fromFile(word.slice(18));
    const at = word.indexOf("=");
    const name = at < 0 ? word : word.slice(0, at);
    const setting = SETTINGS.find((one) => one.word === name);
    if (setting === undefined) continue;
    const { field, kind } = setting;
    if (at >= 0) set(config, field, kind.word?.(word.slice(at + 1), name));
    else if (kind.bare) set(config, field, true);
  }
  return config;
}

/** Settings from a TOML file over the defaults. Throws naming the file, the line or the key. */
export function fromFile(path: string): Config {
  return attempt(`configuration file ${path}`, () => {
    const config: Config = { ...DEFAULTS };
    const values = toml().parseToml(readDocument(path));
    for (const { field, kind, key } of SETTINGS) {
      const value = values.get(key);
      if (value === undefined) continue;
      if (kind.type !== "object" && typeof value !== kind.type) throw bad(`${key}: expected a ${kind.type}`);
      set(config, field, kind.value === undefined ? (value as string | number | boolean) : kind.value(value, key));
    }
    return config;
  });
}

/** Applies the variables of the environment (entries "NAME=value"). */
export function withEnvironment(config: Config, env: readonly string[]): Config {
  for (const entry of env) {
    const at = entry.indexOf("=");
    const setting = SETTINGS.find(({ variable }) => variable !== undefined && variable === entry.slice(0, at));
    if (setting === undefined) continue;
    try {
      set(config, setting.field, setting.kind.word?.(entry.slice(at + 1), setting.word));
    } catch {
      // a variable may be meant for somebody else
    }
  }
  return config;
}

/** Says of each setting that was made and does nothing that it does nothing. */
export function warnOfIdle(config: Config): void {
  for (const { field, word, idle } of SETTINGS) {
    if (idle && config[field] !== DEFAULTS[field]) log(Level.WARN, `the setting ${word} is accepted and has no effect in this agent`);
  }
}
