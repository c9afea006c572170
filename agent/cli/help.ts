// What --help and --version print.
import { commandNames, commandOf, GLOBAL } from "./commands.js";
import type { Option, Shape } from "./options.js";

function optionLines({ options }: Shape): string {
  const all: [string, Option][] = Object.entries({ ...options, help: GLOBAL.options["help"] as Option });
  return all.map(([name, [kind, text, letter]]) => `${`  ${letter === undefined ? "    " : `-${letter}, `}--${name}${kind === "switch" ? "" : " VALUE"}`.padEnd(32)} ${text}\n`).join("");
}

/** The help of one command, or of all. */
export function help(self: string, name?: string): string {
  const command = name === undefined ? undefined : commandOf(name);
  if (command !== undefined) return `usage: ${self} [GLOBAL-OPTION...] ${name} [OPTION...] ${command.usage}\n\n${command.about}\n\noptions:\n${optionLines(command)}`;
  const commands = commandNames().map((n) => `  ${`${n} ${commandOf(n)?.usage}`.padEnd(26)} ${commandOf(n)?.about}\n`).join("");
  return `usage: ${self} [GLOBAL-OPTION...] COMMAND [OPTION...] [ARGUMENT...]\n\nAn OCI runtime with the command line of runc.\n\ncommands:\n${commands}\nglobal options:\n${optionLines(GLOBAL)}\n${self} COMMAND --help tells about a command.\n`;
}

/** What --version prints: name, version, specification, and the words that tools look for. */
export function versionText(self: string): string {
  return `${self} version ${__VERSION__}\ncommit: ${__COMMIT__}\nspec: 1.3.0\n+SECCOMP +CAP +EBPF +APPARMOR +SELINUX\n`;
}
