// The end of a container: its processes are killed and reaped, its cgroup, folder and storages go. A second removal of the
// same name finds nothing. What cannot be removed is logged and left; the name is free again in any case.
import { AppError, messageOf } from "../lib/errors.js";
import { withDeadline } from "../lib/async.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { destroyContainer } from "../engine/destroy.js";
import { removeContainerDir, type Entry, type Sandbox } from "./sandbox.js";

const storage = lazy<typeof import("../storage/mount-all.js")>("storage/mount-all.js");

async function remove(sandbox: Sandbox, entry: Entry): Promise<void> {
  if (entry.container !== undefined) await destroyContainer(entry.container);
  if (sandbox.pidNsOf === entry.id) {
    sandbox.pidNs?.close(); // it died with its first process: the next container begins a new one
    sandbox.pidNs = undefined;
    sandbox.pidNsOf = "";
  }
  const tidy = async (what: string, step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      log(Level.WARN, `removing container ${entry.id}: ${what}: ${messageOf(error)}`, { cid: entry.id });
    }
  };
  if (entry.storages.length > 0) await tidy("release its storages", () => storage().releaseAll(entry.storages, sandbox.storages));
  await tidy("remove its folder", () => removeContainerDir(entry.id));
  if (sandbox.entries.get(entry.id) === entry) sandbox.entries.delete(entry.id);
}

/** Removes a container; with `timeoutMs` > 0 it rejects after that time and goes on in the background. */
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

/** Removes every container, for the end of the sandbox; errors are logged. */
export async function removeAll(sandbox: Sandbox): Promise<void> {
  const all = [...sandbox.entries.values()].map((entry) => entry.serial.run(() => remove(sandbox, entry)).catch((error: unknown) => {
    log(Level.ERROR, `cannot remove container ${entry.id}: ${messageOf(error)}`, { cid: entry.id });
  }));
  await Promise.all(all);
}
