// A further process in a container: born in its cgroup, then into its namespaces by the pidfd of its first process, all in one setns;
// its pid namespace only when nothing of the engine's is left of it (last-steps.ts). What the request leaves out (capabilities, limits, filter) is the container's.
import { AT, CLONE } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import { readlinkat } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { AppError, because } from "../lib/errors.js";
import { withPatience } from "../lib/foreign.js";
import { readTextIf } from "../lib/fs.js";
import { checkProcess } from "../oci/check-process.js";
import { lazy } from "../lib/lazy.js";
import { limitSteps, processPlan, type ProcessPlan, scoreSteps, withCallersGroups } from "../oci/plan.js";
import type { Process as ProcessSpec } from "../oci/spec.js";
import type { Step } from "../oci/steps.js";
import { birth } from "./birth/clone-process.js";
import { changeable, mustBe, type Container } from "./container.js";
import { abandon, granted, labelsOf, nextOf, type OwnStreams, processOf, READY_MS, readyForChildren, takeMaster, takeOver, withoutGroups, withScore } from "./birth/newborn.js";
import { limitsOf } from "./template.js";
import { type Channel, inTurn, type Said } from "./handshake.js";
import { pidfdOf, type Process } from "./process.js";
import { forgetProcess } from "./unclaimed.js";

const child = lazy<typeof import("./child/run.js")>("engine/child/run.js");

const resctrl = lazy<typeof import("./resctrl.js")>("engine/resctrl.js");
const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");
const notify = lazy<typeof import("./confine/seccomp-notify.js")>("engine/confine/seccomp-notify.js");
const rare = lazy<typeof import("../oci/schedule.js")>("oci/schedule.js");
const schedule = lazy<typeof import("./child/schedule.js")>("engine/child/schedule.js");

const JOINED = CLONE.NEWNS | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWNET | CLONE.NEWCGROUP;

/** Makes room for `execId`: a process of that name that has been waited for gives it up with its unread output. */
function claim(container: Container, execId: string): void {
  const there = container.processes.get(execId);
  if (there === undefined) return;
  if (!there.collected) throw new AppError("internal", `exec_id '${execId}' already exists`);
  forgetProcess(container, there);
}

function start(container: Container, execId: string, spec: ProcessSpec, limits: ReturnType<typeof limitsOf>, own: OwnStreams | undefined): { process: Process; channel: Channel; done: Promise<void> } {
  const { template, cgroup, init, resctrl: group, judgement } = container;
  const asked = processPlan({ ...template.process, ...spec }, template.linux);
  const plan = { ...(judgement.callersGroups === "honour" ? withCallersGroups(asked, container.annotations) : asked), program: own?.program };
  const withCaps = granted(spec.capabilities === undefined ? { ...plan, caps: { ...template.caps, unknown: [] } } : plan, judgement, template.userNamespace);
  const procs = cgroup.procsFiles();
  const affinity = spec.execCPUAffinity ?? template.process.execCPUAffinity;
  const { initial, final } = affinity === undefined ? { initial: undefined, final: undefined } : rare().affinityOf(affinity);
  const arrive: Step[] = [...(judgement.callersProcessors === "undo" && initial === undefined ? [{ do: "affinity", cpus: undefined } as const] : []), ...(procs.length > 0 ? [{ do: "join-cgroups", paths: procs } as const] : []),
    ...(final === undefined ? [] : [{ do: "affinity", cpus: final } as const]), ...scoreSteps(limits)];
  const labels = labelsOf(spec, judgement);
  if (own === undefined) readyForChildren(template.seccomp, template.pidNamespace);
  // who may not join a pid namespace of its own goes through the user namespace that gives the right
  const unprivileged = template.userNamespace && sys(NR.geteuid) !== 0;
  const user = template.userNamespace && !unprivileged ? CLONE.NEWUSER : 0;
  const pidfd = pidfdOf(init);
  const { runExec } = child();
  const born = birth({
    place: {
      flags: 0, before: initial === undefined ? undefined : () => schedule().beOn(initial),
      ...(unprivileged ? { joined: [{ type: "user", path: `/proc/${init.pid}/ns/user`, kind: CLONE.NEWUSER }] } : {}),
    },
    cgroup, like: init.pid, pipes: plan.terminal || own !== undefined ? undefined : container.pipeSize, ends: own?.streams,
    child: (end, ends) =>
      runExec({ arrive, build: [], limits: limitSteps(limits), process: unprivileged && groupsAreFixed(init.pid) ? withoutGroups(withCaps) : withCaps, channel: end, ends, filter: template.seccomp, keyring: container.newKeyring ? container.id : undefined, labels, hooks: undefined, held: group !== undefined, newUser: template.userNamespace, keep: own?.keep ?? [], stub: judgement.stub === "always", inside: template.pidNamespace ? pidfd : undefined }, pidfd, unprivileged ? others(init.pid) : JOINED + user + (template.timeNamespace ? CLONE.NEWTIME : 0)),
    cloned: ({ pid }, to) => {
      if (group === undefined) return;
      resctrl().addToGroup(group, pid);
      to.tell("go");
    },
  });
  const { channel } = born;
  const process = processOf(execId, born, own);
  channel.program = spec.args[0] ?? "";
  channel.judgement = judgement;
  return { process, channel, done: untilRunning(container, process, channel, own, plan) };
}

const KINDS = { mnt: CLONE.NEWNS, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, net: CLONE.NEWNET, cgroup: CLONE.NEWCGROUP, time: CLONE.NEWTIME };

/** The namespaces of a process that are not the engine's own: without privileges nobody may join those again. */
function others(pid: number): number {
  const is = (who: number | string, name: string): string => readlinkat(AT.FDCWD, `/proc/${who}/ns/${name}`);
  return Object.entries(KINDS).reduce((kinds, [name, kind]) => (is("self", name) === is(pid, name) ? kinds : kinds + kind), 0);
}

/** Has the user namespace of a process given up changing groups? See user_namespaces(7), /proc/pid/setgroups. */
const groupsAreFixed = (pid: number): boolean => readTextIf(`/proc/${pid}/setgroups`)?.startsWith("deny") === true;

async function untilRunning(container: Container, process: Process, channel: Channel, own: OwnStreams | undefined, plan: ProcessPlan): Promise<void> {
  const { pidNamespace: inside, seccomp: filter } = container.template;
  let born = !inside;
  const heard = new Set<Said["say"]>();
  for (;;) {
    const said = await nextOf(process, channel, "exec", withPatience(READY_MS));
    inTurn(said, heard, [plan.terminal && "ready", inside && "born", filter?.listener !== undefined && "notify"]);
    switch (said.say) {
      case "end":
        if (!born) throw new AppError("precondition", "it was killed before its program began");
        return;
      case "ready": takeMaster(process, said.ptmx, own); break;
      case "born":
        takeOver(process, said, own, plan);
        born = true;
        break;
      case "notify": notify().handOver(process, said.fd, filter?.listener, hooks().stateOf(container, "running", container.initPid));
        break;
      case "map": case "open": case "hooks": break; // inTurn has refused them: they belong to a container's first process
    }
    channel.tell(said.say === "ready" && born ? "start" : "go");
  }
}

/** Runs a further process; resolves when its program runs. A missing program, a taken id, a dead container: rejects. */
export async function execProcess(container: Container, execId: string, spec: ProcessSpec, own?: OwnStreams): Promise<Process> {
  mustBe(container, "exec in", "created", "running"); // frozen, it would never get ready
  claim(container, execId);
  try {
    checkProcess(spec, "process", container.judgement);
    const { oomScoreAdj: score, ...unscored } = { ...container.template.limits, ...limitsOf(spec) };
    const { process, channel, done } = withScore(score, container.judgement, (left) => start(container, execId, spec, left && score !== undefined ? { ...unscored, oomScoreAdj: score } : unscored, own));
    const { processes } = changeable(container);
    processes.set(execId, process);
    try {
      await done;
      return process;
    } catch (error) {
      processes.delete(execId);
      await abandon(process, async () => process.streams?.close());
      throw error;
    } finally {
      channel.close();
    }
  } catch (error) {
    throw because(`exec ${execId} in container ${container.id}`, error);
  }
}
