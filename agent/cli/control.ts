// start, kill, pause, resume, delete: commands on a container that an earlier command has made.
import { SIG } from "../abi/flags.js";
import { SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { kill as sendTo } from "../sys/process.js";
import { AppError, because, messageOf } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { decimal } from "../lib/text.js";
import { destroyContainer } from "../engine/destroy.js";
import { signal } from "../engine/process.js";
import { startContainer } from "../engine/start.js";
import { checkId } from "../oci/check.js";
import { type Command, complain, type Context, idOf } from "./context.js";
import { known, look, revive } from "./load.js";
import type { Options } from "./options.js";
import { find } from "./store.js";

const pausing = lazy<typeof import("../engine/pause.js")>("engine/pause.js");
const lost = lazy<typeof import("../engine/lost-signal.js")>("engine/lost-signal.js");

const refuse = (why: string): never => {
  throw new AppError("precondition", why);
};

async function start(context: Context, options: Options): Promise<number> {
  const it = known(context, idOf(options), true);
  if (it.status === "stopped") refuse(`cannot start a container that has stopped: ${it.saved.id}`);
  if (it.status === "running") refuse(`cannot start an already running container: ${it.saved.id}`);
  if (it.status !== "created") refuse(`cannot start container ${it.saved.id}: it is ${it.status}`);
  const container = revive(it, { startSocket: true });
  try {
    await startContainer(container);
  } catch (error) {
    signal(container.init, SIG.KILL);
    if (error instanceof AppError && error.part === "hook") { // the specification wants the container gone
      await destroyContainer(container);
      it.entry.remove();
    }
    throw error;
  }
  return 0;
}

const NAMES = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(" ");
const OTHER_NAMES: { readonly [name: string]: number } = { IOT: 6, CLD: 17, POLL: 29, UNUSED: 31, RTMIN: 34, RTMAX: 64 };

/** The number of a signal: "9", "KILL", "SIGKILL", "RTMIN+1", in any case. See signal(7). Throws "invalid". */
export function signalNumber(text: string): number {
  const number = decimal(text);
  if (number !== undefined && number <= 64) return number;
  const upper = text.toUpperCase();
  const name = upper.startsWith("SIG") ? upper.slice(3) : upper;
  const i = NAMES.indexOf(name);
  if (i >= 0) return i + 1;
  if (Object.hasOwn(OTHER_NAMES, name)) return OTHER_NAMES[name] as number;
  const more = name.startsWith("RTMIN+") || name.startsWith("RTMAX-") ? decimal(name.slice(6)) : undefined;
  if (more === undefined || more > 30) throw new AppError("invalid", `unknown signal "${text}"`);
  return name[4] === "N" ? 34 + more : 64 - more;
}

async function kill(context: Context, options: Options): Promise<number> {
  const it = known(context, idOf(options), false);
  const number = signalNumber(options.words[1] ?? "TERM");
  const container = revive(it);
  if (options.has("all")) {
    if (number === SIG.KILL) await container.cgroup.killAll();
    else for (const pid of container.cgroup.pids()) sendTo(pid, number); // gone meanwhile: no error
    return 0;
  }
  if (it.saved.sharedPid && number === SIG.KILL && container.cgroup.pids().length > 0) { // the kernel ends only those of a pid namespace of its own
    await container.cgroup.killAll();
    return 0;
  }
  if (it.status === "stopped" || it.status === "creating") refuse(`container not running: ${it.saved.id}`);
  // who waits for its start as process 1 of a pid namespace handles nothing: what ends others would be lost
  const waiting = !it.saved.sharedPid && it.entry.waits();
  const r = signal(container.init, waiting ? lost().effective(container.initPid, true, number) : number);
  if (r === -E.ESRCH) refuse(`container not running: ${it.saved.id}`);
  if (r < 0) throw because(`kill container ${it.saved.id}`, new SysError("pidfd_send_signal", -r));
  return 0;
}

async function pause(context: Context, options: Options): Promise<number> {
  const it = known(context, idOf(options), true);
  if (it.status !== "running" && it.status !== "created") refuse(`cannot pause container ${it.saved.id}: it is ${it.status === "stopped" ? "stopped: container not running" : it.status}`);
  await pausing().pauseContainer(revive(it));
  return 0;
}

async function resume(context: Context, options: Options): Promise<number> {
  const it = known(context, idOf(options), true);
  if (it.status !== "paused") refuse(`cannot resume container ${it.saved.id}: it is not paused but ${it.status}`);
  await pausing().resumeContainer(revive(it));
  return 0;
}

async function removeOne(context: Context, id: string, force: boolean): Promise<void> {
  let entry;
  try {
    entry = find(context.root, checkId(id)).lock();
  } catch (error) {
    if (force && error instanceof AppError && error.kind === "not-found") return;
    throw error;
  }
  let it;
  try {
    it = look(entry);
  } catch (error) {
    if (!force) throw error;
    return entry.remove(); // without a record: a create that died before it wrote one
  }
  const { status } = it;
  if (!force && status !== "stopped" && status !== "created" && status !== "creating") refuse(`cannot delete container ${id} that is not stopped: ${status}`);
  const container = revive(it);
  // a create that died on the way: its child ends by itself, and who else is in that group is not known to be the container's
  if (it.saved.pid === 0) await container.cgroup.remove();
  else {
    await container.cgroup.thaw().catch(() => undefined);
    if (it.saved.cgroup === "") await container.cgroup.killAll(); // its first process leads to them, as long as it lives
    await destroyContainer(container);
  }
  entry.remove();
}

async function remove(context: Context, options: Options): Promise<number> {
  let status = 0;
  for (const id of options.words) {
    try {
      await removeOne(context, id, options.has("force"));
    } catch (error) {
      if (options.words.length === 1) throw error;
      complain(context, new AppError("internal", `delete ${id}: ${messageOf(error)}`));
      status = 1;
    }
  }
  return status;
}

export const commands = {
  start: { about: "run the program of a created container", usage: "ID", least: 1, most: 1, options: {}, run: start },
  kill: {
    about: "send a signal (default TERM) to a container's first process", usage: "ID [SIGNAL]", least: 1, most: 2, run: kill,
    options: { all: ["switch", "signal every process of the container", "a"] },
  },
  delete: {
    about: "remove what a container has left", usage: "ID...", least: 1, most: 1000, run: remove,
    options: { force: ["switch", "kill it first; a missing container is no error", "f"] },
  },
  pause: { about: "freeze all processes of a container", usage: "ID", least: 1, most: 1, options: {}, run: pause },
  resume: { about: "let a paused container go on", usage: "ID", least: 1, most: 1, options: {}, run: resume },
} as const satisfies { readonly [name: string]: Command };
