// One round of following a small folder of the host (a config map): what is new or changed there is copied, what is gone
// there is removed. The copy carries the original's time stamp, so the copy itself is all there is to remember. It is
// synchronous and runs in a child only, because the host's files may not answer. See agent-api 20.3 and 20.4.
import { AT, O, S } from "../abi/flags.js";
import { must } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { fchmod, fchownat, fstat, getdents, mkdirat, open, openat, readlinkat, renameat, type Stat, symlinkat, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { setU64, viewOf } from "../sys/struct.js";
import { readFd, removeTree, statIn } from "../lib/fs.js";

const MAX_ENTRIES = 16;
const MAX_BYTES = 1 << 20;
const TEMPORARY = ".kata-watch-new";

/** What there is to follow is more than a config map is: it has to be mounted, not copied. */
export class TooMuch extends Error {}

interface Tally { entries: number; bytes: number }

function count(tally: Tally, bytes: number): void {
  tally.entries++;
  tally.bytes += bytes;
  if (tally.entries > MAX_ENTRIES || tally.bytes > MAX_BYTES) throw new TooMuch("too much to watch");
}

/** utimensat(2) on a descriptor: both times become the original's time of change. */
function stamp(fd: Fd, { mtimeSec, mtimeNsec }: Stat): void {
  const times = new Uint8Array(32);
  const view = viewOf(times);
  for (const at of [0, 16]) {
    setU64(view, at, mtimeSec);
    setU64(view, at + 8, mtimeNsec);
  }
  must("utimensat", NR.utimensat, fd.n, null, times, 0);
}

const same = (a: Stat, b: Stat): boolean => a.mtimeSec === b.mtimeSec && a.mtimeNsec === b.mtimeNsec && a.size === b.size;

function fill(to: Fd, from: Fd, stat: Stat, what: string): void {
  writeAll(to, readFd(from, what, MAX_BYTES));
  fchownat(to, "", stat.uid, stat.gid, AT.EMPTY_PATH);
  fchmod(to, stat.mode & 0o7777);
  stamp(to, stat);
}

function copyFile(source: Fd, target: Fd, name: string, stat: Stat, old: Stat | undefined): void {
  if (old !== undefined && (old.mode & S.IFMT) === S.IFREG && same(stat, old)) return;
  if (old !== undefined && (old.mode & S.IFMT) === S.IFDIR) removeTree(name, target);
  using from = openat(source, name, O.RDONLY | O.NOFOLLOW);
  using to = openat(target, TEMPORARY, O.WRONLY | O.CREAT | O.TRUNC | O.NOFOLLOW, 0o600);
  fill(to, from, stat, name);
  renameat(target, TEMPORARY, target, name);
}

function copyLink(source: Fd, target: Fd, name: string, stat: Stat, old: Stat | undefined): void {
  const text = readlinkat(source, name);
  if (old !== undefined && (old.mode & S.IFMT) === S.IFLNK && readlinkat(target, name) === text) return;
  if (old !== undefined && (old.mode & S.IFMT) === S.IFDIR) removeTree(name, target);
  removeTree(TEMPORARY, target);
  symlinkat(text, target, TEMPORARY);
  fchownat(target, TEMPORARY, stat.uid, stat.gid, AT.SYMLINK_NOFOLLOW);
  renameat(target, TEMPORARY, target, name);
}

function copyFolder(source: Fd, target: Fd, name: string, stat: Stat, old: Stat | undefined, tally: Tally): void {
  if (old !== undefined && (old.mode & S.IFMT) !== S.IFDIR) removeTree(name, target);
  if (old === undefined || (old.mode & S.IFMT) !== S.IFDIR) mkdirat(target, name, 0o700);
  using from = openat(source, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  using to = openat(target, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  fchownat(to, "", stat.uid, stat.gid, AT.EMPTY_PATH);
  fchmod(to, stat.mode & 0o7777);
  syncFolder(from, to, tally);
}

/** Links last, so that a link never leads to what is not copied yet; removals after that. */
function syncFolder(source: Fd, target: Fd, tally: Tally): void {
  const names: [string, Stat][] = [];
  for (const { name } of getdents(source)) {
    const stat = statIn(source, name);
    if (stat === undefined) continue; // gone meanwhile
    count(tally, (stat.mode & S.IFMT) === S.IFREG ? stat.size : 0);
    names.push([name, stat]);
  }
  for (const [name, stat] of names) {
    const old = statIn(target, name);
    const kind = stat.mode & S.IFMT;
    if (kind === S.IFREG) copyFile(source, target, name, stat, old);
    else if (kind === S.IFDIR) copyFolder(source, target, name, stat, old, tally);
  }
  for (const [name, stat] of names) if ((stat.mode & S.IFMT) === S.IFLNK) copyLink(source, target, name, stat, statIn(target, name));
  const kept = names.map(([name]) => name);
  for (const { name, bytes } of getdents(target)) if (!kept.includes(name)) removeTree(bytes, target);
}

/** A file that is watched by itself keeps its inode: a container has it mounted. */
function syncFile(source: Fd, stat: Stat, target: string): void {
  count({ entries: 0, bytes: 0 }, stat.size);
  using to = open(target, O.RDWR | O.CREAT | O.NOFOLLOW, 0o600);
  if (same(stat, fstat(to))) return;
  must("ftruncate", NR.ftruncate, to.n, 0);
  fill(to, source, stat, target);
}

/**
 * Makes `target` (a folder that is there, or a file) like `source`. Throws TooMuch beyond 16 entries or 1 MiB, and what the
 * system says when either is gone.
 */
export function sync(source: string, target: string): void {
  using from = open(source, O.RDONLY);
  const stat = fstat(from);
  if ((stat.mode & S.IFMT) !== S.IFDIR) return syncFile(from, stat, target);
  using to = open(target, O.RDONLY | O.DIRECTORY);
  fchownat(AT.FDCWD, target, stat.uid, stat.gid);
  fchmod(to, stat.mode & 0o7777);
  syncFolder(from, to, { entries: 0, bytes: 0 });
}
