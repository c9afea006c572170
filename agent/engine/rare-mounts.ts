// Mounts that few containers ask for: a tmpfs that begins with what lies below it, links that are made instead of mounted, changes
// to what is mounted already, and the machine's own /proc, /sys or /dev/mqueue for a container that may not mount one (facts 1.3).
import { sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { closeNumber, type Fd, fdPath } from "../sys/fd.js";
import { AT, AT_FDCWD, DT, fchmod, fchownat, getdents, lstat, makedev, mkdirat, O, open, openat, openat2, read, readlinkat, RESOLVE, S, statx, symlinkat, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { mount, mountSetattr, moveMountFds, MS } from "../sys/mount.js";
import { attempt } from "../lib/errors.js";
import { isBind, type MountPlan } from "../oci/mounts.js";
import { copyOf, flag, IN_ROOT, makeDirectory, split } from "./tree.js";

/** Changes the flags of what is mounted at the place: of the file system, or with "bind" of the mount alone. See mount(2), MS_REMOUNT. */
export function remount(root: Fd, plan: MountPlan): void {
  using at = openat2(root, plan.at, O.PATH, IN_ROOT);
  if (isBind(plan)) flag(at, plan.flags, plan.cleared);
  else mount(plan.source, fdPath(at), plan.type, plan.flags & ~MS.REC, plan.data);
}

/** Makes the link that the source is; false when it is none. */
export function copyLink(root: Fd, plan: MountPlan): boolean {
  if ((lstat(plan.source).mode & S.IFMT) !== S.IFLNK) return false;
  const { dir, name } = split(plan.at);
  const to = readlinkat(AT_FDCWD, plan.source);
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
  flag(tree, plan.flags | (plan.type === "sysfs" ? MS.RDONLY : 0), plan.cleared, AT.EMPTY_PATH | AT.RECURSIVE);
  mountSetattr(tree, "", AT.EMPTY_PATH | AT.RECURSIVE, 0, 0, MS.SLAVE);
  moveMountFds(tree, target);
  return true;
}

/** What lies at the place before something is mounted there. */
export function openBelow(root: Fd, plan: MountPlan): Fd {
  return openat2(root, plan.at, O.RDONLY | O.DIRECTORY, IN_ROOT);
}

/** Copies it into what has been mounted there; closes `below`. */
export function copyUp(below: Fd, root: Fd, plan: MountPlan): void {
  using to = plan.at === "/" ? open(fdPath(root), O.RDONLY | O.DIRECTORY) : openat2(root, plan.at, O.RDONLY | O.DIRECTORY, IN_ROOT);
  copyFolder(below, to);
  below.close();
}

function copyFolder(from: Fd, to: Fd): void {
  for (const { name, bytes, type } of getdents(from)) attempt(`copy ${name}`, () => copyEntry(from, to, bytes, type));
}

/** One entry with its owner and mode; neither side's links are followed, nor mounts entered. */
function copyEntry(from: Fd, to: Fd, name: Uint8Array, type: number): void {
  const { mode, uid, gid, rdevMajor, rdevMinor } = statx(from, name, AT.SYMLINK_NOFOLLOW);
  const kind = mode & S.IFMT;
  if (kind === S.IFLNK) symlinkat(readlinkat(from, name), to, name);
  else if (kind === S.IFDIR) {
    mkdirat(to, name, 0o700);
    using below = openat2(from, name, O.RDONLY | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
    using copy = openat2(to, name, O.RDONLY | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
    copyFolder(below, copy);
  } else if (kind === S.IFREG) copyFile(from, to, name);
  else if (sys(NR.mknodat, to.n, name, mode, makedev(rdevMajor, rdevMinor)) < 0) return; // a device in a user namespace: not ours to make
  fchownat(to, name, uid, gid, AT.SYMLINK_NOFOLLOW);
  if (kind === S.IFLNK || type === DT.LNK) return;
  using made = openat2(to, name, kind === S.IFREG || kind === S.IFDIR ? O.RDONLY : O.RDONLY | O.NONBLOCK, RESOLVE.NO_SYMLINKS);
  fchmod(made, mode & 0o7777);
}

function copyFile(from: Fd, to: Fd, name: Uint8Array): void {
  using source = openat2(from, name, O.RDONLY | O.NOFOLLOW, RESOLVE.NO_SYMLINKS);
  using copy = openat(to, name, O.WRONLY | O.CREAT | O.EXCL, 0o600);
  const buffer = new Uint8Array(65536);
  for (let n = read(source, buffer); n > 0; n = read(source, buffer)) writeAll(copy, buffer.subarray(0, n));
}
