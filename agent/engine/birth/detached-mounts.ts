// Copies of mounts that are made before the clone and the child only puts in their places: what a mapped root might not be able to
// reach, what is to stay a peer of the machine's own mounts, and what gets other ids (container-engine 1.4, step 1). They follow paths from
// outside: a command makes them itself, for the agent a helper does.
import { isErrno, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { Fd } from "../../sys/fd.js";
import { AT, fchmodat, fchownat, lstat, mknodat, S } from "../../sys/file.js";
import { fsMount, MOUNT_ATTR, mountSetattr, MS, OPEN_TREE, openTree } from "../../sys/mount.js";
import { NR } from "../../abi/nr.js";
import { AppError, attempt } from "../../lib/errors.js";
import { descriptorsAside } from "../../lib/foreign.js";
import { decimal } from "../../lib/text.js";
import { EXTRA, isBind, type MountPlan, PROPAGATION } from "../../oci/mounts.js";
import type { IdMapping, Linux } from "../../oci/spec.js";
import { describe, type Node, type Step } from "../../oci/steps.js";
import { openNamespace } from "../namespace.js";
import { copyOf } from "../child/root-tree.js";
import { makeUserNamespace, type Maps } from "./user-namespace.js";

export interface Detached {
  /** The steps; those whose mount has been copied say so. */
  readonly steps: readonly Step[];
  /** Closes the copies, once the child has them. */
  close(): void;
}

/** The machine's number of a container's id; undefined when there is none. */
function outside(maps: readonly IdMapping[] = [], id: number): number | undefined {
  const map = maps.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return map === undefined ? undefined : id - map.containerID + map.hostID;
}

const MANY = 256; // mounts beyond which not each is compared with each: all that is in the container's tree is left to the child

/** Binds whose source lies in the container's own tree, where earlier mounts are that only the child will see. */
function builtInside(steps: readonly Step[]): ReadonlySet<Step> {
  let root = "\0";
  const places: string[] = [];
  const found = new Set<Step>();
  for (const step of steps) {
    if (step.do === "root") root = `${step.path}/`;
    if (step.do !== "mount") continue;
    const { source, at } = step.mount;
    if (source.startsWith(root) && (places.length > MANY || places.some((place) => `${place}/`.startsWith(`${source}/`) || `${source}/`.startsWith(`${place}/`)))) found.add(step);
    places.push(root + at.slice(1));
  }
  return found;
}

/** Copies what has to be copied outside. Throws naming the mount; nothing stays open then. */
export function detach(steps: readonly Step[], linux: Linux): Detached {
  const user = linux.namespaces?.find((n) => n.type === "user");
  const shared = ((PROPAGATION[linux.rootfsPropagation ?? ""] ?? 0) & MS.SHARED) !== 0;
  const root = sys(NR.geteuid) === 0; // who may not mount here lets the child do it in its own namespace
  const held: Fd[] = [];
  const close = (): void => held.forEach((fd) => fd.close());
  const namespaces = new Map<string, Fd>();
  const copy = (source: string, flags: number, follow: boolean): Fd => {
    const tree = copyOf(source, flags, follow);
    held.push(tree);
    if (user !== undefined || !shared) mountSetattr(tree, "", AT.EMPTY_PATH | AT.RECURSIVE, 0, 0, MS.SLAVE);
    return tree;
  };
  const idsOf = (plan: MountPlan): Fd => {
    const maps: Maps = plan.maps ?? { uids: linux.uidMappings ?? [], gids: linux.gidMappings ?? [] };
    const key = maps.uids.length === 0 ? user?.path ?? "" : JSON.stringify(maps);
    const known = namespaces.get(key);
    if (known !== undefined) return known;
    const fd = maps.uids.length === 0 ? openNamespace(key) : makeUserNamespace(maps);
    held.push(fd);
    namespaces.set(key, fd);
    return fd;
  };
  const bound = (plan: MountPlan): Fd => {
    const tree = copy(plan.source, plan.flags, (plan.extra & EXTRA.SOURCE_LINK) === 0);
    if ((plan.extra & EXTRA.IDMAP) !== 0) mountSetattr(tree, "", AT.EMPTY_PATH | (plan.extra & EXTRA.RIDMAP ? AT.RECURSIVE : 0), MOUNT_ATTR.IDMAP, 0, 0, idsOf(plan).n);
    return tree;
  };
  let scratch: Fd | undefined;
  let able = root;
  /** A device node on a tmpfs that nobody else sees; undefined where the kernel does not copy from such (before 6.15). */
  const nodeOf = ({ type, mode, major, minor, uid, gid }: Node): number | undefined => {
    const [owner, group] = [outside(linux.uidMappings, uid), outside(linux.gidMappings, gid)];
    if (!able || type === "p" || owner === undefined || group === undefined) return undefined;
    if (scratch === undefined) held.push((scratch = fsMount("tmpfs", [["mode", "0700"]], MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC)));
    const name = `node${held.length}`;
    try {
      mknodat(scratch, name, (type === "b" ? S.IFBLK : S.IFCHR) | mode, major, minor);
      fchmodat(scratch, name, mode);
      fchownat(scratch, name, owner, group);
      const tree = openTree(scratch, name, OPEN_TREE.CLONE);
      held.push(tree);
      return tree.n;
    } catch (error) {
      if (!isErrno(error, E.EINVAL, E.EPERM)) throw error;
      able = false;
      return undefined;
    }
  };
  const built = builtInside(steps);
  const made = (step: Step): Step => {
    if (step.do === "node" && user !== undefined) {
      const node = nodeOf(step.node);
      return node === undefined ? step : { ...step, made: node };
    }
    if (step.do === "root" && user !== undefined && root) return { ...step, made: copy(step.path, MS.REC, true).n };
    if (step.do !== "mount" || !isBind(step.mount) || (step.mount.flags & MS.REMOUNT) !== 0) return step;
    const mapped = (step.mount.extra & EXTRA.IDMAP) !== 0;
    if (mapped && !root) throw new AppError("denied", "only root can map the ids of a mount");
    if (!mapped && (!root || (user === undefined && !shared))) return step;
    if ((step.mount.extra & EXTRA.COPY_LINK) !== 0 && (lstat(step.mount.source).mode & S.IFMT) === S.IFLNK) return step;
    if (!mapped && built.has(step)) return step;
    return { ...step, made: bound(step.mount).n };
  };
  try {
    return { steps: steps.map((step) => (step.do === "mount" || step.do === "root" || step.do === "node" ? attempt(describe(step), () => made(step)) : step)), close };
  } catch (error) {
    close();
    throw error;
  } finally {
    for (const fd of namespaces.values()) fd.close();
  }
}

/** Copies that a helper has made, for a plan that has the same mounts. */
export interface Copies {
  /** The steps with the copies. */
  into(steps: readonly Step[]): Detached;
  close(): void;
}

const COPY_MS = 30_000;
const FD_PATH = "/proc/self/fd/";
type Copied = Extract<Step, { do: "mount" | "root" | "node" }>;
const isCopied = (step: Step): step is Copied => step.do === "mount" || step.do === "root" || step.do === "node";

/** Has a helper make the copies for container `id`. Rejects with what `detach` throws, or with kind "deadline"; nothing stays open then. */
export async function detachAside(id: string, steps: readonly Step[], linux: Linux): Promise<Copies> {
  const user = linux.namespaces?.find((n) => n.type === "user")?.path ?? "";
  const n = user.startsWith(FD_PATH) ? decimal(user.slice(FD_PATH.length)) : undefined;
  const { fds, about } = await descriptorsAside(`copy the mounts of container ${id}`, COPY_MS, (_off) => {
    const made = detach(steps, linux).steps.filter(isCopied).map((step) => step.made);
    return { fds: made.filter((m) => m !== undefined).map((m) => new Fd(m)), about: made.map((m) => m !== undefined) };
  }, n === undefined ? [] : [new Fd(n)]);
  const close = (): void => fds.forEach((fd) => fd.close());
  return {
    close,
    into: (again) => {
      let at = 0;
      let next = 0;
      return { close, steps: again.map((step) => (isCopied(step) && about[at++] === true ? { ...step, made: (fds[next++] as Fd).n } : step)) };
    },
  };
}
