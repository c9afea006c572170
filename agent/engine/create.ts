// The parent's half of a container's birth: check, cgroup, first process, and the wait until it is ready, which goes through
// the loop. Whatever was made is unmade when a later part fails; errors name the container and the step.
import { because, AppError } from "../lib/errors.js";
import { withPatience } from "../lib/foreign.js";
import { lazy } from "../lib/lazy.js";
import { checkSpec, type Machine } from "../oci/check.js";
import type { Spec } from "../oci/spec.js";
import type { Cgroup } from "./cgroup/group.js";
import { makeCgroup } from "./cgroup/open.js";
import { changeable, type Container, type Filter, type ResctrlGroup, TERMINATION_PATH } from "./container.js";
import { copiesFor, type CreateArgs, type Started, startChild, subject } from "./birth/first-process.js";
import { type Channel, inTurn, type Said } from "./handshake.js";
import { abandon, filterOf, processOf, READY_MS, takeMaster, takeOver, withScore } from "./birth/newborn.js";
import { pidfdOf, type Process } from "./process.js";
import { startHooksOf, templateOf } from "./template.js";

const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");
const labels = lazy<typeof import("./confine/labels.js")>("engine/confine/labels.js");
const notify = lazy<typeof import("./confine/seccomp-notify.js")>("engine/confine/seccomp-notify.js");
const machine = lazy<typeof import("./birth/own-namespaces.js")>("engine/birth/own-namespaces.js");
const detached = lazy<typeof import("./birth/detached-mounts.js")>("engine/birth/detached-mounts.js");
const resctrl = lazy<typeof import("./resctrl.js")>("engine/resctrl.js");
const limits = lazy<typeof import("./birth/limits-from-outside.js")>("engine/birth/limits-from-outside.js");

const MACHINE: Machine = { has: (type) => machine().has(type), isOwn: (type, path) => machine().isOwn(type, path) };

async function untilReady(args: CreateArgs, cgroup: Cgroup, startChannel: Channel, process: Process, { late, traits, inside }: Started, filter: Filter | undefined): Promise<void> {
  const next = (): ReturnType<Channel["next"]> => startChannel.next(`container ${args.id}`, args.judgement.patience === "endless" ? Infinity : withPatience(READY_MS));
  let ready = false, born = !inside;
  const heard = new Set<Said["say"]>();
  while (!ready || !born) {
    const said = await next();
    inTurn(said, heard, [heard.size === 0 && "map", heard.size === 0 && "open", "ready", inside && "born", filter?.listener !== undefined && "notify", !heard.has("born") && "hooks"]);
    switch (said.say) {
      case "map": case "open":
        await detached().answer(pidfdOf(process), startChannel, said);
        heard.delete(said.say); // it may ask again
        continue;
      case "ready":
        ready = true;
        if (said.ptmx >= 0) takeMaster(process, said.ptmx, args.own);
        break;
      case "born":
        takeOver(process, said, args.own, { traits });
        born = true;
        break;
      case "notify": notify().handOver(process, said.fd, filter?.listener, hooks().stateOf(subject(args), "creating", process.pid)); break;
      case "hooks": await runOutside(args, process.pid); break;
      default: throw died(args.spec, cgroup);
    }
    if (said.say !== "ready" || !born) startChannel.tell("go"); // one that is ready and where it belongs waits for "start"
  }
  if (late.length > 0) limits().limitFromOutside(process.pid, late);
}

/** The kernel kills a child that its group has no memory for, and counts that before it does it (cgroup-v2.rst, memory.events). */
function died({ linux }: Spec, cgroup: Cgroup): AppError {
  const what = "the child died before it was ready";
  if ((cgroup.oomKills() ?? 0) === 0) return new AppError("internal", what);
  const limit = linux?.resources?.memory?.limit ?? -1;
  return new AppError("internal", limit < 0 ? `${what}: there was no memory for it` : `linux.resources.memory.limit: ${what}: ${limit} bytes are too few for it`);
}

async function runOutside(args: CreateArgs, pid: number): Promise<void> {
  const { judgement } = args;
  const state = hooks().stateOf(subject(args), "creating", pid);
  for (const kind of ["prestart", "createRuntime"] as const) {
    // prestart hooks were part of `start` once, and other runtimes' hooks and the validation suite still want `created`
    await hooks().runHooks(kind, args.spec.hooks?.[kind] ?? [], kind === "prestart" ? { ...state, status: judgement.prestartStatus } : state, judgement);
  }
}

/**
 * Makes a container: afterwards its first process is ready and waits for `startContainer`. Rejects with AppError, kind
 * "invalid" for what the spec asks wrongly; nothing is left behind then.
 */
export async function createContainer(args: CreateArgs): Promise<Container> {
  const { spec, id, judgement } = args;
  try {
    checkSpec(spec, args.own === undefined ? undefined : MACHINE, judgement);
    const mountLabel = spec.linux.mountLabel ? labels().mountLabelOf(spec, judgement) : undefined;
    const filter = filterOf(spec.linux.seccomp);
    const cgroup = makeCgroup(spec, id, judgement);
    let group: ResctrlGroup | undefined;
    let process: Process | undefined;
    let startChannel: Channel | undefined;
    let copies: Awaited<ReturnType<typeof copiesFor>>;
    try {
      if (spec.linux.intelRdt !== undefined) group = resctrl().openGroup(id, spec.linux.intelRdt);
      const { oomScoreAdj: score, ...unscored } = spec.process;
      if (args.own === undefined) copies = await copiesFor({ ...args, mountLabel }, spec, cgroup);
      const started = withScore(score, judgement, (left) => startChild({ ...args, mountLabel, copies }, left ? spec : { ...spec, process: unscored }, cgroup, group, filter));
      startChannel = started.channel;
      startChannel.program = spec.process.args[0] ?? "";
      startChannel.judgement = judgement;
      process = processOf(id, started, args.own);
      cgroup.restrictDevices(spec.linux.resources);
      const container = record(args, cgroup, group, process, startChannel, filter);
      args.born?.(container);
      if (started.held !== undefined) {
        await started.held();
        startChannel.tell("go");
      }
      await untilReady(args, cgroup, startChannel, process, started, filter);
      changeable(container).initPid = process.pid;
      return container;
    } catch (error) {
      startChannel?.close();
      const clear = async (): Promise<void> => {
        process?.streams?.close();
        await cgroup.remove();
        if (group !== undefined) resctrl().removeGroups(group.made);
        if (process !== undefined && spec.hooks?.poststop?.length) await hooks().runHooks("poststop", spec.hooks.poststop, hooks().stateOf(subject(args), "stopped", 0), judgement, true);
      };
      const clearOrOwe = (): Promise<void> => clear().catch((why: unknown) => {
        if (args.owe === undefined) throw why;
        args.owe(why, clear);
      });
      if (process === undefined) await clearOrOwe();
      else await abandon(process, clearOrOwe);
      throw error;
    } finally {
      copies?.close();
    }
  } catch (error) {
    throw because(`create container ${id}`, error);
  }
}

function terminationLog({ annotations, mounts }: Spec): string | undefined {
  const path = annotations?.[TERMINATION_PATH];
  return path === undefined ? undefined : mounts?.find((m) => m.destination === path)?.source;
}

function record(args: CreateArgs, cgroup: Cgroup, group: ResctrlGroup | undefined, init: Process, startChannel: Channel, seccompFilter: Filter | undefined): Container {
  const { spec, id } = args;
  return {
    id, ociVersion: spec.ociVersion, judgement: args.judgement, newKeyring: args.newKeyring !== false, bundleDir: args.bundleDir, cgroup, resctrl: group, hooks: spec.hooks, initPid: init.pid, init, processes: new Map([[id, init]]), unclaimed: new Set(), pipeSize: args.pipeSize, annotations: spec.annotations ?? {},
    terminationLog: terminationLog(spec),
    startHooks: startHooksOf(spec), template: templateOf(spec, seccompFilter),
    status: "created", pausedFrom: undefined, startChannel, oomWatch: undefined,
  };
}
