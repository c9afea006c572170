// The commands by their names. What a command knows and says of its options stands in its own module, which is loaded to run it, or to
// tell of it.
import { lazy } from "../lib/lazy.js";
import type { Command } from "./context.js";
import type { Shape } from "./options.js";

const create = lazy<typeof import("./create.js")>("cli/create.js");
const control = lazy<typeof import("./control.js")>("cli/control.js");
const exec = lazy<typeof import("./exec.js")>("cli/exec.js");
const spec = lazy<typeof import("./spec.js")>("cli/spec.js");
const features = lazy<typeof import("./features.js")>("cli/features.js");
const ps = lazy<typeof import("./ps.js")>("cli/ps.js");
const events = lazy<typeof import("./events.js")>("cli/events.js");
const update = lazy<typeof import("./update.js")>("cli/update.js");
const report = lazy<typeof import("./report.js")>("cli/report.js");

const COMMANDS: { readonly [name: string]: () => Command } = {
  create: () => create().commands.create, run: () => create().commands.run, start: () => control().commands.start, state: () => report().commands.state,
  kill: () => control().commands.kill, delete: () => control().commands.delete, exec: () => exec().commands.exec, list: () => report().commands.list,
  ps: () => ps().commands.ps, pause: () => control().commands.pause, resume: () => control().commands.resume, update: () => update().commands.update,
  events: () => events().commands.events, features: () => features().commands.features, spec: () => spec().commands.spec,
};

/** The options before the command. */
export const GLOBAL: Shape = {
  usage: "COMMAND", least: 0, most: 0, stopAt: 0,
  options: {
    debug: ["switch", "say more"],
    log: ["value", "file for messages (default: standard error)"],
    "log-format": ["value", "text or json"],
    root: ["value", "folder for the state of containers"],
    "systemd-cgroup": ["switch", "not supported: cgroups are made directly"],
    "cgroup-manager": ["value", "only cgroupfs"],
    rootless: ["value", "true, false or auto: keep state in the user's own folder"],
    version: ["switch", "print the version", "v"],
    help: ["switch", "print this text", "h"],
  },
};

/** The names of all commands. */
export const commandNames = (): string[] => Object.keys(COMMANDS);

/** What a command knows; undefined when there is none of that name. */
export function commandOf(name: string): Command | undefined {
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name]?.() : undefined;
}
