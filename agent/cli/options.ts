// One reader for the options of all commands (commands.ts). Options may stand before or behind the container's id, but for exec and ps,
// whose further words belong to the program. Pure.
import { AppError } from "../lib/errors.js";

/** A switch, an option with a value or one that may be given several times; what the help says of it; the letter that it has too. */
export type Option = readonly [kind: "switch" | "value" | "list", text: string, letter?: string];

/** What may stand on a command's line. */
export interface Shape {
  /** What follows the options, as the help shows it. */
  readonly usage: string;
  readonly options: { readonly [name: string]: Option };
  /** Least and most words besides options. */
  readonly least: number;
  readonly most: number;
  /** After this many words the rest is taken as it is. */
  readonly stopAt?: number;
}

/** The option with this letter. */
const withLetter = ({ options }: Shape, letter: string): string | undefined => Object.keys(options).find((name) => options[name]?.[2] === letter);

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
export function readOptions(command: Shape, args: readonly string[], name: string): { readonly options: Options; readonly rest: readonly string[] } {
  const given: { [name: string]: string[] } = {};
  const words: string[] = [];
  let i = 0;
  const note = (option: string, value: string | undefined): void => {
    const kind = Object.hasOwn(command.options, option) ? command.options[option]?.[0] : option === "help" ? "switch" : bad(`${name}: unknown option --${option} (see --help)`);
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
    } else note(withLetter(command, option) ?? (option === "h" ? "help" : option), value);
  }
  return { options: new Options(given, words), rest: args.slice(i) };
}

/** "-it", "-uroot": letters in a row, the last of which may have its value joined on. */
function spread(command: Shape, letters: string, note: (option: string, value: string | undefined) => void): boolean {
  if (withLetter(command, letters[0] as string) === undefined) return false;
  for (let i = 0; i < letters.length; i++) {
    const option = withLetter(command, letters[i] as string) ?? bad(`unknown option -${letters[i]} (see --help)`);
    if (command.options[option]?.[0] !== "switch" && i + 1 < letters.length) {
      note(option, letters.slice(letters[i + 1] === "=" ? i + 2 : i + 1));
      return true;
    }
    note(option, undefined);
  }
  return true;
}
