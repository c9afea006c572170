// The child's half, after clone3: it goes on in TypeScript with the whole plan in memory, does the steps in order, says ready,
// waits for start, and leaves by execve or exit_group. It must never return to the event loop. Synchronous throughout.
import { SysError } from "../../sys/call.js";
import type { Fd } from "../../sys/fd.js";
import { fchdir, open, O, umask } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { unblockSignals } from "../../sys/poll.js";
import { CLONE, execve, exitGroup, raiseHardLimit, restoreDescriptorLimit, setns, setsid } from "../../sys/process.js";
import { setresgid, setresuid } from "../../sys/cred.js";
import { getpid } from "../../sys/system.js";
import { setControllingTerminal, setWindowSize } from "../../sys/tty.js";
import { closeOthers } from "../../lib/child-task.js";
import { because } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { describe, type Step } from "../../oci/steps.js";
import type { ChildArgs, Terminal } from "./args.js";
import { applyToTree } from "./file-steps.js";
import { loadFilter } from "./filter.js";
import { Tree } from "./root-tree.js";
import { applyToProcess, becomeUser, findProgram, joinNamespaces, openNamespaces, takeStdio, withHome } from "./process-steps.js";
import type { Filter } from "../container.js";
import type { ChildEnd } from "../handshake.js";
import { joinKeyring } from "./keyring.js";
import type { OpenLabel } from "../confine/labels.js";
import { openTerminal } from "./terminal.js";

const stub = lazy<typeof import("./exec-stub.js")>("engine/child/exec-stub.js");
const inside = lazy<typeof import("./go-inside.js")>("engine/child/go-inside.js");
const hooks = lazy<typeof import("../hooks.js")>("engine/hooks.js");
const calls = lazy<typeof import("../../oci/bpf.js")>("oci/bpf.js");
const labels = lazy<typeof import("../confine/labels.js")>("engine/confine/labels.js");

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
    if (args.keyring !== undefined) joinKeyring(args.keyring, args.newUser);
    const tree = new Tree();
    tree.pids = args.inside;
    const joined = args.inside !== undefined && args.newUser && !forks(args);
    if (args.inside !== undefined && joined) setns(args.inside, CLONE.NEWPID); // later there may be no right to
    for (const step of args.steps) {
      if (EARLY.includes(step.do)) continue;
      attemptStep(step, () => applyToTree(tree, step) || applyToProcess(step) || hookStep(args, step, tree));
    }
    finish(args, tree.terminal, true, joined);
  });
}

/** Hooks before the root changes: the parent's own, then those that run in the container's namespaces. */
function hookStep(args: ChildArgs, step: Step, tree: Tree): void {
  if (step.do === "hooks-outside") {
    args.channel.hooks();
    if (!args.channel.wait("go")) exitGroup(1);
  } else if (step.do === "hooks-inside" && args.hooks !== undefined) {
    fchdir(tree.root); // where runc's begin
    hooks().runHooksHere("createContainer", step.hooks, hooks().stateOf(args.hooks, "creating", hooks().pidOutside()), [], args.hooks.judgement);
  }
}

/** A further process: into the namespaces of `pidfd`'s process, then like the first. */
export function runExec(args: ChildArgs, pidfd: Fd, namespaces: number): never {
  leave(args.channel, () => {
    setsid();
    prepare(args.steps, args, pidfd);
    if (args.held && !args.channel.wait("go")) exitGroup(1);
    const joined = args.inside !== undefined && !forks(args);
    setns(pidfd, namespaces + (joined ? CLONE.NEWPID : 0));
    if (args.newUser) {
      setresgid(0);
      setresuid(0);
    }
    if (args.keyring !== undefined) joinKeyring(args.keyring, args.newUser);
    let terminal: Terminal | undefined;
    if (args.process.terminal) {
      using pts = open("/dev/pts", O.PATH | O.DIRECTORY);
      terminal = openTerminal(pts);
      const { consoleSize } = args.process;
      if (consoleSize !== undefined) setWindowSize(terminal.master, consoleSize.height, consoleSize.width);
    }
    finish(args, terminal, false, joined);
  });
}

/** Does the child make others on its way, which have no business in the pid namespace? */
function forks({ steps, labels: some }: ChildArgs): boolean {
  return some.length > 0 || steps.some((step) => step.do === "hooks-inside" || (step.do === "mount" && step.mount.type === "proc"));
}

/** What needs the agent's own view of the machine and all rights: cgroups, limits, namespaces of others. */
const EARLY: readonly string[] = ["affinity", "join-cgroups", "oom-score", "rlimit", "join"];

/**
 * The agent's descriptors go first: none is within reach once a namespace has been joined (container-engine 3.1 rule 7), and under a low
 * limit there is room to open others.
 */
function prepare(steps: readonly Step[], args: ChildArgs, keep?: Fd): void {
  restoreDescriptorLimit();
  const { ends } = args;
  const namespaces = openNamespaces(steps);
  if (args.labels.length > 0 && args.inside === undefined) opened = labels().openLabels(args.labels);
  const copies = steps.flatMap((s) => ("made" in s && s.made !== undefined ? [s.made] : []));
  const kept = [args.channel.fd, ...opened.map(({ dir }) => dir), ...(args.door === undefined ? [] : [args.door]), ...(ends === undefined ? [] : [ends.stdin, ends.stdout, ends.stderr]), ...(keep === undefined ? [] : [keep]), ...(args.inside === undefined ? [] : [args.inside]), ...namespaces.map(({ fd }) => fd)];
  closeOthers([...kept.map((fd) => fd.n), ...copies, ...args.keep]);
  const mayRaise = !args.newUser || keep !== undefined; // else see limits.ts
  for (const step of steps) {
    if (step.do === "rlimit") attemptStep(step, () => mayRaise && raiseHardLimit(0, step.resource, step.hard)); // the rest at the end: what is done until then may need more
    else if (step.do !== "join" && EARLY.includes(step.do)) attemptStep(step, () => applyToProcess(step));
  }
  joinNamespaces(namespaces);
}

function finish(args: ChildArgs, terminal: Terminal | undefined, first: boolean, joined: boolean): void {
  const { process, channel, ends, filter } = args;
  if (terminal !== undefined) takeStdio(terminal.slave, terminal.slave, terminal.slave);
  else if (ends !== undefined) takeStdio(ends.stdin, ends.stdout, ends.stderr);
  if (args.inside !== undefined) inside().goInside({ ...args, inside: args.inside }, terminal, first, joined);
  if (terminal !== undefined) setControllingTerminal(0);
  // a working directory of /proc/self/fd/N must find nothing (CVE-2024-21626)
  closeOthers([channel.fd.n, ...args.keep, ...opened.map(({ dir }) => dir.n), ...(args.door === undefined ? [] : [args.door.n]), ...(stubFile === undefined ? [] : [stubFile.n]), ...(terminal === undefined ? [] : [terminal.master.n])]);
  const env = withHome(process);
  if (opened.length > 0) labels().writeLabels(opened);
  unblockSignals();
  // the limits and the filter may forbid whatever is not the program's: as little as possible comes after them
  let limited = false, loaded = false;
  const limit = (): void => {
    if (limited) return;
    limited = true;
    readyStub(args);
    for (const step of args.steps) if (step.do === "rlimit") attemptStep(step, () => applyToProcess(step));
  };
  const load = (): void => {
    limit();
    if (filter !== undefined && !loaded) loadFilter(channel, filter);
    loaded = true;
  };
  let program = "";
  const early = filter !== undefined && !process.noNewPrivileges;
  if (early) readyStub(args); // with the rights it may need
  becomeUser(process, early ? () => {
    program = findProgram(process, env);
    load();
  } : undefined);
  if (!early) program = findProgram(process, env);
  if (filter?.listener !== undefined) load(); // while the parent is there that knows who listens
  if (first || terminal !== undefined) {
    channel.ready(terminal?.master.n ?? -1);
    readyStub(args); // while the parent writes down that it is ready
    if (args.door !== undefined && !channel.open(args.door, () => terminal?.master.close())) exitGroup(1); // who has the master gone must hang up
    if (!channel.wait("start")) exitGroup(1);
  }
  if (args.hooks !== undefined && args.hooks.start.length > 0) {
    load(); // these hooks are the container's, and held like its program
    hooks().runHooksHere("startContainer", args.hooks.start, hooks().stateOf(args.hooks, "created", getpid()), env, args.hooks.judgement);
  }
  if (program === "") exitGroup(0);
  limit();
  if (!stubLoads(args)) load();
  const errno = -(stubFile === undefined ? execve(program, process.args, env) : stub().becomeByStub(stubFile, channel.fd, program, process.args, env, load));
  throw because(`exec "${process.args[0]}"`, new SysError("execve", errno));
}

let stubFile: Fd | undefined;

/** Labels that are to be written, with their folders. */
let opened: OpenLabel[] = [];

/** Makes the stub when there is to be one, and there is none yet. Labels would be the stub's, and its program's be left to the policy. */
function readyStub(args: ChildArgs): void {
  if (args.stub && stubFile === undefined && args.labels.length === 0 && (stubLoads(args) || stubPasses(args.filter))) stubFile = stub().makeStub(args.channel.fd.n, stub().programSteps(args.channel.fd.n, stubLoads(args) ? args.filter : undefined));
}

/** Does a filter that is loaded before it let the stub's calls through? */
function stubPasses(filter: Filter | undefined): boolean {
  return filter === undefined || calls().filterAllows(filter.program, [NR.execveat, NR.fcntl, NR.execve].map((call) => ({ call, args: [] })));
}

/** Is the filter loaded by the stub, so that it need allow nothing but execve? */
function stubLoads({ stub: wanted, process, filter, hooks: own, labels: some }: ChildArgs): boolean {
  return wanted && some.length === 0 && process.noNewPrivileges && filter !== undefined && filter.listener === undefined && !own?.start.length;
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

