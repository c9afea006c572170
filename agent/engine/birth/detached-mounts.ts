// What the parent does for a container's mounts. Before the clone: copies that are to stay peers of the machine's own mounts, device nodes
// for a mapped root, and the user namespaces whose ids mounts get (container-engine 1.4, step 1). They follow paths from outside: a command
// makes them itself, for the agent a helper does. After it: what a mapped root may not do, when it asks. It copies all else itself, in its
// own mount namespace, where the kernel has locked the flags of the machine's mounts and hides the files of mount namespaces.
import { AT, MOUNT_ATTR, MS, O, OPEN_TREE, RESOLVE, S } from "../../abi/flags.js";
import { isErrno, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { Fd, fdPath } from "../../sys/fd.js";
import { fchmodat, fchownat, lstat, mknodat, openat2, openat2Raw, readlinkat } from "../../sys/file.js";
import { fsMount, mountSetattr, openTree } from "../../sys/mount.js";
import { NR } from "../../abi/nr.js";
import { pidfdGetfd } from "../../sys/process.js";
import { sendFds } from "../../sys/socket.js";
import { AppError, attempt, because } from "../../lib/errors.js";
import { descriptorsAside } from "../../lib/foreign.js";
import { decimal } from "../../lib/text.js";
import { cleanPath } from "../../oci/field.js";
import { hostId } from "../../oci/id-maps.js";
import { EXTRA, isBind, type MountPlan, PROPAGATION } from "../../oci/mounts.js";
import type { Linux } from "../../oci/spec.js";
import { describe, type Node, type Step } from "../../oci/steps.js";
import type { Ask, Channel } from "../handshake.js";
import { openNamespace } from "../namespace.js";
import { copyOf } from "../child/root-tree.js";
import { makeUserNamespace, type Maps } from "./user-namespace.js";

export interface Detached {
  /** The steps; those whose mount has been copied say so. */
  readonly steps: readonly Step[];
  /** Closes the copies, once the child has them. */
  close(): void;
}

const mapIds = (tree: Fd, how: number, ids: Fd): void => mountSetattr(tree, "", how, MOUNT_ATTR.IDMAP, 0, 0, ids.n);
const isBelow = (path: string, folder: string): boolean => folder === "/" || `${path}/`.startsWith(`${folder}/`);

/** Where a path leads from outside; where that is nowhere yet, the path itself. */
function real(path: string, follow = true): string {
  const n = openat2Raw(AT.FDCWD, path, follow ? O.PATH : O.PATH | O.NOFOLLOW, 0);
  if (n < 0) return cleanPath(path);
  using fd = new Fd(n);
  return readlinkat(AT.FDCWD, fdPath(fd));
}

/** Makes device nodes on a tmpfs that nobody else sees; undefined where the kernel does not copy from such (before 6.15). What it opens is `held`. */
function nodeMaker({ uidMappings = [], gidMappings = [] }: Linux, held: Fd[], root: boolean): (node: Node) => number | undefined {
  let scratch: Fd | undefined;
  let able = root;
  return ({ type, mode, major, minor, uid, gid }) => {
    const [owner, group] = [hostId(uidMappings, uid), hostId(gidMappings, gid)];
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
}

/** Copies what has to be copied outside. Throws naming the mount; nothing stays open then. */
export function detach(steps: readonly Step[], linux: Linux): Detached {
  const user = linux.namespaces?.find((n) => n.type === "user");
  const shared = ((PROPAGATION[linux.rootfsPropagation ?? ""] ?? 0) & MS.SHARED) !== 0;
  const root = sys(NR.geteuid) === 0; // who may not mount here lets the child do it in its own namespace
  const held: Fd[] = [];
  const close = (): void => held.forEach((fd) => fd.close());
  const namespaces = new Map<string, Fd>();
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
  const nodeOf = nodeMaker(linux, held, root);
  let inside: string | undefined; // the container's tree, once something is mounted in it that only the child will see
  let path = "";
  const made = (step: Step): Step => {
    if (step.do === "node" && user !== undefined) {
      const node = nodeOf(step.node);
      return node === undefined ? step : { ...step, made: node };
    }
    if (step.do === "root") ({ path } = step);
    if (step.do !== "mount") return step;
    const { mount } = step;
    const tree = inside;
    inside ??= real(path);
    if (!isBind(mount) || (mount.flags & MS.REMOUNT) !== 0) return step;
    const mapped = (mount.extra & EXTRA.IDMAP) !== 0;
    if (mapped && !root) throw new AppError("denied", "only root can map the ids of a mount");
    const peer = root && shared && user === undefined;
    if (!mapped && !peer) return step;
    const follow = (mount.extra & EXTRA.SOURCE_LINK) === 0;
    if ((mount.extra & EXTRA.COPY_LINK) !== 0 && (lstat(mount.source).mode & S.IFMT) === S.IFLNK) return step;
    if (!peer || (tree !== undefined && isBelow(real(mount.source, follow), tree))) return mapped ? { ...step, ids: idsOf(mount).n } : step;
    const copy = copyOf(mount.source, mount.flags, follow);
    held.push(copy);
    if (mapped) mapIds(copy, AT.EMPTY_PATH | (mount.extra & EXTRA.RIDMAP ? AT.RECURSIVE : 0), idsOf(mount));
    return { ...step, made: copy.n };
  };
  try {
    return { steps: steps.map((step) => (isCopied(step) || step.do === "root" ? attempt(describe(step), () => made(step)) : step)), close };
  } catch (error) {
    close();
    throw error;
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
type Copied = Extract<Step, { do: "mount" | "node" }>;
const isCopied = (step: Step): step is Copied => step.do === "mount" || step.do === "node";

/** Has a helper make the copies for container `id`. Rejects with what `detach` throws, or with kind "deadline"; nothing stays open then. */
export async function detachAside(id: string, steps: readonly Step[], linux: Linux): Promise<Copies> {
  const user = linux.namespaces?.find((n) => n.type === "user")?.path ?? "";
  const n = user.startsWith(FD_PATH) ? decimal(user.slice(FD_PATH.length)) : undefined;
  const { fds, about } = await descriptorsAside(`copy the mounts of container ${id}`, COPY_MS, (_off) => {
    const { steps: done } = detach(steps, linux);
    const made = done.filter(isCopied).map((step) => step.made ?? ("ids" in step ? step.ids : undefined));
    return { fds: made.filter((m) => m !== undefined).map((m) => new Fd(m)), about: done.filter(isCopied).map((step) => (step.made !== undefined ? "made" : "ids" in step ? "ids" : "")) };
  }, n === undefined ? [] : [new Fd(n)]);
  const close = (): void => fds.forEach((fd) => fd.close());
  return {
    close,
    into: (again) => {
      let at = 0;
      let next = 0;
      return { close, steps: again.map((step) => {
        const what = isCopied(step) ? about[at++] : "";
        return what ? { ...step, [what]: (fds[next++] as Fd).n } : step;
      }) };
    },
  };
}

/**
 * Answers a child, whose descriptors the numbers are: its copy of mounts gets the ids of a user namespace (mount_setattr(2),
 * MOUNT_ATTR_IDMAP), or a path is opened in a helper. Rejects naming it.
 */
export async function answer(child: Fd, startChannel: Channel, ask: Ask): Promise<void> {
  using own = pidfdGetfd(child, ask.say === "map" ? ask.tree : ask.base);
  try {
    if (ask.say === "map") {
      using ids = pidfdGetfd(child, ask.ids);
      mapIds(own, ask.how, ids);
      return sendFds(startChannel.fd, new Uint8Array(1), [own]);
    }
    const { path, follow } = ask;
    const { fds: [fd] } = await descriptorsAside(`open ${path}`, COPY_MS, (_off) => ({ fds: [openat2(own, path, follow ? O.PATH : O.PATH | O.NOFOLLOW, RESOLVE.IN_ROOT)], about: null }), [own]);
    using source = fd as Fd;
    sendFds(startChannel.fd, new Uint8Array(1), [source]);
  } catch (error) {
    throw because(`mounts: ${ask.path}`, error);
  }
}
