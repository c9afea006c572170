// Mounts that few containers ask for: a tmpfs that begins with what lies below it, links that are made instead of mounted, changes
// to what is mounted already, the machine's own /proc, /sys or /dev/mqueue for a container that may not mount one (container-engine 1.3), and
// copies whose ids are mapped.
import { AT, MOUNT_ATTR, MS, O, RESOLVE, S, SEEK } from "../../abi/flags.js";
import { isErrno, must, sys, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { closeNumber, type Fd, fdPath } from "../../sys/fd.js";
import { fchmodat, fchownat, fstat, lstat, makedev, mkdirat, nameOf, open, openat, openat2, read, readlinkat, readlinkBytes, type Stat, statx, symlinkat, writeAll } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { mount, mountSetattr, moveMountFds } from "../../sys/mount.js";
import { attempt } from "../../lib/errors.js";
import { Walk } from "../../lib/walk.js";
import { EXTRA, isBind, type MountPlan } from "../../oci/mounts.js";
import { flag } from "./mount-flags.js";
import { copyOf, IN_ROOT, makeDirectory, split, type Tree } from "./root-tree.js";

/** Changes the flags of what is mounted at the place: of the file system, or with "bind" of the mount alone. See mount(2), MS_REMOUNT. */
export function remount(root: Fd, plan: MountPlan): void {
  using at = openat2(root, plan.at, O.PATH, IN_ROOT);
  if (isBind(plan)) flag(at, plan);
  else mount(plan.source, fdPath(at), plan.type, plan.flags & ~MS.REC, plan.data);
}

/** Gives a copy other ids, those of the user namespace that `ids` is, with RIDMAP also what is mounted below. See mount_setattr(2). */
export function mapIds(tree: Tree, copy: Fd, { source, extra }: MountPlan, ids: number): void {
  const how = AT.EMPTY_PATH | (extra & EXTRA.RIDMAP ? AT.RECURSIVE : 0);
  if (tree.parent === undefined) mountSetattr(copy, "", how, MOUNT_ATTR.IDMAP, 0, 0, ids);
  else tree.parent.ask({ say: "map", tree: copy.n, ids, how, path: source.slice(0, 500) }).close();
}

/** Makes the link that the source is; false when it is none. */
export function copyLink(root: Fd, plan: MountPlan): boolean {
  if ((lstat(plan.source).mode & S.IFMT) !== S.IFLNK) return false;
  const { dir, name } = split(plan.at);
  const to = readlinkat(AT.FDCWD, plan.source);
  const parent = makeDirectory(root, dir);
  try {
    if (sys(NR.symlinkat, to, parent, name) === -E.EEXIST && readlinkat(parent, name) === to) return true;
    if (readlinkat(parent, name) !== to) symlinkat(to, parent, name);
  } finally {
    closeNumber(parent);
  }
  return true;
}

const OWN: { readonly [type: string]: string } = { proc: "/proc", sysfs: "/sys", mqueue: "/dev/mqueue" };

/**
 * In a user namespace that does not own the process, network or ipc namespace, their file systems cannot be mounted: the machine's
 * own are bound, which show the same. Never writable as sysfs, whose cgroups are not the container's. False: not one of these.
 */
export function bindOwn(plan: MountPlan, target: number): boolean {
  const source = OWN[plan.type];
  if (source === undefined) return false;
  using tree = copyOf(source, MS.REC);
  flag(tree, { ...plan, flags: plan.flags | (plan.type === "sysfs" ? MS.RDONLY : 0) }, AT.EMPTY_PATH | AT.RECURSIVE);
  mountSetattr(tree, "", AT.EMPTY_PATH | AT.RECURSIVE, 0, 0, MS.SLAVE);
  moveMountFds(tree, target);
  return true;
}

/** What lies at the place before something is mounted there. */
export function openBelow(root: Fd, plan: MountPlan): Fd {
  return openat2(root, plan.at, O.RDONLY | O.DIRECTORY, IN_ROOT);
}

const BELOW = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS;

/**
 * Copies it into what has been mounted there; closes `below`. Neither side's links are followed, nor mounts entered; owner and mode
 * go along, and the holes of a file stay holes. However deep and wide the image has it: few descriptors, little memory.
 */
export function copyUp(below: Fd, root: Fd, plan: MountPlan): void {
  const walk = new Walk(below);
  let to = plan.at === "/" ? open(fdPath(root), O.RDONLY | O.DIRECTORY) : openat2(root, plan.at, O.RDONLY | O.DIRECTORY, IN_ROOT);
  try {
    for (;;) {
      const entry = walk.next();
      if (entry !== undefined) {
        if (!attempt(`copy ${nameOf(entry.bytes)}`, () => copyEntry(walk, to, entry.bytes))) continue;
        using above = to;
        to = openat2(above, entry.bytes, O.RDONLY | O.DIRECTORY, BELOW);
      } else if (walk.depth === 0) return;
      else {
        own(to, fstat(walk.folder));
        walk.leave();
        using copied = to;
        to = openat2(copied, "..", O.RDONLY | O.DIRECTORY, RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV);
      }
    }
  } finally {
    walk.close();
    to.close();
  }
}

/** Owner and mode of a copy, by its descriptor: a device is not opened. */
function own(made: Fd, { mode, uid, gid }: Stat): void {
  fchownat(made, "", uid, gid, AT.EMPTY_PATH);
  fchmodat(AT.FDCWD, fdPath(made), mode & 0o7777);
}

/** One entry; true for a folder that has been entered and is to be filled. */
function copyEntry(walk: Walk, to: Fd, name: Uint8Array): boolean {
  const from = walk.folder;
  const stat = statx(from, name, AT.SYMLINK_NOFOLLOW);
  const { mode, uid, gid, rdevMajor, rdevMinor } = stat;
  const kind = mode & S.IFMT;
  if (kind === S.IFLNK) {
    symlinkat(readlinkBytes(from, name), to, name);
    fchownat(to, name, uid, gid, AT.SYMLINK_NOFOLLOW);
    return false;
  }
  if (kind === S.IFDIR) {
    mkdirat(to, name, 0o700);
    try {
      walk.enter(name);
      return true;
    } catch (error) {
      if (!isErrno(error, E.EXDEV)) throw error; // something is mounted there: its place is all that is copied
    }
  } else if (kind === S.IFREG) copyFile(from, to, name, stat);
  else if (sys(NR.mknodat, to.n, name, mode, makedev(rdevMajor, rdevMinor)) < 0) return false; // a device in a user namespace: not ours to make
  using made = openat2(to, name, O.PATH | O.NOFOLLOW, BELOW);
  own(made, stat);
  return false;
}

const LARGEST = 2 ** 52; // offsets are exact to there

/** Copies what is data in a file; see lseek(2), SEEK_DATA. */
function copyFile(from: Fd, to: Fd, name: Uint8Array, { size }: Stat): void {
  if (size > LARGEST) throw new SysError("copy", E.EFBIG);
  using source = openat2(from, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK, RESOLVE.NO_SYMLINKS);
  using copy = openat(to, name, O.WRONLY | O.CREAT | O.EXCL, 0o600);
  const buffer = new Uint8Array(65536);
  for (let at = 0; at < size; ) {
    const data = sys(NR.lseek, source.n, at, SEEK.DATA);
    if (data === -E.ENXIO) break;
    at = data < 0 ? size : must("lseek", NR.lseek, source.n, data, SEEK.HOLE); // a file system that cannot tell: all is data
    const start = Math.max(0, data);
    must("lseek", NR.lseek, source.n, start, SEEK.SET);
    must("lseek", NR.lseek, copy.n, start, SEEK.SET);
    for (let rest = at - start; rest > 0; ) {
      const n = read(source, buffer, 0, Math.min(rest, buffer.length));
      if (n === 0) break;
      writeAll(copy, buffer.subarray(0, n));
      rest -= n;
    }
  }
  must("ftruncate", NR.ftruncate, copy.n, size);
}
