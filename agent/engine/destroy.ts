// The end of a container: every process killed and reaped, streams closed, cgroup removed.
import { SIG } from "../abi/flags.js";
import { withDeadline } from "../lib/async.js";
import { messageOf } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { changeable, type Container } from "./container.js";
import { signal, whenEnded, type Process } from "./process.js";

const resctrl = lazy<typeof import("./resctrl.js")>("engine/resctrl.js");
const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");
const KILL_MS = 10_000;
const PATIENCE_MS = 1000;

function gone(process: Process): Promise<void> {
  return new Promise((done) => whenEnded(process, () => done()));
}

/** Waits until all have been reaped. Who does not end though it has been killed may be frozen somewhere else. Rejects with "deadline". */
async function allGone({ id, cgroup }: Container, all: readonly Process[]): Promise<void> {
  const ends = Promise.all(all.map(gone));
  const inTime = await withDeadline("", PATIENCE_MS, ends).then(() => true, () => false);
  if (inTime) return;
  const left = all.filter((process) => process.status === undefined);
  await attemptTo(id, "fetch what does not end", () => cgroup.fetch(left.map(({ pid }) => pid)));
  await withDeadline(`end the processes of container ${id}`, KILL_MS, ends);
}

/** A failure is only logged: what it leaves is found by what comes after. */
async function attemptTo(id: string, what: string, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    log(Level.WARN, `${what}, of container ${id}: ${messageOf(error)}`, { cid: id });
  }
}

/**
 * Kills what still runs and waits until all of it has been reaped; who waits for a process gets its status first. Rejects with what
 * stays and why; then it may be called again, and goes on where it stopped.
 */
export async function destroyContainer(container: Container): Promise<void> {
  const own = changeable(container);
  own.oomWatch?.stop();
  own.oomWatch = undefined;
  const all = [...container.processes.values()];
  if (!container.processes.has(container.id)) all.push(container.init);
  for (const process of all) signal(process, SIG.KILL);
  own.startChannel?.close(); // after the signal: one that waits for its start would see this and end by itself, with another status
  own.startChannel = undefined;
  await attemptTo(container.id, "kill everybody in the cgroup", () => container.cgroup.killAll());
  await allGone(container, all);
  for (const process of all) process.streams?.close();
  own.processes.clear();
  own.unclaimed.clear();
  own.status = "stopped";
  await container.cgroup.remove();
  if (container.resctrl !== undefined) resctrl().removeGroups(container.resctrl.made);
  if (container.hooks?.poststop?.length) await hooks().runHooks("poststop", container.hooks.poststop, hooks().stateOf(container, "stopped", 0), container.judgement, true);
}
