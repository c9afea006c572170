// What every command gets: where state is kept, where messages go, and how it ends.
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import type { Option, Options, Shape } from "./options.js";

export { print } from "./print.js";

const messages = lazy<typeof import("./messages.js")>("cli/messages.js");

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

/** A command, as its module describes it. */
export interface Command extends Shape {
  /** What it does, in the infinitive. */
  readonly about: string;
  readonly run: Run;
}

/** Options of more than one command. */
export const BUNDLE: Option = ["value", "folder with config.json (default: the current one)", "b"];
export const FORMAT: Option = ["value", "table or json", "f"];
export const DETACH: Option = ["switch", "do not wait for the end", "d"];

/** Writes a message to the log; to standard error when there is none or it cannot be written. */
export const say = (context: Pick<Context, "log" | "json">, level: "error" | "warning" | "debug", message: string): void => messages().say(context, level, message);

/** The end of a command that failed: the log gets it, and whoever called reads it on standard error. */
export const complain = (context: Pick<Context, "log" | "json" | "self">, error: unknown): void => messages().complain(context, error);

/** The only word of a command that takes an id. */
export function idOf(options: Options): string {
  return options.words[0] as string;
}

export const invalid = (why: string): never => {
  throw new AppError("invalid", why);
};
