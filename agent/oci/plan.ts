// Spec to plan: everything that the child does, as data, in phases in the order in which they are done. Pure. The order is the design:
//   arrive: groups, processors and score while all rights are there; then the namespaces that are joined.
//   build: the mount tree from the outside, where /proc and /dev are still the agent's own and can be trusted; the change of root last.
//   become: what follows (ids, capabilities, limits, seccomp, the program), in the order of become.ts; the ProcessPlan, which an exec
//   shares, says what.
// Sources: runtime-spec; container-engine 2.2, 2.3 (namespace order), 3.1 (safe mounts).
import { CLONE, MS } from "../abi/flags.js";
import { lazy } from "../lib/lazy.js";
import { capabilitySets, type CapabilitySets } from "./caps.js";
import { rlimitNumber } from "./check-process.js";
import { cleanPath } from "./field.js";
import { hostId } from "./id-maps.js";
import { isBind, mountPlan, type MountPlan, PROPAGATION } from "./mounts.js";
import type { Traits } from "./schedule.js";
import type { Device, Linux, Mount, Process, Spec } from "./spec.js";
import type { Judgement } from "./judgement.js";
import type { LimitStep, Node, Step } from "./steps.js";

const schedule = lazy<typeof import("./schedule.js")>("oci/schedule.js");

/** The namespaces that a configuration names, as clone3(2) knows them. */
export const NAMESPACE_KINDS: { readonly [type: string]: number } = {
  pid: CLONE.NEWPID, network: CLONE.NEWNET, mount: CLONE.NEWNS, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, user: CLONE.NEWUSER, cgroup: CLONE.NEWCGROUP, time: CLONE.NEWTIME,
};

/** What a process is and may, in the order in which it gives its rights up. */
export interface ProcessPlan {
  readonly args: readonly string[];
  /** What is executed, where that is not the first of them. */
  readonly program?: string | undefined;
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  /** Undefined: they cannot be changed. */
  readonly gids: readonly number[] | undefined;
  readonly umask: number;
  readonly caps: CapabilitySets;
  readonly noNewPrivileges: boolean;
  readonly terminal: boolean;
  readonly consoleSize: Process["consoleSize"] | undefined;
  /** Scheduling and memory; absent when nothing of it is asked for. */
  readonly traits: Traits | undefined;
}

export interface Plan {
  /** CLONE_NEW* flags of the namespaces that clone3 makes. */
  readonly cloneFlags: number;
  /** Path of a pid namespace to be born in, when it is shared. */
  readonly pidNamespace: string | undefined;
  /** In the engine's own mount namespace and with all rights: groups, processors, score; last the namespaces that are joined. */
  readonly arrive: readonly Step[];
  /** The namespaces' names and the tree of mounts, up to the change of the root. */
  readonly build: readonly Step[];
  /** Raised on arrival, when nothing has been given up yet, and set when nothing else needs more. */
  readonly limits: readonly LimitStep[];
  /** Some of the mounts are copied outside, before the child is born. */
  readonly copies: boolean;
  readonly process: ProcessPlan;
}

export interface PlanContext {
  readonly judgement: Judgement;
  /** cgroup.procs files to join from within (version 1); empty when the child is born in its cgroup. */
  readonly cgroupProcs: readonly string[];
  /** Version 1: "name:folder" of each hierarchy that the container is in; absent on version 2. */
  readonly cgroupFolders?: readonly string[] | undefined;
  /** Version 2: the container's folder; without it the child looks for it in the usual place. */
  readonly cgroupFolder?: string | undefined;
  /** What relative sources of binds are relative to. */
  readonly bundle?: string | undefined;
  /** The new root is moved over the old one, which cannot be put away. */
  readonly noPivot?: boolean | undefined;
  /** SELinux's, for new file systems; absent where it is off. */
  readonly mountLabel?: string | undefined;
}

const DEFAULT_NODES: readonly Step[] = ([["null", 1, 3], ["zero", 1, 5], ["full", 1, 7], ["random", 1, 8], ["urandom", 1, 9], ["tty", 5, 0]] as const).map(
  ([name, major, minor]) => ({ do: "node", node: { path: `/dev/${name}`, type: "c", major, minor, mode: 0o666, uid: 0, gid: 0 } }),
);

/** The environment of a process: of entries with one name the last wins; HOME is added later when it is not there. */
export function environment(env: readonly string[]): string[] {
  const last = new Map<string, string>();
  for (const entry of env) {
    const at = entry.indexOf("=");
    if (at <= 0) continue; // without a name: nothing a program could read
    const name = entry.slice(0, at);
    last.delete(name);
    last.set(name, entry);
  }
  return [...last.values()];
}

/**
 * A process of a command whose caller's groups are to stay, as an annotation of crun and podman (--group-add keep-groups) has it.
 * It gives away no more than additionalGids could.
 */
export function withCallersGroups(plan: ProcessPlan, annotations: Spec["annotations"]): ProcessPlan {
  return annotations?.["run.oci.keep_original_groups"] === "1" && plan.gids?.length === 0 ? { ...plan, gids: undefined } : plan;
}

/** The process part of a plan; what `linux` says of every process of the container is in it. */
export function processPlan(process: Process, linux: Pick<Linux, "personality" | "memoryPolicy"> = {}): ProcessPlan {
  const plain = process.scheduler === undefined && process.ioPriority === undefined && linux.personality === undefined && linux.memoryPolicy === undefined;
  return {
    args: process.args, env: environment(process.env ?? []), cwd: process.cwd, uid: process.user.uid, gid: process.user.gid,
    gids: process.user.additionalGids ?? [], umask: process.user.umask ?? 0o022, caps: capabilitySets(process.capabilities),
    noNewPrivileges: process.noNewPrivileges ?? false, terminal: process.terminal ?? false,
    consoleSize: process.consoleSize, traits: plain ? undefined : schedule().traitsOf(process, linux),
  };
}

/** The oom score, if one is asked for. */
export const scoreSteps = ({ oomScoreAdj: value }: Pick<Process, "oomScoreAdj">): Step[] => (value === undefined ? [] : [{ do: "oom-score", value }]);

export const limitSteps = ({ rlimits = [] }: Pick<Process, "rlimits">): LimitStep[] => rlimits.map(({ type, soft, hard }) => ({ do: "rlimit", name: type, resource: rlimitNumber(type), soft, hard }));

/** The namespaces that are there already, a user namespace first: it gives the right to join the others. */
function joinSteps({ namespaces = [] }: Linux): Step[] {
  const joins = namespaces.flatMap(({ type, path }) => (path && type !== "pid" ? [{ do: "join", type, path, kind: NAMESPACE_KINDS[type] as number } as const] : []));
  return [...joins.filter(({ type }) => type === "user"), ...joins.filter(({ type }) => type !== "user")];
}

function namespaceSteps(linux: Linux, spec: Spec, { sharedUts }: Judgement): Step[] {
  const steps: Step[] = [];
  const uts = linux.namespaces?.find((n) => n.type === "uts");
  const named = uts !== undefined && (sharedUts === "name" || !uts.path)
  const made = (type: string): boolean => linux.namespaces?.some((n) => n.type === type && !n.path) ?? false;
  if (made("cgroup")) steps.push({ do: "new-cgroup-namespace" });
  if (made("network")) steps.push({ do: "loopback" });
  if (spec.hostname && named) steps.push({ do: "hostname", name: spec.hostname });
  if (spec.domainname && named) steps.push({ do: "domainname", name: spec.domainname });
  for (const key in linux.sysctl ?? {}) steps.push({ do: "sysctl", key, value: linux.sysctl?.[key] ?? "" });
  return steps;
}

function node(device: Device): Node {
  return {
    path: device.path.endsWith("/") ? cleanPath(device.path) : device.path, type: device.type, major: device.major ?? 0, minor: device.minor ?? 0, mode: (device.fileMode ?? 0o666) & 0o7777 || 0o666,
    uid: device.uid ?? 0, gid: device.gid ?? 0,
  };
}

/** Devices and links appear only in a /dev that the spec mounts afresh. */
function deviceSteps(linux: Linux, mounts: readonly MountPlan[]): Step[] {
  const dev = mounts.findLast((m) => m.at.startsWith("/dev") && isDev(m.at));
  const steps: Step[] = [];
  if (dev !== undefined && !isBind(dev)) {
    const own = linux.devices ?? [];
    for (const step of DEFAULT_NODES) if (own.length === 0 || !own.some((d) => step.do === "node" && d.path === step.node.path)) steps.push(step);
  }
  for (const device of linux.devices ?? []) steps.push({ do: "node", node: node(device) });
  if (dev !== undefined && !isBind(dev)) steps.push({ do: "dev-links" });
  return steps;
}

const isDev = (at: string): boolean => at === "/dev" || cleanPath(at) === "/dev";

/** A devpts for a group that the user namespace does not have could not be mounted. */
function withKnownGroup(mount: MountPlan, linux: Linux): MountPlan {
  const maps = linux.gidMappings ?? [];
  if (mount.data.length > 4096) return mount; // more than mount(2) looks at
  const data = mount.data.split(",").filter((option) => !option.startsWith("gid=") || hostId(maps, Number(option.slice(4))) !== undefined).join(",");
  return { ...mount, data };
}

function mountSteps({ linux, process }: { linux: Linux; process: Process }, mounts: readonly MountPlan[], context: PlanContext): Step[] {
  const steps: Step[] = [];
  const fresh = linux.namespaces?.some((n) => n.type === "cgroup") ?? false;
  const ownGroups = linux.gidMappings !== undefined && linux.gidMappings.length > 0;
  for (const mount of mounts) {
    if (mount.type === "cgroup" && !isBind(mount)) steps.push({ do: "cgroup-mount", mount, fresh, folder: context.cgroupFolder, v1: context.cgroupFolders });
    else if (mount.type === "devpts" && ownGroups) steps.push({ do: "mount", mount: withKnownGroup(mount, linux) });
    else steps.push({ do: "mount", mount: late(mount) ? { ...mount, flags: mount.flags & ~MS.RDONLY } : mount });
  }
  steps.push(...deviceSteps(linux, mounts));
  if (process.terminal) steps.push({ do: "console", rows: process.consoleSize?.height ?? 0, columns: process.consoleSize?.width ?? 0 });
  for (const mount of mounts) if (late(mount)) steps.push({ do: "remount-read-only", at: mount.at });
  return steps;
}

const UNLABELLED = ["proc", "sysfs", "mqueue", "cgroup"];

/** New file systems carry the label as an option; the kernel's own are labelled by the policy. */
function labelled(mount: MountPlan, label: string): MountPlan {
  if (isBind(mount) || UNLABELLED.includes(mount.type) || (mount.flags & MS.REMOUNT) !== 0) return mount;
  return { ...mount, data: `${mount.data}${mount.data === "" ? "" : ","}context="${label}"` };
}

/** A read-only tmpfs is filled first and made read-only at the end. */
function late(mount: MountPlan): boolean {
  return mount.type === "tmpfs" && (mount.flags & (MS.RDONLY | MS.BIND | MS.REMOUNT)) === MS.RDONLY;
}

function hookSteps({ hooks }: Spec): Step[] {
  const steps: Step[] = [];
  if (hooks?.prestart?.length || hooks?.createRuntime?.length) steps.push({ do: "hooks-outside" });
  if (hooks?.createContainer?.length) steps.push({ do: "hooks-inside", hooks: hooks.createContainer });
  return steps;
}

/** A destination that names the root itself is meant in it, as runc reads it. */
function inside(root: string, mount: Mount): Mount {
  return root !== "/" && mount.destination.startsWith(`${root}/`) ? { ...mount, destination: mount.destination.slice(root.length) } : mount;
}

/** Each path once, however often and with however many slashes it is named; ".." stays, for a link may stand before it. */
function distinct(paths: readonly string[] = []): Iterable<string> {
  return new Map(paths.map((path) => [path.split("/").filter((part) => part !== "" && part !== ".").join("/"), path])).values();
}

function rootSteps(spec: Spec & { process: Process; root: NonNullable<Spec["root"]>; linux: Linux }, context: PlanContext): Step[] {
  const { linux, root } = spec;
  if (!linux.namespaces?.some((n) => n.type === "mount")) return [{ do: "plain-root", path: root.path }, ...hookSteps(spec), { do: "enter-root" }];
  const plans = (spec.mounts ?? []).map((mount) => mountPlan(context.judgement.destinations === "within root" ? inside(root.path, mount) : mount, context.bundle, context.judgement.bindFlags === "exact"));
  const { mountLabel } = context;
  const mounts = mountLabel === undefined ? plans : plans.map((mount) => labelled(mount, mountLabel));
  const propagation = PROPAGATION[linux.rootfsPropagation ?? ""] ?? 0;
  const kept = (propagation & MS.PRIVATE) !== 0 ? MS.PRIVATE : MS.SLAVE;
  const steps: Step[] = [{ do: "propagation", flags: kept | MS.REC }, { do: "root", path: root.path }, ...mountSteps(spec, mounts, context)];
  for (const path of distinct(linux.readonlyPaths)) steps.push({ do: "read-only", path });
  for (const path of distinct(linux.maskedPaths)) steps.push({ do: "mask", path });
  steps.push(...hookSteps(spec));
  if (root.readonly) steps.push({ do: "read-only-root", cwd: spec.process.cwd });
  steps.push({ do: context.noPivot === true ? "move-root" : "pivot" });
  if ((propagation & (MS.SHARED | MS.UNBINDABLE)) !== 0) steps.push({ do: "root-propagation", flags: propagation });
  return steps;
}

/** A mapped root may not reach them, peers of the machine's mounts are made of those, and only the machine's root maps ids. */
export function needsCopies({ linux, mounts }: Spec): boolean {
  if (linux?.namespaces?.some((n) => n.type === "user")) return linux.namespaces.some((n) => n.type === "mount");
  return linux?.rootfsPropagation?.endsWith("shared") === true || (mounts?.some((m) => m.uidMappings !== undefined || m.options?.some((o) => o === "idmap" || o === "ridmap")) ?? false);
}

/** The plan of a checked spec. */
export function makePlan(spec: Spec & { process: Process; root: NonNullable<Spec["root"]>; linux: Linux }, context: PlanContext): Plan {
  const { linux } = spec;
  const process = processPlan(spec.process, linux);
  let cloneFlags = 0;
  for (const { type, path } of linux.namespaces ?? []) if (!path && type !== "cgroup") cloneFlags += NAMESPACE_KINDS[type] ?? 0; // cgroup: after the cgroup has been joined
  return {
    cloneFlags, pidNamespace: linux.namespaces?.find((n) => n.type === "pid" && n.path)?.path,
    arrive: [
      ...(context.judgement.callersProcessors === "undo" ? [{ do: "affinity", cpus: undefined } as const] : []),
      ...(context.cgroupProcs.length > 0 ? [{ do: "join-cgroups", paths: context.cgroupProcs } as const] : []),
      ...scoreSteps(spec.process), ...joinSteps(linux),
    ],
    build: [...namespaceSteps(linux, spec, context.judgement), ...rootSteps(spec, context)],
    limits: limitSteps(spec.process),
    copies: needsCopies(spec), process: context.judgement.callersGroups === "honour" ? withCallersGroups(process, spec.annotations) : process,
  };
}
