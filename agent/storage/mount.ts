// The mount that most drivers end with: options sorted, the mount point made, mount(2) in a child with a deadline, because a
// disk or a share may let it wait for ever. Agent facts 13.3. A failure leaves no new mount and no new folder.
import { AT, AT_FDCWD, mkdirat, stat, S, unlinkat, open, O } from "../sys/file.js";
import { fsMount, mount, moveMountFds, MS } from "../sys/mount.js";
import { AppError, because } from "../lib/errors.js";
import { childTask, type Json } from "../lib/child-task.js";
import { createFile, mkdirs, statIf } from "../lib/fs.js";
import { mountOn } from "./mount-table.js";
import { type MountOptions, splitOptions } from "./options.js";
import type { Done } from "./types.js";

const DEADLINE_MS = 30_000;
const DATA_LIMIT = 4095; // mount(2): one page with its NUL
const REMOUNTABLE = MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.NOATIME | MS.NODIRATIME | MS.RELATIME | MS.NOSYMFOLLOW;
/** These ask nobody outside the guest, so they cannot wait and need no child. */
const IMMEDIATE = ["tmpfs", "hugetlbfs"];

export interface MountWish { readonly source: string; readonly target: string; readonly fstype: string; readonly options: readonly string[] }

/** Makes the mount point: a folder, or a file where a file is to be bound. True when it was not there. */
function makeTarget({ source, target, fstype }: MountWish, flags: number): boolean {
  if (statIf(target) !== undefined) return false;
  const binds = fstype === "bind" || (flags & MS.BIND) !== 0;
  if (!binds || (stat(source).mode & S.IFMT) === S.IFDIR) {
    const cut = target.lastIndexOf("/");
    if (cut > 0) mkdirs(target.slice(0, cut));
    mkdirat(AT_FDCWD, target, 0o755);
  } else {
    mkdirs(target.slice(0, target.lastIndexOf("/")) || "/");
    createFile(target, "", 0o644);
  }
  return true;
}

function removeTarget(target: string): void {
  try {
    unlinkat(AT_FDCWD, target, (stat(target).mode & S.IFMT) === S.IFDIR ? AT.REMOVEDIR : 0);
  } catch {
    return; // the mount's own failure is what counts
  }
}

/** Overlays with so many layers that their paths fill a page go in one by one (since Linux 6.7: "lowerdir+"). */
function mountLong(target: string, { flags, data }: MountOptions): void {
  const pairs: [string, string][] = [];
  for (const word of data) {
    const at = word.indexOf("=");
    const [key, value] = at < 0 ? [word, ""] : [word.slice(0, at), word.slice(at + 1)];
    if (key === "lowerdir") for (const layer of value.split(":")) pairs.push(["lowerdir+", layer]);
    else pairs.push([key, value]);
  }
  using tree = fsMount("overlay", pairs, flags & 0xf);
  using place = open(target, O.PATH);
  moveMountFds(tree, place);
}

function perform({ source, target, fstype }: MountWish, options: MountOptions): void {
  const { flags, propagation, data } = options;
  const text = data.join(",");
  const binds = (flags & MS.BIND) !== 0;
  if (text.length > DATA_LIMIT && fstype === "overlay") mountLong(target, options);
  else if (text.length > DATA_LIMIT) throw new AppError("internal", `options are longer than ${DATA_LIMIT} bytes`);
  else mount(source, target, binds ? undefined : fstype, flags, text);
  // a bind takes its flags only when it is mounted again
  if (binds && (flags & REMOUNTABLE) !== 0) mount(undefined, target, undefined, MS.REMOUNT | MS.BIND | (flags & REMOUNTABLE));
  if (propagation !== 0) mount(undefined, target, undefined, propagation);
}

/** True when what is asked for is there already and nothing has to be done. */
function isThere({ source, target, fstype }: MountWish, flags: number): boolean {
  if ((flags & MS.REMOUNT) !== 0) return false;
  const present = mountOn(target);
  return present !== undefined && (source === "kataShared" || present.fstype === fstype);
}

/** "/a/b/" names the same place as "/a/b", but its last component cannot be made. */
function withoutSlash(path: string): string {
  let end = path.length;
  while (end > 1 && path.charAt(end - 1) === "/") end--;
  return path.slice(0, end);
}

/** All of it, synchronously: the mount point too may lie on a share that does not answer. */
function mountNow(wish: MountWish, options: MountOptions): Done {
  const made = makeTarget(wish, options.flags);
  try {
    perform(wish, options);
  } catch (error) {
    if (made) removeTarget(wish.target);
    throw error;
  }
  return { mounted: (options.flags & MS.REMOUNT) === 0, folder: made ? "empty" : "keep" };
}

/** Mounts. Throws AppError that names source, type and mount point, and the cause: the kernel's, or "not finished after N ms". */
export async function mountGeneric(asked: MountWish): Promise<Done> {
  const wish = { ...asked, target: withoutSlash(asked.target) };
  const { source, target, fstype } = wish;
  for (const [value, word] of [[source, "source"], [target, "destination"], [fstype, "FS type"]]) if (value === "") throw new AppError("internal", `need mount ${word}`);
  const what = `mount ${source} (${fstype}) on ${target}`;
  try {
    const sorted = splitOptions(wish.options);
    const options = fstype === "bind" ? { ...sorted, flags: sorted.flags | MS.BIND } : sorted;
    if (isThere(wish, options.flags)) return { mounted: false, folder: "keep" };
    if (IMMEDIATE.includes(fstype)) return mountNow(wish, options);
    return (await childTask<Json>("helper", DEADLINE_MS, () => mountNow(wish, options) as unknown as Json)) as unknown as Done;
  } catch (error) {
    throw because(what, error);
  }
}
