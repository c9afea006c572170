// Steps on the file tree, in the child, before its root changes: /proc and /dev are the agent's own and can be trusted, while
// everything below the container's root may be hostile. A path in there is resolved once, by openat2 with RESOLVE_IN_ROOT, to
// a descriptor, and only the descriptor is used (facts 3.1). Synchronous; throws what failed.
import { isErrno } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { Fd, fdPath } from "../sys/fd.js";
import {
  AT, AT_FDCWD, fchmodat, fchownat, fstat, mkdirat, mknodat, O, openat2, RESOLVE, S, statfs, symlinkat, unlinkat, chdir, exists, fchdir, open,
} from "../sys/file.js";
import { fsMount, mount, mountSetattr, MNT, MOUNT_ATTR, moveMountFds, MS, OPEN_TREE, openTree, pivotRoot, umount } from "../sys/mount.js";
import { openPtyAt, setWindowSize } from "../sys/tty.js";
import { AppError } from "../lib/errors.js";
import { readText } from "../lib/fs.js";
import { lines } from "../lib/text.js";
import { isBind, type MountPlan } from "../oci/mounts.js";
import type { Node, Step } from "../oci/steps.js";

const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
const CGROUP2_MAGIC = 0x63677270;
const DEVPTS_MAGIC = 0x1cd1;

/** What the steps of one child share. */
export class Tree {
  #root: Fd | undefined;
  #null: Fd | undefined;
  #emptyDir: Fd | undefined;
  /** Both ends of the terminal, once it has been opened. */
  terminal: { readonly master: Fd; readonly slave: Fd } | undefined;

  get root(): Fd {
    if (this.#root === undefined) throw new AppError("internal", "the root is not mounted yet");
    return this.#root;
  }

  /** Copies the root's mount onto itself; the descriptor of the copy is where everything else is resolved. */
  mountRoot(path: string): void {
    using at = openat2(AT_FDCWD, path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
    const tree = openTree(at, "", OPEN_TREE.CLONE | AT.EMPTY_PATH | AT.RECURSIVE);
    moveMountFds(tree, at);
    this.#root = tree;
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
  coverDirectory(target: Fd): void {
    if (this.#emptyDir === undefined) {
      this.#emptyDir = fsMount("tmpfs", [["nr_blocks", "1"], ["nr_inodes", "2"], ["mode", "0555"]], MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC);
      moveMountFds(this.#emptyDir, target);
      return;
    }
    using copy = openTree(this.#emptyDir, "", OPEN_TREE.CLONE | AT.EMPTY_PATH);
    moveMountFds(copy, target);
  }
}

/** Opens a place below the root, or undefined when there is none. */
function find(root: Fd, path: string): Fd | undefined {
  try {
    return openat2(root, path, O.PATH, IN_ROOT);
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENOTDIR)) return undefined;
    throw error;
  }
}

/** Opens a directory below the root, making what is missing (0755), one component at a time by descriptor. */
export function makeDirectory(root: Fd, path: string): Fd {
  const there = find(root, path);
  if (there !== undefined) return there;
  let dir = openat2(root, ".", O.PATH | O.DIRECTORY, IN_ROOT);
  let prefix = "";
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    prefix = `${prefix}/${part}`;
    let next = find(root, prefix);
    if (next === undefined) {
      mkdirat(dir, part, 0o755);
      next = openat2(root, prefix, O.PATH | O.DIRECTORY, IN_ROOT);
    }
    dir.close();
    dir = next;
  }
  return dir;
}

function split(path: string): { dir: string; name: string } {
  const cut = path.lastIndexOf("/");
  return { dir: path.slice(0, cut) || "/", name: path.slice(cut + 1) };
}

/** Opens a place to bind a file on, making an empty file when nothing is there. */
function makeFile(root: Fd, path: string): Fd {
  const there = find(root, path);
  if (there !== undefined) return there;
  const { dir, name } = split(path);
  using parent = makeDirectory(root, dir);
  mknodat(parent, name, S.IFREG | 0o644);
  return openat2(root, path, O.PATH, IN_ROOT);
}

/** MS_* flags as mount_setattr(2) wants them: what to set and what to clear. */
function attributes(flags: number, cleared: number): { set: number; clear: number } {
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

/** Binds `source` (a path of the agent, or a descriptor) on `target`; unmentioned flags stay as they are at the source. */
function bind(source: string | Fd, target: Fd, plan: Pick<MountPlan, "flags" | "cleared">): void {
  const flags = OPEN_TREE.CLONE | (plan.flags & MS.REC ? AT.RECURSIVE : 0);
  using tree = typeof source === "string" ? openTree(AT_FDCWD, source, flags) : openTree(source, "", flags | AT.EMPTY_PATH);
  const { set, clear } = attributes(plan.flags, plan.cleared);
  if ((set | clear) !== 0) mountSetattr(tree, "", AT.EMPTY_PATH, set, clear);
  moveMountFds(tree, target);
}

function afterwards(root: Fd, plan: MountPlan): void {
  if (plan.propagation.length === 0 && (plan.setRecursive | plan.clearRecursive) === 0) return;
  using mounted = openat2(root, plan.at, O.PATH, IN_ROOT);
  if ((plan.setRecursive | plan.clearRecursive) !== 0) mountSetattr(mounted, "", AT.EMPTY_PATH | AT.RECURSIVE, plan.setRecursive, plan.clearRecursive);
  for (const flags of plan.propagation) mountSetattr(mounted, "", AT.EMPTY_PATH | (flags & MS.REC ? AT.RECURSIVE : 0), 0, 0, flags & ~MS.REC);
}

/** A target for proc and sysfs must be a real directory: a link there could send them anywhere (CVE-2019-19921). */
function realDirectory(root: Fd, path: string): Fd {
  makeDirectory(root, path).close();
  return openat2(root, path, O.PATH | O.DIRECTORY, RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS);
}

function mountOne(root: Fd, plan: MountPlan): void {
  if (isBind(plan)) {
    const isDirectory = (fstat0(plan.source) & S.IFMT) === S.IFDIR;
    using target = isDirectory ? makeDirectory(root, plan.at) : makeFile(root, plan.at);
    bind(plan.source, target, plan);
  } else {
    if (plan.copyUp) throw new AppError("unimplemented", "the option tmpcopyup is not supported");
    const existed = plan.type === "tmpfs" ? find(root, plan.at) : undefined;
    const mode = existed === undefined ? undefined : fstat(existed).mode & 0o7777;
    existed?.close();
    using target = plan.type === "proc" || plan.type === "sysfs" ? realDirectory(root, plan.at) : makeDirectory(root, plan.at);
    const data = mode === undefined || plan.data.includes("mode=") ? plan.data : [plan.data, `mode=${mode.toString(8)}`].filter((d) => d !== "").join(",");
    mount(plan.source, fdPath(target), plan.type, plan.flags & ~(MS.REC | MS.REMOUNT), data);
  }
  afterwards(root, plan);
}

function fstat0(path: string): number {
  using fd = open(path, O.PATH);
  return fstat(fd).mode;
}

/** The cgroup file system as the container may see it: its own group as the root, nothing of the others. */
function mountCgroup(root: Fd, plan: MountPlan, fresh: boolean): void {
  using target = makeDirectory(root, plan.at);
  const own = lines(readText("/proc/self/cgroup"));
  if (statfs("/sys/fs/cgroup").type === CGROUP2_MAGIC) {
    if (fresh) mount("cgroup2", fdPath(target), "cgroup2", plan.flags & ~MS.REC);
    else bind(`/sys/fs/cgroup${(own.find((l) => l.startsWith("0::")) ?? "0::/").slice(3)}`, target, plan);
    return;
  }
  mount("tmpfs", fdPath(target), "tmpfs", MS.NOSUID | MS.NODEV | MS.NOEXEC, "mode=755");
  using base = openat2(root, plan.at, O.PATH | O.DIRECTORY, IN_ROOT);
  for (const line of own) {
    const [, controllers = "", path = ""] = line.split(":");
    const name = controllers.startsWith("name=") ? controllers.slice(5) : controllers;
    const folder = `/sys/fs/cgroup/${name}`;
    if (name === "" || !exists(`${folder}${path}`)) continue;
    mkdirat(base, name, 0o755);
    using at = openat2(root, `${plan.at}/${name}`, O.PATH | O.DIRECTORY, IN_ROOT);
    bind(`${folder}${path}`, at, plan);
    if (name.includes(",")) for (const one of name.split(",")) symlinkat(name, base, one);
  }
  if (plan.flags & MS.RDONLY) mountSetattr(base, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0);
}

const TYPE: { readonly [type: string]: number } = { c: S.IFCHR, u: S.IFCHR, b: S.IFBLK, p: S.IFIFO };

function makeNode(root: Fd, node: Node): void {
  const { dir, name } = split(node.path.startsWith("/") ? node.path : `/${node.path}`);
  const type = TYPE[node.type] ?? S.IFCHR;
  using parent = makeDirectory(root, dir);
  try {
    mknodat(parent, name, type | 0o600, node.major, node.minor);
  } catch (error) {
    if (isErrno(error, E.EEXIST)) return sameNode(parent, name, node, type);
    if (isErrno(error, E.EPERM) && exists(node.path)) return bindNode(root, node);
    throw error;
  }
  fchownat(parent, name, node.uid, node.gid, AT.SYMLINK_NOFOLLOW);
  fchmodat(parent, name, node.mode);
}

/** In a user namespace no node can be made: the agent's own is bound instead, if it is the same device. */
function bindNode(root: Fd, node: Node): void {
  using source = open(node.path, O.PATH | O.NOFOLLOW);
  const st = fstat(source);
  if (st.rdevMajor !== node.major || st.rdevMinor !== node.minor) throw new AppError("internal", `${node.path} is another device here`);
  using target = makeFile(root, node.path);
  bind(source, target, { flags: 0, cleared: 0 });
}

function sameNode(parent: Fd, name: string, node: Node, type: number): void {
  using there = openat2(parent, name, O.PATH | O.NOFOLLOW, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
  const st = fstat(there);
  const same = (st.mode & S.IFMT) === type && (type === S.IFIFO || (st.rdevMajor === node.major && st.rdevMinor === node.minor));
  if (!same) throw new AppError("exists", "something else is there already");
}

function devLinks(root: Fd): void {
  using dev = openat2(root, "/dev", O.PATH | O.DIRECTORY, IN_ROOT);
  for (const [name, to] of [["fd", "/proc/self/fd"], ["stdin", "/proc/self/fd/0"], ["stdout", "/proc/self/fd/1"], ["stderr", "/proc/self/fd/2"], ["ptmx", "pts/ptmx"]] as const) {
    try {
      symlinkat(to, dev, name);
    } catch (error) {
      if (!isErrno(error, E.EEXIST)) throw error;
      if (name !== "ptmx") continue;
      unlinkat(dev, name);
      symlinkat(to, dev, name);
    }
  }
}

/** A terminal of the container's own devpts, its slave bound on /dev/console. */
function openConsole(tree: Tree, rows: number, columns: number): void {
  using pts = openat2(tree.root, "/dev/pts", O.PATH | O.DIRECTORY, IN_ROOT);
  if (statfs(pts).type !== DEVPTS_MAGIC) throw new AppError("invalid", "process.terminal needs a devpts file system on /dev/pts");
  const terminal = openPtyAt(pts);
  tree.terminal = terminal;
  if (rows > 0 && columns > 0) setWindowSize(terminal.master, rows, columns);
  using target = makeFile(tree.root, "/dev/console");
  bind(terminal.slave, target, { flags: 0, cleared: 0 });
}

function makeReadOnly(root: Fd, path: string): void {
  const target = find(root, path);
  if (target === undefined) return;
  using tree = openTree(target, "", OPEN_TREE.CLONE | AT.EMPTY_PATH | AT.RECURSIVE);
  mountSetattr(tree, "", AT.EMPTY_PATH | AT.RECURSIVE, MOUNT_ATTR.RDONLY, 0);
  moveMountFds(tree, target);
  target.close();
}

function mask(tree: Tree, path: string): void {
  const target = find(tree.root, path);
  if (target === undefined) return;
  if ((fstat(target).mode & S.IFMT) === S.IFDIR) tree.coverDirectory(target);
  else bind(tree.nullDevice(), target, { flags: 0, cleared: 0 });
  target.close();
}

/** Makes the container's root the root of this mount namespace and lets the old one go. See pivot_root(2), NOTES. */
function changeRoot(root: Fd): void {
  using old = open("/", O.PATH | O.DIRECTORY);
  fchdir(root);
  pivotRoot(".", ".");
  fchdir(old);
  umount(".", MNT.DETACH);
  chdir("/");
}

/** Does one step; false when it is not one of the file tree's. */
export function applyToTree(tree: Tree, step: Step): boolean {
  switch (step.do) {
    case "propagation": mount(undefined, "/", undefined, step.flags); break;
    case "root": tree.mountRoot(step.path); break;
    case "mount": mountOne(tree.root, step.mount); break;
    case "cgroup-mount": mountCgroup(tree.root, step.mount, step.fresh); break;
    case "node": makeNode(tree.root, step.node); break;
    case "dev-links": devLinks(tree.root); break;
    case "console": openConsole(tree, step.rows, step.columns); break;
    case "read-only": makeReadOnly(tree.root, step.path); break;
    case "mask": mask(tree, step.path); break;
    case "remount-read-only": {
      using at = openat2(tree.root, step.at, O.PATH, IN_ROOT);
      mountSetattr(at, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0);
      break;
    }
    case "read-only-root": mountSetattr(tree.root, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0); break;
    case "pivot": changeRoot(tree.root); break;
    case "root-propagation": mount(undefined, "/", undefined, step.flags); break;
    default: return false;
  }
  return true;
}
