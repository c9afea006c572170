// Which version of control groups the machine has, and where they are mounted. See cgroups(7).
import { MAGIC } from "../../abi/flags.js";
import { statfs } from "../../sys/file.js";
import { AppError } from "../../lib/errors.js";
import { listMounts } from "../../lib/mountinfo.js";

const USUAL = "/sys/fs/cgroup";

export interface Hierarchy {
  readonly version: 1 | 2;
  /** Version 2: where it is mounted. */
  readonly root: string;
  /** Version 1: where each controller is mounted, and each hierarchy without one, by its name ("name=systemd"). */
  readonly mounts: ReadonlyMap<string, string>;
}
let found: Hierarchy | undefined;

/** What a version 1 mount tells besides controllers and its name. See cgroups(7), mount(8), fs/super's own flags. */
const NO_CONTROLLERS = ["rw", "ro", "none", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "sync", "dirsync", "mand", "lazytime", "seclabel"];
const isHierarchy = (option: string): boolean => option.startsWith("name=") || !(option.includes("=") || NO_CONTROLLERS.includes(option));

/** The mounted hierarchy, looked up once: version 2 at its usual place, else version 1's controllers, else version 2 anywhere. */
export function hierarchy(): Hierarchy {
  return (found ??= findHierarchy());
}

function findHierarchy(): Hierarchy {
  const mounts = new Map<string, string>();
  try {
    if (statfs(USUAL).type === MAGIC.CGROUP2_SUPER_MAGIC) return { version: 2, root: USUAL, mounts };
  } catch {
    // not there: the mount table tells
  }
  let unified: string | undefined;
  for (const { fstype, point, options } of listMounts()) {
    if (fstype === "cgroup2") unified ??= point;
    if (fstype === "cgroup") for (const option of options) if (isHierarchy(option) && (point.startsWith(USUAL) || !mounts.has(option))) mounts.set(option, point);
  }
  if ([...mounts.keys()].some((name) => !name.startsWith("name="))) return { version: 1, root: USUAL, mounts };
  if (unified !== undefined) return { version: 2, root: unified, mounts };
  throw new AppError("precondition", "no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup", undefined, "cgroup hierarchy");
}
