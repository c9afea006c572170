// A container and its processes in a record of plain values and descriptors, and taken up from one by the agent's next program, whose
// children they still are. See sandbox/record.ts.
import type { Kept, Left } from "../lib/kept.js";
import { onExit } from "../lib/reaper.js";
import { AGENT } from "../oci/judgement.js";
import { reopenCgroup } from "./cgroup/open.js";
import { changeable, type Container } from "./container.js";
import { Channel } from "./handshake.js";
import { alive, type Claimant, dead, ended, type Process, setClaimant, setCollected } from "./process.js";
import { watchOom } from "./start.js";
import { restoreStreams, saveStreams, type StreamsRecord } from "./stdio/record.js";
import { forgetWhenDrained, keepFor } from "./unclaimed.js";

export interface ProcessRecord {
  readonly execId: string;
  readonly pid: number;
  /** -1 once it has ended. */
  readonly pidfd: number;
  readonly status?: number;
  readonly collected: boolean;
  readonly streams?: StreamsRecord;
  /** Who has asked for it: a place in the list of claimants, -1 for one that is gone. */
  readonly claimant?: number;
}

/** What is the same in a record as in the container. */
const PLAIN = [
  "id", "ociVersion", "newKeyring", "bundleDir", "resctrl", "hooks", "initPid", "startHooks", "template", "annotations", "pipeSize",
  "terminationLog", "status", "pausedFrom",
] as const;
type Plain = Pick<Container, (typeof PLAIN)[number]>;

export interface ContainerRecord {
  readonly plain: Plain;
  readonly cgroup: string;
  readonly processes: readonly ProcessRecord[];
  /** Of those that have ended and that nobody has asked for, oldest first. */
  readonly unclaimed: readonly string[];
  /** The first process, when it is no longer among them. */
  readonly init?: ProcessRecord;
  /** To the child that waits to be started. */
  readonly startChannel: { readonly fd: number; readonly program: string };
  /** Kills for want of memory that have been told of, where somebody watches for them. */
  readonly oomTold?: number;
}

/** Those who may ask for processes: the record names them by their places. */
export type Claimants = readonly Claimant[];

function saveProcess(process: Process, kept: Kept, claimants: Claimants): ProcessRecord {
  const { execId, pid, collected, streams, claimant, status } = process;
  return {
    execId, pid, pidfd: kept.keep(process.pidfd), collected,
    ...(status === undefined ? {} : { status }),
    ...(streams === undefined ? {} : { streams: saveStreams(streams, kept) }),
    ...(claimant === undefined ? {} : { claimant: claimants.indexOf(claimant) }),
  };
}

const GONE: Claimant = { closed: true };

function restoreProcess(record: ProcessRecord, left: Left, claimants: Claimants): Process {
  const { execId, pid, status } = record;
  const streams = record.streams === undefined ? undefined : restoreStreams(record.streams, left);
  const begin = (): Process => alive(execId, { pid, pidfd: left.take(record.pidfd) }, streams);
  const process = status === undefined ? begin() : dead(execId, pid, status, streams);
  if (record.collected) setCollected(process);
  if (record.claimant !== undefined) setClaimant(process, claimants[record.claimant] ?? GONE);
  if (status === undefined) onExit(pid, (how) => ended(process, how));
  return process;
}

/** Everything of a container that nobody is changing at the moment. */
export function saveContainer(container: Container, kept: Kept, claimants: Claimants): ContainerRecord {
  const { id, cgroup, init, startChannel, oomWatch, processes, unclaimed } = container;
  const of = (process: Process): ProcessRecord => saveProcess(process, kept, claimants);
  return {
    plain: Object.fromEntries(PLAIN.map((name) => [name, container[name]])) as unknown as Plain,
    cgroup: cgroup.path,
    processes: [...processes.values()].map(of),
    unclaimed: [...unclaimed].map(({ execId }) => execId),
    startChannel: { fd: kept.keep(startChannel?.fd), program: startChannel?.program ?? "" },
    ...(processes.get(id) === init ? {} : { init: of(init) }),
    ...(oomWatch === undefined ? {} : { oomTold: oomWatch.told }),
  };
}

function startChannelOf({ startChannel }: ContainerRecord, left: Left): Channel | undefined {
  const fd = left.takeIf(startChannel.fd);
  return fd === undefined ? undefined : Object.assign(new Channel(fd), { program: startChannel.program, judgement: AGENT });
}

/** The container again. `onOom` is told of each process that the kernel has killed for want of memory since the record was made. */
export function restoreContainer(record: ContainerRecord, left: Left, claimants: Claimants, onOom: () => void): Container {
  const { plain, oomTold } = record;
  const processes = new Map(record.processes.map((one) => [one.execId, restoreProcess(one, left, claimants)]));
  const init = record.init === undefined ? processes.get(plain.id) : restoreProcess(record.init, left, claimants);
  if (init === undefined) throw new Error(`container ${plain.id} has no first process`);
  const cgroup = reopenCgroup(record.cgroup, [], { pid: plain.initPid, startTime: 0 }, undefined);
  const startChannel = startChannelOf(record, left);
  const container: Container = { ...plain, judgement: AGENT, init, processes, unclaimed: new Set(), cgroup, startChannel, oomWatch: undefined };
  const { unclaimed } = changeable(container);
  for (const execId of record.unclaimed) unclaimed.add(processes.get(execId) as Process);
  for (const process of processes.values()) {
    if (process.collected) forgetWhenDrained(container, process);
    else if (process.claimant !== undefined && process.status === undefined) keepFor(container, process, process.claimant);
  }
  if (oomTold !== undefined) watchOom(container, onOom, oomTold);
  return container;
}
