// The child's half, after clone3: it goes on in TypeScript with the whole plan in memory, does the steps in order, says ready,
// waits for start, and leaves by execve or exit_group. It must never return to the event loop. Synchronous throughout.
import { SysError } from "../sys/call.js";
import { Fd } from "../sys/fd.js";
import { open, O, umask } from "../sys/file.js";
import { unblockSignals } from "../sys/poll.js";
import { CLONE, execve, exitGroup, restoreDescriptorLimit, setns, setsid } from "../sys/process.js";
import { setresgid, setresuid } from "../sys/cred.js";
import { openPtyAt, setWindowSize } from "../sys/tty.js";
import { closeOthers } from "../lib/child-task.js";
import { because } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import type { Hook } from "../oci/spec.js";
import { describe, type Step } from "../oci/steps.js";
import type { ProcessPlan } from "../oci/plan.js";
import { applyToTree, Tree } from "./apply-fs.js";
import { applyToProcess, becomeUser, findProgram, joinNamespaces, openNamespaces, takeStdio, withHome } from "./apply-proc.js";
import type { ChildEnd } from "./handshake.js";

const stub = lazy<typeof import("./stub.js")>("engine/stub.js");
const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");

/** The child's ends of the pipes; absent when it gets a terminal. */
export interface Ends { readonly stdin: Fd; readonly stdout: Fd; readonly stderr: Fd }

export interface ChildArgs {
  readonly steps: readonly Step[];
  readonly process: ProcessPlan;
  readonly channel: ChildEnd;
  readonly ends: Ends | undefined;
  readonly install: (() => void) | undefined;
  /** What hooks that run in here are told, and those that run right before the program. */
  readonly hooks: { readonly id: string; readonly bundle: string; readonly annotations: { readonly [key: string]: string }; readonly start: readonly Hook[] } | undefined;
  /** Descriptors of the caller that the process is to have. */
  readonly keep: readonly number[];
  /** A listening socket: whoever connects to it says `start`, when the parent has left. */
  readonly door?: Fd | undefined;
  /** The engine's own file must not be within the program's reach: see stub.ts. */
  readonly stub: boolean;
  /** Wait for "go" before anything is built: the parent has something to do first. */
  readonly held: boolean;
  /** A new user namespace, whose maps are there at "go": become its root. */
  readonly newUser: boolean;
}

/** The first process of a container. */
export function runInit(args: ChildArgs): never {
  leave(args.channel, () => {
    setsid();
    umask(0);
    prepare(args.steps, args);
    if (args.held && !args.channel.wait("go")) exitGroup(1);
    if (args.newUser) {
      setresgid(0);
      setresuid(0);
    }
    const tree = new Tree();
    for (const step of args.steps) {
      if (EARLY.includes(step.do)) continue;
      attemptStep(step, () => applyToTree(tree, step) || applyToProcess(step) || hookStep(args, step));
    }
    finish(args, tree.terminal, true);
  });
}

/** Hooks before the root changes: the parent's own, then those that run in the container's namespaces. */
function hookStep(args: ChildArgs, step: Step): void {
  if (step.do === "hooks-outside") {
    args.channel.hooks();
    if (!args.channel.wait("go")) exitGroup(1);
  } else if (step.do === "hooks-inside" && args.hooks !== undefined) {
    const { id, bundle, annotations } = args.hooks;
    hooks().runHooksHere("createContainer", step.hooks, { id, status: "creating", pid: hooks().pidOutside(), bundle, annotations }, []);
  }
}

/** A further process: into the namespaces of `pidfd`'s process, then like the first. */
export function runExec(args: ChildArgs, pidfd: Fd, namespaces: number): never {
  leave(args.channel, () => {
    setsid();
    prepare(args.steps, args, pidfd);
    if (args.held && !args.channel.wait("go")) exitGroup(1);
    setns(pidfd, namespaces);
    if ((namespaces & CLONE.NEWUSER) !== 0) {
      setresgid(0);
      setresuid(0);
    }
    pidfd.close();
    let terminal: { master: Fd; slave: Fd } | undefined;
    if (args.process.terminal) {
      using pts = open("/dev/pts", O.PATH | O.DIRECTORY);
      terminal = openPtyAt(pts);
      const { consoleSize } = args.process;
      if (consoleSize !== undefined) setWindowSize(terminal.master, consoleSize.height, consoleSize.width);
    }
    finish(args, terminal, args.process.terminal);
  });
}

/** What needs the agent's own view of the machine and all rights: cgroups, limits, namespaces of others. */
const EARLY: readonly string[] = ["affinity", "join-cgroups", "oom-score", "rlimit", "join"];

const RLIMIT_FSIZE = 1;

/**
 * The agent's descriptors go first: none is within reach once a namespace has been joined (facts 3.1 rule 7), and under a low
 * limit there is room to open others.
 */
function prepare(steps: readonly Step[], args: ChildArgs, keep?: Fd): void {
  restoreDescriptorLimit();
  const { ends } = args;
  const namespaces = openNamespaces(steps);
  const kept = [args.channel.fd, ...(args.door === undefined ? [] : [args.door]), ...(ends === undefined ? [] : [ends.stdin, ends.stdout, ends.stderr]), ...(keep === undefined ? [] : [keep]), ...namespaces.map(({ fd }) => fd)];
  closeOthers([...kept.map((fd) => fd.n), ...args.keep]);
  if (steps.some((s) => s.do === "rlimit" && s.resource === RLIMIT_FSIZE)) readyStub(args);
  for (const step of steps) if (step.do !== "join" && EARLY.includes(step.do)) attemptStep(step, () => applyToProcess(step));
  joinNamespaces(namespaces);
}

function finish(args: ChildArgs, terminal: { master: Fd; slave: Fd } | undefined, gated: boolean): void {
  const { process, channel, ends, install } = args;
  if (terminal !== undefined) takeStdio(terminal.slave, terminal.slave, terminal.slave, true);
  else if (ends !== undefined) takeStdio(ends.stdin, ends.stdout, ends.stderr, false);
  // a working directory of /proc/self/fd/N must find nothing (CVE-2024-21626)
  closeOthers([channel.fd.n, ...args.keep, ...(args.door === undefined ? [] : [args.door.n]), ...(stubFile === undefined ? [] : [stubFile.n]), ...(terminal === undefined ? [] : [terminal.master.n])]);
  const env = withHome(process);
  if (install !== undefined && !process.noNewPrivileges) readyStub(args); // before the filter: it need not know these calls
  let found: string | undefined;
  becomeUser(process, install === undefined ? undefined : () => {
    found = searched(process, env);
    install();
  });
  const program = findProgram(process, env, found);
  unblockSignals();
  if (gated) {
    channel.ready(terminal?.master.n ?? -1);
    readyStub(args); // while the parent writes down that it is ready
    if (args.door !== undefined && !channel.open(args.door)) exitGroup(1);
    if (!channel.wait("start")) exitGroup(1);
  }
  if (args.hooks !== undefined && args.hooks.start.length > 0) {
    const { id, bundle, annotations, start } = args.hooks;
    hooks().runHooksHere("startContainer", start, { id, status: "created", pid: 1, bundle, annotations }, env);
  }
  if (process.noNewPrivileges) install?.();
  readyStub(args);
  const errno = -(stubFile === undefined ? execve(program, process.args, env) : stub().becomeByStub(stubFile, channel.fd, program, process.args, env));
  throw because(`exec "${process.args[0]}"`, new SysError("execve", errno));
}

let stubFile: Fd | undefined;

/** Makes the stub when there is to be one, and there is none yet. */
function readyStub({ stub: wanted, channel }: ChildArgs): void {
  if (wanted && stubFile === undefined) stubFile = stub().makeStub(channel.fd.n, undefined);
}

/** The program as root finds it, while no filter forbids to look; undefined: the user may still see it. */
function searched(process: ProcessPlan, env: readonly string[]): string | undefined {
  try {
    return findProgram(process, env);
  } catch {
    return undefined;
  }
}

function attemptStep(step: Step, go: () => unknown): void {
  try {
    go();
  } catch (error) {
    throw because(describe(step), error);
  }
}

/** Runs `body`; whatever comes out of it is told to the parent, and the child ends. */
function leave(channel: ChildEnd, body: () => void): never {
  try {
    body();
  } catch (error) {
    channel.failed(error);
  } finally {
    exitGroup(127);
  }
}

