// The child's half, after clone3: it goes on in TypeScript with the whole plan in memory, arrives, builds, and becomes its program
// (become.ts, or go-inside.ts where others are in its pid namespace). It must never return to the event loop. Synchronous throughout.
import { CLONE, O } from "../../abi/flags.js";
import type { Fd } from "../../sys/fd.js";
import { fchdir, open, umask } from "../../sys/file.js";
import { exitGroup, raiseHardLimit, restoreDescriptorLimit, setns, setsid } from "../../sys/process.js";
import { setresgid, setresuid } from "../../sys/cred.js";
import { setWindowSize } from "../../sys/tty.js";
import { closeOthers } from "../../lib/fork.js";
import { lazy } from "../../lib/lazy.js";
import type { Step } from "../../oci/steps.js";
import type { OpenLabel } from "../confine/labels.js";
import type { ChildEnd } from "../handshake.js";
import type { ChildArgs, Terminal } from "./args.js";
import { become } from "./become.js";
import { applyToTree } from "./file-steps.js";
import { joinKeyring } from "./keyring.js";
import { applyToProcess, attemptStep, joinNamespaces, openNamespaces, takeStdio } from "./process-steps.js";
import { Tree } from "./root-tree.js";
import { openTerminal } from "./terminal.js";

const inside = lazy<typeof import("./go-inside.js")>("engine/child/go-inside.js");
const hooks = lazy<typeof import("../hooks.js")>("engine/hooks.js");
const labels = lazy<typeof import("../confine/labels.js")>("engine/confine/labels.js");

/** The first process of a container. */
export function runInit(args: ChildArgs): never {
  leave(args.channel, () => {
    setsid();
    umask(0);
    const opened = arrive(args);
    beUser(args);
    const tree = new Tree();
    tree.pids = args.inside;
    if (args.newUser) tree.parent = args.channel;
    const joined = args.inside !== undefined && args.newUser && !forks(args);
    if (args.inside !== undefined && joined) setns(args.inside, CLONE.NEWPID); // later there may be no right to
    for (const step of args.build) attemptStep(step, () => applyToTree(tree, step) || applyToProcess(step) || hookStep(args, step, tree));
    finish(args, opened, tree.terminal, true, joined);
  });
}

/** A further process: into the namespaces of `pidfd`'s process, then like the first. */
export function runExec(args: ChildArgs, pidfd: Fd, namespaces: number): never {
  leave(args.channel, () => {
    setsid();
    const opened = arrive(args, pidfd);
    const joined = args.inside !== undefined && !forks(args);
    beUser(args, () => setns(pidfd, namespaces + (joined ? CLONE.NEWPID : 0)));
    let terminal: Terminal | undefined;
    if (args.process.terminal) {
      using pts = open("/dev/pts", O.PATH | O.DIRECTORY);
      terminal = openTerminal(pts);
      const { consoleSize } = args.process;
      if (consoleSize !== undefined) setWindowSize(terminal.master, consoleSize.height, consoleSize.width);
    }
    finish(args, opened, terminal, false, joined);
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

/** Does the child make others on its way, which have no business in the pid namespace? */
function forks({ build, labels: some }: ChildArgs): boolean {
  return some.length > 0 || build.some((step) => step.do === "hooks-inside" || (step.do === "mount" && step.mount.type === "proc"));
}

/**
 * The first phase, with the engine's own view of the machine and all rights. The agent's descriptors go first: none is within reach once
 * a namespace has been joined (container-engine 3.1 rule 7), and under a low limit there is room to open others. `pidfd`: a further process's.
 */
function arrive(args: ChildArgs, pidfd?: Fd): readonly OpenLabel[] {
  restoreDescriptorLimit();
  const { ends, channel, startSocket } = args;
  const namespaces = openNamespaces(args.arrive);
  const opened = args.labels.length > 0 && args.inside === undefined ? labels().openLabels(args.labels) : [];
  const made = args.build.flatMap((step) => ["made" in step ? step.made : undefined, "ids" in step ? step.ids : undefined].filter((n) => n !== undefined));
  const kept = [channel.fd, startSocket, ends?.stdin, ends?.stdout, ends?.stderr, pidfd, args.inside, ...opened.map(({ dir }) => dir), ...namespaces.map(({ fd }) => fd)];
  closeOthers([...kept.flatMap((fd) => (fd === undefined ? [] : [fd.n])), ...made, ...args.keep]);
  for (const step of args.arrive) if (step.do !== "join") attemptStep(step, () => applyToProcess(step));
  // the rest at the end: what is done until then may need more. In a new user namespace there is no right to: see limits-from-outside.ts
  if (!args.newUser || pidfd !== undefined) for (const step of args.limits) attemptStep(step, () => raiseHardLimit(0, step.resource, step.hard));
  joinNamespaces(namespaces);
  return opened;
}

/** Waits until the parent has done its part, and becomes root of a user namespace, if there is one to be root of: entered by `enter`, or born in. */
function beUser(args: ChildArgs, enter?: () => void): void {
  if (args.held && !args.channel.wait("go")) exitGroup(1);
  enter?.();
  if (args.newUser) {
    setresgid(0);
    setresuid(0);
  }
  if (args.keyring !== undefined) joinKeyring(args.keyring, args.newUser);
}

function finish(args: ChildArgs, opened: readonly OpenLabel[], terminal: Terminal | undefined, first: boolean, joined: boolean): void {
  const { ends } = args;
  if (terminal !== undefined) takeStdio(terminal.slave, terminal.slave, terminal.slave);
  else if (ends !== undefined) takeStdio(ends.stdin, ends.stdout, ends.stderr);
  if (args.inside !== undefined) inside().goInside({ ...args, inside: args.inside }, terminal, first, joined);
  become({ args, opened, terminal, first });
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
