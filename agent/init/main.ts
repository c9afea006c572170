// The first module: finds out what the program is to be, the guest's agent or the command line of an OCI runtime, and loads
// only that. PID 1 is always the agent.
import { injectFaultsFromOutside, sys } from "../sys/call.js";
import { NR } from "../abi/nr.js";
import { exitGroup } from "../sys/process.js";
import { getpid } from "../sys/system.js";
import { lazy } from "../lib/lazy.js";
import { isHelper, ociName } from "./names.js";

const agent = lazy<typeof import("./agent.js")>("init/agent.js");
const exact = lazy<typeof import("../sys/arguments.js")>("sys/arguments.js");
const options = lazy<typeof import("./arguments.js")>("init/arguments.js");
const modprobe = lazy<typeof import("./modprobe.js")>("init/modprobe.js");
const commandLine = lazy<typeof import("./command-line.js")>("init/command-line.js");

function leave(fd: 1 | 2, text: string): never {
  const bytes = native.utf8Encode(text);
  sys(NR.write, fd, bytes, bytes.length);
  exitGroup(fd === 1 ? 0 : 2);
}

if (__DEBUG__) {
  try {
    injectFaultsFromOutside();
  } catch (error) {
    leave(2, `KATA_FAULTS: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}
const isInit = getpid() === 1;
// What is not UTF-8 is read again, to the byte; process 1 has no /proc yet, and gets its arguments from the kernel's line.
const [program = "", ...args] = !isInit && native.args.some((text) => text.includes("\ufffd")) ? exact().callerArgs() : native.args;
const name = ociName(program, args);
if (!isInit && isHelper(program, args)) modprobe().answer(args);
else if (!isInit && name !== undefined) commandLine().start(name.args, name.self);
else {
  const action = options().parseArguments(args);
  if (action.do !== "serve" && !isInit) leave(action.do === "print" ? 1 : 2, action.text);
  agent().runAgent(action.do === "serve" ? action.config : undefined, isInit);
}
