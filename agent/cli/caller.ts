// What passes between a command and whoever calls it: sockets and the pid file that tell of the process, descriptors that go
// along to it.
import { AT, F, O } from "../abi/flags.js";
import { callerEnv } from "../sys/arguments.js";
import { sys } from "../sys/call.js";
import { type Fd } from "../sys/fd.js";
import { open, renameat, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { getpid } from "../sys/system.js";
import { attempt } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { decimal } from "../lib/text.js";
import { pidfdOf, type Process } from "../engine/process.js";
import type { Spec } from "../oci/spec.js";
import { invalid } from "./context.js";
import type { Option, Options } from "./options.js";

const sockets = lazy<typeof import("./sockets.js")>("cli/sockets.js");

/** Sockets and pid file: whoever asked for them is told before the command ends. */
export function announce(options: Options, process: Process, master: Fd | undefined): void {
  const console = options.get("console-socket");
  if (console !== undefined && master !== undefined) sockets().sendTerminal(console, master);
  const pidfds = options.get("pidfd-socket");
  if (pidfds !== undefined) sockets().sendPidfd(pidfds, pidfdOf(process));
  writePidFile(options, process.pid);
}

/** The pid file appears whole: decimal, no newline. */
function writePidFile(options: Options, pid: number): void {
  const path = options.get("pid-file");
  if (path === undefined) return;
  attempt(`write the pid file ${path}`, () => {
    const cut = path.lastIndexOf("/") + 1;
    const other = `${path.slice(0, cut)}.${path.slice(cut)}`;
    {
      using file = open(other, O.WRONLY | O.CREAT | O.TRUNC, 0o644);
      writeAll(file, String(pid));
    }
    renameat(AT.FDCWD, other, AT.FDCWD, path);
  });
}

const variable = (name: string): string | undefined => callerEnv().find((e) => e.startsWith(`${name}=`))?.slice(name.length + 1);

/** How many sockets a service manager has passed to this command, from descriptor 3 up. See sd_listen_fds(3). */
export function passedSockets(): number {
  const reader = variable("LISTEN_PID");
  return reader !== undefined && reader !== String(getpid()) ? 0 : (decimal(variable("LISTEN_FDS") ?? "") ?? 0);
}

/** With passed sockets the program is told of them as this command was; in its pid namespace it is process 1. */
export function withSockets(spec: Spec): Spec {
  const n = passedSockets();
  if (n === 0 || spec.process === undefined) return spec;
  const names = variable("LISTEN_FDNAMES");
  return { ...spec, process: { ...spec.process, env: [...(spec.process.env ?? []), `LISTEN_FDS=${n}`, "LISTEN_PID=1", ...(names === undefined ? [] : [`LISTEN_FDNAMES=${names}`])] } };
}

/** --preserve-fds, after so many that a service manager has passed. */
export function descriptorsToKeep(options: Options, passed = 0): number[] {
  const n = (options.number("preserve-fds") ?? 0) + passed;
  if (n > 65536) invalid(`--preserve-fds: ${n} is too many`);
  const kept: number[] = [];
  for (let fd = 3; fd < 3 + n; fd++) if (sys(NR.fcntl, fd, F.GETFD) === 0) kept.push(fd); // this command's own are close-on-exec
  return kept;
}

/** What of its caller a command takes and tells, as options. */
export const STREAMS = {
  "console-socket": ["value", "unix socket that gets the terminal's master"],
  "pidfd-socket": ["value", "unix socket that gets a pidfd of the process"],
  "pid-file": ["value", "file to write the process id to"],
  "preserve-fds": ["value", "hand over this many descriptors from 3 up"],
} as const satisfies { readonly [name: string]: Option };
