// exec: a further process in a container, from a file or from the container's own process with some things changed.
import { SIG } from "../abi/flags.js";
import { AppError, attempt } from "../lib/errors.js";
import { readDocument } from "../lib/fs.js";
import { lazy } from "../lib/lazy.js";
import { decimal } from "../lib/text.js";
import type { Fd } from "../sys/fd.js";
import { execProcess } from "../engine/exec.js";
import { signal, whenEnded } from "../engine/process.js";
import { mayTrace } from "../oci/caps.js";
import { parseProcess, parseSpec } from "../oci/parse.js";
import type { Capabilities, Process, Spec, User } from "../oci/spec.js";
import { type Command, type Context, DETACH, idOf, invalid } from "./context.js";
import { announce, descriptorsToKeep, STREAMS } from "./caller.js";
import { known, revive } from "./load.js";
import { attach, prepareTerminal } from "./foreground.js";
import type { Options } from "./options.js";

const sockets = lazy<typeof import("./sockets.js")>("cli/sockets.js");
const protect = lazy<typeof import("./protect.js")>("cli/protect.js");

const MOST_ID = 4294967294;

function id32(text: string, option: string): number {
  const n = decimal(text);
  if (n === undefined || n > MOST_ID) throw new AppError("invalid", `--${option}: "${text}" is not a number from 0 to ${MOST_ID}`);
  return n;
}

/** "UID" or "UID:GID". */
function withUser(user: User, options: Options): User {
  const text = options.get("user");
  const more = options.all("additional-gids").map((g) => id32(g, "additional-gids"));
  const groups = more.length === 0 ? {} : { additionalGids: [...(user.additionalGids ?? []), ...more] };
  if (text === undefined || text === "") return { ...user, ...groups };
  const [uid = "", gid, ...rest] = text.split(":");
  if (rest.length > 0) invalid(`--user: "${text}" is not UID[:GID]`);
  return { ...user, uid: id32(uid, "user"), ...(gid === undefined ? {} : { gid: id32(gid, "user") }), ...groups };
}

/** Added to what the process may get and has; never to what it inherits (CVE-2022-29162). */
function withCaps(caps: Capabilities | undefined, more: readonly string[]): Capabilities | undefined {
  if (more.length === 0) return caps;
  const add = (list: readonly string[] | undefined): readonly string[] => [...(list ?? []), ...more];
  return { ...caps, bounding: add(caps?.bounding), effective: add(caps?.effective), permitted: add(caps?.permitted), ...(caps?.inheritable?.length ? { ambient: add(caps.ambient) } : {}) };
}

function processFor(config: Spec, options: Options, args: readonly string[]): Process {
  const file = options.get("process");
  if (file !== undefined) {
    const text = attempt("--process", () => readDocument(file, 16 << 20));
    return attempt(file, () => parseProcess(text));
  }
  const base = config.process ?? { args: [], cwd: "/", user: { uid: 0, gid: 0 } };
  const { consoleSize: _, ...own } = base;
  const capabilities = withCaps(base.capabilities, options.all("cap"));
  const apparmorProfile = options.get("apparmor");
  const selinuxLabel = options.get("process-label");
  return {
    ...own, args: args.length === 0 ? invalid("exec: no command is given") : args, user: withUser(base.user, options), cwd: options.get("cwd") ?? base.cwd, env: [...(base.env ?? []), ...options.all("env")],
    terminal: options.has("tty"), ...(capabilities === undefined ? {} : { capabilities }), ...(apparmorProfile === undefined ? {} : { apparmorProfile }), ...(selinuxLabel === undefined ? {} : { selinuxLabel }),
    ...(options.has("no-new-privs") ? { noNewPrivileges: true } : {}),
  };
}

async function exec(context: Context, options: Options, rest: readonly string[]): Promise<number> {
  const it = known(context, idOf(options), false);
  if (it.status === "stopped" || it.status === "creating") throw new AppError("precondition", `cannot exec in a stopped container: container not running: ${it.saved.id}`);
  if (it.status === "paused" && !options.has("ignore-paused")) throw new AppError("precondition", `cannot exec in a paused container (use --ignore-paused to override): ${it.saved.id}`);
  const config = parseSpec(it.entry.config());
  const traced = mayTrace(config.process?.capabilities) || it.entry.traced(); // see protect.ts
  if (!context.rootless && traced) protect().protectSelf();
  const spec = processFor(config, options, rest);
  if (!traced && mayTrace(spec.capabilities)) it.entry.markTraced();
  if (!context.rootless && (spec.apparmorProfile || spec.selinuxLabel)) protect().protectLabelled(spec);
  const detached = options.has("detach");
  const socket = options.get("console-socket");
  if (socket !== undefined && !(spec.terminal === true && detached)) invalid("--console-socket: only with a terminal and --detach");
  if (socket === undefined && spec.terminal === true && detached) invalid("a terminal with --detach needs --console-socket");
  const revived = revive(it.status === "paused" ? { ...it, status: "running" } : it, { whole: config });
  const container = { ...revived, cgroup: options.all("cgroup").reduce((group, path) => group.sub(path), revived.cgroup) };
  let master: Fd | undefined;
  const process = await execProcess(container, "exec", spec, {
    keep: descriptorsToKeep(options), left: detached,
    terminal: (fd) => {
      if (socket !== undefined) return sockets().sendTerminal(socket, fd);
      prepareTerminal(fd);
      master = fd;
    },
  });
  announce(options, process, undefined);
  if (detached) return 0;
  const attached = attach(master, { send: (number) => signal(process, number), hangUp: () => signal(process, SIG.HUP) });
  try {
    const status = await new Promise<number>((done) => whenEnded(process, done));
    await attached.drain();
    return status;
  } finally {
    attached.restore();
  }
}

export const commands = {
  exec: {
    about: "run a further process in a container", usage: "ID COMMAND [ARG...]", least: 1, most: 100000, stopAt: 1, run: exec,
    options: {
      ...STREAMS,
      cwd: ["value", "working directory"],
      env: ["list", "NAME=VALUE; may be given again", "e"],
      tty: ["switch", "give it a terminal", "t"],
      user: ["value", "UID[:GID]", "u"],
      "additional-gids": ["list", "further group; may be given again", "g"],
      process: ["value", "JSON file with the process", "p"],
      detach: DETACH,
      "process-label": ["value", "SELinux label"],
      apparmor: ["value", "AppArmor profile"],
      "no-new-privs": ["switch", "set no_new_privs"],
      cap: ["list", "add a capability; may be given again", "c"],
      cgroup: ["list", "path below the container's cgroup ([controller:]path on version 1)"],
      "ignore-paused": ["switch", "also in a paused container, when it goes on"],
    },
  },
} as const satisfies { readonly [name: string]: Command };
