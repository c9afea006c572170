// One control group for one container, on version 2 or version 1: this file says what can be asked of it, finds out which of
// the two the machine has, and holds what both share. Only what is in use is loaded. Sources: cgroups(7), the kernel's
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
import type { Fd } from "../../sys/fd.js";
import { statfs } from "../../sys/file.js";
import { AppError } from "../../lib/errors.js";
import { readText } from "../../lib/fs.js";
import { lazy } from "../../lib/lazy.js";
import { lines } from "../../lib/text.js";
import { cgroupPath } from "../../oci/cgroup.js";
import type { Linux, Resources, Spec } from "../../oci/spec.js";
import type { Stats } from "./stats.js";
import { adoptParents, CGROUP2_MAGIC } from "./files.js";

export interface Cgroup {
  readonly version: 1 | 2;
  /** What `reopenCgroup` finds it by: its path from the root of the hierarchy, or a list of them where they differ. */
  readonly path: string;
  /** Folders above it that `create` made, in full. */
  madeParents(): readonly string[];
  /** Is it paused, by whomever? */
  frozen(): boolean;
  /**
   * Makes the group and sets its limits; undoes itself on failure. Version 2: gives it to a user of the machine,
   * who may then make groups below it; `every` controller that there is is passed on to it, not only the usual ones.
   * Version 1: with `realtime` not in the cpu hierarchy unless a limit asks for it, where a group has no time for such schedulers. Throws AppError naming field or file; "exists" when processes are in it.
   */
  create(resources: Resources | undefined, owner?: number, every?: boolean, realtime?: boolean): void;
  /** Version 2: sets its device rules, which takes a while: to be called when the first process has been born and is busy, before it may run its program. */
  restrictDevices(resources: Resources | undefined): void;
  /**
   * Version 2: the group's folder, to be born in (clone3's CLONE_INTO_CGROUP); the caller closes it. With `like` the group that
   * this process is in now: the container may have moved it further down, after which nobody can enter the group itself.
   */
  dirFd(like?: number): Fd | undefined;
  /** Version 1: the files that a child writes "0" to in order to join; it must have one thread only. */
  procsFiles(): readonly string[];
  /** Version 1: "name:folder" of each hierarchy that the container is in, as a cgroup mount shows them. */
  v1Mounts(): readonly string[] | undefined;
  /** A group that the container has made below its own ("path"; version 1 also "controller,controller:path"), for a further process to join. Throws "not-found". */
  sub(path: string): Cgroup;
  update(resources: Resources): void;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Everybody in it and in the groups below, however many: for a command, whose time it is. */
  pids(): number[];
  /** SIGKILL to everybody, whatever the container has done to its groups (frozen, threaded); they may still be dying when it resolves. */
  killAll(): Promise<void>;
  /** Brings these processes and their descendants back from wherever they have been moved, so that they can die (version 1: what is frozen does not). */
  fetch(pids: readonly number[]): Promise<void>;
  /** What is used; on version 2 also how long was waited for it, when asked for. */
  stats(pressure?: boolean): Stats;
  /** Calls `onOom` once for each process that the kernel killed for want of memory; the answer ends that, after a last look. */
  watchOom(onOom: () => void): () => void;
  /** Removes it at once, when nobody has been in it. */
  removeNow(): void;
  /** Removes it and the groups below, and the parents that were made for it. Waits for those who are dying. Rejects with what stays; it may be called again. */
  remove(): Promise<void>;
}

const v1 = lazy<typeof import("./v1.js")>("engine/cgroup/v1.js");
const v2 = lazy<typeof import("./v2.js")>("engine/cgroup/v2.js");

const place = lazy<typeof import("./strict.js")>("engine/cgroup/strict.js");
const none = lazy<typeof import("./none.js")>("engine/cgroup/none.js");

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
    if (statfs(USUAL).type === CGROUP2_MAGIC) return { version: 2, root: USUAL, mounts };
  } catch {
    // not there: the mount table tells
  }
  let unified: string | undefined;
  for (const line of lines(readText("/proc/self/mountinfo", 4 << 20))) {
    const cut = line.indexOf(" - cgroup");
    if (cut < 0) continue;
    const left = line.slice(0, cut);
    const [type, , options = ""] = line.slice(cut + 3).split(" ");
    const at = left.split(" ")[4] as string;
    if (type === "cgroup2") unified ??= at;
    if (type === "cgroup") for (const option of options.split(",")) if (isHierarchy(option) && (at.startsWith(USUAL) || !mounts.has(option))) mounts.set(option, at);
  }
  if ([...mounts.keys()].some((name) => !name.startsWith("name="))) return { version: 1, root: USUAL, mounts };
  if (unified !== undefined) return { version: 2, root: unified, mounts };
  throw new AppError("precondition", "no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup");
}

/** The group of a container; nothing is made yet. Throws "invalid" for a path that cannot be one. */
export function openCgroup(cgroupsPath: string | undefined, id: string): Cgroup {
  const path = cgroupPath(cgroupsPath, id);
  return hierarchy().version === 2 ? v2().group(path) : v1().group(path);
}

/** Who the container's own group is handed to: with a cgroup namespace of its own and a writable cgroup mount, its user. */
function ownerOf({ process, mounts, linux }: Spec): number | undefined {
  if (!mounts?.some((m) => m.type === "cgroup" && !m.options?.includes("ro")) || !linux?.namespaces?.some((n) => n.type === "cgroup" && !n.path)) return undefined;
  const uid = process?.user.uid ?? 0;
  const { uidMappings: maps = [] } = linux;
  const map = maps.find((m) => uid >= m.containerID && uid - m.containerID < m.size);
  return map === undefined ? (maps.length > 0 ? undefined : uid) : map.hostID + uid - map.containerID;
}

/** Does its process want a real-time scheduler? See sched(7). */
const isRealtime = ({ process }: Spec): boolean => process?.scheduler?.policy === "SCHED_FIFO" || process?.scheduler?.policy === "SCHED_RR";

/**
 * Makes the group of a new container. `strict`, as on a command line: wishes that cannot be honoured are refused, a relative
 * path begins at the caller's group, and who may make no groups goes without one if the configuration asks for no limits.
 */
export function makeCgroup(spec: Spec & { readonly linux: Linux }, id: string, strict: boolean): Cgroup {
  const owner = ownerOf(spec);
  if (strict) return place().makeStrictly(spec.linux, id, owner, isRealtime(spec));
  const cgroup = openCgroup(spec.linux.cgroupsPath, id);
  cgroup.create(spec.linux.resources, owner, false, isRealtime(spec));
  return cgroup;
}

/** The group of a container that another process has made, with the folders that were made above it. */
export function reopenCgroup(path: string, madeParents: readonly string[]): Cgroup {
  if (path === "") return none().NONE;
  adoptParents(madeParents);
  return hierarchy().version === 2 ? v2().group(path) : v1().reopen(path);
}
