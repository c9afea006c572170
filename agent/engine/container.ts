// The record of one container: plain values but for descriptors and the processes' streams. Only the engine changes it, by `changeable`.
import { AppError } from "../lib/errors.js";
import type { CapabilitySets } from "../oci/caps.js";
import type { Hook, Hooks, Linux, Process as ProcessSpec } from "../oci/spec.js";
import type { Cgroup, OomWatch } from "./cgroup/group.js";
import type { Channel } from "./handshake.js";
import type { Process } from "./process.js";
import type { Judgement } from "../oci/judgement.js";

export type Status = "created" | "running" | "paused" | "stopped";

/** What a further process takes over from the container. */
export interface ExecTemplate {
  /** The container has a user namespace, of its own or joined. */
  readonly userNamespace: boolean;
  /** The same of a time namespace. */
  readonly timeNamespace: boolean;
  /** It has a pid namespace: not the engine's. */
  readonly pidNamespace: boolean;
  readonly caps: CapabilitySets;
  /** What a process has that does not say it itself. */
  readonly process: Pick<ProcessSpec, "scheduler" | "ioPriority" | "execCPUAffinity">;
  readonly linux: Pick<Linux, "personality" | "memoryPolicy">;
  readonly limits: Pick<ProcessSpec, "rlimits" | "oomScoreAdj">;
  readonly seccomp: Filter | undefined;
}
export interface Filter {
  readonly program: Uint8Array;
  readonly flags: number;
  /** Who gets the filter's listener; absent when it has none. */
  readonly listener: Listener | undefined;
}
export interface Listener { readonly path: string; readonly metadata: string }

/** The annotation that says where a container finds its termination log. */
export const TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath";

/** A group of the resource control file system. */
export interface ResctrlGroup {
  /** Folders that were made for the container, in that order. */
  readonly made: readonly string[];
  /** Those whose `tasks` its processes go into. */
  readonly folders: readonly string[];
}

export interface Container {
  readonly id: string;
  readonly ociVersion: string;
  readonly judgement: Judgement;
  /** Its processes have a session keyring of their own. */
  readonly newKeyring: boolean;
  readonly bundleDir: string;
  readonly cgroup: Cgroup;
  readonly resctrl: ResctrlGroup | undefined;
  /** Those that are still to be run: poststart and poststop. */
  readonly hooks: Hooks | undefined;
  readonly initPid: number;
  /** What has to be run in it before it starts, where its process cannot do that: see start-hooks.ts. */
  readonly startHooks: { readonly hooks: readonly Hook[]; readonly process: ProcessSpec } | undefined;
  readonly template: ExecTemplate;
  readonly processes: ReadonlyMap<string, Process>;
  /** Those that have ended and that nobody has asked for, oldest first. */
  readonly unclaimed: ReadonlySet<Process>;
  readonly init: Process;
  readonly annotations: { readonly [key: string]: string };
  readonly pipeSize: number;
  /** The file of the agent that is mounted where an annotation says the termination log is. */
  readonly terminationLog: string | undefined;
  readonly status: Status;
  /** What it was when it was paused. */
  readonly pausedFrom: Status | undefined;
  /** To the child that waits to be started; undefined once it has been. */
  readonly startChannel: Channel | undefined;
  readonly oomWatch: OomWatch | undefined;
}

type Changeable = { -readonly [K in keyof Container]: Container[K] } & { readonly processes: Map<string, Process>; readonly unclaimed: Set<Process> };

/** The same record, for the engine to change (test/rules/layers.test.ts: for nobody else). */
export function changeable(container: Container): Changeable {
  return container as Changeable;
}

/** The status as it is now: a container whose first process has ended is stopped. */
export function statusOf(container: Container): Status {
  return container.init.status === undefined ? container.status : "stopped";
}

/** Throws AppError "precondition" unless the container is in one of these states. */
export function mustBe(container: Container, what: string, ...states: Status[]): void {
  const now = statusOf(container);
  if (!states.includes(now)) throw new AppError("precondition", `cannot ${what} container ${container.id}: it is ${now}`);
}
