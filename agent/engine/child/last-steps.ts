// The last steps of a process that others can see from its first moment: a process in a pid namespace where the container's processes
// are already. Who is in there may look at every process, and with CAP_SYS_PTRACE into it (root, files, memory, rights). So nothing
// of the engine's goes in: the child does all its work outside, becomes the stub, and only the stub's own child is born inside.
//
//     engine ── clone3 ──▶ child (outside)  joins, mounts, gives up its rights, becomes the stub
//                            ├── clone ──▶ inside: waits for "go" and "start", takes limits and filter, becomes the program
//                            └── tells {pidfd, pid}, sleeps until the engine has taken the pidfd and kills it
//
// Pure: configuration in, list of calls out. See pid_namespaces(7), ptrace(2) "Ptrace access mode checking".
import { Rlimit64 } from "../../abi/layouts.js";
import { CLONE, IOCTL, O, PR, SIG } from "../../abi/flags.js";
import { NR } from "../../abi/nr.js";
import { viewOf, setU64 } from "../../sys/struct.js";
import { type FilteredCall } from "../../oci/bpf.js";
import { Failed } from "../handshake.js";
import { type Argument, filterStep, type LastStep, programSteps } from "./exec-stub.js";

export interface Limit { readonly resource: number; readonly soft: number | bigint; readonly hard: number | bigint }

export interface LastArgs {
  readonly channel: number;
  /** A terminal on descriptor 0 becomes the new session's own. */
  readonly terminal: boolean;
  /** Waits for "start": the first process of a container. */
  readonly waitsForStart: boolean;
  /** A listening socket: the channel goes on with whoever connects to it. */
  readonly startSocket: number | undefined;
  readonly limits: readonly Limit[];
  /** A filter that is not loaded yet; `first`: before there is anybody inside, else right before the program. */
  readonly filter: { readonly program: Uint8Array; readonly flags: number; readonly first: boolean } | undefined;
  /** LSM labels of the program, and a procfs of the pid namespace through which they are written. */
  readonly labels: { readonly proc: number; readonly files: readonly { readonly path: string; readonly text: string }[] } | undefined;
  /** False: there is nothing to run. */
  readonly program: boolean;
}

const BUFFER_BYTES = 32;

const cString = (text: string): Uint8Array => native.utf8Encode(`${text}\0`);

function rlimit({ soft, hard }: Limit): Uint8Array {
  const bytes = new Uint8Array(Rlimit64.SIZE);
  setU64(viewOf(bytes), Rlimit64.rlim_cur, soft);
  setU64(viewOf(bytes), Rlimit64.rlim_max, hard);
  return bytes;
}

function labelSteps({ proc, files }: NonNullable<LastArgs["labels"]>): LastStep[] {
  const steps: LastStep[] = [];
  files.forEach(({ path, text }, i) => {
    const bytes = native.utf8Encode(text);
    steps.push({ call: NR.openat, args: [proc, cString(path), O.WRONLY], name: `label${i}` }, { call: NR.write, args: [{ of: `label${i}` }, bytes, bytes.length], failed: Failed.LABEL }, { call: NR.close, args: [{ of: `label${i}` }] });
  });
  return [...steps, { call: NR.close, args: [proc] }];
}

/** What the process inside does. */
function insideSteps({ channel, terminal, waitsForStart, startSocket, limits, filter, labels, program }: LastArgs): LastStep[] {
  const hear: LastStep = { call: NR.read, args: [channel, { at: "buffer" }, BUFFER_BYTES], endsAtZero: true };
  return [
    { call: NR.setsid, args: [], name: "inside", optional: true },
    ...(terminal ? [{ call: NR.ioctl, args: [0, IOCTL.TIOCSCTTY, 0] }] : []),
    hear, // the engine knows whom it has made
    ...(startSocket === undefined ? [] : [
      hear, // and has written it down
      { call: NR.accept4, args: [startSocket, 0, 0, O.CLOEXEC], name: "connected" }, { call: NR.dup3, args: [{ of: "connected" }, channel, O.CLOEXEC] }, { call: NR.close, args: [{ of: "connected" }] }, { call: NR.close, args: [startSocket] },
    ]),
    ...(waitsForStart ? [hear] : []),
    ...(labels === undefined ? [] : labelSteps(labels)),
    ...limits.map((limit): LastStep => ({ call: NR.prlimit64, args: [0, limit.resource, rlimit(limit), 0], failed: Failed.LIMIT })),
    ...(program ? programSteps(channel, filter?.first === false ? filter : undefined) : [{ call: NR.exit_group, args: [0] }]),
  ];
}

/** The whole list, in order. */
export function lastSteps(args: LastArgs): LastStep[] {
  const { channel, filter } = args;
  return [
    ...(filter?.first === true ? [filterStep(filter)] : []),
    { call: NR.prctl, args: [PR.SET_PDEATHSIG, SIG.KILL, 0, 0, 0] },
    { call: NR.prctl, args: [PR.SET_DUMPABLE, 0, 0, 0, 0], name: "pidfd" }, // its result, 0, makes room for the pidfd; the pid's follows it
    { call: NR.clone, args: [CLONE.PARENT | CLONE.PIDFD, 0, { at: "pidfd" }, 0, 0], failed: Failed.CLONE, zeroGoesTo: "inside" },
    { call: NR.write, args: [channel, { at: "pidfd" }, 16] },
    { call: NR.ppoll, args: [0, 0, 0, 0, 0] },
    ...insideSteps(args),
  ];
}

const plain = (argument: Argument): number => (typeof argument === "number" ? argument : 0);

/** The calls of a list that a filter which is loaded before them has to let through; `more` are the engine's own before it is the stub. */
export function callsOf(steps: readonly LastStep[], more: readonly number[] = []): FilteredCall[] {
  return [...more.map((call) => ({ call, args: [] })), ...steps.filter(({ call, optional }) => call !== NR.seccomp && optional !== true).map(({ call, args }) => ({ call, args: args.map(plain) }))];
}
