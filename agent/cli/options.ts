// The options of the command line, as tables: what each command knows, and one reader for all. Options may stand before or
// behind the container's id, but for exec and ps, whose further words belong to the program. Pure.
import { AppError } from "../lib/errors.js";

/** A switch, an option with a value, or one that may be given several times. */
type Kind = "switch" | "value" | "list";
export interface Command {
  /** What follows the options, as the help shows it. */
  readonly usage: string;
  readonly options: { readonly [name: string]: Kind };
  readonly short: { readonly [letter: string]: string };
  /** Least and most words besides options. */
  readonly least: number;
  readonly most: number;
  /** After this many words the rest is taken as it is. */
  readonly stopAt: number | undefined;
}

/** Usage, options, least and most words, stopAt. Options as words: "NAME" a switch, "NAME=" a value, "NAME*" several; "x,NAME" has a letter. */
type Row = readonly [usage: string, options: string, least: number, most: number, stopAt?: number];

const CREATE = "b,bundle= console-socket= pidfd-socket= pid-file= no-pivot no-new-keyring preserve-fds= f,config=";
const ROWS: { readonly [name: string]: Row } = {
  create: ["ID", CREATE, 1, 1],
  run: ["ID", `${CREATE} d,detach keep no-subreaper`, 1, 1],
  start: ["ID", "", 1, 1],
  state: ["ID", "", 1, 1],
  kill: ["ID [SIGNAL]", "a,all", 1, 2],
  delete: ["ID...", "f,force", 1, 1000],
  exec: [
    "ID COMMAND [ARG...]",
    "console-socket= pidfd-socket= cwd= e,env* t,tty u,user= g,additional-gids* p,process= d,detach pid-file= process-label= apparmor= no-new-privs c,cap* preserve-fds= cgroup* ignore-paused", 1, 100000, 1,
  ],
  list: ["", "f,format= q,quiet", 0, 0],
  ps: ["ID [PS-OPTION...]", "f,format=", 1, 1000, 1],
  pause: ["ID", "", 1, 1],
  resume: ["ID", "", 1, 1],
  update: [
    "ID",
    "r,resources= blkio-weight= cpu-period= cpu-quota= cpu-burst= cpu-share= cpu-rt-period= cpu-rt-runtime= cpuset-cpus= cpuset-mems= memory= memory-reservation= memory-swap= pids-limit= l3-cache-schema= mem-bw-schema= cpu-idle= kernel-memory= kernel-memory-tcp=", 1, 1,
  ],
  events: ["ID", "interval= stats", 1, 1],
  features: ["", "", 0, 0],
  spec: ["", "b,bundle= rootless", 0, 0],
};

/** The names of all commands. */
export const commandNames = (): string[] => Object.keys(ROWS);

function fromRow([usage, text, least, most, stopAt]: Row): Command {
  const options: { [name: string]: Kind } = {};
  const short: { [letter: string]: string } = {};
  for (const word of text === "" ? [] : text.split(" ")) {
    const named = word[1] === "," ? word.slice(2) : word;
    const kind = named.endsWith("=") ? "value" : named.endsWith("*") ? "list" : "switch";
    const name = kind === "switch" ? named : named.slice(0, -1);
    options[name] = kind;
    if (named !== word) short[word[0] as string] = name;
  }
  return { usage, options, short, least, most, stopAt };
}

/** What a command knows; undefined when there is none of that name. */
export function commandOf(name: string): Command | undefined {
  return Object.hasOwn(ROWS, name) ? fromRow(ROWS[name] as Row) : undefined;
}

/** The options before the command. */
export const globalOptions = (): Command => fromRow(["COMMAND", "debug log= log-format= root= systemd-cgroup cgroup-manager= rootless= v,version h,help", 0, 0, 0]);

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

/** As Go's strconv.ParseBool; undefined for what is neither. */
export function booleanOf(text: string): boolean | undefined {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  return ["0", "f", "F", "false", "FALSE", "False"].includes(text) ? false : undefined;
}

/** Reads a command's arguments. Throws AppError "invalid" for what the command does not know. */
export function readOptions(command: Command, args: readonly string[], name: string): { readonly options: Options; readonly rest: readonly string[] } {
  const given: { [name: string]: string[] } = {};
  const words: string[] = [];
  let i = 0;
  const note = (option: string, value: string | undefined): void => {
    const kind = Object.hasOwn(command.options, option) ? command.options[option] : option === "help" ? "switch" : bad(`${name}: unknown option --${option} (see --help)`);
    const list = (given[option] ??= []);
    if (kind === "switch") {
      if (value === undefined || (booleanOf(value) ?? bad(`${name}: --${option}: "${value}" is not true or false`))) list.push("");
      else delete given[option];
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
    } else note(command.short[option] ?? (option === "h" ? "help" : option), value);
  }
  return { options: new Options(given, words), rest: args.slice(i) };
}

/** "-it", "-uroot": letters in a row, the last of which may have its value joined on. */
function spread(command: Command, letters: string, note: (option: string, value: string | undefined) => void): boolean {
  const first = command.short[letters[0] as string];
  if (first === undefined) return false;
  for (let i = 0; i < letters.length; i++) {
    const option = command.short[letters[i] as string] ?? bad(`unknown option -${letters[i]} (see --help)`);
    if (command.options[option] !== "switch" && i + 1 < letters.length) {
      note(option, letters.slice(letters[i + 1] === "=" ? i + 2 : i + 1));
      return true;
    }
    note(option, undefined);
  }
  return true;
}
