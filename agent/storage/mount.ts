// The mount that most drivers end with: options sorted, the mount point made, mount(2) in a helper with a deadline, because a
// disk or a share may let it wait for ever. See agent-api 13.3. A failure leaves no new mount and no new folder.
import { AT, MNT, MOUNT_ATTR, MS, O, S, UMOUNT } from "../abi/flags.js";
import { fstat, memfdCreate, mkdirat, readlinkat, stat, unlinkat, open, writeAll } from "../sys/file.js";
import { isErrno, SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { fsMount, mount, moveMountFds, tryUmount } from "../sys/mount.js";
import { AppError, attempt, because, messageOf } from "../lib/errors.js";
import { type Json, Unanswered } from "../lib/child-task.js";
import { aside, foreign, type ForeignPath, mustNotWait, named, type OffLoop, reach } from "../lib/foreign.js";
import { createFile, mkdirs, statIf } from "../lib/fs.js";
import { Level, log } from "../lib/log.js";
import { mountOn, mountsOn } from "../lib/mountinfo.js";
import { type MountOptions, splitOptions } from "./options.js";
import type { Done } from "./types.js";

const DEADLINE_MS = 30_000;
/** What is the same among the flags of mount(2) and fsmount(2). */
const IN_COMMON = MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;
const DATA_LIMIT = 4095; // mount(2): one page with its NUL
const REMOUNTABLE = MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.NOATIME | MS.NODIRATIME | MS.RELATIME | MS.NOSYMFOLLOW;
/** What the agent itself lives on: nothing may cover it. */
const OWN = ["/proc", "/sys", "/dev", "/run", "/run/kata-containers"];

export interface MountWish { readonly source: ForeignPath; readonly target: ForeignPath; readonly fstype: string; readonly options: readonly string[] }
/** The same in the helper, and its options sorted. */
interface Reached { readonly source: string; readonly target: string; readonly fstype: string; readonly options: MountOptions }

/** Makes the mount point: a folder, or a file where a file is to be bound. True when it was not there. What is mounted again has to be. */
function makeTarget({ source, target, fstype, options }: Reached, _off: OffLoop): boolean {
  if (statIf(target) !== undefined) return false;
  if ((options.flags & MS.REMOUNT) !== 0) throw new SysError("mount", E.ENOENT);
  const binds = fstype === "bind" || (options.flags & MS.BIND) !== 0;
  if (!binds || (stat(source).mode & S.IFMT) === S.IFDIR) {
    const cut = target.lastIndexOf("/");
    if (cut > 0) mkdirs(target.slice(0, cut));
    mkdirat(AT.FDCWD, target, 0o755);
  } else {
    mkdirs(target.slice(0, target.lastIndexOf("/")) || "/");
    createFile(target, "", 0o644);
  }
  return true;
}

function removeTarget(target: string, _off: OffLoop): void {
  try {
    unlinkat(AT.FDCWD, target, (stat(target).mode & S.IFMT) === S.IFDIR ? AT.REMOVEDIR : 0);
  } catch {
    return; // the mount's own failure is what counts
  }
}

/** Overlays with so many layers that their paths fill a page go in one by one (since Linux 6.7: "lowerdir+"). */
function mountLong(target: string, { flags, data }: MountOptions, _off: OffLoop): void {
  const pairs: [string, string][] = [];
  for (const word of data) {
    const at = word.indexOf("=");
    const [key, value] = at < 0 ? [word, ""] : [word.slice(0, at), word.slice(at + 1)];
    if (key === "lowerdir") for (const layer of value.split(":")) pairs.push(["lowerdir+", layer]);
    else pairs.push([key, value]);
  }
  using tree = fsMount("overlay", pairs, flags & IN_COMMON);
  using place = open(target, O.PATH);
  moveMountFds(tree, place);
}

/** Throws AppError for a mount that would cover what the agent needs: its /proc, /dev and folders. */
function mustNotCover(target: string, { flags }: MountOptions, _off: OffLoop): void {
  using place = open(target, O.PATH);
  const real = readlinkat(AT.FDCWD, fdPath(place));
  if ((flags & MS.REMOUNT) === 0 && (real === "/" || OWN.includes(real))) throw new AppError("internal", `${real} is the agent's own`);
}

function mountIt(source: string, target: string, fstype: string | undefined, flags: number, data: string, _off: OffLoop): void {
  try {
    mount(source, target, fstype, flags, data);
  } catch (error) {
    throw isErrno(error, E.ENODEV) && fstype !== undefined ? new AppError("internal", `${messageOf(error)} (this kernel has no file system ${fstype}, and the image no module that loads)`) : error;
  }
}

/** `done` is told when it is mounted, and not yet as it should be. */
function perform({ source, target, fstype, options }: Reached, done: () => void, off: OffLoop): void {
  const { flags, propagation, data } = options;
  mustNotCover(target, options, off);
  const text = data.join(",");
  const binds = (flags & MS.BIND) !== 0;
  if (text.length > DATA_LIMIT && fstype === "overlay") mountLong(target, options, off);
  else if (text.length > DATA_LIMIT) throw new AppError("internal", `options are longer than ${DATA_LIMIT} bytes`);
  else mountIt(source, target, binds ? undefined : fstype, flags, text, off);
  done();
  // a bind takes its flags only when it is mounted again
  if (binds && (flags & REMOUNTABLE) !== 0) mount(undefined, target, undefined, MS.REMOUNT | MS.BIND | (flags & REMOUNTABLE));
  if (propagation !== 0) mount(undefined, target, undefined, propagation);
}

/** True when what is asked for is there already and nothing has to be done. */
function isThere({ source, target, fstype }: MountWish, flags: number): boolean {
  if ((flags & MS.REMOUNT) !== 0) return false;
  const present = mountOn(named(target));
  return present !== undefined && (named(source) === "kataShared" || present.fstype === fstype);
}

/** "/a/b/" names the same place as "/a/b", but its last component cannot be made. */
function withoutSlash(path: ForeignPath): ForeignPath {
  const text = named(path);
  let end = text.length;
  while (end > 1 && text.charAt(end - 1) === "/") end--;
  return foreign(text.slice(0, end));
}

/** All of it, synchronously: the mount point too may lie on a share that does not answer. `then` is a last step with the mount point. */
function mountNow(wish: Reached, then: LastStep | undefined, note: Fd, off: OffLoop): Done {
  const made = makeTarget(wish, off);
  const mounted = (wish.options.flags & MS.REMOUNT) === 0;
  let there = false;
  try {
    if (made) writeAll(note, "made");
    perform(wish, () => (there = mounted), off);
    if (then !== undefined) attempt(`prepare ${wish.target}`, () => then(wish.target, off));
  } catch (error) {
    if (there) tryUmount(wish.target, MNT.DETACH);
    if (made) removeTarget(wish.target, off);
    throw error;
  }
  return { mounted, folder: made ? "empty" : "keep" };
}

/** Takes back what a helper that came too late has done. */
async function undoLate({ target }: MountWish, before: number, note: Fd): Promise<void> {
  try {
    const made = fstat(note).size > 0;
    await aside(`undo the mount on ${named(target)}`, DEADLINE_MS, (off) => {
      const path = reach(target, off);
      for (let n = mountsOn(path); n > before; n--) tryUmount(path, MNT.DETACH | UMOUNT.NOFOLLOW);
      if (made) removeTarget(path, off);
      return null;
    });
  } catch (error) {
    log(Level.WARN, messageOf(error));
  } finally {
    note.close();
  }
}

/** What else is done in the helper once the mount is there; when it throws, the mount goes. */
export type LastStep = (target: string, off: OffLoop) => void;

/** Mounts. Throws AppError that names source, type and mount point, and the cause: the kernel's, or "not finished after N ms". */
export async function mountGeneric(asked: MountWish, then?: LastStep): Promise<Done> {
  const wish = { ...asked, target: withoutSlash(asked.target) };
  const { source, target, fstype } = wish;
  for (const [value, word] of [[named(source), "source"], [named(target), "destination"], [fstype, "FS type"]] as const) if (value === "") throw new AppError("internal", `need mount ${word}`);
  const what = `mount ${named(source)} (${fstype}) on ${named(target)}`;
  try {
    const sorted = splitOptions(wish.options);
    const options = fstype === "bind" ? { ...sorted, flags: sorted.flags | MS.BIND } : sorted;
    if (isThere(wish, options.flags)) {
      if (then !== undefined) await aside(`prepare ${named(target)}`, DEADLINE_MS, (off) => (then(reach(target, off), off), null));
      return { mounted: false, folder: "keep" };
    }
    mustNotWait("helper", what);
    const before = mountsOn(named(target));
    const note = memfdCreate("note"); // what the helper has done, should it never come back
    let late = false;
    const atLast = (): void => {
      late = true;
      void undoLate(wish, before, note);
    };
    const inHelper = (off: OffLoop): Done => mountNow({ source: reach(source, off), target: reach(target, off), fstype, options }, then, note, off);
    try {
      return (await aside<Json>("helper", DEADLINE_MS, (off) => inHelper(off) as unknown as Json, { keep: [note], key: what, atLast })) as unknown as Done;
    } catch (error) {
      if (error instanceof Unanswered) late = true; // the note is read, and closed, when it has ended
      throw error;
    } finally {
      if (!late) note.close();
    }
  } catch (error) {
    throw because(what, error);
  }
}
