// The container's root in the child, before it becomes the root: /proc and /dev are the agent's own and can be trusted, while
// everything below the container's root may be hostile. A path in there is resolved once, by openat2 with RESOLVE_IN_ROOT, to
// a descriptor, and only the descriptor is used (container-engine 3.1). Synchronous; throws what failed.
import { AT, MOUNT_ATTR, MS, O, OPEN_TREE, RESOLVE, S } from "../../abi/flags.js";
import { check, sys, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { closeNumber, Fd } from "../../sys/fd.js";
import { fstat, makedev, modeOf, open, openat2, openat2Raw, readlinkat, unlinkat } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { fsMount, mountSetattr, moveMountFds, openTree } from "../../sys/mount.js";
import { AppError, messageOf } from "../../lib/errors.js";
import type { MountPlan } from "../../oci/mounts.js";
import type { ChildEnd } from "../handshake.js";
import { flag } from "./mount-flags.js";

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
  /** In a user namespace: who has the rights that this process has not. */
  parent: ChildEnd | undefined;
  /** The pid namespace that its procfs shows, where that is not this process's own. */
  pids: Fd | undefined;

  get root(): Fd {
    if (this.#root === undefined) throw new AppError("internal", "the root is not mounted yet");
    return this.#root;
  }

  /** Copies the root's mount onto itself; the descriptor of the copy is where everything else is resolved. */
  mountRoot(path: string): void {
    this.#path = path;
    using at = this.#openRoot();
    const tree = openTree(at, "", OPEN_TREE.CLONE | AT.EMPTY_PATH | AT.RECURSIVE);
    moveMountFds(tree, at);
    this.#root = tree;
  }

  #openRoot(): Fd {
    const n = openat2Raw(AT.FDCWD, this.#path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
    return n === -E.EACCES && this.parent !== undefined ? this.openForeign(this.parent, this.#path) : new Fd(check("openat2", n));
  }

  /** What a path leads to that this process, the root of a user namespace, may not follow: the parent opens it, among the mounts that are seen here. */
  openForeign(parent: ChildEnd, path: string, follow = true): Fd {
    using root = open("/", O.PATH | O.DIRECTORY);
    return parent.ask({ say: "open", base: root.n, path, follow });
  }

  /** The root of a container that has no mount tree of its own. */
  openRoot(path: string): void {
    this.#root = openat2(AT.FDCWD, path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
  }

  /** Something was mounted on the root itself: it is the root now. */
  coverRoot(tree: Fd | undefined): void {
    this.#root = tree ?? this.#openRoot();
  }

  /** A directory that several nodes in a row are made in, once everything has been mounted. */
  folder(path: string): number {
    if (this.#folderFd < 0 || this.#folder !== path) {
      if (this.#folderFd >= 0) closeNumber(this.#folderFd);
      this.#folderFd = path === "/dev" || path.startsWith("/dev/") ? realDirectory(this.root, path) : makeDirectory(this.root, path);
      this.#folder = path;
    }
    return this.#folderFd;
  }

  /** Covers a file with a null device that cannot be changed; all masked files of the container share one, and nobody else has it. */
  coverFile(target: number): void {
    if (this.#null !== undefined) return putCopy(this.#null, target);
    this.#null = this.#ownNull() ?? agentsNull();
    mountSetattr(this.#null, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC, 0);
    moveMountFds(this.#null, target);
  }

  /**
   * A detached mount of a null device on a file system of its own. That one has to be mounted to be copied from (before Linux 6.15):
   * it is on the old root, where no path leads to it, and goes with that. Undefined: this process may make no devices (in a user
   * namespace).
   */
  #ownNull(): Fd | undefined {
    using own = fsMount("tmpfs", [["nr_blocks", "1"], ["nr_inodes", "3"], ["mode", "0555"]], MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC);
    const r = sys(NR.mknodat, own.n, "null", S.IFCHR | 0o666, makedev(1, 3)); // the umask is 0 here
    if (r === -E.EPERM) return undefined;
    check("mknodat", r);
    using old = open("/", O.PATH | O.DIRECTORY);
    moveMountFds(own, old);
    return openTree(own, "null", OPEN_TREE.CLONE);
  }

  /** Covers a directory with an empty read-only tmpfs; all masked directories of the container share one. */
  coverDirectory(target: number): void {
    if (this.#emptyDir !== undefined) return putCopy(this.#emptyDir, target);
    this.#emptyDir = emptyFolder();
    moveMountFds(this.#emptyDir, target);
  }
}

/** A detached mount of an empty read-only tmpfs. */
export function emptyFolder(): Fd {
  return fsMount("tmpfs", [["nr_blocks", "1"], ["nr_inodes", "2"], ["mode", "0555"]], MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC);
}

/** Another mount of what is mounted already. */
function putCopy(mounted: Fd, target: number): void {
  const copy = openTree(mounted, "", OPEN_TREE.CLONE | AT.EMPTY_PATH);
  moveMountFds(copy, target);
  copy.close();
}

/** The agent's /dev/null, checked: what masks a file must be that device and nothing else. A mapped root may not change it. */
function agentsNull(): Fd {
  using fd = open("/dev/null", O.PATH | O.NOFOLLOW);
  const st = fstat(fd);
  if ((st.mode & S.IFMT) !== S.IFCHR || st.rdevMajor !== 1 || st.rdevMinor !== 3) throw new AppError("internal", "/dev/null is not the null device");
  return copyOf(fd, 0);
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
export function makeDirectory(root: Fd, path: string): number {
  return make(root, path, S.IFDIR);
}

/** Opens a place to bind a file on, making an empty file when nothing is there, as `makeDirectory` does. */
export function makeFile(root: Fd, path: string): number {
  return make(root, path, S.IFREG);
}

/** Opens a directory, made if it is missing, that no link leads to: one in an image could send what belongs there anywhere (CVE-2019-19921). */
export function realDirectory(root: Fd, path: string): number {
  const real = (): number => openat2Raw(root, path, O.PATH | O.DIRECTORY, RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS);
  let made = real();
  if (made === -E.ENOENT) {
    closeNumber(makeDirectory(root, path));
    made = real();
  }
  if (made < 0) throw new AppError("invalid", `${path} must be an ordinary directory: ${messageOf(new SysError("openat2", -made))}`);
  return made;
}

/** Makes the last part of `path` as it is told and those before it as directories: first up to what is there, then down again. */
function make(root: Fd, path: string, kind: number): number {
  let wanted = path;
  let links = LINKS;
  for (;;) {
    const there = find(root, wanted);
    if (there >= 0) return there;
    let at = wanted;
    let parent = -1;
    let name = "";
    while (parent < 0) { // the first part that is missing
      ({ dir: at, name } = split(at));
      if (name === "." || name === "..") throw new AppError("invalid", `${wanted} does not exist`);
      parent = find(root, at);
      if (parent < 0 && at === "/") throw new AppError("internal", "the root is gone");
    }
    const whole = at === "/" ? `/${name}` : `${at}/${name}`;
    const rest = wanted.slice(whole.length);
    if (name === "") throw new SysError("openat2", E.ENOTDIR); // a slash behind what is no directory
    const last = kind === S.IFREG && rest === "";
    const r = last ? sys(NR.mknodat, parent, name, S.IFREG | 0o644, 0) : sys(NR.mkdirat, parent, name, 0o755);
    const to = r === -E.EEXIST ? linkIn(parent, at, name) : undefined; // or somebody was faster; opening it tells
    closeNumber(parent);
    if (r !== -E.EEXIST) check(last ? "mknodat" : "mkdirat", r);
    if (r === -E.EEXIST && links-- <= 0) return check("openat2", openat2Raw(root, wanted, O.PATH, IN_ROOT));
    if (to !== undefined) wanted = to + rest;
    if (r === 0 && rest === "") return check("openat2", openat2Raw(root, wanted, kind === S.IFREG ? O.PATH : O.PATH | O.DIRECTORY, IN_ROOT));
  }
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

/**
 * Opens a place in a folder to bind a file on. No link is followed: whatever is there that is neither a file nor a device is
 * replaced by an empty file.
 */
export function makePlain(folder: number, name: string): number {
  const open = (): number => openat2Raw(folder, name, O.PATH | O.NOFOLLOW, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
  let n = open();
  if (n >= 0) {
    const kind = modeOf(n) & S.IFMT;
    if (kind === S.IFREG || kind === S.IFCHR) return n;
    closeNumber(n);
    unlinkat(folder, name, kind === S.IFDIR ? AT.REMOVEDIR : 0);
    n = -E.ENOENT;
  }
  if (n === -E.ENOENT) {
    check("mknodat", sys(NR.mknodat, folder, name, S.IFREG | 0o644, 0));
    n = open();
  }
  return check("openat2", n);
}

/** A detached copy of what `source` (a path of the agent, or a descriptor) names; MS_REC takes the mounts below it along. */
export function copyOf(source: string | Fd, flags: number, follow = true): Fd {
  const how = OPEN_TREE.CLONE | (flags & MS.REC ? AT.RECURSIVE : 0) | (follow ? 0 : AT.SYMLINK_NOFOLLOW);
  return typeof source === "string" ? openTree(AT.FDCWD, source, how) : openTree(source, "", how | AT.EMPTY_PATH);
}

export function bind(source: string | Fd, target: number, flags: number, cleared: number): void {
  const tree = copyOf(source, flags);
  flag(tree, { flags, cleared, dropped: 0 });
  moveMountFds(tree, target);
  tree.close();
}

/** Recursive attributes and propagation of a mount that is in its place. */
export function spread(at: Fd, plan: MountPlan): void {
  if ((plan.setRecursive | plan.clearRecursive) !== 0) mountSetattr(at, "", AT.EMPTY_PATH | AT.RECURSIVE, plan.setRecursive, plan.clearRecursive);
  for (const flags of plan.propagation) mountSetattr(at, "", AT.EMPTY_PATH | (flags & MS.REC ? AT.RECURSIVE : 0), 0, 0, flags & ~MS.REC);
}
