// A further process in a container: born in its cgroup and pid namespace, then into its other namespaces by the pidfd of its
// first process, all in one setns. What the request leaves out (capabilities, limits, filter) is the container's.
import { CLONE } from "../sys/process.js";
import { AppError, because } from "../lib/errors.js";
import { checkProcess } from "../oci/check-process.js";
import { lazy } from "../lib/lazy.js";
import { limitSteps, processPlan } from "../oci/plan.js";
import type { Process as ProcessSpec } from "../oci/spec.js";
import type { Step } from "../oci/steps.js";
import { birth } from "./birth.js";
import { mustBe, type Container } from "./container.js";
import { abandon, granted, installer, limitsOf, type OwnStreams, processOf, READY_MS, takeMaster } from "./create.js";
import type { Channel } from "./handshake.js";
import type { Process } from "./process.js";

const child = lazy<typeof import("./child.js")>("engine/child.js");

const resctrl = lazy<typeof import("./resctrl.js")>("engine/resctrl.js");
const rare = lazy<typeof import("../oci/schedule.js")>("oci/schedule.js");
const schedule = lazy<typeof import("./apply-schedule.js")>("engine/apply-schedule.js");

const JOINED = CLONE.NEWNS | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWNET | CLONE.NEWCGROUP;

/** Makes room for `execId`: a process of that name that has been waited for gives it up with its unread output. */
function claim(container: Container, execId: string): void {
  const there = container.processes.get(execId);
  if (there === undefined) return;
  if (!there.collected) throw new AppError("internal", `exec_id '${execId}' already exists`);
  there.streams?.close();
  container.processes.delete(execId);
}

function start(container: Container, execId: string, spec: ProcessSpec, own: OwnStreams | undefined): { process: Process; channel: Channel; done: Promise<void> } {
  const { template, cgroup, init, resctrl: group } = container;
  const plan = processPlan({ ...template.process, ...spec }, template.linux);
  const withCaps = granted(spec.capabilities === undefined ? { ...plan, caps: { ...template.caps, unknown: [] } } : plan, own !== undefined, template.userNamespace);
  const procs = cgroup.procsFiles();
  const affinity = spec.execCPUAffinity ?? template.process.execCPUAffinity;
  const { initial, final } = affinity === undefined ? { initial: undefined, final: undefined } : rare().affinityOf(affinity);
  const steps: Step[] = [...(own !== undefined && initial === undefined ? [{ do: "affinity", cpus: undefined } as const] : []), ...(procs.length > 0 ? [{ do: "join-cgroups", paths: procs } as const] : []),
    ...(final === undefined ? [] : [{ do: "affinity", cpus: final } as const]), ...limitSteps(own === undefined ? template.limits : { ...template.limits, ...limitsOf(spec) })];
  const install = installer(template.seccomp);
  if (own === undefined) child();
  const born = (): ReturnType<typeof birth> => birth({
    place: { flags: 0, pidNamespace: init.pidfd }, cgroup, like: init.pid, pipes: plan.terminal || own !== undefined ? undefined : container.pipeSize,
    child: (end, ends) =>
      child().runExec({ steps, process: withCaps, channel: end, ends, install, hooks: undefined, held: group !== undefined, newUser: false, keep: own?.keep ?? [], stub: own !== undefined }, init.pidfd, template.userNamespace ? JOINED + CLONE.NEWUSER : JOINED),
    cloned: ({ pid }, to) => {
      if (group === undefined) return;
      resctrl().addToGroup(group, pid);
      to.tell("go");
    },
  });
  const { cloned, channel, streams } = initial === undefined ? born() : schedule().onCpus(initial, born);
  const process = processOf(execId, cloned, streams);
  return { process, channel, done: untilRunning(channel, plan.terminal, (n) => takeMaster(process, n, own)) };
}

async function untilRunning(channel: Channel, terminal: boolean, take: (master: number) => void): Promise<void> {
  if (terminal) {
    const said = await channel.next("exec", READY_MS);
    if (said.say !== "ready") throw new AppError("internal", "the child died before it was ready");
    take(said.ptmx);
    channel.tell("start");
  }
  const said = await channel.next("exec", READY_MS);
  if (said.say !== "end") throw new AppError("internal", `the child said ${said.say} out of turn`);
}

/** Runs a further process; resolves when its program runs. A missing program, a taken id, a dead container: rejects. */
export async function execProcess(container: Container, execId: string, spec: ProcessSpec, own?: OwnStreams): Promise<Process> {
  mustBe(container, "exec in", "created", "running"); // frozen, it would never get ready
  claim(container, execId);
  try {
    checkProcess(spec, "process", own !== undefined);
    const { process, channel, done } = start(container, execId, spec, own);
    container.processes.set(execId, process);
    try {
      await done;
      return process;
    } catch (error) {
      container.processes.delete(execId);
      await abandon(process);
      process.streams?.close();
      throw error;
    } finally {
      channel.close();
    }
  } catch (error) {
    throw because(`exec ${execId} in container ${container.id}`, error);
  }
}
