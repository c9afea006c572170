// Making a child of the agent in the right pid namespace and cgroup. The agent is single-threaded: between the two setns calls
// nothing else can make a child, so a shared pid namespace costs no extra process. See setns(2), clone3(2).
import { SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { open, O } from "../sys/file.js";
import { CLONE, clone3, type Cloned, exitGroup, setns } from "../sys/process.js";
import { AppError } from "../lib/errors.js";

let ownPidNamespace: Fd | undefined;

export interface SpawnPlace {
  /** CLONE_NEW* flags. */
  readonly flags: number;
  /** A pid namespace to be born in: a namespace descriptor or a pidfd. */
  readonly pidNamespace: Fd | undefined;
  /** A cgroup v2 folder to be born in. */
  readonly cgroup: Fd | undefined;
}

/** Clones; the child runs `child` and never comes back. Throws SysError of setns or clone3. */
export function spawn(place: SpawnPlace, child: () => never): Cloned {
  ownPidNamespace ??= open("/proc/self/ns/pid", O.RDONLY);
  if (place.pidNamespace !== undefined) setns(place.pidNamespace, CLONE.NEWPID);
  let made: Cloned | number;
  try {
    made = clone3(place.flags, place.cgroup);
    if (made === 0) {
      try {
        child();
      } finally {
        exitGroup(127);
      }
    }
  } finally {
    if (place.pidNamespace !== undefined) setns(ownPidNamespace, CLONE.NEWPID);
  }
  if (typeof made !== "number") return made;
  if (made === -E.ENOMEM && place.pidNamespace !== undefined) throw new AppError("precondition", "the pid namespace to be born in is gone: its first process has ended");
  throw new SysError("clone3", -made);
}
