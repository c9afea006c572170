// What the first and the further processes of a container have in common on the parent's side: the filter and the labels that
// wait for them, what they may be given, and their record once they are there.
import { SIG } from "../../abi/flags.js";
import { sys } from "../../sys/call.js";
import { type Fd, handOver } from "../../sys/fd.js";
import { NR } from "../../abi/nr.js";
import { pidfdGetfd, pidfdSendSignal, pidOf } from "../../sys/process.js";
import { AppError, messageOf } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { Level, log } from "../../lib/log.js";
import { after } from "../../lib/loop.js";
import { killChild, leaveUnreaped, onExit, takeBack } from "../../lib/reaper.js";
import { agree } from "../../oci/caps.js";
import type { ProcessPlan } from "../../oci/plan.js";
import type { Judgement } from "../../oci/judgement.js";
import type { Process as ProcessSpec, Seccomp } from "../../oci/spec.js";
import type { Ends } from "../child/args.js";
import { disown, type Newborn } from "./clone-process.js";
import type { Filter } from "../container.js";
import type { Born, Channel, Said } from "../handshake.js";
import { statFields } from "../process-identity.js";
import type { Label } from "../confine/labels.js";
import { alive, ended, pidfdOf, type Process, replace, setStreams, signal } from "../process.js";

/**
 * The child's half. Who makes many containers has it before the first clone; who makes one lets the child load it, while the
 * parent goes on.
 */
const child = lazy<typeof import("../child/run.js")>("engine/child/run.js");
const inside = lazy<typeof import("../child/go-inside.js")>("engine/child/go-inside.js");
const io = lazy<typeof import("../stdio/streams.js")>("engine/stdio/streams.js");
const seccomp = lazy<typeof import("../confine/seccomp.js")>("engine/confine/seccomp.js");
const labels = lazy<typeof import("../confine/labels.js")>("engine/confine/labels.js");
const grant = lazy<typeof import("../confine/capabilities.js")>("engine/confine/capabilities.js");
const limits = lazy<typeof import("./limits-from-outside.js")>("engine/birth/limits-from-outside.js");
const terminal = lazy<typeof import("../child/terminal.js")>("engine/child/terminal.js");
const schedule = lazy<typeof import("../child/schedule.js")>("engine/child/schedule.js");
const bpf = lazy<typeof import("../../sys/bpf.js")>("sys/bpf.js");

/** Milliseconds a child has to get ready. */
export const READY_MS = 60_000;

/** A process with the streams of whoever runs the engine, as a command line has it. */
export interface OwnStreams {
  /** Descriptors of the caller that go along under their numbers. */
  readonly keep: readonly number[];
  /** Gets the terminal's master, when the process has one. */
  readonly terminal: ((master: Fd) => void) | undefined;
  /** Nobody here waits for its end: that is for whoever inherits it (containerd's shim, conmon). */
  readonly left: boolean;
  /** Its standard streams, where they are not the engine's own. */
  readonly streams?: Ends;
  /** What is executed, where that is not args[0]. */
  readonly program?: string;
}

/** The compiled filter of a spec. */
export function filterOf(rules: Seccomp | undefined): Filter | undefined {
  if (rules === undefined) return undefined;
  const filter = { program: seccomp().compileSeccomp(rules), flags: seccomp().seccompFlags(rules), listener: seccomp().listenerOf(rules) };
  log(Level.DEBUG, `seccomp filter flags: ${filter.flags}`);
  return filter;
}

/** The labels of a process; throws AppError when they cannot be had. */
export function labelsOf(process: ProcessSpec, judgement: Judgement): readonly Label[] {
  return process.apparmorProfile || process.selinuxLabel ? labels().labelsOf(process, judgement) : [];
}

/** Loads what every child needs, when there will be more than one. `joins`: it goes into a pid namespace where others are. */
export function readyForChildren(filter: Filter | undefined, joins: boolean): void {
  child();
  if (joins) inside();
  if (filter !== undefined) bpf();
}

/** Takes the terminal's master from a child that has said `ready`: for the caller, or as the process's streams. */
export function takeMaster(process: Process, n: number, own: OwnStreams | undefined): void {
  handOver(terminal().takeMasterOf(pidfdOf(process), n), (master) => {
    if (own === undefined) setStreams(process, io().ptyStreams(master));
    else if (own.terminal === undefined) master.close();
    else own.terminal(master);
  });
}

/** The record of a child that has just been made; its end is noted from now on. Without room for one the child is killed. */
export function processOf(execId: string, child: Newborn, own?: OwnStreams): Process {
  const { cloned, streams } = child;
  try {
    if (own?.left === true) leaveUnreaped(cloned.pid);
    const process = alive(execId, cloned, streams);
    onExit(cloned.pid, (status) => ended(process, status));
    return process;
  } catch (error) {
    disown(child);
    throw error;
  }
}

/**
 * The process is from now on the one that its child has made inside a pid namespace (last-steps.ts): the child is not needed any more.
 * Throws AppError when the new one has ended already.
 */
export function takeOver(process: Process, { pid, pidfd: n }: Born, own: OwnStreams | undefined, { traits }: Pick<ProcessPlan, "traits">): void {
  const helper = pidfdOf(process);
  const outside = process.pid;
  const pidfd = pidfdGetfd(helper, n);
  try {
    const is = pidOf(pidfd); // the word may be forged (see inTurn), and the child has no pidfd but the right one
    if (is <= 0) throw new AppError("precondition", "it was killed before its program began");
    if (is !== pid) throw new AppError("denied", "a process of the container spoke for the new one");
    if (traits !== undefined && schedule().isNotInherited(traits)) schedule().scheduleOther(pid, traits);
  } catch (error) {
    pidfd.close();
    throw error;
  }
  replace(process, { pid, pidfd });
  if (own?.left === true) leaveUnreaped(pid);
  onExit(pid, (status) => ended(process, status)); // before the other is taken back, which reaps at once whoever has ended and is nobody's
  if (pidfdSendSignal(helper, SIG.KILL) < 0) killChild(outside); // as long as it sleeps, the channel has no end
  onExit(outside, () => undefined);
  takeBack(outside);
  helper.close();
}

/**
 * The next word of a process that others may see already, or its end of file. Who stops it gets it killed: nobody waits for the deadline
 * of `ms` because of that. Rejects like Channel.next.
 */
export function nextOf(process: Process, channel: Channel, what: string, ms: number): Promise<Said> {
  return channel.next(what, ms, () => {
    if (isStopped(process.pid)) throw new AppError("precondition", `${what}: a process of the container has stopped it`);
  });
}

/** Has a signal or a tracer stopped the process? See proc_pid_stat(5), (3) state. */
function isStopped(pid: number): boolean {
  const state = statFields(pid)?.[0];
  return state === "T" || state === "t";
}

const ABANDON_MS = 2000;

/**
 * Ends a child that did not get ready and then does `clear`; resolves when that is done, or after two seconds: one that is frozen, or
 * waits for a disk, ends when it can, and is cleared away then.
 */
export async function abandon(process: Process, clear: () => Promise<void>): Promise<void> {
  const ended = new Promise<void>((done) => {
    if (process.status !== undefined) return done();
    const timer = after(ABANDON_MS, done);
    process.waiters.add(() => (timer.cancel(), done()));
    signal(process, SIG.KILL);
    takeBack(process.pid);
  });
  await ended;
  if (process.status !== undefined) return clear();
  process.waiters.add(() => void clear().catch((error: unknown) => log(Level.WARN, `clear away process ${process.execId}: ${messageOf(error)}`)));
}

/** Warns of capabilities that nobody knows; leaves out those that cannot be given. */
export function granted(plan: ProcessPlan, { missingCapabilities }: Judgement, userNamespace: boolean): ProcessPlan {
  const { unknown } = plan.caps;
  if (unknown.length > 0) log(Level.WARN, `process.capabilities: unknown names are left out: ${unknown.join(" ")}`);
  const own = missingCapabilities === "warn" && !userNamespace; // in a user namespace of its own a process may have what the engine has not
  return own || !agree(plan.caps) ? { ...plan, caps: grant().settle(plan.caps, own) } : plan;
}

/** `fn` makes a child: with `left` true it sets its own oom score, else it is born with it, since a command that is not root could not set it later. */
export function withScore<T>(score: number | undefined, judgement: Judgement, fn: (left: boolean) => T): T {
  return score === undefined || judgement.score === "set" || sys(NR.geteuid) === 0 ? fn(true) : limits().bornScored(score, () => fn(false));
}

/** Groups that nobody may change any more: asking for some is an error, asking for none leaves them (CVE-2014-8989). */
export function withoutGroups(plan: ProcessPlan): ProcessPlan {
  if (plan.gids !== undefined && plan.gids.length > 0) throw new AppError("invalid", "process.user.additionalGids: groups cannot be changed in this user namespace");
  return { ...plan, gids: undefined };
}
