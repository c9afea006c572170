// create and run: bundle and configuration are read, the id is taken, the engine makes the container, and what later commands
// need to know is written down before the container is let go of. Whatever fails leaves nothing behind.
import { CLOCK, SIG } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { NR } from "../abi/nr.js";
import { setChildSubreaper } from "../sys/process.js";
import { clockMs } from "../sys/system.js";
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { rfc3339 } from "../lib/log.js";
import { takeBack } from "../lib/reaper.js";
import type { Container } from "../engine/container.js";
import { createContainer } from "../engine/create.js";
import { destroyContainer } from "../engine/destroy.js";
import { startTimeOf } from "../engine/process-identity.js";
import { signal, whenEnded } from "../engine/process.js";
import { startContainer } from "../engine/start.js";
import { cgroupPath } from "../oci/cgroup.js";
import { checkId } from "../oci/check.js";
import type { Spec } from "../oci/spec.js";
import { type Bundle, readBundle } from "./bundle.js";
import { announce, descriptorsToKeep, passedSockets, STREAMS, withSockets } from "./caller.js";
import { BUNDLE, type Command, type Context, DETACH, idOf, invalid } from "./context.js";
import { attach, prepareTerminal } from "./foreground.js";
import type { Options } from "./options.js";
import { claim, type Entry, type Saved } from "./store.js";
import { COMMAND_LINE } from "../oci/judgement.js";

const lost = lazy<typeof import("../engine/lost-signal.js")>("engine/lost-signal.js");
const protect = lazy<typeof import("./protect.js")>("cli/protect.js");

interface Made { readonly entry: Entry; readonly container: Container; readonly master: Fd | undefined }

function firstRecord(id: string, bundle: Bundle): Saved {
  const { spec } = bundle;
  return {
    ociVersion: spec.ociVersion, id, pid: 0, startTime: 0, bundle: bundle.dir, rootfs: spec.root?.path ?? "", created: rfc3339(clockMs(CLOCK.REALTIME)), owner: sys(NR.geteuid),
    ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }), ...apartOf(spec), cgroup: expectedGroup(spec, id), madeParents: [], ...laterHooks(spec),
  };
}

const APART = [["pid", "pid"], ["mount", "mnt"], ["user", "user"]] as const;

/** What tells its processes from others where no cgroup does. */
function apartOf({ linux }: Spec): Pick<Saved, "sharedPid" | "apart"> {
  const apart = APART.find(([type]) => linux?.namespaces?.some((n) => n.type === type && !n.path))?.[1];
  return { sharedPid: apart !== "pid", ...(apart === undefined ? {} : { apart }) };
}

/** With what is known once it has been born. */
function secondRecord(saved: Saved, { initPid: pid, cgroup, newKeyring, resctrl }: Container): Saved {
  return { ...saved, pid, startTime: startTimeOf(pid) ?? 0, cgroup: cgroup.path, madeParents: cgroup.madeParents(), ...(newKeyring ? {} : { newKeyring }), ...(resctrl === undefined ? {} : { resctrl }) };
}

/** Where its cgroup will be, as far as that can be told: what a create that dies now leaves behind. */
function expectedGroup({ linux }: Spec, id: string): string {
  const given = linux?.cgroupsPath;
  return given === undefined || given.startsWith("/") ? cgroupPath(given, id) : "";
}

function laterHooks({ hooks }: Spec): Pick<Saved, "hooks"> {
  const { poststart, poststop } = hooks ?? {};
  return poststart?.length || poststop?.length ? { hooks: { ...(poststart === undefined ? {} : { poststart }), ...(poststop === undefined ? {} : { poststop }) } } : {};
}

function checkStreams(options: Options, terminal: boolean, detached: boolean): void {
  const socket = options.get("console-socket");
  if (socket !== undefined && !(terminal && detached)) invalid("--console-socket: only for a container with a terminal that nobody waits for (process.terminal, create or --detach)");
  if (socket === undefined && terminal && detached) invalid("process.terminal: a terminal needs --console-socket here, to which its master is sent");
}

/** Makes the container and writes it down. `waiting`: it waits for a `start` command. */
async function make(context: Context, options: Options, waiting: boolean): Promise<Made> {
  const id = checkId(idOf(options));
  const bundle = readBundle(options);
  const detached = waiting || options.has("detach");
  checkStreams(options, bundle.spec.process?.terminal ?? false, detached);
  // others are in that pid namespace already, and see the child before it becomes its program
  if (!context.rootless && bundle.spec.linux?.namespaces?.some((n) => n.type === "pid" && n.path)) protect().protectSelf();
  if (!context.rootless && (bundle.spec.process?.apparmorProfile || bundle.spec.process?.selinuxLabel)) protect().protectLabelled(bundle.spec.process);
  const entry = claim(context.root, id);
  let container: Container | undefined;
  let master: Fd | undefined;
  let drafted = 0;
  try {
    const saved = firstRecord(id, bundle);
    entry.write(saved);
    const startSocket = waiting ? entry.listenForStart() : undefined;
    container = await createContainer({
      id, bundleDir: bundle.dir, judgement: COMMAND_LINE, spec: withSockets(bundle.spec), pipeSize: 0, startSocket, newKeyring: !options.has("no-new-keyring"), noPivot: options.has("no-pivot"), own: { keep: descriptorsToKeep(options, passedSockets()), terminal: (fd) => (master = fd), left: detached },
      born: (young) => { // while it builds
        drafted = young.initPid;
        entry.draft(secondRecord(saved, young));
        entry.writeConfig(bundle.text);
      },
    });
    startSocket?.close();
    if (container.initPid !== drafted) entry.draft(secondRecord(saved, container)); // it is another one since it has gone into a pid namespace
    entry.publish();
    announce(options, container.init, master);
    if (waiting && container.startChannel?.tell("go") !== true) throw new AppError("internal", "its process is gone");
    return { entry, container, master };
  } catch (error) {
    if (container !== undefined) {
      takeBack(container.initPid);
      await destroyContainer(container);
    }
    entry.remove();
    throw error;
  }
}

async function create(context: Context, options: Options): Promise<number> {
  await make(context, options, true);
  return 0;
}

async function run(context: Context, options: Options): Promise<number> {
  if (!options.has("detach") && !options.has("no-subreaper")) setChildSubreaper();
  const { entry, container, master } = await make(context, options, false);
  try {
    if (options.has("detach")) {
      await startContainer(container);
      return 0;
    }
    const { init } = container;
    if (master !== undefined) prepareTerminal(master);
    const attached = attach(master, {
      send: (number) => signal(init, number),
      hangUp: () => signal(init, lost().effective(init.pid, false, SIG.HUP)),
    });
    try {
      await startContainer(container);
      entry.unlock(); // as long as it runs, others may pause it, change its limits, delete it
      const status = await new Promise<number>((done) => whenEnded(init, done));
      const drained = attached.drain(); // its reader may rest for long
      if (!options.has("keep")) await forget(entry, container);
      await drained;
      return status;
    } finally {
      attached.restore();
    }
  } catch (error) {
    await forget(entry, container);
    throw error;
  }
}

async function forget(entry: Entry, container: Container): Promise<void> {
  takeBack(container.initPid);
  try {
    entry.lock();
  } catch (error) {
    if (error instanceof AppError && error.kind === "not-found") return; // another command has deleted it
    throw error;
  }
  await destroyContainer(container);
  entry.remove();
}

const OPTIONS = {
  bundle: BUNDLE,
  config: ["value", "another file than config.json", "f"],
  ...STREAMS,
  "no-pivot": ["switch", "move the root instead of pivot_root(2) (for an initramfs)"],
  "no-new-keyring": ["switch", "keep the caller's session keyring"],
} as const;

export const commands = {
  create: { about: "make a container, ready to be started", usage: "ID", least: 1, most: 1, options: OPTIONS, run: create },
  run: {
    about: "make a container, start it, wait for its end and delete it", usage: "ID", least: 1, most: 1, run,
    options: { ...OPTIONS, detach: DETACH, keep: ["switch", "do not delete the container at its end"], "no-subreaper": ["switch", "do not become the reaper of orphans"] },
  },
} as const satisfies { readonly [name: string]: Command };
