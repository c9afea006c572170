// What can be asked of one control group of one container, on version 2, on version 1 or without any.
// Sources: cgroups(7), the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
import type { Fd } from "../../sys/fd.js";
import type { Resources } from "../../oci/spec.js";
import type { Stats } from "./stats.js";

/** A watch for processes that the kernel kills for want of memory. */
export interface OomWatch {
  /** Kills that have been told of, and earlier ones. */
  readonly told: number;
  /** Ends it, after a last look. */
  stop(): void;
}

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
  /** How many of its processes the kernel has killed for want of memory since it was made or taken; undefined where nobody counts them. */
  oomKills(): number | undefined;
  /** Calls `onOom` once for each process that the kernel killed for want of memory, from now on or after the first `told`. */
  watchOom(onOom: () => void, told?: number): OomWatch;
  /** Removes it at once, when nobody has been in it. */
  removeNow(): void;
  /** Removes it and the groups below, and the parents that were made for it. Waits for those who are dying. Rejects with what stays; it may be called again. */
  remove(): Promise<void>;
}
