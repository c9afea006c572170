// The command line of the agent: `kata-agent`, `--config FILE`, `--version`, `--help`.

import { versionLine } from "./version.js";

export type Action =
  | { readonly do: "serve"; readonly config: string | undefined }
  | { readonly do: "print"; readonly text: string }
  | { readonly do: "refuse"; readonly text: string };

const USAGE = `usage: kata-agent [-c FILE]
       kata-agent oci COMMAND ...

The guest agent of Kata Containers. As PID 1 it prepares the machine, else it only serves; either way it listens at
agent.server_addr= (kernel command line), KATA_AGENT_SERVER_ADDR or the file's server_addr (default vsock://-1:1024).

  -c, --config FILE   settings from a TOML file instead of the kernel command line
  -v, --version       print the version and exit
  -h, --help          print this text and exit

oci: an OCI runtime with the command line of runc (kata-agent oci --help); a link under another name is that directly.

addresses: vsock://CID:PORT (CID -1: any), unix://PATH, unix://@NAME, serial://DEVICE
`;

/** What the arguments (argv without the program) ask for. `version` is the line to print for --version. */
export function parseArguments(args: readonly string[], version = versionLine()): Action {
  let config: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === "-v" || arg === "--version") return { do: "print", text: `${version}\n` };
    if (arg === "-h" || arg === "--help") return { do: "print", text: USAGE };
    if (arg === "-c" || arg === "--config") {
      config = args[++i];
      if (config === undefined) return { do: "refuse", text: `kata-agent: ${arg} needs a file\n` };
    } else if (arg.startsWith("--config=")) config = arg.slice(9);
    else return { do: "refuse", text: `kata-agent: unknown argument "${arg}" (see kata-agent --help)\n` };
  }
  return { do: "serve", config };
}
