// One control group for one container, on version 2 or version 1: this file says what can be asked of it, finds out which of
// the two the machine has, and holds what both share. Only what is in use is loaded. Sources: cgroups(7), the kernel's
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
import { must, sys, SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { AT, AT_FDCWD, DT, exists, getdents, O, open, statfs } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { pause } from "../lib/async.js";
import { AppError, because } from "../lib/errors.js";
import { readText, writeText } from "../lib/fs.js";
import { lazy } from "../lib/lazy.js";
import { decimal, lines, words } from "../lib/text.js";
import { cgroupPath, type Limit } from "../oci/cgroup-limits.js";
import type { Resources } from "../oci/spec.js";
import type { Stats } from "./cgroup-stats.js";

export interface Cgroup {
  readonly version: 1 | 2;
  /** As in the configuration, from the root of the hierarchy. */
  readonly path: string;
  /** Folders above it that `create` made, in full. */
  madeParents(): readonly string[];
  frozen(): boolean;
  /** Takes up what another process made; returns itself. */
  reopen(): Cgroup;
  /** Makes the group and sets its limits and devices; undoes itself on failure. Throws AppError naming field or file; "exists" when processes are in it. */
  create(resources: Resources | undefined): void;
  /** Version 2: the group's folder, to be born in (clone3's CLONE_INTO_CGROUP); the caller closes it. */
  dirFd(): Fd | undefined;
  /** Version 1: the files that a child writes "0" to in order to join; it must have one thread only. */
  procsFiles(): readonly string[];
  /** Version 1: "name:folder" of each hierarchy that the container is in, as a cgroup mount shows them. */
  v1Mounts(): readonly string[] | undefined;
  update(resources: Resources): void;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Everybody in it and in the groups below. */
  pids(): number[];
  /** SIGKILL to everybody; they may still be dying when it resolves. */
  killAll(): Promise<void>;
  stats(): Stats;
  /** Calls `onOom` once for each process that the kernel killed for want of memory; the answer ends that, after a last look. */
  watchOom(onOom: () => void): () => void;
  /** Removes it and the groups below, and the parents that were made for it. Waits for those who are dying. */
  remove(): Promise<void>;
}


const v1 = lazy<typeof import("./cgroup-v1.js")>("engine/cgroup-v1.js");
const v2 = lazy<typeof import("./cgroup-v2.js")>("engine/cgroup-v2.js");

const CGROUP2_MAGIC = 0x63677270;
const USUAL = "/sys/fs/cgroup";

export interface Hierarchy {
  readonly version: 1 | 2;
  /** Version 2: where it is mounted. */
  readonly root: string;
  /** Version 1: where each controller is mounted. */
  readonly mounts: ReadonlyMap<string, string>;
}
let found: Hierarchy | undefined;

/** The mounted hierarchy, looked up once: version 2 at its usual place, else version 1's controllers, else version 2 anywhere. */
export function hierarchy(): Hierarchy {
  return (found ??= findHierarchy());
}

function findHierarchy(): Hierarchy {
  const mounts = new Map<string, string>();
  try {
    if (statfs(USUAL).type === CGROUP2_MAGIC) return { version: 2, root: USUAL, mounts };
  } catch {
    // not there: the mount table tells
  }
  let unified: string | undefined;
  for (const line of lines(readText("/proc/self/mountinfo", 4 << 20))) {
    const [left = "", right = ""] = line.split(" - ");
    const [type, , options = ""] = words(right);
    const at = words(left)[4] as string;
    if (type === "cgroup2") unified ??= at;
    if (type === "cgroup") for (const option of options.split(",")) if (option !== "rw" && option !== "ro" && !option.includes("=")) mounts.set(option, at);
  }
  if (mounts.size > 0) return { version: 1, root: USUAL, mounts };
  if (unified !== undefined) return { version: 2, root: unified, mounts };
  throw new AppError("precondition", "no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup");
}

/** The group of a container; nothing is made yet. Throws "invalid" for a path that cannot be one. */
export function openCgroup(cgroupsPath: string | undefined, id: string): Cgroup {
  const path = cgroupPath(cgroupsPath, id);
  return hierarchy().version === 2 ? v2().group(path) : v1().group(path);
}

const made = new Set<string>(); // parents that did not exist before: removed again with their last group

/** Makes the folder of a group and its parents. Throws "exists" when somebody is in it. */
export function makeGroup(root: string, path: string): void {
  const full = root + path;
  const r = sys(NR.mkdirat, AT_FDCWD, full, 0o755);
  if (r === 0) return;
  if (r === -E.EEXIST) {
    if (readText(`${full}/cgroup.procs`) !== "") throw new AppError("exists", `cgroup ${path} exists and has processes in it`);
    return;
  }
  const cut = path.lastIndexOf("/");
  if (r !== -E.ENOENT || cut <= 0) throw because(`make the cgroup ${full}`, new SysError("mkdir", -r));
  makeParent(root, path.slice(0, cut));
  const again = sys(NR.mkdirat, AT_FDCWD, full, 0o755);
  if (again < 0 && again !== -E.EEXIST) throw because(`make the cgroup ${full}`, new SysError("mkdir", -again));
}

/** Makes a parent group, marked as ours when it was not there. */
export function makeParent(root: string, path: string): void {
  if (exists(root + path)) return;
  const cut = path.lastIndexOf("/");
  if (cut > 0) makeParent(root, path.slice(0, cut));
  const r = sys(NR.mkdirat, AT_FDCWD, root + path, 0o755);
  if (r === 0) made.add(root + path);
  else if (r !== -E.EEXIST) throw because(`make the cgroup ${root}${path}`, new SysError("mkdir", -r));
}

/** rmdir of a group and those below it; 0 or the negative errno of the first that stays. */
function removeNow(dir: string): number {
  const r = sys(NR.unlinkat, AT_FDCWD, dir, AT.REMOVEDIR);
  if (r !== -E.EBUSY) return r === -E.ENOENT ? 0 : r;
  for (const below of subgroups(dir)) removeNow(below);
  const again = sys(NR.unlinkat, AT_FDCWD, dir, AT.REMOVEDIR);
  return again === -E.ENOENT ? 0 : again;
}

function subgroups(dir: string): string[] {
  try {
    using fd = open(dir, O.RDONLY | O.DIRECTORY);
    return getdents(fd).filter((e) => e.type === DT.DIR).map((e) => `${dir}/${e.name}`);
  } catch {
    return [];
  }
}

/** Removes a group at once if nobody is in it (or dying in it). */
export function removeGroupNow(root: string, path: string): boolean {
  if (removeNow(root + path) !== 0) return false;
  removeParents(root, path);
  return true;
}

function removeParents(root: string, path: string): void {
  for (let cut = path.lastIndexOf("/"); cut > 0; cut = path.lastIndexOf("/", cut - 1)) {
    const parent = root + path.slice(0, cut);
    if (!made.has(parent) || sys(NR.unlinkat, AT_FDCWD, parent, AT.REMOVEDIR) !== 0) return;
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

/** Removes a group, waiting with growing pauses for those who are dying in it. Rejects with what stays. */
export async function removeGroup(root: string, path: string): Promise<void> {
  for (let tries = 0, ms = 1; ; tries++, ms *= 2) {
    if (removeGroupNow(root, path)) return;
    if (tries === REMOVE_TRIES) throw new AppError("unavailable", `remove the cgroup ${root}${path}: processes are still in it (${readPids(root + path).slice(0, 8).join(" ")})`);
    await pause(ms);
  }
}

/** The processes in a group and those below it. */
export function readPids(dir: string, into: number[] = []): number[] {
  let text: string;
  try {
    text = readText(`${dir}/cgroup.procs`, 64 << 20);
  } catch (error) {
    if (error instanceof SysError && (error.errno === E.ENOENT || error.errno === E.ENODEV)) return into;
    throw error;
  }
  for (const line of lines(text)) {
    const pid = decimal(line);
    if (pid !== undefined && pid > 0) into.push(pid);
  }
  for (const below of subgroups(dir)) readPids(below, into);
  return into;
}

/**
 * Writes limits in order. A value that depends on a later one (EINVAL) is tried again after the others; `dirOf` gives the
 * folder for a controller. Throws AppError naming the file.
 */
export function writeLimits(list: readonly Limit[], dirOf: (limit: Limit) => string): void {
  const later: Limit[] = [];
  const put = (limit: Limit, last: boolean): void => {
    const file = `${dirOf(limit)}/${limit.file}`;
    try {
      writeText(file, limit.value);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (!last && (error.errno === E.EINVAL || error.errno === E.EBUSY)) later.push(limit);
      else if (error.errno === E.ENOENT && limit.otherwise !== undefined) put(limit.otherwise, last);
      else if (limit.optional !== true) throw because(`set ${limit.file} to ${limit.value}`, error);
    }
  };
  for (const limit of list) put(limit, false);
  for (const limit of later) put(limit, true);
}

/** SIGKILL to a list of processes; those that are gone are no error. */
export function killPids(pids: readonly number[]): void {
  for (const pid of pids) {
    const r = sys(NR.kill, pid, 9);
    if (r < 0 && r !== -E.ESRCH) must("kill", NR.kill, pid, 9);
  }
}

/** The group of a container that another process has made, with the folders that were made above it. */
export function reopenCgroup(path: string, madeParents: readonly string[]): Cgroup {
  for (const parent of madeParents) made.add(parent);
  return (hierarchy().version === 2 ? v2().group(path) : v1().group(path)).reopen();
}

/** Every parent that was made by this process or taken over by it. */
export const allMade = (): string[] => [...made];
