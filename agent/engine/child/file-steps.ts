// Steps on the file tree, in the child, before its root changes: which file does which, what hides or protects parts of the tree,
// and the change of root. How paths below the root are treated is in root-tree.ts. Synchronous; throws what failed.
import { AT, MNT, MOUNT_ATTR, O, OPEN_TREE, S } from "../../abi/flags.js";
import { check } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { closeNumber, type Fd } from "../../sys/fd.js";
import { chdir, fchdir, modeOf, open, openat2 } from "../../sys/file.js";
import { chroot, mount, mountSetattr, moveMountFds, openTree, pivotRoot, tryUmount, umount } from "../../sys/mount.js";
import { lazy } from "../../lib/lazy.js";
import type { Step } from "../../oci/steps.js";
import { devLinks, makeNode, openConsole } from "./devices.js";
import { mountOne } from "./mounts.js";
import { find, IN_ROOT, makeDirectory, type Tree } from "./root-tree.js";

const cgroups = lazy<typeof import("./cgroup-mount.js")>("engine/child/cgroup-mount.js");
const move = lazy<typeof import("./move-root.js")>("engine/child/move-root.js");

/** The working directory, while it can still be made; who enters it says what is wrong with it. */
function makeCwd(root: Fd, cwd: string): void {
  try {
    if (cwd !== "/") closeNumber(makeDirectory(root, cwd));
  } catch {
    // a file is there, or a file system that is read-only
  }
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
  else tree.coverFile(target);
  closeNumber(target);
}

/**
 * Makes the container's root the root of this mount namespace and lets the old one go, with what covers it: what is on top goes first,
 * and nothing of it may stay, since whoever enters the namespace later begins at the topmost. See pivot_root(2), NOTES.
 */
function changeRoot(root: Fd): void {
  const old = open("/", O.PATH | O.DIRECTORY);
  fchdir(root);
  pivotRoot(".", ".");
  fchdir(old);
  umount(".", MNT.DETACH);
  for (let r = 0; r === 0; ) { // until the old root is no mount of this namespace
    r = tryUmount(".", MNT.DETACH);
    if (r !== -E.EINVAL) check("umount2", r);
  }
  chdir("/");
  old.close();
}

function enterRoot(root: Fd): void {
  fchdir(root);
  chroot(".");
  chdir("/");
}

/** Does one step; false when it is not one of the file tree's. */
export function applyToTree(tree: Tree, step: Step): boolean {
  switch (step.do) {
    case "propagation": mount(undefined, "/", undefined, step.flags); break;
    case "root": tree.mountRoot(step.path); break;
    case "mount": mountOne(tree, step); break;
    case "cgroup-mount": cgroups().mountCgroup(tree.root, step); break;
    case "node": makeNode(tree, step.node, step.made); break;
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
    case "move-root": move().moveRoot(tree.root); break;
    case "plain-root": tree.openRoot(step.path); break;
    case "enter-root": enterRoot(tree.root); break;
    case "root-propagation": mount(undefined, "/", undefined, step.flags); break;
    default: return false;
  }
  return true;
}
