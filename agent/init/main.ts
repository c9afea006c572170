// The first module: finds out what the program is to be, the guest's agent or the command line of an OCI runtime, and loads
// only that. PID 1 is always the agent.
import { sys } from "../sys/call.js";
import { NR } from "../sys/nr.js";
import { exitGroup } from "../sys/process.js";
import { getpid } from "../sys/system.js";
import { lazy } from "../lib/lazy.js";
import { ociName } from "./names.js";

const agent = lazy<typeof import("./agent.js")>("init/agent.js");
const options = lazy<typeof import("./arguments.js")>("init/arguments.js");
const commandLine = lazy<typeof import("./command-line.js")>("init/command-line.js");

function leave(fd: 1 | 2, text: string): never {
  const bytes = native.utf8Encode(text);
  sys(NR.write, fd, bytes, bytes.length);
  exitGroup(fd === 1 ? 0 : 2);
}

const isInit = getpid() === 1;
const [program = "", ...args] = native.args;
const name = ociName(program, args);
if (!isInit && name !== undefined) commandLine().start(name.args, name.self);
else {
  const action = options().parseArguments(args);
  if (action.do !== "serve" && !isInit) leave(action.do === "print" ? 1 : 2, action.text);
  agent().runAgent(action.do === "serve" ? action.config : undefined, isInit);
}
