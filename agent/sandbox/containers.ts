// What can be done with a container once it is there, with the errors that hosts expect of each call.
import { SIG } from "../abi/flags.js";
import { SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { withReserve } from "../lib/reserve.js";
import type { Container } from "../engine/container.js";
import { mustBe, statusOf } from "../engine/container.js";
import { execProcess as exec } from "../engine/exec.js";
import { signal, whenEnded, type Process } from "../engine/process.js";
import { startContainer as start } from "../engine/start.js";
import type { Process as ProcessSpec, Resources } from "../oci/spec.js";
import type { Sandbox } from "./sandbox.js";

const lost = lazy<typeof import("../engine/lost-signal.js")>("engine/lost-signal.js");

const unknown = (): AppError => new AppError("internal", "Invalid container id");
const unknownArgument = (): AppError => new AppError("invalid", '"invalid container id"');
/** Processes that were waited for but have unread output, kept for each container at most. */
const KEPT = 8;
/** Executed processes that have ended and that nobody has waited for, of each container; of those whose client is gone fewer. */
const UNCLAIMED = 1024;
const ORPHANS = 64;
/** Those, oldest first, each with the question whether its client is gone. */
const unclaimed = new WeakMap<Container, Map<Process, () => boolean>>();

/** Starts a container's first process and the watch for its running out of memory. */
export async function startContainer(sandbox: Sandbox, id: string): Promise<void> {
  const entry = sandbox.entries.get(id);
  if (entry === undefined) throw unknown();
  await entry.serial.run(async () => {
    const container = sandbox.container(id, unknown); // asked for here: it may be in the making
    mustBe(container, "start", "created");
    if (id !== sandbox.id) container.stopOomWatch ??= container.cgroup.watchOom(() => sandbox.oom.push(id));
    await start(container);
  });
}

/** Runs a further process; see engine/exec.ts for what it rejects with. `orphaned` is asked whether who wanted it is gone. */
export async function execProcess(sandbox: Sandbox, id: string, execId: string, spec: ProcessSpec, orphaned: () => boolean): Promise<void> {
  const container = sandbox.container(id, unknown);
  const process = await exec(container, execId, spec);
  whenEnded(process, () => keepUnclaimed(container, process, orphaned));
}

/** Keeps the status and the output of a process that has ended until somebody asks, and forgets the oldest when there are too many. */
function keepUnclaimed(container: Container, process: Process, orphaned: () => boolean): void {
  if (process.collected || container.processes.get(process.execId) !== process) return;
  let kept = unclaimed.get(container);
  if (kept === undefined) unclaimed.set(container, (kept = new Map()));
  kept.set(process, orphaned);
  if (kept.size <= ORPHANS) return;
  const orphans = [...kept].filter(([, gone]) => gone()).map(([p]) => p);
  const [oldest] = orphans.length > ORPHANS ? orphans : kept.size > UNCLAIMED ? kept.keys() : [];
  if (oldest === undefined) return;
  log(Level.WARN, `process ${oldest.execId} of container ${container.id} has ended and nobody has asked for it: it is forgotten, others need the room`, { status: oldest.status });
  forget(container, oldest);
}

/** Sends a signal; execId "" with SIGKILL reaches every process of the container. One that has ended already is no error. */
export async function signalProcess(sandbox: Sandbox, id: string, execId: string, number: number): Promise<void> {
  if (execId === "" && number === SIG.KILL) {
    const container = sandbox.container(id, unknown);
    for (const process of container.processes.values()) signal(process, SIG.KILL);
    await withReserve(() => container.cgroup.killAll());
    return;
  }
  const process = sandbox.process(id, execId);
  const { gate } = sandbox.container(id, unknown);
  const first = execId === "" || execId === id;
  const waiting = first && gate !== undefined;
  const sent = waiting || (first && number === SIG.TERM) ? lost().effective(process.pid, waiting, number) : number; // that which asks for the end must not be lost
  const r = signal(process, sent);
  if (r < 0 && r !== -E.ESRCH) throw new SysError("kill", -r);
}

function forget(container: Container, process: Process): void {
  unclaimed.get(container)?.delete(process);
  process.streams?.close();
  if (container.processes.get(process.execId) === process) container.processes.delete(process.execId);
}

/** A process that has been waited for stays while it has unread output, and no longer than others need the room. */
function collected(container: Container, process: Process): void {
  process.collected = true;
  unclaimed.get(container)?.delete(process);
  if (process.streams === undefined || !process.streams.pending()) return forget(container, process);
  process.streams.onDrained = () => forget(container, process);
  const kept = [...container.processes.values()].filter((p) => p.collected);
  if (kept.length > KEPT) forget(container, kept[0] as Process);
}

/** Gives the status to `tell` when the process has ended; a second wait after that finds nothing. Returns how to give up. */
export function waitProcess(sandbox: Sandbox, id: string, execId: string, tell: (status: number) => void): () => void {
  const process = sandbox.process(id, execId);
  const container = sandbox.container(id, unknown);
  return whenEnded(process, (status) => {
    if (!process.collected) collected(container, process); // first: whoever has the status finds nothing of it left
    tell(status);
  });
}

/** Changes limits; nothing happens without resources. Rejects with AppError naming field or file. */
export async function updateContainer(sandbox: Sandbox, id: string, resources: Resources | undefined): Promise<void> {
  const container = sandbox.container(id, unknownArgument);
  if (resources !== undefined) container.cgroup.update(resources);
}

/** What the container uses now. */
export function statsContainer(sandbox: Sandbox, id: string): ReturnType<Container["cgroup"]["stats"]> {
  return sandbox.container(id, unknownArgument).cgroup.stats();
}

/** Freezes every process; resolves when all of them rest. Rejects unless the container is created or running. */
export async function pauseContainer(sandbox: Sandbox, id: string): Promise<void> {
  const container = sandbox.container(id, unknownArgument);
  await sandbox.entries.get(id)?.serial.run(async () => {
    const status = statusOf(container);
    if (status !== "running" && status !== "created") throw new AppError("internal", `failed to pause container: current status is: ${status}`);
    container.pausedFrom = status;
    container.status = "paused"; // from now on: a process that is born while the others come to rest would keep them from it
    try {
      await container.cgroup.freeze();
    } catch (error) {
      container.status = status;
      throw error;
    }
  });
}

/** Thaws a paused container, which is then what it was before. */
export async function resumeContainer(sandbox: Sandbox, id: string): Promise<void> {
  const container = sandbox.container(id, unknownArgument);
  await sandbox.entries.get(id)?.serial.run(async () => {
    if (container.status !== "paused") throw new AppError("internal", `container status is: ${statusOf(container)}, not paused`);
    await container.cgroup.thaw();
    container.status = container.pausedFrom ?? "running";
  });
}

