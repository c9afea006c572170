// create and run: bundle and configuration are read, the id is taken, the engine makes the container, and what later commands
// need to know is written down before the container is let go of. Whatever fails leaves nothing behind.
import { isErrno, sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { AT_FDCWD, F, modeOf, O, open, readlinkat, renameat, S, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { pidfdSendSignal, setChildSubreaper } from "../sys/process.js";
import { CLOCK, clockMs, getpid } from "../sys/system.js";
import { AppError, attempt } from "../lib/errors.js";
import { readFd } from "../lib/fs.js";
import { lazy } from "../lib/lazy.js";
import { rfc3339 } from "../lib/log.js";
import { decimal } from "../lib/text.js";
import { createContainer } from "../engine/create.js";
import type { Container } from "../engine/container.js";
import { whenEnded } from "../engine/process.js";
import { startTimeOf } from "../engine/revive.js";
import { checkId } from "../oci/check.js";
import { NO_PROCESS } from "../oci/check-process.js";
import { parseSpec } from "../oci/parse.js";
import type { IdMapping, Spec } from "../oci/spec.js";
import { type Context, idOf, invalid } from "./context.js";
import type { Options } from "./options.js";
import { claim, type Entry, type Saved } from "./store.js";

const sockets = lazy<typeof import("./sockets.js")>("cli/sockets.js");
const starting = lazy<typeof import("../engine/start.js")>("engine/start.js");
const ending = lazy<typeof import("../engine/destroy.js")>("engine/destroy.js");
const protect = lazy<typeof import("./protect.js")>("cli/protect.js");
const foreground = lazy<typeof import("./foreground.js")>("cli/foreground.js");

interface Bundle { readonly dir: string; readonly text: string; readonly spec: Spec }

/** A path without links, as the kernel names what it leads to. */
function realPath(path: string, what: string): string {
  return attempt(`${what} ${path}`, () => {
    using fd = open(path, O.PATH | O.DIRECTORY);
    return readlinkat(AT_FDCWD, fdPath(fd));
  });
}

/** Reads and checks the form of a bundle's configuration; relative paths in it become absolute. */
function readBundle(options: Options): Bundle {
  const dir = realPath(options.get("bundle") ?? ".", "bundle");
  const file = options.get("config") ?? "config.json";
  const path = file.startsWith("/") ? file : `${dir}/${file}`;
  const text = attempt("read the configuration", () => configText(path));
  const parsed = attempt(path, () => parseSpec(text));
  const spec = withMaps(parsed.process === undefined ? { ...parsed, process: NO_PROCESS } : parsed);
  if (spec.root === undefined) return { dir, text, spec };
  const root = spec.root.path.startsWith("/") ? spec.root.path : `${dir}/${spec.root.path}`;
  return { dir, text, spec: { ...spec, root: { ...spec.root, path: realPath(root, "root.path:") } } };
}

/** A new user namespace without maps has the caller alone as its root, as with crun. */
function withMaps(spec: Spec): Spec {
  const { linux } = spec;
  if (linux?.uidMappings?.length || linux?.gidMappings?.length || !linux?.namespaces?.some((n) => n.type === "user" && !n.path)) return spec;
  const alone = (hostID: number): IdMapping[] => [{ containerID: 0, hostID, size: 1 }];
  return { ...spec, linux: { ...linux, uidMappings: alone(sys(NR.geteuid)), gidMappings: alone(sys(NR.getegid)) } };
}

/** Only a regular file is read: a FIFO would keep the command waiting. */
function configText(path: string): string {
  try {
    using file = open(path, O.RDONLY | O.NONBLOCK);
    if ((modeOf(file) & S.IFMT) !== S.IFREG) throw new AppError("invalid", `${path}: is not a regular file`);
    return native.utf8Decode(readFd(file, path, 16 << 20)) ?? invalid(`${path}: is not UTF-8 text`);
  } catch (error) {
    throw isErrno(error, E.ENOENT) ? new AppError("not-found", `${path}: no such file or directory (a bundle needs a config.json)`) : error;
  }
}

interface Made { readonly entry: Entry; readonly container: Container; readonly master: Fd | undefined }

function firstRecord(id: string, bundle: Bundle): Saved {
  const { spec } = bundle;
  return {
    ociVersion: spec.ociVersion, id, pid: 0, startTime: 0, bundle: bundle.dir, rootfs: spec.root?.path ?? "", created: rfc3339(clockMs(CLOCK.REALTIME)), owner: sys(NR.geteuid),
    ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }), sharedPid: !(spec.linux?.namespaces?.some((n) => n.type === "pid" && !n.path) ?? false), cgroup: "", madeParents: [], ...laterHooks(spec),
  };
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
  if (!context.rootless && (bundle.spec.process?.apparmorProfile || bundle.spec.process?.selinuxLabel)) protect().protectLabelled(bundle.spec.process);
  const entry = claim(context.root, id);
  let container: Container | undefined;
  let master: Fd | undefined;
  try {
    const saved = firstRecord(id, bundle);
    entry.write(saved);
    const door = waiting ? entry.makeDoor() : undefined;
    const born = createContainer({
      id, bundleDir: bundle.dir, spec: withSockets(bundle.spec), pipeSize: 0, door, newKeyring: !options.has("no-new-keyring"), noPivot: options.has("no-pivot"), own: { keep: descriptorsToKeep(options, passedSockets()), terminal: (fd) => (master = fd) },
    });
    whileItBuilds(entry, bundle, waiting);
    container = await born;
    door?.close();
    entry.write({ ...saved, pid: container.initPid, startTime: startTimeOf(container.initPid) ?? 0, cgroup: container.cgroup.path, madeParents: container.cgroup.madeParents(), ...(container.newKeyring ? {} : { newKeyring: false }), ...(container.resctrl === undefined ? {} : { resctrl: container.resctrl }) });
    announce(options, container, master);
    if (waiting && container.gate?.tell("go") !== true) throw new AppError("internal", "its process is gone");
    return { entry, container, master };
  } catch (error) {
    if (container !== undefined) await ending().destroyContainer(container);
    entry.remove();
    throw error;
  }
}

/** The child is born and busy: this process gets ready for what comes next. */
function whileItBuilds(entry: Entry, bundle: Bundle, waiting: boolean): void {
  entry.writeConfig(bundle.text);
  if (waiting) return;
  starting();
  ending();
  foreground();
}

/** Sockets and pid file: whoever asked for them is told before the command ends. */
function announce(options: Options, { initPid, init }: Container, master: Fd | undefined): void {
  const console = options.get("console-socket");
  if (console !== undefined && master !== undefined) sockets().sendTerminal(console, master);
  const pidfds = options.get("pidfd-socket");
  if (pidfds !== undefined) sockets().sendPidfd(pidfds, init.pidfd);
  writePidFile(options, initPid);
}

/** The pid file appears whole: decimal, no newline. */
export function writePidFile(options: Options, pid: number): void {
  const path = options.get("pid-file");
  if (path === undefined) return;
  attempt(`write the pid file ${path}`, () => {
    const cut = path.lastIndexOf("/") + 1;
    const other = `${path.slice(0, cut)}.${path.slice(cut)}`;
    {
      using file = open(other, O.WRONLY | O.CREAT | O.TRUNC, 0o644);
      writeAll(file, String(pid));
    }
    renameat(AT_FDCWD, other, AT_FDCWD, path);
  });
}

const variable = (name: string): string | undefined => native.env.find((e) => e.startsWith(`${name}=`))?.slice(name.length + 1);

/** How many sockets a service manager has passed to this command, from descriptor 3 up. See sd_listen_fds(3). */
function passedSockets(): number {
  const reader = variable("LISTEN_PID");
  return reader !== undefined && reader !== String(getpid()) ? 0 : (decimal(variable("LISTEN_FDS") ?? "") ?? 0);
}

/** With passed sockets the program is told of them as this command was; in its pid namespace it is process 1. */
function withSockets(spec: Spec): Spec {
  const n = passedSockets();
  if (n === 0 || spec.process === undefined) return spec;
  const names = variable("LISTEN_FDNAMES");
  return { ...spec, process: { ...spec.process, env: [...(spec.process.env ?? []), `LISTEN_FDS=${n}`, "LISTEN_PID=1", ...(names === undefined ? [] : [`LISTEN_FDNAMES=${names}`])] } };
}

/** --preserve-fds, after so many that a service manager has passed. */
export function descriptorsToKeep(options: Options, passed = 0): number[] {
  const n = (options.number("preserve-fds") ?? 0) + passed;
  if (n > 65536) invalid(`--preserve-fds: ${n} is too many`);
  const kept: number[] = [];
  for (let fd = 3; fd < 3 + n; fd++) if (sys(NR.fcntl, fd, F.GETFD) === 0) kept.push(fd); // this command's own are close-on-exec
  return kept;
}

export async function create(context: Context, options: Options): Promise<number> {
  await make(context, options, true);
  return 0;
}

export async function run(context: Context, options: Options): Promise<number> {
  if (!options.has("detach") && !options.has("no-subreaper")) setChildSubreaper();
  const { entry, container, master } = await make(context, options, false);
  try {
    if (options.has("detach")) {
      await starting().startContainer(container);
      return 0;
    }
    const attached = foreground().attach(master, (signal) => pidfdSendSignal(container.init.pidfd, signal));
    try {
      await starting().startContainer(container);
      const status = await new Promise<number>((done) => whenEnded(container.init, done));
      attached.drain();
      if (!options.has("keep")) await forget(entry, container);
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
  await ending().destroyContainer(container);
  entry.lock().remove();
}
