// Wiring, no logic: reads the settings, prepares the machine when it is PID 1, puts the services together and hands the
// process over to the loop.
import { CLOCK, SIG } from "../abi/flags.js";
import { fillStdio } from "../sys/file.js";
import { blockSignals, defaultActions } from "../sys/poll.js";
import { exitGroup, raiseDescriptorLimit, setChildSubreaper } from "../sys/process.js";
import { clockMs } from "../sys/system.js";
import { attempt } from "../lib/errors.js";
import { reportFault } from "../lib/fault.js";
import { readText } from "../lib/fs.js";
import { setPatience } from "../lib/foreign.js";
import { lazy } from "../lib/lazy.js";
import { errorLine, Level, log, openLog, setLevel } from "../lib/log.js";
import { after, guarded, onCrash, run } from "../lib/loop.js";
import { startReaper } from "../lib/reaper.js";
import { fillReserve } from "../lib/reserve.js";
import { leaveKeyring } from "../engine/child/keyring.js";
import { Server } from "../rpc/server.js";
import { Sandbox } from "../sandbox/sandbox.js";
import { registerServices } from "../rpc/services/register.js";
import { fromCommandLine, fromFile, warnOfIdle, withEnvironment, type Config } from "./config.js";
import { fatal } from "./pid1.js";
import { AGENT_VERSION } from "./version.js";

const machine = lazy<typeof import("./machine.js")>("init/machine.js");
const handover = __DEBUG__ ? lazy<typeof import("./handover.js")>("init/handover.js") : undefined;
/** Between the answer to DestroySandbox and the end, so that the host gets it. */
const SHUTDOWN_GRACE_MS = 50;

function settings(file: string | undefined): Config {
  if (file !== undefined) return withEnvironment(fromFile(file), native.env);
  const words = readText("/proc/cmdline");
  return words.includes("agent.config_file=") ? fromCommandLine(words) : withEnvironment(fromCommandLine(words), native.env);
}

/** Ends the agent in order: no more connections, then the machine's end (PID 1) or the process's. */
function shutDown(server: Server, isInit: boolean): void {
  guarded("shutdown", () => server.close());
  errorLine("kata-agent shutdown complete");
  if (isInit) machine().powerOff();
  exitGroup(0);
}

/** What the program before has left; in debug builds. */
let record: ReturnType<typeof import("./handover.js").inherited>;

function start(config: Config, isInit: boolean): void {
  setPatience(config.shareTimeoutMs);
  openLog();
  log(Level.INFO, "announce", { "agent-version": AGENT_VERSION, "api-version": "0.0.1", config: JSON.stringify(config), "extra-features": '["seccomp"]' });
  warnOfIdle(config);
  const server = new Server();
  let ending = false;
  startReaper(__DEBUG__ ? [SIG.TERM, SIG.INT, SIG.USR2] : [SIG.TERM, SIG.INT], (signal) => {
    if (__DEBUG__ && signal === SIG.USR2) return handover?.().begin({ config, server, sandbox, ending: () => ending });
    log(Level.INFO, "asked to stop", { signal });
    shutDown(server, isInit);
  });
  const sandbox = new Sandbox({ containerPipeSize: config.containerPipeSize, hotplugTimeoutMs: config.hotplugTimeoutMs, isInit });
  registerServices(sandbox, () => {
    if (__DEBUG__) ending = true;
    after(SHUTDOWN_GRACE_MS, () => shutDown(server, isInit));
  });
  const late = (error: unknown): never => fatal("cannot start", error, isInit);
  if (__DEBUG__ && record !== undefined) handover?.().takeUp(record, { config, server, sandbox, ending: () => ending }, late);
  else server.listen(config.serverAddr, late);
  fillReserve();
  log(Level.INFO, "listening", { address: config.serverAddr, "uptime-ms": Math.round(clockMs(CLOCK.BOOTTIME)) });
}

/** Runs the agent with the settings of `configFile`, or of the kernel's command line and the environment. */
export function runAgent(configFile: string | undefined, isInit: boolean): void {
  try {
    if (!isInit) fillStdio();
    blockSignals();
    defaultActions();
    setChildSubreaper();
    raiseDescriptorLimit();
    leaveKeyring();
    onCrash(reportFault, (error) => fatal("the loop cannot wait", error, isInit));
    if (__DEBUG__) record = handover?.().inherited(native.env);
    const again = __DEBUG__ && record !== undefined;
    if (isInit) attempt("prepare the machine", () => (again ? machine().prepareAgain?.() : machine().prepare()));
    const config = (__DEBUG__ ? record?.config : undefined) ?? attempt("read the settings", () => settings(configFile));
    setLevel(config.logLevel);
    if (isInit && !again) machine().finish(config);
    start(config, isInit);
  } catch (error) {
    fatal("cannot start", error, isInit);
  }
  run();
}
