// The last phase of a child: the steps of oci/become.ts, in their order, each in one place.
import { SysError } from "../../sys/call.js";
import type { Fd } from "../../sys/fd.js";
import { NR } from "../../abi/nr.js";
import { unblockSignals } from "../../sys/poll.js";
import { execve, exitGroup } from "../../sys/process.js";
import { getpid } from "../../sys/system.js";
import { setControllingTerminal } from "../../sys/tty.js";
import { closeOthers } from "../../lib/fork.js";
import { because } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { type Become, becomeSteps, type Situation } from "../../oci/become.js";
import type { OpenLabel } from "../confine/labels.js";
import type { Filter } from "../container.js";
import type { ChildArgs, Terminal } from "./args.js";
import { loadFilter } from "./filter.js";
import { applyToProcess, attemptStep, becomeUser, findProgram, takeRights, withHome } from "./process-steps.js";

const stub = lazy<typeof import("./exec-stub.js")>("engine/child/exec-stub.js");
const hooks = lazy<typeof import("../hooks.js")>("engine/hooks.js");
const calls = lazy<typeof import("../../oci/bpf.js")>("oci/bpf.js");
const labels = lazy<typeof import("../confine/labels.js")>("engine/confine/labels.js");

/** A child whose root file system stands and whose streams are in place. */
export interface Child {
  readonly args: ChildArgs;
  /** Labels that are to be written, with their folders. */
  readonly opened: readonly OpenLabel[];
  readonly terminal: Terminal | undefined;
  /** The container's first process. */
  readonly first: boolean;
}
/** What it has found and made on the way. */
interface Made { env: readonly string[]; program: string; stub: Fd | undefined }

/** Is the filter loaded by the stub, so that it need allow nothing but execve? */
function stubLoads({ stub: wanted, process, filter, hooks: own, labels: some }: ChildArgs): boolean {
  return wanted && some.length === 0 && process.noNewPrivileges && filter !== undefined && filter.listener === undefined && !own?.start.length;
}

/** Does a filter that is loaded before it let the stub's calls through? */
function stubPasses(filter: Filter | undefined): boolean {
  return filter === undefined || calls().filterAllows(filter.program, [NR.execveat, NR.fcntl, NR.execve].map((call) => ({ call, args: [] })));
}

/** Labels would be the stub's, and its program's be left to the policy. */
function stubOf(args: ChildArgs): Situation["stub"] {
  if (stubLoads(args)) return "loads filter";
  return args.stub && args.labels.length === 0 && stubPasses(args.filter) ? "after filter" : "none";
}

function execute({ args }: Child, { env, program, stub: file }: Made): never {
  const { process, channel, filter } = args;
  const alone = (): void => {
    if (filter !== undefined && stubLoads(args)) loadFilter(channel, filter); // else it is loaded
  };
  const errno = -(file === undefined ? execve(program, process.args, env) : stub().becomeByStub(file, channel.fd, program, process.args, env, alone));
  throw because(`exec "${process.args[0]}"`, new SysError("execve", errno));
}

function take(step: Become, child: Child, made: Made): void {
  const { args, opened, terminal } = child;
  const { process, channel, filter, startSocket } = args;
  switch (step) {
    case "controlling-terminal": return setControllingTerminal(0);
    case "close": // a working directory of /proc/self/fd/N must find nothing (CVE-2024-21626)
      return closeOthers([channel.fd.n, ...args.keep, ...opened.map(({ dir }) => dir.n), ...(startSocket === undefined ? [] : [startSocket.n]), ...(terminal === undefined ? [] : [terminal.master.n])]);
    case "environment": return void (made.env = withHome(process));
    case "labels": return labels().writeLabels(opened);
    case "unblock-signals": return unblockSignals();
    case "stub": return void (made.stub = stub().makeStub(channel.fd.n, stub().programSteps(channel.fd.n, stubLoads(args) ? filter : undefined)));
    case "user": return becomeUser(process, false);
    case "user-with-right": return becomeUser(process, true);
    case "rights": return takeRights(process);
    case "program": return void (made.program = findProgram(process, made.env));
    case "limits":
      for (const limit of args.limits) attemptStep(limit, () => applyToProcess(limit));
      return;
    case "filter":
      if (filter !== undefined) loadFilter(channel, filter);
      return;
    case "ready": return channel.ready(terminal?.master.n ?? -1);
    case "start-socket": // who has the master gone must hang up
      if (startSocket !== undefined && !channel.open(startSocket, () => terminal?.master.close())) exitGroup(1);
      return;
    case "wait-start":
      if (!channel.wait("start")) exitGroup(1);
      return;
    case "start-hooks":
      if (args.hooks !== undefined) hooks().runHooksHere("startContainer", args.hooks.start, hooks().stateOf(args.hooks, "created", getpid()), made.env, args.hooks.judgement);
      return;
    case "end-without-program":
      if (made.program === "") exitGroup(0);
      return;
    case "execute": execute(child, made);
  }
}

/** Becomes the program. Throws what failed. */
export function become(child: Child): void {
  const { args, opened, terminal, first } = child;
  const made: Made = { env: [], program: "", stub: undefined };
  const steps = becomeSteps({
    first, terminal: terminal !== undefined, startSocket: args.startSocket !== undefined, labels: opened.length > 0, startHooks: (args.hooks?.start.length ?? 0) > 0, noNewPrivileges: args.process.noNewPrivileges,
    filter: args.filter === undefined ? "none" : args.filter.listener === undefined ? "plain" : "asks", stub: stubOf(args),
  });
  for (const step of steps) take(step, child, made);
}
