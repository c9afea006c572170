// From a child outside to a process inside a pid namespace that others are in: see last-steps.ts for the why and the picture. Synchronous.
import { CAP, CLONE, MOUNT_ATTR } from "../../abi/flags.js";
import { SysError } from "../../sys/call.js";
import type { Fd } from "../../sys/fd.js";
import { NR } from "../../abi/nr.js";
import { unblockSignals } from "../../sys/poll.js";
import { clone3, exitGroup, setDeathSignal, setns, setsid, sleepForEver } from "../../sys/process.js";
import { closeOthers } from "../../lib/fork.js";
import { AppError, because } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { hasCap } from "../../oci/caps.js";
import type { ProcessPlan } from "../../oci/plan.js";
import { becomeUser, findProgram, takeRights, withHome } from "./process-steps.js";
import type { ChildArgs, Terminal } from "./args.js";
import { loadFilter } from "./filter.js";
import type { Filter } from "../container.js";
import type { Label } from "../confine/labels.js";
import { callsOf, type LastArgs, lastSteps } from "./last-steps.js";
import { becomeStub, makeStub } from "./exec-stub.js";

const bpf = lazy<typeof import("../../oci/bpf.js")>("oci/bpf.js");
const schedule = lazy<typeof import("./schedule.js")>("engine/child/schedule.js");
const others = lazy<typeof import("./proc-of.js")>("engine/child/proc-of.js");

/** May the process load a filter once it is the stub? See seccomp(2) and capabilities(7), "Transformation of capabilities during execve". */
function mayLoad({ noNewPrivileges, uid, caps }: ProcessPlan): boolean {
  return noNewPrivileges || hasCap(uid === 0 ? caps.bounding : caps.ambient, CAP.SYS_ADMIN);
}

/** Where a filter is loaded: here, by the stub before there is anybody inside, by the process inside; or nothing of it works. */
function placeOf(filter: Filter | undefined, plan: ProcessPlan, last: LastArgs): "nowhere" | "here" | "first" | "last" | "impossible" {
  if (filter === undefined) return "nowhere";
  const here = filter.listener !== undefined || !mayLoad(plan);
  const passes = bpf().filterAllows(filter.program, callsOf(lastSteps(last), here ? [NR.write, NR.fcntl, NR.execveat] : []));
  if (here) return passes ? "here" : "impossible";
  return passes ? "first" : "last";
}

/** Goes in with what it is, where a filter lets the stub's calls not through: only who may trace others sees the engine's memory. */
function goInAsItIs(args: ChildArgs): void {
  if (args.labels.length > 0) throw new AppError("precondition", "linux.seccomp: with an LSM label the filter has to allow clone, execveat, read, write, setsid and ppoll");
  setDeathSignal();
  const made = clone3(CLONE.PARENT);
  if (typeof made === "number") {
    if (made < 0) throw new SysError("clone", -made);
    setsid();
    if (!args.channel.wait("go")) exitGroup(1);
    return;
  }
  args.channel.born(made);
  sleepForEver();
}

/**
 * Makes the process inside, and ends. `first`: the container's first process, which waits for "start". `joined`: children are born inside already. Comes back only in a process that is inside and
 * goes on as if it had always been there.
 */
export function goInside(args: ChildArgs & { readonly inside: Fd }, terminal: Terminal | undefined, first: boolean, joined: boolean): void {
  const { channel, filter, startSocket, inside } = args;
  const process = withoutScheduler(args.process);
  const proc = args.labels.length === 0 ? undefined : others().procOf(inside, "subset=pid", MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC);
  const kept = [channel.fd, ...(startSocket === undefined ? [] : [startSocket]), ...(proc === undefined ? [] : [proc])];
  closeOthers([...kept.map((fd) => fd.n), inside.n, ...args.keep, ...(terminal === undefined ? [] : [terminal.master.n])]);
  if (!joined) setns(inside, CLONE.NEWPID);
  inside.close();
  const last: LastArgs = {
    channel: channel.fd.n, terminal: terminal !== undefined, waitsForStart: first, startSocket: startSocket?.n, limits: args.limits, filter: undefined,
    labels: proc === undefined ? undefined : { proc: proc.n, files: args.labels.map(fileOf) }, program: process.args.length > 0,
  };
  const place = placeOf(filter, process, last);
  if (place === "impossible") return goInAsItIs(args);
  const own = filter !== undefined && (place === "first" || place === "last") ? { ...filter, first: place === "first" } : undefined;
  const stub = makeStub(channel.fd.n, lastSteps({ ...last, filter: own }));
  unblockSignals();
  const env = withHome(process);
  let program = "";
  const findAndLoad = (): void => {
    program = findProgram(process, env);
    if (place === "here" && filter !== undefined) loadFilter(channel, filter);
  };
  const early = place === "here" && !process.noNewPrivileges; // with the one right that it then needs
  becomeUser(process, early);
  findAndLoad();
  if (early) takeRights(process);
  if (terminal !== undefined || first) {
    channel.ready(terminal?.master.n ?? -1);
    if (!channel.wait("go")) exitGroup(1);
  }
  throw because(`exec "${process.args[0]}"`, new SysError("execve", -becomeStub(stub, kept, program, process.args, env)));
}

/** Without a scheduler that the process inside would not inherit: whoever takes it over sets it. */
function withoutScheduler(plan: ProcessPlan): ProcessPlan {
  if (plan.traits === undefined || !schedule().isNotInherited(plan.traits)) return plan;
  const { scheduler: _, ...traits } = plan.traits;
  return { ...plan, traits };
}

const fileOf = ({ dir, text }: Label): { path: string; text: string } => ({ path: `thread-self/${dir}/exec`, text });
