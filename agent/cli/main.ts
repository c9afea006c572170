// The command line of an OCI runtime: `kata-agent oci COMMAND`, or a link to the program under another name. Reads the global
// options, finds the command, runs it, and ends with its status. Commands are loaded one at a time.
import { callerEnv } from "../sys/arguments.js";
import { getcwd } from "../sys/file.js";
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { divertLog, Level, setLevel } from "../lib/log.js";
import { onCrash } from "../lib/loop.js";
import { cleanPath } from "../oci/field.js";
import { commandOf, GLOBAL } from "./commands.js";
import { complain, print, say, type Context } from "./context.js";
import { leave } from "./interrupt.js";
import { booleanOf, Options, readOptions } from "./options.js";

const texts = lazy<typeof import("./help.js")>("cli/help.js");

const DEFAULT_ROOT = "/run/kata-oci";

/** Where state is kept when --root does not say it. */
function defaultRoot(rootless: boolean): string {
  const folder = callerEnv().find((e) => e.startsWith("XDG_RUNTIME_DIR="))?.slice(16);
  return rootless && folder ? `${folder}/kata-oci` : DEFAULT_ROOT;
}

/** The folder that --root names, from the working directory on. Throws "invalid" for the root of all files, as runc does. */
function rootOf(named: string): string {
  const root = named.startsWith("/") ? named : `${getcwd()}/${named}`;
  const clean = cleanPath(root);
  if (named === "" || clean === "/" || !root.startsWith("/")) throw new AppError("invalid", `--root: "${named}" is no folder of its own`);
  return clean;
}

function contextOf(options: Options, self: string, uid: number): Context {
  const format = options.get("log-format") ?? "text";
  const wanted = options.get("rootless") || "auto";
  const rootless = wanted.toLowerCase() === "auto" ? uid !== 0 : booleanOf(wanted);
  if (rootless === undefined) throw new AppError("invalid", `--rootless: "${wanted}" is not auto, true or false`);
  const named = options.get("root");
  const context = { self, root: named === undefined ? defaultRoot(rootless) : rootOf(named), rootNamed: named !== undefined, debug: options.has("debug"), log: options.get("log"), json: format === "json", rootless };
  if (format !== "json" && format !== "text") throw new AppError("invalid", `--log-format: "${format}" is not text or json`);
  const manager = options.get("cgroup-manager") ?? "cgroupfs";
  if (options.has("systemd-cgroup") || manager !== "cgroupfs") {
    throw new AppError("unimplemented", `${options.has("systemd-cgroup") ? "--systemd-cgroup" : `--cgroup-manager ${manager}`}: cgroups are made directly here (cgroupfs); run the upper layer with its cgroupfs driver`);
  }
  return context;
}

/** Runs the command line. Never comes back to the caller's turn with a result: the process ends with the command's status. */
export function commandLine(args: readonly string[], self: string, uid: number): void {
  let context: Context = { self, root: "", rootNamed: false, debug: false, log: undefined, json: false, rootless: false };
  let status = 1;
  const fail = (error: unknown): never => {
    complain(context, error);
    leave(status);
  };
  onCrash(fail);
  const go = async (): Promise<number> => {
    const { options: global, rest } = readOptions(GLOBAL, args, self);
    const name = rest[0];
    if (global.has("version")) return print(1, texts().versionText(self)), 0;
    if (global.has("help") || name === "help") return print(1, texts().help(self, rest[1])), 0;
    if (name === undefined) return print(2, texts().help(self)), 1;
    context = contextOf(global, self, uid);
    const command = commandOf(name);
    if (command === undefined) throw new AppError("invalid", `unknown command "${name}" (see ${self} --help)`);
    if (name === "exec") status = 255;
    if (context.debug) setLevel(Level.DEBUG);
    divertLog((level, message) => (level <= Level.WARN || context.debug) && say(context, level <= Level.ERROR ? "error" : level === Level.WARN ? "warning" : "debug", message));
    const { options, rest: further } = readOptions(command, rest.slice(1), name);
    if (options.has("help")) return print(1, texts().help(self, name)), 0;
    const { least, most } = command;
    const words = options.words.length + further.length;
    const given = command.stopAt === undefined ? new Options(options.given, [...options.words, ...further]) : options;
    if (words < least || words > most) throw new AppError("invalid", `${name}: ${words < least ? "too few" : "too many"} arguments: usage: ${self} ${name} [OPTION...] ${command.usage}`);
    if (context.debug) say(context, "debug", `${name} ${words === 0 ? "" : given.words.join(" ")}`);
    return command.run(context, given, further);
  };
  go().then(leave, fail);
}
