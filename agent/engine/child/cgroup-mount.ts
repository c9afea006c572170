// The cgroup file system as a container may see it: its own group as the root, nothing of the others (container-engine 1.5). On version 2 one
// mount; on version 1 a tmpfs with a folder for each hierarchy and links for those that share one.
import { AT, MAGIC, MOUNT_ATTR, MS, O, RESOLVE } from "../../abi/flags.js";
import { isErrno } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { closeNumber, type Fd, fdPath } from "../../sys/fd.js";
import { mkdirat, openat2, statfs, symlinkat } from "../../sys/file.js";
import { mount, mountSetattr, moveMountFds } from "../../sys/mount.js";
import { readText } from "../../lib/fs.js";
import { lines } from "../../lib/text.js";
import type { MountPlan } from "../../oci/mounts.js";
import type { Step } from "../../oci/steps.js";
import { attributes } from "./mount-flags.js";
import { bind, copyOf, IN_ROOT, makeDirectory, spread } from "./root-tree.js";

type CgroupMount = Extract<Step, { do: "cgroup-mount" }>;

/** Mounts afresh where the container has a cgroup namespace, else, or where that may not be, binds the group's folder. */
function mountOr(type: string, target: number, plan: MountPlan, data: string, fresh: boolean, folder: string | undefined): void {
  try {
    if (fresh) return mount("cgroup", fdPath(target), type, plan.flags & ~MS.REC, data);
  } catch (error) {
    if (!isErrno(error, E.EPERM, E.EBUSY)) throw error;
  }
  if (folder !== undefined) return bind(folder, target, plan.flags, plan.cleared);
  // no group of its own: it is in its caller's, which it may see but not change with its caller's rights (CVE-2023-25809)
  const tree = copyOf(callersFolder(), plan.flags | MS.REC);
  mountSetattr(tree, "", AT.EMPTY_PATH | AT.RECURSIVE, attributes(plan.flags, 0).set | MOUNT_ATTR.RDONLY, 0);
  moveMountFds(tree, target);
  tree.close();
}

/** The group that this process is in, where version 2 usually is; all there is where there are others. */
function callersFolder(): string {
  const top = "/sys/fs/cgroup";
  const own = lines(readText("/proc/self/cgroup")).find((line) => line.startsWith("0::"))?.slice(3);
  return own === undefined || statfs(top).type !== MAGIC.CGROUP2_SUPER_MAGIC ? top : top + own;
}

/** Mounts the container's groups. */
export function mountCgroup(root: Fd, { mount: plan, fresh, folder, v1 }: CgroupMount): void {
  const target = makeDirectory(root, plan.at);
  if (v1 === undefined) mountOr("cgroup2", target, plan, plan.data, fresh, folder);
  else mount("tmpfs", fdPath(target), "tmpfs", MS.NOSUID | MS.NODEV | MS.NOEXEC, "mode=555"); // the folder itself is nobody's to write to, as runc has it
  closeNumber(target);
  const base = openat2(root, plan.at, O.PATH | O.DIRECTORY, IN_ROOT);
  for (const entry of v1 ?? []) {
    const cut = entry.indexOf(":");
    const named = entry.startsWith("name=");
    const name = entry.slice(named ? 5 : 0, cut);
    mkdirat(base, name, 0o755);
    const at = openat2(base, name, O.PATH | O.DIRECTORY, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
    mountOr("cgroup", at.n, plan, named ? `none,name=${name}` : name, fresh, entry.slice(cut + 1));
    at.close();
    if (name.includes(",")) for (const one of name.split(",")) symlinkat(name, base, one);
  }
  if (v1 !== undefined) {
    const { set, clear } = attributes(plan.flags, plan.cleared);
    if ((set | clear) !== 0) mountSetattr(base, "", AT.EMPTY_PATH, set & MOUNT_ATTR.RDONLY, 0);
  }
  spread(base, plan);
  base.close();
}
