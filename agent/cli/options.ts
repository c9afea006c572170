// The options of the command line, as tables: what each command knows, and one reader for all. Options may stand before or
// behind the container's id, but for exec and ps, whose further words belong to the program. Pure.
import { AppError } from "../lib/errors.js";

/** A switch, an option with a value, or one that may be given several times. */
type Kind = "switch" | "value" | "list";
export interface Command {
  /** What follows the options, as the help shows it. */
  readonly usage: string;
  readonly about: string;
  readonly options: { readonly [name: string]: Kind };
  readonly short?: { readonly [letter: string]: string };
  /** Least and most words besides options. */
  readonly words: readonly [number, number];
  /** After this many words the rest is taken as it is. */
  readonly stopAt?: number;
}

const CREATE = {
  bundle: "value", "console-socket": "value", "pidfd-socket": "value", "pid-file": "value", "no-pivot": "switch", "no-new-keyring": "switch", "preserve-fds": "value", config: "value",
} as const;

export const COMMANDS: { readonly [name: string]: Command } = {
  create: { usage: "ID", about: "make a container, ready to be started", options: CREATE, short: { b: "bundle", f: "config" }, words: [1, 1] },
  run: {
    usage: "ID", about: "make a container, start it, wait for its end and delete it", options: { ...CREATE, detach: "switch", keep: "switch", "no-subreaper": "switch" },
    short: { b: "bundle", d: "detach", f: "config" }, words: [1, 1],
  },
  start: { usage: "ID", about: "run the program of a created container", options: {}, words: [1, 1] },
  state: { usage: "ID", about: "print a container's state as JSON", options: {}, words: [1, 1] },
  kill: { usage: "ID [SIGNAL]", about: "send a signal (default TERM) to a container's first process", options: { all: "switch" }, short: { a: "all" }, words: [1, 2] },
  delete: { usage: "ID...", about: "remove what a container has left", options: { force: "switch" }, short: { f: "force" }, words: [1, 1000] },
  exec: {
    usage: "ID COMMAND [ARG...]", about: "run a further process in a container",
    options: {
      "console-socket": "value", "pidfd-socket": "value", cwd: "value", env: "list", tty: "switch", user: "value", "additional-gids": "list", process: "value", detach: "switch", "pid-file": "value",
      "process-label": "value", apparmor: "value", "no-new-privs": "switch", cap: "list", "preserve-fds": "value", cgroup: "list", "ignore-paused": "switch",
    },
    short: { e: "env", t: "tty", u: "user", g: "additional-gids", p: "process", d: "detach", c: "cap" }, words: [1, 100000], stopAt: 1,
  },
  list: { usage: "", about: "list the containers", options: { format: "value", quiet: "switch" }, short: { f: "format", q: "quiet" }, words: [0, 0] },
  ps: { usage: "ID [PS-OPTION...]", about: "list a container's processes", options: { format: "value" }, short: { f: "format" }, words: [1, 1000], stopAt: 1 },
  pause: { usage: "ID", about: "freeze all processes of a container", options: {}, words: [1, 1] },
  resume: { usage: "ID", about: "let a paused container go on", options: {}, words: [1, 1] },
  update: {
    usage: "ID", about: "change a container's resource limits",
    options: {
      resources: "value", "blkio-weight": "value", "cpu-period": "value", "cpu-quota": "value", "cpu-burst": "value", "cpu-share": "value", "cpu-rt-period": "value", "cpu-rt-runtime": "value",
      "cpuset-cpus": "value", "cpuset-mems": "value", memory: "value", "memory-reservation": "value", "memory-swap": "value", "pids-limit": "value", "l3-cache-schema": "value", "mem-bw-schema": "value", "cpu-idle": "value",
      "kernel-memory": "value", "kernel-memory-tcp": "value",
    },
    short: { r: "resources" }, words: [1, 1],
  },
  events: { usage: "ID", about: "print figures and out-of-memory events of a container", options: { interval: "value", stats: "switch" }, words: [1, 1] },
  features: { usage: "", about: "print what this runtime knows as JSON", options: {}, words: [0, 0] },
  spec: { usage: "", about: "write a config.json to begin with", options: { bundle: "value", rootless: "switch" }, short: { b: "bundle" }, words: [0, 0] },
};

export const GLOBAL: Command = {
  usage: "COMMAND", about: "",
  options: {
    debug: "switch", log: "value", "log-format": "value", root: "value", "systemd-cgroup": "switch", "cgroup-manager": "value", rootless: "value", version: "switch", help: "switch",
  },
  short: { v: "version", h: "help" }, words: [0, 0], stopAt: 0,
};

export class Options {
  constructor(
    readonly given: { readonly [name: string]: readonly string[] },
    readonly words: readonly string[],
  ) {}
  /** Is the switch on? */
  has(name: string): boolean {
    return this.given[name] !== undefined;
  }
  /** The value, of several the last. */
  get(name: string): string | undefined {
    const all = this.given[name];
    return all?.[all.length - 1];
  }
  all(name: string): readonly string[] {
    return this.given[name] ?? [];
  }
  /** A whole number from 0 up. Throws "invalid". */
  number(name: string): number | undefined {
    const text = this.get(name);
    if (text === undefined) return undefined;
    const n = /* decimal digits only */ [...text].every((c) => c >= "0" && c <= "9") && text !== "" ? Number(text) : NaN;
    if (!Number.isSafeInteger(n)) throw new AppError("invalid", `--${name}: "${text}" is not a number`);
    return n;
  }
}

const bad = (why: string): never => {
  throw new AppError("invalid", why);
};

/** Reads a command's arguments. Throws AppError "invalid" for what the command does not know. */
export function readOptions(command: Command, args: readonly string[], name: string): { readonly options: Options; readonly rest: readonly string[] } {
  const given: { [name: string]: string[] } = {};
  const words: string[] = [];
  let i = 0;
  const note = (option: string, value: string | undefined): void => {
    const kind = Object.hasOwn(command.options, option) ? command.options[option] : option === "help" ? "switch" : bad(`${name}: unknown option --${option} (see --help)`);
    const list = (given[option] ??= []);
    if (kind === "switch") {
      if (value === "false") delete given[option];
      else list.push("");
    } else list.push(value ?? args[++i] ?? bad(`${name}: --${option} needs a value`));
  };
  for (; i < args.length; i++) {
    const arg = args[i] as string;
    if (words.length >= (command.stopAt ?? Infinity) && (command.stopAt !== 0 || !arg.startsWith("-"))) break;
    if (arg === "--") {
      i++;
      break;
    }
    if (arg === "-" || !arg.startsWith("-")) {
      words.push(arg);
      continue;
    }
    const plain = arg.startsWith("--") ? arg.slice(2) : arg.slice(1);
    const cut = plain.indexOf("=");
    const option = cut < 0 ? plain : plain.slice(0, cut);
    const value = cut < 0 ? undefined : plain.slice(cut + 1);
    if (option.length > 1) {
      if (arg.startsWith("--") || Object.hasOwn(command.options, option) || !spread(command, plain, note)) note(option, value);
    } else note(command.short?.[option] ?? (option === "h" ? "help" : option), value);
  }
  return { options: new Options(given, words), rest: args.slice(i) };
}

/** "-it", "-uroot": letters in a row, the last of which may have its value joined on. */
function spread(command: Command, letters: string, note: (option: string, value: string | undefined) => void): boolean {
  const first = command.short?.[letters[0] as string];
  if (first === undefined) return false;
  for (let i = 0; i < letters.length; i++) {
    const option = command.short?.[letters[i] as string] ?? bad(`unknown option -${letters[i]} (see --help)`);
    if (command.options[option] !== "switch" && i + 1 < letters.length) {
      note(option, letters.slice(letters[i + 1] === "=" ? i + 2 : i + 1));
      return true;
    }
    note(option, undefined);
  }
  return true;
}
