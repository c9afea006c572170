// Giving a volume to a group (Kubernetes' fsGroup): group id, group permissions and set-gid bits on everything in it. The
// walk stays inside the volume: links are never followed, other mounts never entered. It is long and may block, so it runs
// in a child. See agent-api 13.6.
import { AT, DT, O, RESOLVE, S } from "../abi/flags.js";
import { isErrno } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { fchmodat, fchownat, fstat, open, openat2, type Path } from "../sys/file.js";
import { childTask } from "../lib/child-task.js";
import { Walk } from "../lib/walk.js";
import { splitWords } from "./options.js";
import type { FsGroup } from "./types.js";

const DEADLINE_MS = 300_000;
const ON_ROOT_MISMATCH = 1;
const PERMISSIONS = 0o7777;

/** The permission bits that the group needs: read and write, or only read; in folders also to enter, and to pass its id on. */
export function groupBits(isFolder: boolean, readOnly: boolean): number {
  return (readOnly ? 0o440 : 0o660) | (isFolder ? 0o110 | S.ISGID : 0);
}

/** Is nothing to be done under the policy "on root mismatch"? */
export function rootFits(root: { readonly mode: number; readonly gid: number }, gid: number, readOnly: boolean): boolean {
  const bits = groupBits(true, readOnly);
  return root.gid === gid && (root.mode & bits) === bits;
}

/** Changes what the O_PATH descriptor names; the mode after the owner, because chown(2) takes set-id bits away. */
function give(fd: Fd, mode: number, gid: number, readOnly: boolean): void {
  fchownat(fd, "", -1, gid, AT.EMPTY_PATH);
  fchmodat(AT.FDCWD, fdPath(fd), (mode & PERMISSIONS) | groupBits((mode & S.IFMT) === S.IFDIR, readOnly));
}

function openEntry(dir: Fd, name: Path): Fd | undefined {
  try {
    return openat2(dir, name, O.PATH | O.NOFOLLOW, RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS);
  } catch (error) {
    if (isErrno(error, E.EXDEV, E.ELOOP, E.ENOENT)) return undefined; // another mount; a link; removed meanwhile
    throw error;
  }
}

/** Children first: a volume whose root fits is one whose walk has ended. */
function through(root: Fd, gid: number, readOnly: boolean): void {
  const walk = new Walk(open(fdPath(root), O.RDONLY | O.DIRECTORY));
  try {
    for (;;) {
      const entry = walk.next();
      if (entry === undefined) {
        give(walk.folder, fstat(walk.folder).mode, gid, readOnly);
        if (walk.depth === 0) return;
        walk.leave();
      } else if (entry.type !== DT.LNK) giveEntry(walk, entry.bytes, gid, readOnly);
    }
  } finally {
    walk.close();
  }
}

/** A folder is entered, and has its turn when what is in it has had it. */
function giveEntry(walk: Walk, name: Uint8Array, gid: number, readOnly: boolean): void {
  using child = openEntry(walk.folder, name);
  if (child === undefined) return;
  const { mode } = fstat(child);
  const type = mode & S.IFMT;
  if (type === S.IFDIR) walk.enter(name);
  else if (type !== S.IFLNK) give(child, mode, gid, readOnly);
}

/** The walk itself, synchronously. `path` is followed to the volume's root, nothing in it is. */
export function giveToGroup(path: string, group: FsGroup, readOnly: boolean): null {
  using root = open(path, O.PATH);
  const state = fstat(root);
  if (group.groupChangePolicy === ON_ROOT_MISMATCH && rootFits(state, group.groupId, readOnly)) return null;
  if ((state.mode & S.IFMT) === S.IFDIR) through(root, group.groupId, readOnly);
  else give(root, state.mode, group.groupId, readOnly);
  return null;
}

/** Gives the volume at `path`, mounted with `options`, to the group. */
export async function applyFsGroup(path: string, group: FsGroup, options: readonly string[]): Promise<void> {
  const readOnly = splitWords(options).includes("ro");
  await childTask(`give ${path} to group ${group.groupId}`, DEADLINE_MS, () => giveToGroup(path, group, readOnly));
}
