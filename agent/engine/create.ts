// The parent's half of a container's birth: check, cgroup, streams, clone, and the wait for `ready`, which goes through the
// loop. Whatever was made is unmade when a later part fails; errors name the container and the step.
import { must, sys } from "../sys/call.js";
import { Fd } from "../sys/fd.js";
import { NR } from "../sys/nr.js";
import { CLONE, pidfdSendSignal, type Cloned } from "../sys/process.js";
import { SIG } from "../sys/poll.js";
import { because, AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { onExit } from "../lib/reaper.js";
import { agree, capabilitySets } from "../oci/caps.js";
import { checkSpec, type Machine } from "../oci/check.js";
import { isBind } from "../oci/mounts.js";
import { makePlan, type ProcessPlan } from "../oci/plan.js";
import type { Step } from "../oci/steps.js";
import type { Linux, Process as ProcessSpec, Seccomp, Spec } from "../oci/spec.js";
import { birth } from "./birth.js";
import { type Cgroup, hierarchy, makeCgroup } from "./cgroup.js";
import { type Container, type ExecTemplate, type Filter, type ResctrlGroup, TERMINATION_PATH } from "./container.js";
import type { Channel } from "./handshake.js";
import type { Subject } from "./hooks.js";
import type { Label } from "./labels.js";
import type { Streams } from "./io.js";
import { ended, type Process } from "./process.js";
import { openNamespace, type SpawnPlace } from "./spawn.js";

/**
 * The child's half. Who makes many containers has it before the first clone; who makes one lets the child load it, while the
 * parent goes on.
 */
const child = lazy<typeof import("./child.js")>("engine/child.js");
const io = lazy<typeof import("./io.js")>("engine/io.js");
const seccomp = lazy<typeof import("./seccomp.js")>("engine/seccomp.js");
const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");
const labels = lazy<typeof import("./labels.js")>("engine/labels.js");
const notify = lazy<typeof import("./seccomp-notify.js")>("engine/seccomp-notify.js");
const machine = lazy<typeof import("./machine.js")>("engine/machine.js");
const resctrl = lazy<typeof import("./resctrl.js")>("engine/resctrl.js");
const grant = lazy<typeof import("./grant.js")>("engine/grant.js");
const detached = lazy<typeof import("./detached.js")>("engine/detached.js");
const userNamespace = lazy<typeof import("./user-namespace.js")>("engine/user-namespace.js");
const time = lazy<typeof import("./time-namespace.js")>("engine/time-namespace.js");
const limits = lazy<typeof import("./limits.js")>("engine/limits.js");
const net = lazy<typeof import("./net-devices.js")>("engine/net-devices.js");
const bpf = lazy<typeof import("../sys/bpf.js")>("sys/bpf.js");

const MACHINE: Machine = { has: (type) => machine().has(type), isOwn: (type, path) => machine().isOwn(type, path) };

/** Milliseconds a child has to get ready. */
export const READY_MS = 60_000;

export interface CreateArgs {
  readonly id: string;
  readonly bundleDir: string;
  readonly spec: Spec;
  /** Size of the stream pipes in bytes; 0 keeps the kernel's. */
  readonly pipeSize: number;
  /** Given, the process has the caller's streams instead of pipes. */
  readonly own?: OwnStreams | undefined;
  /** A listening socket (SOCK_SEQPACKET) where another process will start the container: see `Channel`; the caller says "go" at the gate. */
  readonly door?: Fd | undefined;
  /** The root is moved over the old one, which pivot_root(2) cannot put away (an initramfs). */
  readonly noPivot?: boolean | undefined;
  /** False: its processes keep the caller's session keyring. */
  readonly newKeyring?: boolean | undefined;
}

/** A process with the streams of whoever runs the engine, as a command line has it. */
export interface OwnStreams {
  /** Descriptors of the caller that go along under their numbers. */
  readonly keep: readonly number[];
  /** Gets the terminal's master, when the process has one. */
  readonly terminal: ((master: Fd) => void) | undefined;
}

/** The compiled filter of a spec. */
export function filterOf(rules: Seccomp | undefined): Filter | undefined {
  if (rules === undefined) return undefined;
  const filter = { program: seccomp().compileSeccomp(rules), flags: seccomp().seccompFlags(rules), listener: seccomp().listenerOf(rules) };
  log(Level.DEBUG, `seccomp filter flags: ${filter.flags}`);
  return filter;
}

/** The labels of a process; throws AppError when they cannot be had. */
export function labelsOf(process: ProcessSpec, command: boolean): readonly Label[] {
  return process.apparmorProfile || process.selinuxLabel ? labels().labelsOf(process, command) : [];
}

/** Loads what every child needs, when there will be more than one. */
export function readyForChildren(filter: Filter | undefined): void {
  child();
  if (filter !== undefined) bpf();
}

/** Takes the terminal's master from a child that has said `ready`: for the caller, or as the process's streams. See pidfd_getfd(2). */
export function takeMaster(process: Process, n: number, own: OwnStreams | undefined): void {
  const master = new Fd(must("pidfd_getfd", NR.pidfd_getfd, process.pidfd.n, n, 0));
  if (own === undefined) process.streams = io().ptyStreams(master);
  else if (own.terminal === undefined) master.close();
  else own.terminal(master);
}

/** The record of a child that has just been made; its end is noted from now on. */
export function processOf(execId: string, cloned: Cloned, streams: Streams | undefined): Process {
  const process: Process = { execId, pid: cloned.pid, pidfd: cloned.pidfd, streams, status: undefined, collected: false, waiters: [] };
  onExit(cloned.pid, (status) => ended(process, status));
  return process;
}

/** Ends a child that did not get ready and resolves when it has been reaped. */
export function abandon(process: Process): Promise<void> {
  return new Promise((done) => {
    if (process.status !== undefined) return done();
    process.waiters.push(() => done());
    pidfdSendSignal(process.pidfd, SIG.KILL);
  });
}

/** Warns of capabilities that nobody knows; leaves out those that cannot be given. */
export function granted(plan: ProcessPlan, command: boolean, userNamespace: boolean): ProcessPlan {
  const { unknown } = plan.caps;
  if (unknown.length > 0) log(Level.WARN, `process.capabilities: unknown names are left out: ${unknown.join(" ")}`);
  const own = command && !userNamespace; // in a user namespace of its own a process may have what the engine has not
  return own || !agree(plan.caps) ? { ...plan, caps: grant().settle(plan.caps, own) } : plan;
}

/** `fn` makes a child: with `left` true it sets its own oom score, else it is born with it, since a command that is not root could not set it later. */
export function withScore<T>(score: number | undefined, command: boolean, fn: (left: boolean) => T): T {
  return score === undefined || !command || sys(NR.geteuid) === 0 ? fn(true) : limits().bornScored(score, () => fn(false));
}

type Started = ReturnType<typeof birth> & { /** What is left for the parent to do when the child is ready. */ readonly late: readonly Step[] };

/** Where the child is born, and what of the plan is left for it to do; what the parent does for it is `late`, and `close` after the clone. */
function placeOf({ cloneFlags, pidNamespace: shared, ...plan }: ReturnType<typeof makePlan>, linux: Linux, copies: boolean): { place: Omit<SpawnPlace, "cgroup">; steps: readonly Step[]; late: readonly Step[]; user: boolean; close: () => void } {
  const user = linux.namespaces?.find((n) => n.type === "user");
  const joined = user === undefined ? [] : plan.steps.filter((s): s is Extract<Step, { do: "join" }> => s.do === "join" && (!!user.path || s.type !== "mount"));
  const late = user === undefined ? [] : limits().fromOutside(plan.steps);
  const offsets = linux.timeOffsets !== undefined && Object.keys(linux.timeOffsets).length > 0;
  const steps = joined.length + late.length === 0 ? plan.steps : plan.steps.filter((s) => !(joined as Step[]).includes(s) && !late.includes(s));
  const maps = user?.path && linux.uidMappings !== undefined ? { uids: linux.uidMappings, gids: linux.gidMappings ?? [] } : undefined;
  const copied = copies ? detached().detach(steps, linux) : undefined;
  try {
    const pidNamespace = shared === undefined ? undefined : openNamespace(shared);
    const close = (): void => {
      copied?.close();
      pidNamespace?.close();
    };
    return { place: { flags: offsets ? cloneFlags & ~CLONE.NEWTIME : cloneFlags, pidNamespace, joined, maps }, steps: copied?.steps ?? steps, late, user: user !== undefined, close };
  } catch (error) {
    copied?.close();
    throw error;
  }
}

function startChild(args: CreateArgs & { readonly mountLabel: string | undefined }, spec: Parameters<typeof makePlan>[0], cgroup: Cgroup, group: ResctrlGroup | undefined, filter: Filter | undefined): Started {
  const { linux, hooks } = spec;
  const command = args.own !== undefined;
  const plan = makePlan(spec, {
    command, cgroupProcs: cgroup.procsFiles(), cgroupFolders: cgroup.v1Mounts(), cgroupFolder: cgroup.path === "" ? undefined : hierarchy().root + cgroup.path, bundle: args.bundleDir, noPivot: args.noPivot, mountLabel: args.mountLabel,
  });
  for (const step of plan.steps) if (step.do === "mount" && step.mount.data !== "" && isBind(step.mount)) log(Level.WARN, `the options ${step.mount.data} of the bind mount on ${step.mount.at} mean nothing`);
  if (spec.mounts?.length && !linux.namespaces?.some((n) => n.type === "mount")) log(Level.WARN, "mounts: without a mount namespace nothing is mounted");
  const own = labelsOf(spec.process, command);
  if (!command) readyForChildren(filter);
  const inside = hooks?.createContainer?.length || hooks?.startContainer?.length ? { ...subject(args), start: hooks.startContainer ?? [], command } : undefined;
  const newUser = (plan.cloneFlags & CLONE.NEWUSER) !== 0;
  const maps = { uids: linux.uidMappings ?? [], gids: linux.gidMappings ?? [] };
  const { place, steps, late, user, close } = placeOf(plan, linux, plan.copies);
  const asked = granted(plan.process, command, user);
  const process = newUser && userNamespace().groupsAreFixed(maps) ? withoutGroups(asked) : asked;
  const { netDevices } = linux;
  const held = newUser || netDevices !== undefined || group !== undefined;
  const born = (): ReturnType<typeof birth> => birth({
    place, cgroup, pipes: process.terminal || command ? undefined : args.pipeSize,
    child: (channel, ends) => child().runInit({ steps, process, channel, ends, filter, keyring: args.newKeyring === false ? undefined : args.id, labels: own, hooks: inside, held, newUser: user, keep: args.own?.keep ?? [], stub: command, door: args.door }),
    cloned: ({ pid }, channel) => {
      if (!held) return;
      if (group !== undefined) resctrl().addToGroup(group, pid);
      if (newUser) userNamespace().writeMaps(pid, maps);
      if (netDevices !== undefined) net().moveDevices(netDevices, linux.namespaces?.find((n) => n.type === "network")?.path || `/proc/${pid}/ns/net`);
      channel.tell("go");
    },
  });
  try {
    return { ...(linux.timeOffsets === undefined || Object.keys(linux.timeOffsets).length === 0 ? born() : time().withOffsets(linux.timeOffsets, born)), late };
  } finally {
    close();
  }
}

/** Groups that nobody may change any more: asking for some is an error, asking for none leaves them (CVE-2014-8989). */
export function withoutGroups(plan: ProcessPlan): ProcessPlan {
  if (plan.gids !== undefined && plan.gids.length > 0) throw new AppError("invalid", "process.user.additionalGids: groups cannot be changed in this user namespace");
  return { ...plan, gids: undefined };
}

/** What hooks and seccomp agents are told of a container in the making. */
function subject({ id, bundleDir, spec }: CreateArgs): Subject {
  return { id, bundleDir, ociVersion: spec.ociVersion, annotations: spec.annotations ?? {} };
}

async function untilReady(args: CreateArgs, gate: Channel, process: Process, late: readonly Step[], filter: Filter | undefined): Promise<void> {
  const command = args.own !== undefined;
  const next = (): ReturnType<Channel["next"]> => gate.next(`container ${args.id}`, command ? Infinity : READY_MS); // a command's hooks have all the time they want
  let said = await next();
  for (; said.say === "hooks" || said.say === "notify"; said = await next()) {
    const state = hooks().stateOf(subject(args), "creating", process.pid);
    if (said.say === "notify") notify().handOver(process, said.fd, filter?.listener, state);
    else for (const kind of ["prestart", "createRuntime"] as const) {
      // prestart hooks were part of `start` once, and other runtimes' hooks and the validation suite still want `created`
      await hooks().runHooks(kind, args.spec.hooks?.[kind] ?? [], command && kind === "prestart" ? { ...state, status: "created" } : state, command);
    }
    gate.tell("go");
  }
  if (said.say !== "ready") throw new AppError("internal", "the child died before it was ready");
  if (said.ptmx >= 0) takeMaster(process, said.ptmx, args.own);
  if (late.length > 0) limits().limitFromOutside(process.pid, late);
}

/**
 * Makes a container: afterwards its first process is ready and waits for `startContainer`. Rejects with AppError, kind
 * "invalid" for what the spec asks wrongly; nothing is left behind then.
 */
export async function createContainer(args: CreateArgs): Promise<Container> {
  const { spec, id } = args;
  try {
    checkSpec(spec, args.own === undefined ? undefined : MACHINE);
    const mountLabel = spec.linux.mountLabel ? labels().mountLabelOf(spec, args.own !== undefined) : undefined;
    const filter = filterOf(spec.linux.seccomp);
    const cgroup = makeCgroup(spec, id, args.own !== undefined);
    let group: ResctrlGroup | undefined;
    let process: Process | undefined;
    let gate: Channel | undefined;
    try {
      if (spec.linux.intelRdt !== undefined) group = resctrl().openGroup(id, spec.linux.intelRdt);
      const { oomScoreAdj: score, ...unscored } = spec.process;
      const started = withScore(score, args.own !== undefined, (left) => startChild({ ...args, mountLabel }, left ? spec : { ...spec, process: unscored }, cgroup, group, filter));
      gate = started.channel;
      gate.program = spec.process.args[0] ?? "";
      process = processOf(id, started.cloned, started.streams);
      await untilReady(args, gate, process, started.late, filter);
    } catch (error) {
      gate?.close();
      if (process !== undefined) await abandon(process);
      process?.streams?.close();
      await cgroup.remove();
      if (group !== undefined) resctrl().removeGroups(group.made);
      if (process !== undefined && spec.hooks?.poststop?.length) await hooks().runHooks("poststop", spec.hooks.poststop, hooks().stateOf(subject(args), "stopped", 0), args.own !== undefined, true);
      throw error;
    }
    return record(args, cgroup, group, process, gate, filter);
  } catch (error) {
    throw because(`create container ${id}`, error);
  }
}

function terminationLog({ annotations, mounts }: Spec): string | undefined {
  const path = annotations?.[TERMINATION_PATH];
  return path === undefined ? undefined : mounts?.find((m) => m.destination === path)?.source;
}

/** The limits that a process asks for. */
export function limitsOf({ rlimits, oomScoreAdj }: Pick<ProcessSpec, "rlimits" | "oomScoreAdj">): ExecTemplate["limits"] {
  return { ...(rlimits === undefined ? {} : { rlimits }), ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }) };
}

function inherited({ scheduler, ioPriority, execCPUAffinity }: Partial<ProcessSpec> = {}): ExecTemplate["process"] {
  return { ...(scheduler === undefined ? {} : { scheduler }), ...(ioPriority === undefined ? {} : { ioPriority }), ...(execCPUAffinity === undefined ? {} : { execCPUAffinity }) };
}

function ofAll({ personality, memoryPolicy }: Linux = {}): ExecTemplate["linux"] {
  return { ...(personality === undefined ? {} : { personality }), ...(memoryPolicy === undefined ? {} : { memoryPolicy }) };
}

/** What further processes take over from a container with this configuration. */
export function templateOf(spec: Spec, seccompFilter: Filter | undefined): ExecTemplate {
  return {
    userNamespace: spec.linux?.namespaces?.some((n) => n.type === "user") ?? false, timeNamespace: spec.linux?.namespaces?.some((n) => n.type === "time") ?? false, caps: capabilitySets(spec.process?.capabilities),
    limits: spec.process === undefined ? {} : limitsOf(spec.process), process: inherited(spec.process), linux: ofAll(spec.linux), seccomp: seccompFilter,
  };
}

function record(args: CreateArgs, cgroup: Cgroup, group: ResctrlGroup | undefined, init: Process, gate: Channel, seccompFilter: Filter | undefined): Container {
  const { spec, id } = args;
  return {
    id, ociVersion: spec.ociVersion, command: args.own !== undefined, newKeyring: args.newKeyring !== false, bundleDir: args.bundleDir, cgroup, resctrl: group, hooks: spec.hooks, initPid: init.pid, init, processes: new Map([[id, init]]), pipeSize: args.pipeSize, annotations: spec.annotations ?? {},
    terminationLog: terminationLog(spec),
    template: templateOf(spec, seccompFilter),
    status: "created", pausedFrom: undefined, gate, stopOomWatch: undefined,
  };
}
