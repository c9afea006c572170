// The one way a container comes to be: name reserved, storages mounted, devices found, spec prepared, engine called. What was
// done is undone, newest first, when a later step fails; a name that is taken is refused before anything is touched.
import { MAGIC, O } from "../abi/flags.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { exists, open, statfs } from "../sys/file.js";
import { Serial } from "../lib/async.js";
import { AppError, attempt, messageOf } from "../lib/errors.js";
import { aside, descriptorsAside, type ForeignPath, foreign, named, reach } from "../lib/foreign.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { checkSpec } from "../oci/check.js";
import type { Linux, Namespace, Spec } from "../oci/spec.js";
import { createContainer as create } from "../engine/create.js";
import { destroyContainer } from "../engine/destroy.js";
import type { Device } from "../devices/resolve.js";
import type { AskedStorage } from "../storage/types.js";
import { containerDir, ensureBase, removeContainerDir, type Entry, type Sandbox } from "./sandbox.js";
import { sharedPaths } from "./shared-ns.js";
import { AGENT } from "../oci/judgement.js";

const seccomp = lazy<typeof import("../engine/confine/seccomp.js")>("engine/confine/seccomp.js");
const storage = lazy<typeof import("../storage/mount-all.js")>("storage/mount-all.js");
const owed = lazy<typeof import("../lib/owed.js")>("lib/owed.js");
const devices = lazy<typeof import("../devices/resolve.js")>("devices/resolve.js");

export interface CreateArgs {
  readonly id: string;
  readonly spec: Spec;
  readonly storages: readonly AskedStorage[];
  readonly devices: readonly Device[];
  readonly sandboxPidns: boolean;
}

function isAlphanumeric(c: number): boolean {
  return (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c > 127;
}

/** What lies beside the containers' folders: a container of such a name would take it along when it goes. */
const OWN_FOLDERS = ["shared", "sandbox"];

/** Throws AppError "internal" (as hosts know it): the first character is a letter or digit, others may be one of . - _ too; at least two. */
export function checkId(id: string): void {
  let good = id.length >= 2 && id.length <= 1024 && isAlphanumeric(id.charCodeAt(0));
  for (let i = 1; good && i < id.length; i++) good = isAlphanumeric(id.charCodeAt(i)) || ".-_".includes(id.charAt(i));
  if (!good) throw new AppError("internal", `invalid container ID ${id}`);
  if (OWN_FOLDERS.includes(id)) throw new AppError("internal", `invalid container ID ${id}: ${containerDir(id)} is the agent's own folder`);
}

/** Those of the request that the agent does not replace by its own. */
function taken(sandbox: Sandbox, linux: Linux): readonly Namespace[] {
  const shared = (type: string): boolean => sandbox.shared !== undefined && (type === "ipc" || type === "uts");
  return (linux.namespaces ?? []).map((n) => (n.type === "pid" || shared(n.type) ? { type: n.type } : n));
}

/**
 * Namespaces as the agent gives them: ipc and uts shared in the sandbox, pid new or shared, a mount namespace in any case (without
 * one the container would run in the guest's own root), the others as asked for.
 */
function namespacesFor(sandbox: Sandbox, linux: Linux, asked: readonly Namespace[], sharePid: boolean): Namespace[] {
  const shared = sandbox.shared === undefined ? undefined : sharedPaths(sandbox.shared);
  const result: Namespace[] = asked.filter((n) => n.type !== "pid").map((n) => {
    if (n.type === "ipc" && shared !== undefined) return { type: n.type, path: shared.ipc };
    if (n.type === "uts" && shared !== undefined) return { type: n.type, path: shared.uts };
    return n;
  });
  const hides = (linux.maskedPaths?.length ?? 0) + (linux.readonlyPaths?.length ?? 0) > 0; // that is refused later, by name
  if (!hides && !asked.some((n) => n.type === "mount")) result.push({ type: "mount" });
  if (sharePid && sandbox.pidNs === undefined && sandbox.entries.size > 1) throw new AppError("internal", "Sandbox does not have sandbox_pidns");
  result.push(sharePid && sandbox.pidNs !== undefined ? { type: "pid", path: fdPath(sandbox.pidNs) } : { type: "pid" });
  return result;
}

const LOOK_MS = 10_000;

/**
 * Opens the namespaces that the request names: a helper follows the paths, and only namespaces come back. `fds` are the caller's to
 * close when the container's first process has joined them.
 */
async function openNamespaces(id: string, asked: readonly Namespace[]): Promise<{ readonly namespaces: readonly Namespace[]; readonly fds: readonly Fd[] }> {
  const paths = asked.map(({ path }) => path ?? "").filter((path) => path !== "").map(foreign);
  const { fds } = await descriptorsAside(`namespaces of container ${id}`, LOOK_MS, (off) => ({
    about: null,
    fds: paths.map((path) => attempt(`open the namespace ${named(path)}`, () => {
      const fd = open(reach(path, off), O.RDONLY | O.NONBLOCK);
      if (statfs(fd).type !== MAGIC.NSFS_MAGIC) throw new AppError("invalid", "is not a namespace");
      return fd;
    })),
  }));
  let next = 0;
  return { fds, namespaces: asked.map((n) => (n.path === undefined || n.path === "" ? n : { ...n, path: fdPath(fds[next++] as Fd) })) };
}

/** The root file system: what a storage has put into the container's folder, else the spec's own path. */
async function rootFor(id: string, spec: Spec, mounted: Sandbox["storages"]): Promise<string> {
  const dir = containerDir(id);
  const own = `${dir}/rootfs`;
  if (mounted.has(own) || mounted.has(`${own}/`)) return own;
  const inside = [...mounted.keys()].some((point) => point === dir || point.startsWith(`${dir}/`));
  const path: ForeignPath = foreign(own);
  return inside && (await aside(`look at ${own}`, LOOK_MS, (off) => exists(reach(path, off)))) ? own : spec.root?.path ?? "";
}

async function build(sandbox: Sandbox, args: CreateArgs, entry: Entry): Promise<void> {
  const { id } = args;
  const dir = containerDir(id);
  if (args.storages.length > 0) {
    entry.storages = await storage().mountAll(args.storages, { containerId: id, table: sandbox.storages, baseDir: dir, hotplugTimeoutMs: sandbox.settings.hotplugTimeoutMs });
  }
  let spec = args.spec;
  if (args.devices.length > 0) spec = await devices().resolveDevices(args.devices, spec, { hotplugTimeoutMs: sandbox.settings.hotplugTimeoutMs });
  if (spec.linux === undefined) throw new AppError("internal", "Spec does not contain linux field");
  const root = { path: await rootFor(id, spec, sandbox.storages), readonly: spec.root?.readonly ?? false };
  const asked = taken(sandbox, spec.linux);
  const withPaths = asked.some(({ path }) => path !== undefined && path !== "");
  if (withPaths) checkSpec({ ...spec, root, linux: { ...spec.linux, namespaces: asked } }); // says it by its field, before anything is opened
  const { namespaces, fds } = withPaths ? await openNamespaces(id, asked) : { namespaces: asked, fds: [] };
  try {
    if (spec.linux.seccomp !== undefined) await seccomp().readyFilter(spec.linux.seccomp);
    const linux = { ...spec.linux, namespaces: namespacesFor(sandbox, spec.linux, namespaces, args.sandboxPidns) };
    entry.container = await create({
      judgement: AGENT, id, bundleDir: dir, spec: { ...spec, root, linux }, pipeSize: sandbox.settings.containerPipeSize, owe: (why, job) => oweFor(id, why, job),
    });
  } finally {
    for (const fd of fds) fd.close();
  }
}

/** Makes the container `args.id`; afterwards its first process waits for StartContainer. */
export async function createContainer(sandbox: Sandbox, args: CreateArgs): Promise<void> {
  checkId(args.id);
  if (sandbox.entries.has(args.id)) throw new AppError("exists", `container ${args.id} already exists`);
  ensureBase();
  const entry: Entry = { id: args.id, container: undefined, storages: [], serial: new Serial() };
  sandbox.entries.set(args.id, entry);
  await entry.serial.run(async () => {
    try {
      if (owing) await owed().paid(args.id);
      await build(sandbox, args, entry);
      rememberPidNamespace(sandbox, entry);
    } catch (error) {
      await undo(sandbox, entry);
      throw error;
    }
  });
}

/** The pid namespace of the first container is the one that others may share. */
function rememberPidNamespace(sandbox: Sandbox, entry: Entry): void {
  if (sandbox.pidNs !== undefined || entry.container === undefined) return;
  sandbox.pidNs = open(`/proc/${entry.container.initPid}/ns/pid`, O.RDONLY);
  sandbox.pidNsOf = entry.id;
}

/** May be called again when it fails: it goes on where it stopped. */
async function takeBack(sandbox: Sandbox, entry: Entry): Promise<void> {
  if (entry.container !== undefined) await destroyContainer(entry.container);
  entry.container = undefined;
  const { storages } = entry;
  entry.storages = [];
  if (storages.length > 0) await storage().releaseAll(storages, sandbox.storages).catch((error: unknown) => log(Level.WARN, messageOf(error), { cid: entry.id })); // undo.ts tries again
  await removeContainerDir(entry.id);
}

let owing = false; // has anything ever been left?

/** Notes what could not be taken away: it goes later, and before the name is used again. */
function oweFor(id: string, why: unknown, job: () => Promise<void>): void {
  owing = true;
  owed().owe(id, `what the creation of container ${id} has left`, why, job);
}

async function undo(sandbox: Sandbox, entry: Entry): Promise<void> {
  try {
    await takeBack(sandbox, entry);
  } catch (error) {
    oweFor(entry.id, error, () => takeBack(sandbox, entry));
  }
  sandbox.entries.delete(entry.id);
}
