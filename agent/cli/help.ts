// What --help and --version print.
import { commandNames, commandOf, globalOptions, type Command } from "./options.js";

const ABOUT: { readonly [command: string]: string } = {
  create: "make a container, ready to be started",
  run: "make a container, start it, wait for its end and delete it",
  start: "run the program of a created container",
  state: "print a container's state as JSON",
  kill: "send a signal (default TERM) to a container's first process",
  delete: "remove what a container has left",
  exec: "run a further process in a container",
  list: "list the containers",
  ps: "list a container's processes",
  pause: "freeze all processes of a container",
  resume: "let a paused container go on",
  update: "change a container's resource limits",
  events: "print figures and out-of-memory events of a container",
  features: "print what this runtime knows as JSON",
  spec: "write a config.json to begin with",
};

const WHAT: { readonly [option: string]: string } = {
  bundle: "folder with config.json (default: the current one)", config: "another file than config.json", "console-socket": "unix socket that gets the terminal's master",
  "pidfd-socket": "unix socket that gets a pidfd of the process", "pid-file": "file to write the process id to", "no-pivot": "move the root instead of pivot_root(2) (for an initramfs)",
  "no-new-keyring": "keep the caller's session keyring", "preserve-fds": "hand over this many descriptors from 3 up", detach: "do not wait for the end", keep: "do not delete the container at its end",
  "no-subreaper": "do not become the reaper of orphans", all: "signal every process of the container", force: "kill it first; a missing container is no error", cwd: "working directory",
  env: "NAME=VALUE; may be given again", tty: "give it a terminal", user: "UID[:GID]", "additional-gids": "further group; may be given again", process: "JSON file with the process",
  "process-label": "SELinux label", apparmor: "AppArmor profile", "no-new-privs": "set no_new_privs", cap: "add a capability; may be given again", cgroup: "path below the container's cgroup ([controller:]path on version 1)",
  "ignore-paused": "also in a paused container, when it goes on", format: "table or json", quiet: "ids only", interval: "time between two figures (default 5s)", stats: "figures once, then leave",
  resources: "JSON file with linux.resources (-: standard input)", rootless: "for a user without privileges", debug: "say more", log: "file for messages (default: standard error)", "log-format": "text or json",
  root: "folder for the state of containers", "systemd-cgroup": "not supported: cgroups are made directly", "cgroup-manager": "only cgroupfs", version: "print the version", help: "print this text",
};

function optionLines(command: Command): string {
  const letters = new Map(Object.entries(command.short).map(([letter, name]) => [name, letter]));
  const all = Object.keys(command.options);
  if (!all.includes("help")) all.push("help");
  return all.map((name) => {
    const letter = letters.get(name) ?? (name === "help" ? "h" : undefined);
    const left = `  ${letter === undefined ? "    " : `-${letter}, `}--${name}${(command.options[name] ?? "switch") === "switch" ? "" : " VALUE"}`;
    return `${left.padEnd(32)}${WHAT[name] === undefined ? "" : ` ${WHAT[name]}`}\n`;
  }).join("");
}

/** The help of one command, or of all. */
export function help(self: string, name?: string): string {
  const command = name === undefined ? undefined : commandOf(name);
  if (command !== undefined) return `usage: ${self} [GLOBAL-OPTION...] ${name} [OPTION...] ${command.usage}\n\n${ABOUT[name ?? ""]}\n\noptions:\n${optionLines(command)}`;
  const commands = commandNames().map((n) => `  ${`${n} ${commandOf(n)?.usage}`.padEnd(26)} ${ABOUT[n]}\n`).join("");
  return `usage: ${self} [GLOBAL-OPTION...] COMMAND [OPTION...] [ARGUMENT...]\n\nAn OCI runtime with the command line of runc.\n\ncommands:\n${commands}\nglobal options:\n${optionLines(globalOptions())}\n${self} COMMAND --help tells about a command.\n`;
}

/** What --version prints: name, version, specification, and the words that tools look for. */
export function versionText(self: string): string {
  return `${self} version ${__VERSION__}\ncommit: ${__VERSION__}\nspec: 1.3.0\n+SECCOMP +CAP +EBPF +APPARMOR +SELINUX\n`;
}
