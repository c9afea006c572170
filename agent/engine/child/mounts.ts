// The mounts of a container in the child, each onto a descriptor of its place: binds as detached copies that get their flags before
// anybody sees them, file systems by mount(2) (container-engine 1.3, 1.4). What is seldom asked for is in rare-mounts.ts.
import { MS, O, S } from "../../abi/flags.js";
import { isErrno, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { closeNumber, Fd, fdPath } from "../../sys/fd.js";
import { modeOf, openat2 } from "../../sys/file.js";
import { mount, moveMountFds } from "../../sys/mount.js";
import { AppError } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { EXTRA, isBind, type MountPlan } from "../../oci/mounts.js";
import type { Step } from "../../oci/steps.js";
import { attributes, flag } from "./mount-flags.js";
import { copyOf, find, IN_ROOT, makeDirectory, makeFile, realDirectory, spread, type Tree } from "./root-tree.js";

const others = lazy<typeof import("./proc-of.js")>("engine/child/proc-of.js");
const rare = lazy<typeof import("./rare-mounts.js")>("engine/child/rare-mounts.js");

/** What is done to a mount once it is in its place; `tree` names it where the caller has it open. */
function afterwards(root: Fd, plan: MountPlan, tree?: Fd): void {
  if (plan.propagation.length === 0 && (plan.setRecursive | plan.clearRecursive) === 0) return;
  const mounted = tree ?? openat2(root, plan.at, O.PATH, IN_ROOT);
  spread(mounted, plan);
  if (tree === undefined) mounted.close();
}

/** Is this where proc and sysfs belong, or one of them? */
const isKernels = ({ type, at }: MountPlan): boolean => type === "proc" || type === "sysfs" || at === "/proc" || at === "/sys";

/** The place of a bind; what is bound, looked at by its descriptor, says whether it is made as a file or as a directory. */
function bindTarget(root: Fd, plan: MountPlan, tree: Fd): number {
  const there = plan.extra & EXTRA.DESTINATION_LINK ? find(root, plan.at, O.PATH | O.NOFOLLOW) : -1;
  if (there >= 0) return there;
  if ((modeOf(tree) & S.IFMT) !== S.IFDIR) return makeFile(root, plan.at);
  return isKernels(plan) ? realDirectory(root, plan.at) : makeDirectory(root, plan.at);
}

type Mount = Extract<Step, { do: "mount" }>;

/** A copy of the source as it is among the mounts so far. */
function copySource(tree: Tree, { source, flags, extra }: MountPlan): Fd {
  const follow = (extra & EXTRA.SOURCE_LINK) === 0;
  let opened: Fd | undefined; // closed with all others at the end
  for (;;) {
    try {
      return copyOf(opened ?? source, flags, follow);
    } catch (error) {
      if (tree.parent === undefined) throw error;
      if (isErrno(error, E.EINVAL)) throw new AppError("invalid", "source: something is mounted below it, which a user namespace may not uncover: rbind takes it along");
      if (opened !== undefined || !isErrno(error, E.EACCES)) throw error;
      opened = tree.openForeign(tree.parent, source, follow);
    }
  }
}

function bindOne(tree: Tree, { mount: plan, made, ids }: Mount): void {
  const { root } = tree;
  const copy = made === undefined ? copySource(tree, plan) : new Fd(made); // resolved once: what is looked at is what is mounted
  if (ids !== undefined) rare().mapIds(tree, copy, plan, ids);
  flag(copy, plan);
  const target = bindTarget(root, plan, copy);
  moveMountFds(copy, target);
  closeNumber(target);
  afterwards(root, plan, copy);
  if (plan.at === "/") tree.coverRoot(copy);
  else copy.close();
}

/** Mounts one entry. */
export function mountOne(tree: Tree, step: Mount): void {
  const { root } = tree;
  const { mount: plan } = step;
  if ((plan.flags & MS.REMOUNT) !== 0) return rare().remount(root, plan);
  if ((plan.extra & EXTRA.COPY_LINK) !== 0 && rare().copyLink(root, plan)) return;
  if (isBind(plan)) return bindOne(tree, step);
  let { data } = plan;
  let target = isKernels(plan) ? realDirectory(root, plan.at) : find(root, plan.at);
  if (target < 0) target = makeDirectory(root, plan.at);
  else if (plan.type === "tmpfs" && !data.includes("mode=")) data = `${data}${data === "" ? "" : ","}mode=${(modeOf(target) & 0o7777).toString(8)}`;
  const below = (plan.extra & EXTRA.COPY_UP) !== 0 && plan.type === "tmpfs" ? rare().openBelow(root, plan) : undefined;
  if (plan.type === "proc" && tree.pids !== undefined) {
    using proc = others().procOf(tree.pids, data, attributes(plan.flags, 0).set);
    moveMountFds(proc, target);
  } else try {
    mount(plan.source, fdPath(target), plan.type, plan.flags & ~MS.REC, data);
  } catch (error) {
    if (!(error instanceof SysError && error.errno === E.EPERM && rare().bindOwn(plan, target))) throw error;
  }
  closeNumber(target);
  if (plan.at === "/") tree.coverRoot(undefined);
  if (below !== undefined) rare().copyUp(below, tree.root, plan);
  afterwards(tree.root, plan);
}
