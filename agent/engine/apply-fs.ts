// Steps on the file tree, in the child, before its root changes: /proc and /dev are the agent's own and can be trusted, while
// everything below the container's root may be hostile. A path in there is resolved once, by openat2 with RESOLVE_IN_ROOT, to
// a descriptor, and only the descriptor is used (facts 3.1). Synchronous; throws what failed.
import { check, sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { closeNumber, type Fd, fdPath } from "../sys/fd.js";
import {
  AT, AT_FDCWD, chdir, exists, fchdir, fchownat, fstat, makedev, mkdirat, mknodat, modeOf, O, open, openat2, openat2Raw, RESOLVE, S, statfs, symlinkat, unlinkat,
} from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { fsMount, mount, mountSetattr, MNT, MOUNT_ATTR, moveMountFds, MS, OPEN_TREE, openTree, pivotRoot, umount } from "../sys/mount.js";
import { openPtyAt, setWindowSize } from "../sys/tty.js";
import { AppError } from "../lib/errors.js";
import { readText } from "../lib/fs.js";
import { lines } from "../lib/text.js";
import { isBind, type MountPlan } from "../oci/mounts.js";
import type { Node, Step } from "../oci/steps.js";

const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
const DEVPTS_MAGIC = 0x1cd1;

/** What the steps of one child share. */
export class Tree {
  #root: Fd | undefined;
  #null: Fd | undefined;
  #emptyDir: Fd | undefined;
  #folder = "";
  #folderFd = -1;
  /** Both ends of the terminal, once it has been opened. */
  terminal: { readonly master: Fd; readonly slave: Fd } | undefined;

  get root(): Fd {
    if (this.#root === undefined) throw new AppError("internal", "the root is not mounted yet");
    return this.#root;
  }

  /** Copies the root's mount onto itself; the descriptor of the copy is where everything else is resolved. */
  mountRoot(path: string): void {
    const at = openat2(AT_FDCWD, path, O.PATH | O.DIRECTORY, RESOLVE.NO_SYMLINKS);
    const tree = openTree(at, "", OPEN_TREE.CLONE | AT.EMPTY_PATH | AT.RECURSIVE);
    moveMountFds(tree, at);
    at.close();
    this.#root = tree;
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
function find(root: Fd, path: string, flags: number = O.PATH, resolve: number = IN_ROOT): number {
  const n = openat2Raw(root, path, flags, resolve);
  if (n === -E.ENOENT || n === -E.ENOTDIR) return -1;
  return check("openat2", n);
}

/** Opens a directory below the root, making what is missing (0755), each component by its parent's descriptor. */
export function makeDirectory(root: Fd, path: string): number {
  const there = find(root, path);
  if (there >= 0) return there;
  const { dir, name } = split(path);
  if (name === "") return makeDirectory(root, dir); // a slash at the end
  if (name === "." || name === "..") throw new AppError("invalid", `${path} does not exist`);
  const parent = makeDirectory(root, dir);
  const made = sys(NR.mkdirat, parent, name, 0o755);
  closeNumber(parent);
  if (made !== -E.EEXIST) check("mkdirat", made); // EEXIST: a link that leads nowhere, or somebody was faster; opening it tells
  return check("openat2", openat2Raw(root, path, O.PATH | O.DIRECTORY, IN_ROOT));
}

/** The working directory, while it can still be made; who enters it says what is wrong with it. */
function makeCwd(root: Fd, cwd: string): void {
  try {
    if (cwd !== "/") closeNumber(makeDirectory(root, cwd));
  } catch {
    // a file is there, or a file system that is read-only
  }
}

function split(path: string): { dir: string; name: string } {
  const cut = path.lastIndexOf("/");
  return { dir: path.slice(0, cut) || "/", name: path.slice(cut + 1) };
}

/** Opens a place to bind a file on, making an empty file when nothing is there. */
function makeFile(root: Fd, path: string): number {
  const there = find(root, path);
  if (there >= 0) return there;
  const { dir, name } = split(path);
  const parent = makeDirectory(root, dir);
  mknodat(parent, name, S.IFREG | 0o644);
  closeNumber(parent);
  return check("openat2", openat2Raw(root, path, O.PATH, IN_ROOT));
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

/** A detached copy of what `source` (a path of the agent, or a descriptor) names; MS_REC takes the mounts below it along. */
function copyOf(source: string | Fd, flags: number): Fd {
  const how = OPEN_TREE.CLONE | (flags & MS.REC ? AT.RECURSIVE : 0);
  return typeof source === "string" ? openTree(AT_FDCWD, source, how) : openTree(source, "", how | AT.EMPTY_PATH);
}

/** Puts a copy in its place; unmentioned flags stay as they are at the source. The descriptor then names the mount there. */
function place(tree: Fd, target: number, flags: number, cleared: number): void {
  const { set, clear } = attributes(flags, cleared);
  if ((set | clear) !== 0) mountSetattr(tree, "", AT.EMPTY_PATH, set, clear);
  moveMountFds(tree, target);
}

function bind(source: string | Fd, target: number, flags: number, cleared: number): void {
  const tree = copyOf(source, flags);
  place(tree, target, flags, cleared);
  tree.close();
}

/** What is done to a mount once it is in its place; `tree` names it where the caller has it open. */
function afterwards(root: Fd, plan: MountPlan, tree?: Fd): void {
  if (plan.propagation.length === 0 && (plan.setRecursive | plan.clearRecursive) === 0) return;
  const mounted = tree ?? openat2(root, plan.at, O.PATH, IN_ROOT);
  if ((plan.setRecursive | plan.clearRecursive) !== 0) mountSetattr(mounted, "", AT.EMPTY_PATH | AT.RECURSIVE, plan.setRecursive, plan.clearRecursive);
  for (const flags of plan.propagation) mountSetattr(mounted, "", AT.EMPTY_PATH | (flags & MS.REC ? AT.RECURSIVE : 0), 0, 0, flags & ~MS.REC);
  if (tree === undefined) mounted.close();
}

/** Is this where proc and sysfs belong, or one of them? */
const isKernels = ({ type, at }: MountPlan): boolean => type === "proc" || type === "sysfs" || at === "/proc" || at === "/sys";

/** Their place must be a real directory: a link there could send them anywhere (CVE-2019-19921). */
function realDirectory(root: Fd, path: string): number {
  const there = find(root, path, O.PATH | O.DIRECTORY, RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS);
  if (there >= 0) return there;
  closeNumber(makeDirectory(root, path));
  return check("openat2", openat2Raw(root, path, O.PATH | O.DIRECTORY, RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS));
}

function mountOne(root: Fd, plan: MountPlan): void {
  let target: number;
  if (isBind(plan)) {
    const tree = copyOf(plan.source, plan.flags); // the path is resolved once: what is looked at is what is mounted
    const isDirectory = (modeOf(tree) & S.IFMT) === S.IFDIR;
    target = !isDirectory ? makeFile(root, plan.at) : isKernels(plan) ? realDirectory(root, plan.at) : makeDirectory(root, plan.at);
    place(tree, target, plan.flags, plan.cleared);
    afterwards(root, plan, tree);
    tree.close();
  } else {
    if (plan.copyUp) throw new AppError("unimplemented", "the option tmpcopyup is not supported");
    let { data } = plan;
    target = isKernels(plan) ? realDirectory(root, plan.at) : find(root, plan.at);
    if (target < 0) target = makeDirectory(root, plan.at);
    else if (plan.type === "tmpfs" && !data.includes("mode=")) data = `${data}${data === "" ? "" : ","}mode=${(modeOf(target) & 0o7777).toString(8)}`;
    mount(plan.source, fdPath(target), plan.type, plan.flags & ~(MS.REC | MS.REMOUNT), data);
    afterwards(root, plan);
  }
  closeNumber(target);
}

/** The cgroup file system as the container may see it: its own group as the root, nothing of the others. */
function mountCgroup(root: Fd, plan: MountPlan, fresh: boolean, v1: readonly string[] | undefined): void {
  const target = makeDirectory(root, plan.at);
  if (v1 === undefined) {
    if (fresh) return void mount("cgroup2", fdPath(target), "cgroup2", plan.flags & ~MS.REC);
    const own = lines(readText("/proc/self/cgroup")).find((l) => l.startsWith("0::")) ?? "0::/";
    return bind(`/sys/fs/cgroup${own.slice(3)}`, target, plan.flags, plan.cleared);
  }
  mount("tmpfs", fdPath(target), "tmpfs", MS.NOSUID | MS.NODEV | MS.NOEXEC, "mode=755");
  const base = openat2(root, plan.at, O.PATH | O.DIRECTORY, IN_ROOT);
  for (const entry of v1) {
    const name = entry.slice(0, entry.indexOf(":"));
    mkdirat(base, name, 0o755);
    const at = openat2(base, name, O.PATH | O.DIRECTORY, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
    bind(entry.slice(name.length + 1), at.n, plan.flags, plan.cleared);
    at.close();
    if (name.includes(",")) for (const one of name.split(",")) symlinkat(name, base, one);
  }
  if (plan.flags & MS.RDONLY) mountSetattr(base, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0);
}

const TYPE: { readonly [type: string]: number } = { c: S.IFCHR, u: S.IFCHR, b: S.IFBLK, p: S.IFIFO };

function makeNode(tree: Tree, node: Node): void {
  const { dir, name } = split(node.path.startsWith("/") ? node.path : `/${node.path}`);
  const type = TYPE[node.type] ?? S.IFCHR;
  const parent = tree.folder(dir);
  const made = sys(NR.mknodat, parent, name, type | node.mode, makedev(node.major, node.minor)); // the umask is 0 here
  if (made === -E.EEXIST) return sameNode(parent, name, node);
  if (made === -E.EPERM && exists(node.path)) return bindNode(tree.root, node);
  check("mknodat", made);
  if (node.uid !== 0 || node.gid !== 0) fchownat(parent, name, node.uid, node.gid, AT.SYMLINK_NOFOLLOW);
}

/** In a user namespace no node can be made: the agent's own is bound instead, if it is the same device. */
function bindNode(root: Fd, node: Node): void {
  const source = open(node.path, O.PATH | O.NOFOLLOW);
  if (!isNode(source, node)) throw new AppError("internal", `${node.path} is another device here`);
  const target = makeFile(root, node.path);
  bind(source, target, 0, 0);
  closeNumber(target);
  source.close();
}

/** Does the descriptor name this device: the same kind, the same numbers? */
function isNode(fd: Fd, node: Node): boolean {
  const { mode, rdevMajor, rdevMinor } = fstat(fd);
  const type = TYPE[node.type] ?? S.IFCHR;
  return (mode & S.IFMT) === type && (type === S.IFIFO || (rdevMajor === node.major && rdevMinor === node.minor));
}

function sameNode(parent: number, name: string, node: Node): void {
  const there = openat2(parent, name, O.PATH | O.NOFOLLOW, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
  const same = isNode(there, node);
  there.close();
  if (!same) throw new AppError("exists", "something else is there already");
}

const DEV_LINKS = [["fd", "/proc/self/fd"], ["stdin", "/proc/self/fd/0"], ["stdout", "/proc/self/fd/1"], ["stderr", "/proc/self/fd/2"], ["ptmx", "pts/ptmx"], ["core", "/proc/kcore"]] as const;

function devLinks(tree: Tree): void {
  const dev = tree.folder("/dev");
  for (const [name, to] of DEV_LINKS) {
    if (name === "core" && !exists(to)) continue;
    const r = sys(NR.symlinkat, to, dev, name);
    if (r !== -E.EEXIST) check("symlinkat", r);
    else if (name === "ptmx") {
      unlinkat(dev, name);
      symlinkat(to, dev, name);
    }
  }
}

/** A terminal of the container's own devpts, its slave bound on /dev/console. */
function openConsole(tree: Tree, rows: number, columns: number): void {
  const pts = openat2(tree.root, "/dev/pts", O.PATH | O.DIRECTORY, IN_ROOT);
  if (statfs(pts).type !== DEVPTS_MAGIC) throw new AppError("invalid", "process.terminal needs a devpts file system on /dev/pts");
  const terminal = openPtyAt(pts);
  pts.close();
  tree.terminal = terminal;
  if (rows > 0 && columns > 0) setWindowSize(terminal.master, rows, columns);
  const target = makeFile(tree.root, "/dev/console");
  bind(terminal.slave, target, 0, 0);
  closeNumber(target);
}

function makeReadOnly(root: Fd, path: string): void {
  const target = find(root, path);
  if (target < 0) return;
  const tree = openTree(target, "", OPEN_TREE.CLONE | AT.EMPTY_PATH | AT.RECURSIVE);
  mountSetattr(tree, "", AT.EMPTY_PATH | AT.RECURSIVE, MOUNT_ATTR.RDONLY, 0);
  moveMountFds(tree, target);
  tree.close();
  closeNumber(target);
}

function mask(tree: Tree, path: string): void {
  const target = find(tree.root, path);
  if (target < 0) return;
  if ((modeOf(target) & S.IFMT) === S.IFDIR) tree.coverDirectory(target);
  else bind(tree.nullDevice(), target, 0, 0);
  closeNumber(target);
}

/** Makes the container's root the root of this mount namespace and lets the old one go. See pivot_root(2), NOTES. */
function changeRoot(root: Fd): void {
  const old = open("/", O.PATH | O.DIRECTORY);
  fchdir(root);
  pivotRoot(".", ".");
  fchdir(old);
  umount(".", MNT.DETACH);
  chdir("/");
  old.close();
}

/** Does one step; false when it is not one of the file tree's. */
export function applyToTree(tree: Tree, step: Step): boolean {
  switch (step.do) {
    case "propagation": mount(undefined, "/", undefined, step.flags); break;
    case "root": tree.mountRoot(step.path); break;
    case "mount": mountOne(tree.root, step.mount); break;
    case "cgroup-mount": mountCgroup(tree.root, step.mount, step.fresh, step.v1); break;
    case "node": makeNode(tree, step.node); break;
    case "dev-links": devLinks(tree); break;
    case "console": openConsole(tree, step.rows, step.columns); break;
    case "read-only": makeReadOnly(tree.root, step.path); break;
    case "mask": mask(tree, step.path); break;
    case "remount-read-only": {
      const at = openat2(tree.root, step.at, O.PATH, IN_ROOT);
      mountSetattr(at, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0);
      at.close();
      break;
    }
    case "read-only-root":
      makeCwd(tree.root, step.cwd);
      mountSetattr(tree.root, "", AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0);
      break;
    case "pivot": changeRoot(tree.root); break;
    case "root-propagation": mount(undefined, "/", undefined, step.flags); break;
    default: return false;
  }
  return true;
}
