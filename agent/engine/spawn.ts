// Making a child of the agent in the right pid namespace and cgroup. The agent is single-threaded: between the two setns calls
// nothing else can make a child, so a shared pid namespace costs no extra process. See setns(2), clone3(2).
import { sys, SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { open, O } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { CLONE, clone3, type Cloned, exitGroup, setDumpable, setns } from "../sys/process.js";
import { AppError, attempt } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import type { Maps } from "./user-namespace.js";

const inside = lazy<typeof import("./spawn-inside.js")>("engine/spawn-inside.js");

/** Opens a namespace by its path; never waits, whatever else the path leads to. */
export function openNamespace(path: string): Fd {
  return attempt(`open the namespace ${path}`, () => open(path, O.RDONLY | O.NONBLOCK));
}

let ownPidNamespace: Fd | undefined;

export interface SpawnPlace {
  /** CLONE_NEW* flags. */
  readonly flags: number;
  /** A pid namespace to be born in: a namespace descriptor or a pidfd. */
  readonly pidNamespace: Fd | undefined;
  /** Other namespaces (ipc, uts, network) to be born in: with a new user namespace the child may no longer join them itself. */
  readonly joined?: readonly { readonly type: string; readonly path: string; readonly kind: number }[];
  /** The maps that a user namespace among `joined` is expected to have. */
  readonly maps?: Maps | undefined;
  /** A cgroup v2 folder to be born in. */
  readonly cgroup?: Fd | undefined;
}

/** Clones; the child runs `child` and never comes back. Throws SysError of setns or clone3. */
export function spawn(place: SpawnPlace, child: () => never): Cloned {
  if (ownPidNamespace === undefined) {
    ownPidNamespace = open("/proc/self/ns/pid", O.RDONLY);
    // children inherit it, so that none is ever traceable from within a container before its execve, which resets it (CVE-2016-9962)
    setDumpable(false);
  }
  if (place.joined?.some(({ type }) => type === "user")) return inside().spawnInside(place, child);
  // who is not root can write a child's id maps only while it may look into the child; nobody else is in its new pid namespace
  const rootless = (place.flags & CLONE.NEWUSER) !== 0 && sys(NR.geteuid) !== 0;
  if (rootless) setDumpable(true);
  if (place.pidNamespace !== undefined) setns(place.pidNamespace, CLONE.NEWPID);
  let made: Cloned | number;
  const own: { readonly fd: Fd; readonly kind: number }[] = [];
  try {
    for (const { type, path, kind } of place.joined ?? []) {
      using target = openNamespace(path);
      own.push({ fd: open(`/proc/self/ns/${type === "network" ? "net" : type}`, O.RDONLY), kind });
      setns(target, kind);
    }
    made = clone3(place.flags, place.cgroup);
    if (made === 0) {
      native.shortLived(); // looking for cycles would write to every page of the heap, each a copy of the parent's
      try {
        child();
      } finally {
        exitGroup(127);
      }
    }
  } finally {
    if (rootless) setDumpable(false);
    if (place.pidNamespace !== undefined) setns(ownPidNamespace, CLONE.NEWPID);
    for (const { fd, kind } of own) {
      setns(fd, kind);
      fd.close();
    }
  }
  if (typeof made !== "number") return made;
  if (made === -E.ENOMEM && place.pidNamespace !== undefined) throw new AppError("precondition", "the pid namespace to be born in is gone: its first process has ended");
  throw new SysError("clone3", -made);
}
