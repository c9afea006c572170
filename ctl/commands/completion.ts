// `completion`: a script for a shell that knows the commands and their options. It is printed from the command line's own tables, so that
// it cannot be behind them. Sources: bash(1) "Programmable Completion", zshcompsys(1), fish complete(1).
import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Words {
  readonly name: string;
  readonly about: string;
  readonly options: readonly { readonly long: string; readonly short: string | undefined; readonly about: string }[];
}

const table = (program: Command): Words[] =>
  program.commands.map((c) => ({
    name: c.name(), about: c.description(),
    options: [...c.options.filter((o) => !o.hidden).map((o) => ({ long: o.long ?? "", short: o.short, about: o.description })), { long: "--help", short: "-h", about: "display help for command" }],
  }));

/** Between single quotes of a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const bash = (name: string, all: readonly Words[]): string => `# ${name} for bash: . <(${name} completion bash)
_${name}() {
  local word=\${COMP_WORDS[COMP_CWORD]} command=\${COMP_WORDS[1]} words=
  if [ "$COMP_CWORD" = 1 ]; then
    words=${quoted([...all.map((c) => c.name), "help", "--help"].join(" "))}
  else
    case $word in
    -*)
      case $command in
${all.map((c) => `      ${c.name}) words=${quoted(c.options.map((o) => o.long).join(" "))} ;;`).join("\n")}
      esac ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _${name} ${name}
`;

const zsh = (name: string, all: readonly Words[]): string => {
  const colon = (text: string): string => text.replaceAll(":", "\\:");
  return `#compdef ${name}
# ${name} for zsh: source <(${name} completion zsh)
_${name}() {
  if (( CURRENT == 2 )); then
    local -a commands=(${all.map((c) => quoted(`${c.name}:${colon(c.about)}`)).join(" ")})
    _describe command commands
    return
  fi
  local -a options
  case $words[2] in
${all.map((c) => `  ${c.name}) options=(${c.options.map((o) => quoted(`${o.long}:${colon(o.about)}`)).join(" ")}) ;;`).join("\n")}
  esac
  if [[ $PREFIX == -* ]]; then _describe option options; else _files; fi
}
compdef _${name} ${name}
`;
};

const fish = (name: string, all: readonly Words[]): string => `# ${name} for fish: ${name} completion fish | source
${all.map((c) => `complete -c ${name} -n __fish_use_subcommand -a ${c.name} -d ${quoted(c.about)}`).join("\n")}
${all.flatMap((c) => c.options.map((o) => `complete -c ${name} -n '__fish_seen_subcommand_from ${c.name}' -l ${o.long.slice(2)}${o.short === undefined ? "" : ` -s ${o.short.slice(1)}`} -d ${quoted(o.about)}`)).join("\n")}
`;

/** The script for one shell. */
export const completion = (program: Command, shell: Shell): string => ({ bash, zsh, fish })[shell](program.name(), table(program));
