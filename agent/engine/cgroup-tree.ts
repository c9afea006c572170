// Folders and files of the control groups, the same for both versions: made with their parents, removed with what is below
// them, read, and written to only through a descriptor that is known to be in a cgroup file system (openat2(2), statfs(2)).
import { isErrno, must, sys, SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { Fd } from "../sys/fd.js";
import { AT, AT_FDCWD, DT, exists, fstat, getdents, O, open, openat2, RESOLVE, statfs, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { pause } from "../lib/async.js";
import { AppError, because } from "../lib/errors.js";
import { readText, readTextIf } from "../lib/fs.js";
import { decimal, lines } from "../lib/text.js";
import { fieldOf, type Limit } from "../oci/cgroup.js";

export const CGROUP2_MAGIC = 0x63677270;
const CGROUP_MAGIC = 0x27e0eb;
const STRICT = RESOLVE.NO_MAGICLINKS | RESOLVE.NO_SYMLINKS;

/** Opens a group's folder (O_PATH); the caller closes it. Throws when it is in no cgroup file system. */
export function openDir(dir: string): Fd {
  const fd = openat2(AT_FDCWD, dir, O.PATH | O.DIRECTORY, STRICT);
  const { type } = statfs(fd);
  if (type === CGROUP2_MAGIC || type === CGROUP_MAGIC) return fd;
  fd.close();
  throw new AppError("precondition", `${dir} is not in a cgroup file system`);
}

/** One write(2) for each text into a control file of a group. */
export function put(dir: string | Fd, file: string, ...texts: readonly string[]): void {
  const own = dir instanceof Fd ? undefined : openDir(dir);
  try {
    using fd = openat2(own ?? (dir as Fd), file, O.WRONLY, STRICT | RESOLVE.BENEATH | RESOLVE.NO_XDEV);
    for (const text of texts) writeAll(fd, text);
  } catch (error) {
    if (error instanceof SysError) error.message = `${own === undefined ? "" : `${dir as string}/`}${file}: ${error.message}`;
    throw error;
  } finally {
    own?.close();
  }
}

const made = new Set<string>(); // parents that did not exist before: removed again with their last group

/** Makes the folder of a group and its parents. Throws "exists" when somebody is in it. */
export function makeGroup(root: string, path: string): void {
  const full = root + path;
  const r = sys(NR.mkdirat, AT_FDCWD, full, 0o755);
  if (r === 0) return;
  if (r === -E.EEXIST) return checkIdle(full);
  const cut = path.lastIndexOf("/");
  if (r !== -E.ENOENT || cut <= 0) throw because(`linux.cgroupsPath: make the cgroup ${full}`, new SysError("mkdir", -r));
  makeParent(root, path.slice(0, cut));
  const again = sys(NR.mkdirat, AT_FDCWD, full, 0o755);
  if (again < 0 && again !== -E.EEXIST) throw because(`linux.cgroupsPath: make the cgroup ${full}`, new SysError("mkdir", -again));
}

/** Throws unless a group that was there before can be taken: nobody in it or below it, and not frozen. */
function checkIdle(dir: string): void {
  const pids = readPids(dir);
  if (pids.length > 0) throw new AppError("exists", `container's cgroup is not empty: ${dir} has processes in it (${pids.length})`);
  if (readTextIf(`${dir}/cgroup.events`)?.includes("frozen 1") === true || readTextIf(`${dir}/freezer.state`)?.startsWith("FR") === true) {
    throw new AppError("precondition", `container's cgroup unexpectedly frozen: ${dir}`);
  }
}

/** Makes a parent group, marked as ours when it was not there. */
export function makeParent(root: string, path: string): void {
  if (exists(root + path)) return;
  const cut = path.lastIndexOf("/");
  if (cut > 0) makeParent(root, path.slice(0, cut));
  const r = sys(NR.mkdirat, AT_FDCWD, root + path, 0o755);
  if (r === 0) made.add(root + path);
  else if (r !== -E.EEXIST) throw because(`linux.cgroupsPath: make the cgroup ${root}${path}`, new SysError("mkdir", -r));
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
    if (fstat(fd).nlink === 2) return []; // none: kernfs counts them, and a group has some 40 files to go through
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

function membersOf(dir: string, file: string): string {
  try {
    return readText(`${dir}/${file}`, 64 << 20);
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENODEV)) return "";
    if (isErrno(error, E.EOPNOTSUPP) && file === "cgroup.procs") return membersOf(dir, "cgroup.threads"); // a threaded group tells nothing else
    throw error;
  }
}

/** The processes in a group and those below it. */
export function readPids(dir: string, into: number[] = []): number[] {
  for (const line of lines(membersOf(dir, "cgroup.procs"))) {
    const pid = decimal(line);
    if (pid !== undefined && pid > 0) into.push(pid);
  }
  for (const below of subgroups(dir)) readPids(below, into);
  return into;
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

/** SIGKILL to a list of processes; those that are gone are no error. */
export function killPids(pids: readonly number[]): void {
  for (const pid of pids) {
    const r = sys(NR.kill, pid, 9);
    if (r < 0 && r !== -E.ESRCH) must("kill", NR.kill, pid, 9);
  }
}

/** The parents of these folders that were made by this process or taken over by it. */
export const parentsMade = (dirs: readonly string[]): string[] => [...made].filter((parent) => dirs.some((dir) => dir.startsWith(`${parent}/`)));

/** Parents that another process made: removed with their last group, as its own. */
export function adoptParents(parents: readonly string[]): void {
  for (const parent of parents) made.add(parent);
}
