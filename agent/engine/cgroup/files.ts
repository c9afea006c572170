// Folders and limits of the control groups, the same for both versions: made with their parents, removed with what is below them.
import { AT, O } from "../../abi/flags.js";
import { sys, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { Fd } from "../../sys/fd.js";
import { exists, openat2Raw, readRaw } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { pause } from "../../lib/async.js";
import { childTask } from "../../lib/child-task.js";
import { AppError, because } from "../../lib/errors.js";
import { readTextIf, statIf } from "../../lib/fs.js";
import { lazy } from "../../lib/lazy.js";
import { decimal, lines } from "../../lib/text.js";
import { fieldOf, type Limit } from "../../oci/cgroup.js";
import { openDir, put, STRICT } from "./control-file.js";

const below = lazy<typeof import("./below.js")>("engine/cgroup/below.js");

/** So many groups that were there before are looked at on the loop. */
export const LOOKED_AT = 256;
const made = new Set<string>(); // parents that did not exist before: removed again with their last group

/** Makes the folder of a group and its parents; false when it was there. Throws "exists" when somebody is in it. */
export function makeGroup(root: string, path: string): boolean {
  const full = root + path;
  const r = sys(NR.mkdirat, AT.FDCWD, full, 0o755);
  if (r === 0) return true;
  if (r === -E.EEXIST) {
    checkIdle(full);
    return false;
  }
  const cut = path.lastIndexOf("/");
  if (r !== -E.ENOENT || cut <= 0) throw because(`linux.cgroupsPath: make the cgroup ${full}`, new SysError("mkdir", -r));
  makeParent(root, path.slice(0, cut));
  const again = sys(NR.mkdirat, AT.FDCWD, full, 0o755);
  if (again < 0 && again !== -E.EEXIST) throw because(`linux.cgroupsPath: make the cgroup ${full}`, new SysError("mkdir", -again));
  return again === 0;
}

/** Throws unless a group that was there before can be taken: nobody in it or below it, and not frozen. */
function checkIdle(dir: string): void {
  const events = readTextIf(`${dir}/cgroup.events`); // version 2's count those below
  const busy = events === undefined ? populated(dir) : events.includes("populated 1");
  if (busy) throw new AppError("exists", `container's cgroup is not empty: ${dir} has processes in it`);
  if (events?.includes("frozen 1") === true || readTextIf(`${dir}/freezer.state`)?.startsWith("FR") === true) {
    throw new AppError("precondition", `container's cgroup unexpectedly frozen: ${dir}`);
  }
}

/** Version 1: is somebody in it or, as far as a number of groups that can be looked at here, below it? */
function populated(dir: string): boolean {
  return firstPids(dir).length > 0 || (hasGroupsBelow(dir) && below().pidsBelow(dir, LOOKED_AT).length > 0);
}

/** Makes a parent group and those above it, marked as ours when they were not there. */
export function makeParent(root: string, path: string): void {
  if (exists(root + path)) return;
  for (let cut = path.indexOf("/", 1); cut !== 0; cut = cut < 0 ? 0 : path.indexOf("/", cut + 1)) {
    const parent = root + (cut < 0 ? path : path.slice(0, cut));
    if (exists(parent)) continue;
    const r = sys(NR.mkdirat, AT.FDCWD, parent, 0o755);
    if (r === 0) made.add(parent);
    else if (r !== -E.EEXIST) throw because(`linux.cgroupsPath: make the cgroup ${parent}`, new SysError("mkdir", -r));
  }
}

/** Has the container made groups of its own there? Folders of kernfs count those in them. */
export function hasGroupsBelow(dir: string): boolean {
  return (statIf(dir)?.nlink ?? 2) > 2;
}

/** Removes a group at once if nobody is in it (or dying in it) and none is below it. */
export function removeGroupNow(root: string, path: string): boolean {
  const r = sys(NR.unlinkat, AT.FDCWD, root + path, AT.REMOVEDIR);
  if (r !== 0 && r !== -E.ENOENT) return false;
  removeParents(root, path);
  return true;
}

function removeParents(root: string, path: string): void {
  for (let cut = path.lastIndexOf("/"); cut > 0; cut = path.lastIndexOf("/", cut - 1)) {
    const parent = root + path.slice(0, cut);
    if (!made.has(parent) || sys(NR.unlinkat, AT.FDCWD, parent, AT.REMOVEDIR) !== 0) return;
    made.delete(parent);
    parentGone?.(parent);
  }
}

let parentGone: ((parent: string) => void) | undefined;
/** Who keeps notes about parents is told when one has been removed. */
export function onParentGone(tell: (parent: string) => void): void {
  parentGone = tell;
}

const REMOVE_TRIES = 13; // 1 ms, doubling: about 8 seconds in all
const BELOW_MS = 300_000;

/** The first processes of a group alone, as many as one read gives; of a threaded group threads. */
export function firstPids(dir: string): number[] {
  for (const file of ["cgroup.procs", "cgroup.threads"]) {
    const n = openat2Raw(AT.FDCWD, `${dir}/${file}`, O.RDONLY, STRICT);
    if (n < 0) break;
    using procs = new Fd(n);
    const text = new Uint8Array(4096);
    const got = readRaw(procs.n, text, 0, text.length);
    if (got === -E.EOPNOTSUPP) continue; // a threaded group does not tell its processes
    if (got <= 0) break;
    const pids = lines(native.utf8Decode(text, 0, got) ?? "");
    if (got > text.length - 16) pids.pop(); // it may be cut
    return pids.map((pid) => decimal(pid) ?? 0).filter((pid) => pid > 0);
  }
  return [];
}

/** Why a group stays. */
function inTheWay(dir: string): string {
  const pids = firstPids(dir).slice(0, 8);
  if (pids.length > 0) return `processes are still in it (${pids.join(" ")})`;
  return hasGroupsBelow(dir) ? "groups are still below it" : "it is still in use";
}

/**
 * Removes groups of a container, [root, path], with those below them, waiting with growing pauses for who is dying in them. What
 * has been removed is told by `gone`. Rejects with what stays.
 */
export async function removeGroups(groups: readonly (readonly [root: string, path: string])[], gone: (root: string) => void = () => undefined): Promise<void> {
  let left = groups;
  for (let tries = 0, ms = 1; ; tries++, ms *= 2) {
    left = left.filter(([root, path]) => {
      if (!removeGroupNow(root, path)) return true;
      gone(root);
      return false;
    });
    if (left.length === 0) return;
    if (tries === REMOVE_TRIES) throw new AppError("unavailable", left.map(([root, path]) => `remove the cgroup ${root}${path}: ${inTheWay(root + path)}`).join("; "));
    const deep = left.map(([root, path]) => root + path).filter(hasGroupsBelow);
    if (deep.length > 0) await childTask(`remove the groups below ${deep.join(" ")}`, BELOW_MS, () => (deep.forEach((dir) => below().removeBelow(dir)), null));
    if (deep.length === 0 || tries > 0) await pause(ms);
  }
}

/**
 * Writes limits in order. A value that depends on a later one (EINVAL) is tried again after the others; `dirOf` gives the
 * folder for a controller. Throws AppError naming the field and the file.
 */
export function writeLimits(list: readonly Limit[], dirOf: (controller: string) => string): void {
  const later: Limit[] = [];
  let at = "";
  let dir: Fd | undefined;
  const write = (limit: Limit, last: boolean): void => {
    try {
      const wanted = dirOf(limit.controller);
      if (dir === undefined || wanted !== at) {
        dir?.close();
        dir = openDir((at = wanted));
      }
      put(dir, limit.file, limit.value);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (!last && (error.errno === E.EINVAL || error.errno === E.EBUSY)) later.push(limit);
      else if (error.errno === E.ENOENT && limit.otherwise !== undefined) write(limit.otherwise, last);
      else if (limit.optional === true) return;
      else if (error.errno === E.ENOENT) throw new AppError("invalid", `${fieldOf(limit)}: the kernel has no ${limit.file} here: no such file or directory`, error);
      else throw because(`${fieldOf(limit)}: set ${limit.file} to ${limit.value}`, error);
    }
  };
  try {
    for (const limit of list) write(limit, false);
    for (const limit of later) write(limit, true);
  } finally {
    dir?.close();
  }
}

/** The parents of these folders that were made by this process or taken over by it. */
export const parentsMade = (dirs: readonly string[]): string[] => [...made].filter((parent) => dirs.some((dir) => dir.startsWith(`${parent}/`)));

/** All of them, those included that outlive their groups because others are in them. */
export const allParentsMade = (): string[] => [...made];

/** Parents that another process made: removed with their last group, as its own. */
export function adoptParents(parents: readonly string[]): void {
  for (const parent of parents) made.add(parent);
}
