// A child that is born in namespaces of others, or with other CPUs than the engine's: a helper goes there and makes the child, whose other
// new namespaces then belong to a user namespace that the helper has joined. So the engine never has to come back from anywhere, which
// could fail. The child is the engine's own all the same (CLONE_PARENT). See setns(2).
import { CLONE } from "../../abi/flags.js";
import { check, isErrno, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import type { Fd } from "../../sys/fd.js";
import { pipe, read, writeAll } from "../../sys/file.js";
import { clone3, type Cloned, exitGroup, pidfdOpen, setns } from "../../sys/process.js";
import { waitFor } from "../../sys/wait.js";
import { AppError, attempt, messageOf } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { decimal } from "../../lib/text.js";
import { openNamespace, type SpawnPlace } from "../namespace.js";

const user = lazy<typeof import("./user-namespace.js")>("engine/birth/user-namespace.js");

/** Joins what it may, then the user namespace, then what only that gives the right to (container-engine 2.3). */
function joinAll({ joined = [], maps }: SpawnPlace, opened: readonly Fd[]): void {
  const later: (() => void)[] = [];
  const enter = (fd: Fd, kind: number, name: string): void => attempt(name, () => setns(fd, kind));
  joined.forEach(({ type, path, kind }, i) => {
    if (type !== "user") joinOr(later, () => enter(opened[i] as Fd, kind, `join the ${type} namespace ${path}`));
  });
  joined.forEach(({ type, path, kind }, i) => {
    if (type === "user") enter(opened[i] as Fd, kind, `join the user namespace ${path}`);
  });
  if (maps !== undefined) user().checkMaps(maps);
  for (const join of later) join();
}

function joinOr(later: (() => void)[], join: () => void): void {
  try {
    join();
  } catch (error) {
    if (!(error instanceof AppError && isErrno(error.why, E.EPERM))) throw error;
    later.push(join);
  }
}

/** Clones by way of a helper; the child runs `child` and never comes back. Throws AppError with what the helper says. */
export function spawnInside(place: SpawnPlace, child: () => never): Cloned {
  const answer = pipe();
  const opened = (place.joined ?? []).map(({ path }) => openNamespace(path));
  try {
    const helper = clone3(0, place.before === undefined ? place.cgroup : undefined);
    if (helper === 0) help(place, opened, answer.write, child);
    if (typeof helper === "number") throw new SysError("clone3", -helper);
    answer.write.close();
    const bytes = new Uint8Array(4096);
    const said = native.utf8Decode(bytes, 0, read(answer.read, bytes)) ?? "";
    check("wait4", waitFor(helper.pid));
    helper.pidfd.close();
    const pid = decimal(said);
    if (said.startsWith("-")) throw new SysError("clone3", Number(said.slice(1)));
    if (pid === undefined) throw new AppError("internal", said || "the helper that makes the child died");
    return { pid, pidfd: pidfdOpen(pid) };
  } finally {
    for (const fd of [...opened, answer.read, answer.write]) fd.close();
  }
}

function help(place: SpawnPlace, opened: readonly Fd[], answer: Fd, child: () => never): never {
  try {
    place.before?.();
    joinAll(place, opened);
    const made = clone3(place.flags + CLONE.PARENT, place.cgroup);
    if (made === 0) child();
    writeAll(answer, String(typeof made === "number" ? made : made.pid));
  } catch (error) {
    writeAll(answer, messageOf(error));
  } finally {
    exitGroup(127);
  }
}
