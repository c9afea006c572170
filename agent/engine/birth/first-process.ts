// The clone of a container's first process: where it is born, what is done for it before and right after, and what is left for it.
import { CLONE } from "../../abi/flags.js";
import type { Fd } from "../../sys/fd.js";
import { lazy } from "../../lib/lazy.js";
import { Level, log } from "../../lib/log.js";
import type { Judgement } from "../../oci/judgement.js";
import { isBind } from "../../oci/mounts.js";
import { makePlan, needsCopies, type ProcessPlan } from "../../oci/plan.js";
import type { Linux, Spec } from "../../oci/spec.js";
import type { Step } from "../../oci/steps.js";
import { birth, disown } from "./clone-process.js";
import type { Cgroup } from "../cgroup/group.js";
import { hierarchy } from "../cgroup/hierarchy.js";
import type { Container, Filter, ResctrlGroup } from "../container.js";
import type { Copies } from "./detached-mounts.js";
import type { Subject } from "../hooks.js";
import { granted, labelsOf, type OwnStreams, readyForChildren, withoutGroups } from "./newborn.js";
import { openNamespace, type SpawnPlace } from "../namespace.js";

const child = lazy<typeof import("../child/run.js")>("engine/child/run.js");
const resctrl = lazy<typeof import("../resctrl.js")>("engine/resctrl.js");
const detached = lazy<typeof import("./detached-mounts.js")>("engine/birth/detached-mounts.js");
const userNamespace = lazy<typeof import("./user-namespace.js")>("engine/birth/user-namespace.js");
const time = lazy<typeof import("./time-namespace.js")>("engine/birth/time-namespace.js");
const net = lazy<typeof import("./net-devices.js")>("engine/birth/net-devices.js");

export interface CreateArgs {
  readonly id: string;
  readonly bundleDir: string;
  readonly spec: Spec;
  readonly judgement: Judgement;
  /** Size of the stream pipes in bytes; 0 keeps the kernel's. */
  readonly pipeSize: number;
  /** Given, the process has the caller's streams instead of pipes. */
  readonly own?: OwnStreams | undefined;
  /** Called when the first process has been born and is busy; what it throws ends the birth. */
  readonly born?: (container: Container) => void;
  /** Takes over what cannot be cleared away when the container has not come to be: `job` may be called again. Without it that is the error. */
  readonly owe?: (why: unknown, job: () => Promise<void>) => void;
  /** A listening socket (SOCK_SEQPACKET) where another process will start the container: see `Channel`; the caller says "go" over `startChannel`. */
  readonly startSocket?: Fd | undefined;
  /** The root is moved over the old one, which pivot_root(2) cannot put away (an initramfs). */
  readonly noPivot?: boolean | undefined;
  /** False: its processes keep the caller's session keyring. */
  readonly newKeyring?: boolean | undefined;
}

/** What hooks and seccomp agents are told of a container in the making. */
export function subject({ id, bundleDir, spec }: CreateArgs): Subject {
  return { id, bundleDir, ociVersion: spec.ociVersion, annotations: spec.annotations ?? {} };
}

export type Started = ReturnType<typeof birth> & {
  /** What is left for the parent to do when the child is ready. */
  readonly late: readonly Step[];
  /** The child waits until this has been done. */
  readonly held: (() => Promise<void>) | undefined;
  /** It goes into a pid namespace where others are. */
  readonly inside: boolean;
  readonly traits: ProcessPlan["traits"];
};

const offsetsOf = ({ timeOffsets }: Linux): Linux["timeOffsets"] => (timeOffsets === undefined || Object.keys(timeOffsets).length === 0 ? undefined : timeOffsets);

/** Where the child is born, and what of the plan is left for it to do; what the parent does for it is `late`, and `close` after the clone. */
function placeOf({ cloneFlags, pidNamespace: shared, ...plan }: ReturnType<typeof makePlan>, linux: Linux, copies: boolean, made: Copies | undefined): { place: Omit<SpawnPlace, "cgroup">; inside: Fd | undefined; arrive: readonly Step[]; build: readonly Step[]; late: readonly Step[]; close: () => void } {
  const user = linux.namespaces?.find((n) => n.type === "user");
  const joined = user === undefined ? [] : plan.arrive.filter((s): s is Extract<Step, { do: "join" }> => s.do === "join" && (!!user.path || s.type !== "mount"));
  const late: readonly Step[] = user === undefined ? [] : [...plan.arrive.filter((s) => s.do === "oom-score"), ...plan.limits]; // of limits only the raising: see run.ts
  const offsets = offsetsOf(linux);
  const arrive = joined.length + late.length === 0 ? plan.arrive : plan.arrive.filter((s) => !(joined as Step[]).includes(s) && !late.includes(s));
  const maps = user?.path && linux.uidMappings !== undefined ? { uids: linux.uidMappings, gids: linux.gidMappings ?? [] } : undefined;
  const copied = copies ? (made === undefined ? detached().detach(plan.build, linux) : made.into(plan.build)) : undefined;
  try {
    const pidNamespace = shared === undefined ? undefined : openNamespace(shared);
    const close = (): void => {
      copied?.close();
      pidNamespace?.close();
    };
    return { place: { flags: offsets === undefined ? cloneFlags : cloneFlags & ~CLONE.NEWTIME, joined, maps, before: offsets === undefined ? undefined : () => time().makeTimeNamespace(offsets) }, inside: pidNamespace, arrive, build: copied?.steps ?? plan.build, late, close };
  } catch (error) {
    copied?.close();
    throw error;
  }
}

type Checked = Parameters<typeof makePlan>[0];
type StartArgs = CreateArgs & { readonly mountLabel: string | undefined; /** Made already, where the plan wants some. */ readonly copies?: Copies | undefined };

function planOf(args: StartArgs, spec: Checked, cgroup: Cgroup): ReturnType<typeof makePlan> {
  return makePlan(spec, {
    judgement: args.judgement, cgroupProcs: cgroup.procsFiles(), cgroupFolders: cgroup.v1Mounts(), cgroupFolder: cgroup.path === "" ? undefined : hierarchy().root + cgroup.path, bundle: args.bundleDir, noPivot: args.noPivot, mountLabel: args.mountLabel,
  });
}

/** The copies of mounts that the plan wants, if any, made without waiting for the file systems that they are of; the caller's to close. */
export async function copiesFor(args: StartArgs, spec: Checked, cgroup: Cgroup): Promise<Copies | undefined> {
  return needsCopies(spec) ? detached().detachAside(args.id, planOf(args, spec, cgroup).build, spec.linux) : undefined;
}

/** Makes the child; throws what failed, with nothing left behind. */
export function startChild(args: StartArgs, spec: Checked, cgroup: Cgroup, group: ResctrlGroup | undefined, filter: Filter | undefined): Started {
  const { linux, hooks } = spec;
  const { judgement } = args;
  const plan = planOf(args, spec, cgroup);
  for (const step of plan.build) if (step.do === "mount" && step.mount.data !== "" && isBind(step.mount)) log(Level.WARN, `the options ${step.mount.data} of the bind mount on ${step.mount.at} mean nothing`);
  if (spec.mounts?.length && !linux.namespaces?.some((n) => n.type === "mount")) log(Level.WARN, "mounts: without a mount namespace nothing is mounted");
  const own = labelsOf(spec.process, judgement);
  if (args.own === undefined) readyForChildren(filter, plan.pidNamespace !== undefined);
  const joins = plan.pidNamespace !== undefined; // then `start` runs the container's last hooks: see start-hooks.ts
  const last = joins ? [] : hooks?.startContainer ?? [];
  const within = hooks?.createContainer?.length || last.length > 0 ? { ...subject(args), start: last, judgement } : undefined;
  const newUser = (plan.cloneFlags & CLONE.NEWUSER) !== 0;
  const maps = { uids: linux.uidMappings ?? [], gids: linux.gidMappings ?? [] };
  const user = linux.namespaces?.some((n) => n.type === "user") ?? false;
  const asked = granted(plan.process, judgement, user);
  const process = newUser && userNamespace().groupsAreFixed(maps) ? withoutGroups(asked) : asked;
  const { place, inside: shared, arrive, build, late, close } = placeOf(plan, linux, plan.copies, args.copies);
  const { netDevices } = linux;
  const held = newUser || netDevices !== undefined || group !== undefined;
  const { runInit } = child(); // here and not in the child, which would make all its pages its own
  const born = (): ReturnType<typeof birth> => birth({
    place, cgroup, pipes: process.terminal || args.own !== undefined ? undefined : args.pipeSize,
    child: (channel, ends) => runInit({ arrive, build, limits: plan.limits, process, channel, ends, filter, keyring: args.newKeyring === false ? undefined : args.id, labels: own, hooks: within, held, newUser: user, keep: args.own?.keep ?? [], stub: judgement.stub === "always", startSocket: args.startSocket, inside: shared }),
    cloned: ({ pid }, channel) => {
      if (!held) return;
      if (group !== undefined) resctrl().addToGroup(group, pid);
      if (newUser) userNamespace().writeMaps(pid, maps);
      if (netDevices === undefined) channel.tell("go");
    },
  });
  try {
    const started = born();
    try {
      const network = linux.namespaces?.find((n) => n.type === "network")?.path || `/proc/${started.cloned.pid}/ns/net`;
      return { ...started, late, inside: joins, traits: process.traits, held: netDevices === undefined ? undefined : () => net().moveDevices(netDevices, network) };
    } catch (error) {
      disown(started);
      throw error;
    }
  } finally {
    close();
  }
}
