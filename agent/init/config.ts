// Where the agent's settings come from: a TOML file (--config, agent.config_file=), or the words of the kernel command line
// over the defaults, then the environment. One table of options serves all of them. Unknown words and keys are ignored.
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level } from "../lib/log.js";
import { decimal, words } from "../lib/text.js";

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

/** How a setting is read from the text after `=` on the kernel command line; undefined keeps the default. */
type Setter = (config: Config, text: string, word: string) => void;
const port = (set: (c: Config, n: number) => void): Setter => (c, text, word) => {
  const n = whole(word, text);
  if (n > 0) set(c, n);
};

const timeout = (set: (c: Config, ms: number) => void): Setter => (c, text, word) => {
  const seconds = whole(word, text);
  if (seconds < 0) throw bad(`${word}: unable to parse timeout "${text}"`);
  if (seconds > 0) set(c, seconds * 1000);
};

const OPTIONS: { readonly [word: string]: Setter } = {
  "agent.log": (c, text) => { c.logLevel = level(text); },
  "agent.server_addr": (c, text, word) => {
    if (text === "") throw bad(`${word}: the value is missing`);
    c.serverAddr = text;
  },
  "agent.trace": (c, text) => { c.tracing = truth(text); },
  "agent.log_vport": port((c, n) => { c.logVport = n; }),
  "agent.debug_console_vport": port((c, n) => { c.debugConsoleVport = n; }),
  "agent.passfd_listener_port": port((c, n) => { c.passfdListenerPort = n; }),
  "agent.hotplug_timeout": timeout((c, ms) => { c.hotplugTimeoutMs = ms; }),
  "agent.share_timeout": timeout((c, ms) => { c.shareTimeoutMs = ms; }),
  "agent.container_pipe_size": (c, text, word) => {
    c.containerPipeSize = whole(word, text);
    if (c.containerPipeSize < 0) throw bad("container pipe size should not be negative");
  },
  "systemd.unified_cgroup_hierarchy": (c, text) => { c.cgroupV1 = !truth(text); },
};
const FLAGS: { readonly [word: string]: (config: Config) => void } = {
  "agent.debug_console": (c) => { c.debugConsole = true; },
  "agent.devmode": (c) => { c.devMode = true; },
  "agent.trace": (c) => { c.tracing = true; },
};

const tomlFile = lazy<typeof import("./config-file.js")>("init/config-file.js");

/** Settings from the words of a kernel command line. Throws AppError "invalid" naming the word. */
export function fromCommandLine(text: string): Config {
  const config: Config = { ...DEFAULTS };
  for (const word of words(text)) {
    if (word.startsWith("agent.config_file=")) return fromFile(word.slice(18));
    const at = word.indexOf("=");
    const name = at < 0 ? word : word.slice(0, at);
    if (at < 0) {
      if (Object.hasOwn(FLAGS, name)) FLAGS[name]?.(config);
    } else if (Object.hasOwn(OPTIONS, name)) {
      OPTIONS[name]?.(config, word.slice(at + 1), name);
    }
  }
  return config;
}

/** Settings from a TOML file over the defaults. Throws naming the file, the line or the key. */
export function fromFile(path: string): Config {
  return tomlFile().configFromToml(path, { ...DEFAULTS }, level);
}

/** Applies KATA_AGENT_SERVER_ADDR, KATA_AGENT_LOG_LEVEL and KATA_AGENT_TRACING (entries "NAME=value"). */
export function withEnvironment(config: Config, env: readonly string[]): Config {
  for (const entry of env) {
    const value = entry.slice(entry.indexOf("=") + 1);
    if (entry.startsWith("KATA_AGENT_SERVER_ADDR=") && value !== "") config.serverAddr = value;
    if (entry.startsWith("KATA_AGENT_LOG_LEVEL=") && Object.hasOwn(LEVELS, value)) config.logLevel = level(value);
    if (entry.startsWith("KATA_AGENT_TRACING=")) config.tracing = truth(value);
  }
  return config;
}
