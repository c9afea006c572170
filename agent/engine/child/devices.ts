// Devices and links in the container's /dev, and its terminal, in the child: nodes are made by the descriptor of their folder, which
// was resolved inside the root, so a /dev that an image made a link leads nowhere else (container-engine 1.8, 3.2b).
import { AT, O, RESOLVE, S } from "../../abi/flags.js";
import { check, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { closeNumber, Fd } from "../../sys/fd.js";
import { exists, fchownat, fstat, makedev, open, openat2, symlinkat, unlinkat } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { moveMountFds } from "../../sys/mount.js";
import { setWindowSize } from "../../sys/tty.js";
import { AppError } from "../../lib/errors.js";
import type { Node } from "../../oci/steps.js";
import { openTerminal } from "./terminal.js";
import { bind, copyOf, IN_ROOT, makePlain, split, type Tree } from "./root-tree.js";

const TYPE: { readonly [type: string]: number } = { c: S.IFCHR, u: S.IFCHR, b: S.IFBLK, p: S.IFIFO };

/** Makes a node; `made` is one that the parent has made, which is mounted there instead. */
export function makeNode(tree: Tree, node: Node, made: number | undefined): void {
  const { dir, name } = split(node.path.startsWith("/") ? node.path : `/${node.path}`);
  const parent = tree.folder(dir);
  if (made !== undefined) return putNode(parent, name, new Fd(made));
  const type = TYPE[node.type] ?? S.IFCHR;
  const r = sys(NR.mknodat, parent, name, type | node.mode, makedev(node.major, node.minor)); // the umask is 0 here
  if (r === -E.EEXIST) return sameNode(parent, name, node);
  if (r === -E.EPERM && exists(node.path)) return bindNode(parent, name, node);
  check("mknodat", r);
  if (node.uid !== 0 || node.gid !== 0) fchownat(parent, name, node.uid, node.gid, AT.SYMLINK_NOFOLLOW);
}

/** In a user namespace no node can be made: the agent's own is bound instead, if it is the same device. */
function bindNode(parent: number, name: string, node: Node): void {
  using source = open(node.path, O.PATH | O.NOFOLLOW);
  if (!isNode(source, node)) throw new AppError("internal", `${node.path} is another device here`);
  putNode(parent, name, copyOf(source, 0));
}

function putNode(parent: number, name: string, tree: Fd): void {
  const target = makePlain(parent, name);
  moveMountFds(tree, target);
  closeNumber(target);
  tree.close();
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

export function devLinks(tree: Tree): void {
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
export function openConsole(tree: Tree, rows: number, columns: number): void {
  const pts = openat2(tree.root, "/dev/pts", O.PATH | O.DIRECTORY, IN_ROOT);
  const terminal = openTerminal(pts);
  pts.close();
  tree.terminal = terminal;
  if (rows > 0 && columns > 0) setWindowSize(terminal.master, rows, columns);
  const target = makePlain(tree.folder("/dev"), "console");
  bind(terminal.slave, target, 0, 0);
  closeNumber(target);
}
