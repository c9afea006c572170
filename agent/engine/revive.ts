// A container that another process of the engine has made, taken up again from what was written down about it: the command
// line's every call is a process of its own. Its first process is not a child of this one, so its end is seen through its pidfd.
import { EPOLL } from "../abi/flags.js";
import { SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { pidfdOpen } from "../sys/process.js";
import { watch } from "../lib/loop.js";
import type { Spec } from "../oci/spec.js";
import { reopenCgroup } from "./cgroup/open.js";
import { type Identity, lives } from "./process-identity.js";
import type { Container, ResctrlGroup, Status } from "./container.js";
import { filterOf } from "./birth/newborn.js";
import type { Apart } from "./members.js";
import { startHooksOf, templateOf } from "./template.js";
import { channelOver } from "./handshake.js";
import { COMMAND_LINE } from "../oci/judgement.js";
import { alive, dead, ended, type Process } from "./process.js";

export interface Remembered extends Identity {
  readonly id: string;
  readonly bundle: string;
  readonly status: Status;
  readonly cgroup: string;
  /** Folders that were made for it above its cgroup. */
  readonly madeParents: readonly string[];
  /** A namespace that it has alone: only asked for where it has no cgroup. */
  readonly apart?: Apart | undefined;
  readonly resctrl?: ResctrlGroup | undefined;
  readonly newKeyring?: boolean | undefined;
  readonly spec: Spec;
  /** A connection to the start socket of a container that has not been started. */
  readonly startSocket?: Fd | undefined;
}

const UNKNOWN_STATUS = 255;

/** A process that is not this one's child: how it ended stays unknown. */
function madeElsewhere(identity: Identity, execId: string): Process {
  const { pid } = identity;
  const gone = (): Process => dead(execId, pid, UNKNOWN_STATUS);
  if (pid <= 0) return gone();
  let pidfd: Fd;
  try {
    pidfd = pidfdOpen(pid);
  } catch (error) {
    if (error instanceof SysError && error.errno === E.ESRCH) return gone();
    throw error;
  }
  if (!lives(identity)) { // looked at after the opening: from now on the number cannot be another's
    pidfd.close();
    return gone();
  }
  const process: Process = alive(execId, { pid, pidfd }, undefined);
  const watching = watch(pidfd.n, EPOLL.IN, () => {
    watching.close();
    ended(process, UNKNOWN_STATUS);
  });
  return process;
}

/** The container as the engine's other calls want it. `withFilter` compiles the seccomp section for further processes. */
export function reviveContainer(from: Remembered, withFilter = false): Container {
  const { id, spec } = from;
  const init = madeElsewhere(from, id);
  return {
    id, ociVersion: spec.ociVersion, judgement: COMMAND_LINE, newKeyring: from.newKeyring !== false, bundleDir: from.bundle, cgroup: reopenCgroup(from.cgroup, from.madeParents, from, from.apart), resctrl: from.resctrl, hooks: spec.hooks, initPid: from.pid, init, processes: new Map([[id, init]]), unclaimed: new Set(), pipeSize: 0,
    annotations: spec.annotations ?? {}, terminationLog: undefined, startHooks: startHooksOf(spec), template: templateOf(spec, withFilter ? filterOf(spec.linux?.seccomp) : undefined),
    status: from.status, pausedFrom: from.status === "paused" ? "running" : undefined, startChannel: from.startSocket === undefined ? undefined : channelOver(from.startSocket), oomWatch: undefined,
  };
}
