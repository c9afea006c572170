// The end of a container: every process killed and reaped, streams closed, cgroup removed.
import { SIG } from "../sys/poll.js";
import { withDeadline } from "../lib/async.js";
import { messageOf } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import type { Container } from "./container.js";
import { signal, whenEnded, type Process } from "./process.js";

const resctrl = lazy<typeof import("./resctrl.js")>("engine/resctrl.js");
const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");
const KILL_MS = 10_000;

function gone(process: Process): Promise<void> {
  return new Promise((done) => whenEnded(process, () => done()));
}

/** Kills what still runs and waits until all of it has been reaped; who waits for a process gets its status first. */
export async function destroyContainer(container: Container): Promise<void> {
  container.stopOomWatch?.();
  const all = [...container.processes.values()];
  if (!container.processes.has(container.id)) all.push(container.init);
  for (const process of all) signal(process, SIG.KILL);
  container.gate?.close(); // after the signal: one that waits for its start would see this and end by itself, with another status
  container.gate = undefined;
  try {
    await container.cgroup.killAll();
  } catch (error) {
    log(Level.WARN, `kill what is left in the cgroup of ${container.id}: ${messageOf(error)}`, { cid: container.id });
  }
  await withDeadline(`end the processes of container ${container.id}`, KILL_MS, Promise.all(all.map(gone)));
  for (const process of all) process.streams?.close();
  container.processes.clear();
  container.status = "stopped";
  await container.cgroup.remove();
  if (container.resctrl !== undefined) resctrl().removeGroups(container.resctrl.made);
  if (container.hooks?.poststop?.length) await hooks().runHooks("poststop", container.hooks.poststop, hooks().stateOf(container, "stopped", 0), container.command, true);
}
