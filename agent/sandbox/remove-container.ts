// The end of a container: its processes are killed and reaped, its cgroup, storages and folder go. What cannot be removed is told
// as the call's error, and the container stays known until nothing of it is left: the call may be repeated.
import { AppError, messageOf } from "../lib/errors.js";
import { withDeadline } from "../lib/async.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { withReserve } from "../lib/reserve.js";
import { destroyContainer } from "../engine/destroy.js";
import { removeContainerDir, type Entry, type Sandbox } from "./sandbox.js";

const storage = lazy<typeof import("../storage/mount-all.js")>("storage/mount-all.js");

function remove(sandbox: Sandbox, entry: Entry): Promise<void> {
  return withReserve(() => take(sandbox, entry));
}

/** A second call goes on with what is left: others may use the same mount points, and each user gives them back once. */
function release(sandbox: Sandbox, entry: Entry): Promise<void> {
  if (entry.released === true) return storage().settledAt(entry.storages);
  entry.released = true;
  return storage().releaseAll(entry.storages, sandbox.storages);
}

async function take(sandbox: Sandbox, entry: Entry): Promise<void> {
  if (entry.container !== undefined) await destroyContainer(entry.container);
  entry.container = undefined; // a second call goes on behind this
  if (sandbox.pidNsOf === entry.id) {
    sandbox.pidNs?.close(); // it died with its first process: the next container begins a new one
    sandbox.pidNs = undefined;
    sandbox.pidNsOf = "";
  }
  const left: string[] = [];
  const tidy = async (what: string, step: () => Promise<void>): Promise<boolean> => {
    try {
      await step();
      return true;
    } catch (error) {
      left.push(`${what}: ${messageOf(error)}`);
      return false;
    }
  };
  if (entry.storages.length > 0 && await tidy("release its storages", () => release(sandbox, entry))) entry.storages = [];
  await tidy("remove its folder", () => removeContainerDir(entry.id));
  if (left.length > 0) throw new AppError("internal", `remove container ${entry.id}: ${left.join("; ")}`);
  if (sandbox.entries.get(entry.id) === entry) sandbox.entries.delete(entry.id);
}

/** Removes a container. Rejects with what stays of it and why; with `timeoutMs` > 0 also after that time, and goes on in the background. */
export async function removeContainer(sandbox: Sandbox, id: string, timeoutMs: number): Promise<void> {
  const entry = sandbox.entries.get(id);
  if (entry === undefined) throw new AppError("internal", "Invalid container id");
  const done = entry.serial.run(async () => {
    if (sandbox.entries.get(id) !== entry) throw new AppError("internal", "Invalid container id");
    await remove(sandbox, entry);
  });
  if (timeoutMs === 0) return done;
  return withDeadline("RemoveContainer", timeoutMs, done).catch((error: unknown) => {
    throw error instanceof AppError && error.kind === "deadline" ? new AppError("internal", "ETIME: Timer expired") : error;
  });
}

/** Removes every container, for the end of the sandbox. Rejects when all have been tried, with the reasons of those that stay. */
export async function removeAll(sandbox: Sandbox): Promise<void> {
  const reasons: string[] = [];
  await Promise.all([...sandbox.entries.values()].map((entry) => entry.serial.run(() => remove(sandbox, entry)).catch((error: unknown) => {
    log(Level.ERROR, `cannot remove container ${entry.id}: ${messageOf(error)}`, { cid: entry.id });
    reasons.push(messageOf(error));
  })));
  if (reasons.length > 0) throw new AppError("internal", reasons.join("; "));
}
