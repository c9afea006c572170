// What can be done with a container once it is there, with the errors that hosts expect of each call.
import { SIG } from "../abi/flags.js";
import { SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { withReserve } from "../lib/reserve.js";
import type { Container } from "../engine/container.js";
import { mustBe, statusOf } from "../engine/container.js";
import { execProcess as exec } from "../engine/exec.js";
import { pauseContainer as pause, resumeContainer as resume } from "../engine/pause.js";
import { type Claimant, signal, whenEnded } from "../engine/process.js";
import { startContainer as start, watchOom } from "../engine/start.js";
import { collect, keepFor } from "../engine/unclaimed.js";
import type { Process as ProcessSpec, Resources } from "../oci/spec.js";
import type { Sandbox } from "./sandbox.js";

const lost = lazy<typeof import("../engine/lost-signal.js")>("engine/lost-signal.js");

const unknown = (): AppError => new AppError("internal", "Invalid container id");
const unknownArgument = (): AppError => new AppError("invalid", '"invalid container id"');

/** Starts a container's first process and the watch for its running out of memory. */
export async function startContainer(sandbox: Sandbox, id: string): Promise<void> {
  const entry = sandbox.entries.get(id);
  if (entry === undefined) throw unknown();
  await entry.serial.run(async () => {
    const container = sandbox.container(id, unknown); // asked for here: it may be in the making
    mustBe(container, "start", "created");
    if (id !== sandbox.id) watchOom(container, () => sandbox.oom.push(id));
    await start(container);
  });
}

/** Runs a further process for `claimant`; see engine/exec.ts for what it rejects with. */
export async function execProcess(sandbox: Sandbox, id: string, execId: string, spec: ProcessSpec, claimant: Claimant): Promise<void> {
  const container = sandbox.container(id, unknown);
  keepFor(container, await exec(container, execId, spec), claimant);
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
  const { startChannel } = sandbox.container(id, unknown);
  const first = execId === "" || execId === id;
  const waiting = first && startChannel !== undefined;
  const sent = waiting || (first && number === SIG.TERM) ? lost().effective(process.pid, waiting, number) : number; // that which asks for the end must not be lost
  const r = signal(process, sent);
  if (r < 0 && r !== -E.ESRCH) throw new SysError("kill", -r);
}

/** Gives the status to `tell` when the process has ended; a second wait after that finds nothing. Returns how to give up. */
export function waitProcess(sandbox: Sandbox, id: string, execId: string, tell: (status: number) => void): () => void {
  const process = sandbox.process(id, execId);
  const container = sandbox.container(id, unknown);
  return whenEnded(process, (status) => {
    if (!process.collected) collect(container, process); // first: whoever has the status finds nothing of it left
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
  await sandbox.entries.get(id)?.serial.run(() => {
    const status = statusOf(container);
    if (status !== "running" && status !== "created") throw new AppError("internal", `failed to pause container: current status is: ${status}`);
    return pause(container);
  });
}

/** Thaws a paused container, which is then what it was before. */
export async function resumeContainer(sandbox: Sandbox, id: string): Promise<void> {
  const container = sandbox.container(id, unknownArgument);
  await sandbox.entries.get(id)?.serial.run(() => {
    if (container.status !== "paused") throw new AppError("internal", `container status is: ${statusOf(container)}, not paused`);
    return resume(container);
  });
}
