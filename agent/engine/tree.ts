// The container's root in the child, before it becomes the root: /proc and /dev are the agent's own and can be trusted, while
// everything below the container's root may be hostile. A path in there is resolved once, by openat2 with RESOLVE_IN_ROOT, to
// a descriptor, and only the descriptor is used (facts 3.1). Synchronous; throws what failed.
import { check, sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { closeNumber, Fd } from "../sys/fd.js";
import { AT, AT_FDCWD, fstat, O, open, openat2, openat2Raw, readlinkat, RESOLVE, S } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { fsMount, mountSetattr, MOUNT_ATTR, moveMountFds, MS, OPEN_TREE, openTree } from "../sys/mount.js";
import { AppError } from "../lib/errors.js";
import type { MountPlan } from "../oci/mounts.js";

export const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;

/** What the steps of one child share. */
export class Tree {
  #root: Fd | undefined;
  #null: Fd | undefined;
  #emptyDir: Fd | undefined;
  #path = "";
  #folder = "";
  #folderFd = -1;
  /** Both ends of the terminal, once it has been opened. */
  terminal: { readonly master: Fd; readonly slave: Fd } | undefined;

  get root(): Fd {
    if (this.#root === undefined) throw new AppError("internal", "the root is not mounted yet");
    return this.#root;
  }

  /**
   * Copies the root's mount onto itself; the descriptor of the copy is where everything else is resolved. `made` is a copy that
   * the parent has made, whose path this process may be kept from: then it covers the old root, which is left anyway.
   */
  mountRoot(path: string, made: number | undefined): void {
    this.#path = path;
    const n = openat2Raw(AT_FDCWD, path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
    const at = made !== undefined && n === -E.EACCES ? open("/", O.PATH | O.DIRECTORY) : new Fd(check("openat2", n));
    const tree = made === undefined ? openTree(at, "", OPEN_TREE.CLONE | AT.EMPTY_PATH | AT.RECURSIVE) : new Fd(made);
    moveMountFds(tree, at);
    at.close();
    this.#root = tree;
  }

  /** The root of a container that has no mount tree of its own. */
  openRoot(path: string): void {
    this.#root = openat2(AT_FDCWD, path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
  }

  /** Something was mounted on the root itself: it is the root now. */
  coverRoot(tree: Fd | undefined): void {
    this.#root = tree ?? openat2(AT_FDCWD, this.#path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
  }

  /** A directory that several nodes in a row are made in, once everything has been mounted. */
  folder(path: string): number {
    if (this.#folderFd < 0 || this.#folder !== path) {
      if (this.#folderFd >= 0) closeNumber(this.#folderFd);
      this.#folderFd = makeDirectory(this.root, path);
      this.#folder = path;
    }
    return this.#folderFd;
  }

  /** /dev/null of the agent, checked: what masks a file must be that device and nothing else. */
  nullDevice(): Fd {
    if (this.#null === undefined) {
      const fd = open("/dev/null", O.PATH | O.NOFOLLOW);
      const st = fstat(fd);
      if ((st.mode & S.IFMT) !== S.IFCHR || st.rdevMajor !== 1 || st.rdevMinor !== 3) throw new AppError("internal", "/dev/null is not the null device");
      this.#null = fd;
    }
    return this.#null;
  }

  /** Covers a directory with an empty read-only tmpfs; all masked directories share one. */
  coverDirectory(target: number): void {
    if (this.#emptyDir === undefined) {
      this.#emptyDir = fsMount("tmpfs", [["nr_blocks", "1"], ["nr_inodes", "2"], ["mode", "0555"]], MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC);
      return moveMountFds(this.#emptyDir, target);
    }
    const copy = openTree(this.#emptyDir, "", OPEN_TREE.CLONE | AT.EMPTY_PATH);
    moveMountFds(copy, target);
    copy.close();
  }
}

/** Opens a place below the root: its descriptor's number, or -1 when there is none. */
export function find(root: Fd, path: string, flags: number = O.PATH, resolve: number = IN_ROOT): number {
  const n = openat2Raw(root, path, flags, resolve);
  if (n === -E.ENOENT || n === -E.ENOTDIR) return -1;
  return check("openat2", n);
}

const LINKS = 40; // as many as the kernel follows

/**
 * Opens a directory below the root, making what is missing (0755), each component by its parent's descriptor. A link that leads
 * to nothing has what it leads to made, inside the root.
 */
export function makeDirectory(root: Fd, path: string, links = LINKS): number {
  const there = find(root, path);
  if (there >= 0) return there;
  const { dir, name } = split(path);
  if (name === "") return makeDirectory(root, dir, links); // a slash at the end
  if (name === "." || name === "..") throw new AppError("invalid", `${path} does not exist`);
  const parent = makeDirectory(root, dir, links);
  const made = sys(NR.mkdirat, parent, name, 0o755);
  const to = made === -E.EEXIST ? linkIn(parent, dir, name) : undefined; // or somebody was faster; opening it tells
  closeNumber(parent);
  if (made !== -E.EEXIST) check("mkdirat", made);
  if (to !== undefined && links > 0) return makeDirectory(root, to, links - 1);
  return check("openat2", openat2Raw(root, path, O.PATH | O.DIRECTORY, IN_ROOT));
}

/** Where the link `name` of a folder leads, as a path in the container; undefined when it is none. */
function linkIn(parent: number, dir: string, name: string): string | undefined {
  try {
    const to = readlinkat(parent, name);
    return to.startsWith("/") ? to : `${dir}/${to}`;
  } catch {
    return undefined;
  }
}

export function split(path: string): { dir: string; name: string } {
  const cut = path.lastIndexOf("/");
  return { dir: path.slice(0, cut) || "/", name: path.slice(cut + 1) };
}

/** Opens a place to bind a file on, making an empty file when nothing is there. */
export function makeFile(root: Fd, path: string, links = LINKS): number {
  const there = find(root, path);
  if (there >= 0) return there;
  const { dir, name } = split(path);
  const parent = makeDirectory(root, dir);
  const made = sys(NR.mknodat, parent, name, S.IFREG | 0o644, 0);
  const to = made === -E.EEXIST ? linkIn(parent, dir, name) : undefined;
  closeNumber(parent);
  if (made !== -E.EEXIST) check("mknodat", made);
  if (to !== undefined && links > 0) return makeFile(root, to, links - 1);
  return check("openat2", openat2Raw(root, path, O.PATH, IN_ROOT));
}

/** MS_* flags as mount_setattr(2) wants them: what to set and what to clear. */
export function attributes(flags: number, cleared: number): { set: number; clear: number } {
  const same = MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;
  let set = flags & same;
  let clear = cleared & same;
  if (flags & MS.NODIRATIME) set |= MOUNT_ATTR.NODIRATIME;
  if (cleared & MS.NODIRATIME) clear |= MOUNT_ATTR.NODIRATIME;
  if (flags & MS.NOSYMFOLLOW) set |= MOUNT_ATTR.NOSYMFOLLOW;
  if (cleared & MS.NOSYMFOLLOW) clear |= MOUNT_ATTR.NOSYMFOLLOW;
  if ((flags | cleared) & (MS.NOATIME | MS.RELATIME | MS.STRICTATIME)) {
    clear |= MOUNT_ATTR.ATIME;
    if (flags & MS.NOATIME) set |= MOUNT_ATTR.NOATIME;
    else if (flags & MS.STRICTATIME) set |= MOUNT_ATTR.STRICTATIME;
  }
  return { set, clear };
}

/** A detached copy of what `source` (a path of the agent, or a descriptor) names; MS_REC takes the mounts below it along. */
export function copyOf(source: string | Fd, flags: number, follow = true): Fd {
  const how = OPEN_TREE.CLONE | (flags & MS.REC ? AT.RECURSIVE : 0) | (follow ? 0 : AT.SYMLINK_NOFOLLOW);
  return typeof source === "string" ? openTree(AT_FDCWD, source, how) : openTree(source, "", how | AT.EMPTY_PATH);
}

/** Gives a copy its flags; unmentioned ones stay as they are at the source. */
export function flag(tree: Fd, flags: number, cleared: number, how: number = AT.EMPTY_PATH): void {
  const { set, clear } = attributes(flags, cleared);
  if ((set | clear) !== 0) mountSetattr(tree, "", how, set, clear);
}

export function bind(source: string | Fd, target: number, flags: number, cleared: number): void {
  const tree = copyOf(source, flags);
  flag(tree, flags, cleared);
  moveMountFds(tree, target);
  tree.close();
}

/** Recursive attributes and propagation of a mount that is in its place. */
export function spread(at: Fd, plan: MountPlan): void {
  if ((plan.setRecursive | plan.clearRecursive) !== 0) mountSetattr(at, "", AT.EMPTY_PATH | AT.RECURSIVE, plan.setRecursive, plan.clearRecursive);
  for (const flags of plan.propagation) mountSetattr(at, "", AT.EMPTY_PATH | (flags & MS.REC ? AT.RECURSIVE : 0), 0, 0, flags & ~MS.REC);
}
