// What has to be done with every group of a container, those included that it has made itself, however many, however deep, and
// whatever it has set in them: lists of processes, killing, removal. Each way is a loop with few descriptors; a running agent lets
// a child go it (files.ts). Sources: cgroups(7), cgroup-v2.rst (Threads), cgroup-v1/freezer-subsystem.rst.
import { AT, DT, O, RESOLVE, SIG } from "../../abi/flags.js";
import { isErrno, SysError, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { Fd } from "../../sys/fd.js";
import { fstat, openat2, openat2Raw } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { pause } from "../../sys/poll.js";
import { AppError } from "../../lib/errors.js";
import { readFd, readTextIf } from "../../lib/fs.js";
import { now } from "../../lib/loop.js";
import { decimal, lines } from "../../lib/text.js";
import { withDescendants } from "../members.js";
import { Walk } from "../../lib/walk.js";
import { put } from "./control-file.js";

const FREEZE_TRIES = 20;
const MOST_BYTES = 64 << 20;
const OWN = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV;

/** Folders of kernfs count those in them: with 2 there are none, and the files need not be gone through. */
const hasBelow = (folder: Fd): boolean => fstat(folder).nlink > 2;

/**
 * Goes through the group at `dir` and all below it: `see` before those below, `left` after them, with the folder above and the name.
 * A group that goes meanwhile is passed over. `see` may answer false: that is enough.
 */
function throughout(dir: string, see: (folder: Fd) => boolean | void, left?: (above: Fd, name: Uint8Array) => boolean): void {
  const top = openat2Raw(AT.FDCWD, dir, O.RDONLY | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
  if (top < 0) return;
  const walk = new Walk(new Fd(top));
  const leave = (): void => {
    const name = walk.leave();
    if (left?.(walk.folder, name) === true) walk.gone();
  };
  try {
    if (see(walk.folder) === false || !hasBelow(walk.folder)) return;
    for (;;) {
      const entry = walk.next();
      if (entry === undefined) {
        if (walk.depth === 0) return;
        leave();
      } else if (entry.type === DT.DIR) {
        try {
          walk.enter(entry.bytes);
        } catch (error) {
          if (isErrno(error, E.ENOENT, E.ENODEV)) continue;
          throw error;
        }
        if (see(walk.folder) === false) return;
        if (!hasBelow(walk.folder)) leave();
      }
    }
  } finally {
    walk.close();
  }
}

/** The members that one file of a group tells; undefined when this kind of group does not tell them by it. */
function members(folder: Fd, file: string): number[] | undefined {
  try {
    using fd = openat2(folder, file, O.RDONLY, OWN);
    const text = native.utf8Decode(readFd(fd, file, MOST_BYTES)) ?? "";
    return lines(text).map((line) => decimal(line) ?? 0).filter((pid) => pid > 0);
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENODEV)) return [];
    if (isErrno(error, E.EOPNOTSUPP)) return undefined; // a threaded group
    throw error;
  }
}

const everybody = (folder: Fd): number[] => members(folder, "cgroup.procs") ?? members(folder, "cgroup.threads") ?? [];

/** The processes (of threaded groups the threads) in a group and those below it; no more groups than `most` are looked at, "exhausted" beyond. */
export function pidsBelow(dir: string, most = Infinity): number[] {
  const pids = new Set<number>();
  let groups = 0;
  throughout(dir, (folder) => {
    if (++groups > most) throw new AppError("exhausted", `${dir} has more than ${most} groups below it`);
    for (const pid of everybody(folder)) pids.add(pid);
  });
  return [...pids];
}

/** Removes the groups below `dir` in which nobody is; that one itself stays. */
export function removeBelow(dir: string): void {
  throughout(dir, () => undefined, (above, name) => sys(NR.unlinkat, above.n, name, AT.REMOVEDIR) === 0);
}

/** SIG.KILL to everybody in a group and those below it; their number. */
function killIn(dir: string): number {
  let found = 0;
  throughout(dir, (folder) => {
    for (const pid of everybody(folder)) if (sys(NR.kill, pid, SIG.KILL) === 0) found++; // of a thread: its process
  });
  return found;
}

/** Version 1: nobody in there moves any more, or it has been tried for a while; who is on the way to be born is there then. */
function rest(freezer: string): void {
  for (let i = 0; i < FREEZE_TRIES; i++) {
    put(freezer, "freezer.state", "FROZEN");
    if (readTextIf(`${freezer}/freezer.state`)?.trim() === "FROZEN") return;
    pause(1);
  }
}

/** Version 1: thaws a group and each below it, since a container may have frozen some of its own; what is frozen does not die. */
function thaw(freezer: string): void {
  throughout(freezer, (folder) => {
    try {
      put(folder, "freezer.state", "THAWED");
    } catch (error) {
      if (!isErrno(error, E.ENOENT, E.ENODEV)) throw error;
    }
  });
}

/** Into the container's own group of the freezer, wherever it is now: it thaws there. Gone or not to be moved: no error. */
function fetch(freezer: string, pid: number): void {
  try {
    put(freezer, "cgroup.procs", String(pid));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
}

/**
 * Version 1: kills everybody in these folders of a container, again and again until nobody is found or `ms` have passed. First they
 * are brought to rest, so that none is born while the lists are gone through. Who has been moved out of the freezer's group only is
 * fetched back.
 */
export function killV1(freezer: string | undefined, dirs: readonly string[], ms: number): null {
  const end = now() + ms;
  for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
    if (freezer !== undefined) rest(freezer);
    let found = freezer === undefined ? 0 : killIn(freezer);
    if (freezer !== undefined) thaw(freezer);
    if (found === 0) {
      for (const dir of dirs) {
        if (freezer !== undefined && dir !== freezer) for (const pid of pidsBelow(dir)) fetch(freezer, pid);
        found += killIn(dir);
      }
    }
    if (found === 0 || now() > end) return null;
    pause(wait);
  }
}

/** Version 2, where cgroup.kill is not or does not work (a container may make its own group threaded): the same with a frozen group, which can be killed. */
export function killV2(dir: string, ms: number): null {
  const end = now() + ms;
  put(dir, "cgroup.freeze", "1");
  try {
    for (let wait = 1; killIn(dir) > 0 && now() < end; wait = Math.min(wait * 2, 50)) pause(wait);
  } finally {
    put(dir, "cgroup.freeze", "0");
  }
  return null;
}

/** Version 1: processes of a container and all that descend from them are fetched into its own group of the freezer and killed. */
export function fetchAll(freezer: string, pids: readonly number[]): null {
  const all = withDescendants(pids);
  for (const pid of all) fetch(freezer, pid);
  thaw(freezer);
  for (const pid of all) sys(NR.kill, pid, SIG.KILL);
  return null;
}
