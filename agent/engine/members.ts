// Who belongs to a container that has no control group to tell: those in the namespaces that are the container's alone, and, where
// processes of others may be in its pid namespace, all that descend from its first process. Sources: namespaces(7),
// ioctl_nsfs(2), proc_pid_stat(5).
import { AT, NS, O, SIG } from "../abi/flags.js";
import { isErrno, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { Fd, fdPath } from "../sys/fd.js";
import { open, readlinkat } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { pidfdOpen, pidfdSendSignal } from "../sys/process.js";
import { decimal } from "../lib/text.js";
import { allPids, type Identity, lives, statFields } from "./process-identity.js";

/** A namespace that nobody but a container's processes is in, as /proc/PID/ns names its kind. */
export type Apart = "pid" | "mnt" | "user";

const DEEPEST = 32; // pid_namespaces(7), user_namespaces(7)
const ROUNDS = 100;

const isGone = (error: unknown): boolean => isErrno(error, E.ENOENT, E.ESRCH, E.EACCES, E.EPERM);

/** The parent of a process; undefined when that is gone, or has ended and is not yet taken back. */
function parentOf(pid: number): number | undefined {
  try {
    const [state = "X", parent = ""] = statFields(pid) ?? [];
    return state === "Z" || state === "X" ? undefined : decimal(parent);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** These processes and all that descend from them; `alive` is told each process that there is. */
export function withDescendants(first: Iterable<number>, alive: (pid: number) => boolean = () => false): Set<number> {
  const family = new Set(first);
  const children = new Map<number, number[]>();
  for (const pid of allPids()) {
    const parent = parentOf(pid);
    if (parent === undefined) continue;
    if (alive(pid)) family.add(pid);
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [pid]);
    else siblings.push(pid);
  }
  for (const pid of family) for (const child of children.get(pid) ?? []) family.add(child); // a set's walk comes to what is added meanwhile
  return family;
}

/** The namespace of a process, as the kernel names it: "pid:[4026531836]". Undefined when it is gone or not for this user to see. */
function namespaceOf(pid: number, kind: Apart): string | undefined {
  try {
    return readlinkat(AT.FDCWD, `/proc/${pid}/ns/${kind}`);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Does the namespace of a process lie below the one of this name? Mount namespaces lie below none. */
function liesBelow(pid: number, kind: Apart, top: string): boolean {
  let at: Fd | undefined;
  try {
    at = open(`/proc/${pid}/ns/${kind}`, O.RDONLY);
    for (let level = 0; level < DEEPEST; level++) {
      const n = sys(NR.ioctl, at.n, NS.GET_PARENT);
      if (n < 0) break;
      at.close();
      at = new Fd(n);
      if (readlinkat(AT.FDCWD, fdPath(at)) === top) return true;
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  } finally {
    at?.close();
  }
  return false;
}

/**
 * The processes of a container whose first process lives, as this process's /proc numbers them; none when it does not. Where the first
 * process's namespaces are not for this user to see (it is still being made), it and its descendants.
 */
export function membersOf(init: Identity, apart: Apart | undefined): number[] {
  if (!lives(init)) return [];
  const top = apart === undefined ? undefined : namespaceOf(init.pid, apart);
  if (apart === undefined || top === undefined) return [...withDescendants([init.pid])];
  const known = new Map([[top, true]]);
  const isInside = (pid: number): boolean => {
    const name = namespaceOf(pid, apart);
    if (name === undefined) return false;
    let inside = known.get(name);
    if (inside === undefined) known.set(name, (inside = apart !== "mnt" && liesBelow(pid, apart, top)));
    return inside;
  };
  if (apart === "pid") return allPids().filter((pid) => isInside(pid) && parentOf(pid) !== undefined);
  return [...withDescendants([init.pid], isInside)];
}

/** Sends a signal to all whom `list` tells, and to nobody else: who has been opened is listed once more, so its number has not become another's. */
function signalAll(list: () => readonly number[], signal: number): void {
  const opened = new Map<number, Fd>();
  try {
    for (const pid of list()) {
      try {
        opened.set(pid, pidfdOpen(pid));
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
    for (const pid of list()) {
      const pidfd = opened.get(pid);
      if (pidfd !== undefined) pidfdSendSignal(pidfd, signal);
    }
  } finally {
    for (const pidfd of opened.values()) pidfd.close();
  }
}

/** SIGKILL to all of them: a pid namespace ends with its first process; where that is shared they are stopped first, so that none has further children. */
export function killMembers(init: Identity, apart: Apart | undefined): void {
  if (apart === "pid") return signalAll(() => (lives(init) ? [init.pid] : []), SIG.KILL);
  const list = (): number[] => membersOf(init, apart);
  const seen = new Set<number>();
  for (let round = 0; round < ROUNDS; round++) {
    const more = list().filter((pid) => !seen.has(pid));
    if (more.length === 0) break;
    for (const pid of more) seen.add(pid);
    signalAll(list, SIG.STOP);
  }
  signalAll(list, SIG.KILL);
}
