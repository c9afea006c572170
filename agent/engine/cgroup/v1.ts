// A container's control groups of version 1: one folder in each hierarchy that is mounted, those with a name only among them, as
// others make them: for weights between containers, a service manager inside, figures and limits that come later. A child joins by
// writing "0" to the `tasks` files: a single thread that moves itself needs no machine-wide lock, which costs milliseconds.
// Sources: cgroups(7), Documentation/admin-guide/cgroup-v1/.
import { O, SIG } from "../../abi/flags.js";
import { isErrno, SysError, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { exists, open } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { pause } from "../../lib/async.js";
import { childTask } from "../../lib/child-task.js";
import { AppError, attempt } from "../../lib/errors.js";
import { readText, readTextIf } from "../../lib/fs.js";
import { lazy } from "../../lib/lazy.js";
import { cleanGroup, fieldOf, hasLimits, type Limit } from "../../oci/cgroup.js";
import { deviceLines } from "../../oci/device-lines.js";
import type { DeviceRule, Resources } from "../../oci/spec.js";
import type { Cgroup, OomWatch } from "./group.js";
import { hierarchy } from "./hierarchy.js";
import type { Stats } from "./stats.js";
import { openDir, put } from "./control-file.js";
import { firstPids, hasGroupsBelow, LOOKED_AT, makeGroup, parentsMade, removeGroupNow, removeGroups, writeLimits } from "./files.js";

const below = lazy<typeof import("./below.js")>("engine/cgroup/below.js");
const limits = lazy<typeof import("../../oci/cgroup-limits.js")>("oci/cgroup-limits.js");
const stats = lazy<typeof import("./stats.js")>("engine/cgroup/stats.js");
const oom = lazy<typeof import("./oom.js")>("engine/cgroup/oom.js");

/** The engine itself needs them: for the list of processes, the freezer, devices and figures. They come first, and cannot be done without. */
const NEEDED = ["memory", "pids", "cpuacct", "devices", "freezer"];
const FREEZE_TRIES = 200;
/** So long those who are killed are looked for again. */
const KILL_MS = 5000;

/** Where the hierarchies are mounted, the needed ones first. */
function allRoots(): string[] {
  const { mounts } = hierarchy();
  return [...new Set([...NEEDED.flatMap((name) => mounts.get(name) ?? []), ...mounts.values()])];
}

/** Gives an empty cpuset (nobody can join it), and those above it, the processors or memory nodes of the next that has some. */
function fillCpuset(root: string, path: string, file: string): void {
  const empty: string[] = [];
  let at = path;
  let value = "";
  for (; ; at = at.slice(0, at.lastIndexOf("/"))) {
    value = readText(`${root}${at}/${file}`).trim();
    if (value !== "" || at === "") break;
    empty.push(at);
  }
  for (const group of empty.reverse()) put(root + group, file, value);
}

/** May the container do without this hierarchy? It is not ours to change. */
const forbidden = (error: unknown): boolean => isErrno(error instanceof AppError ? error.why : error, E.EROFS, E.EACCES, E.EPERM);

class Groups implements Cgroup {
  readonly version = 1;
  /** Where the hierarchies are mounted that the container is in. */
  #roots: string[] = [];
  /** Of whoever had the group. */
  #killsBefore = 0;
  readonly #path: string;
  readonly #below: ReadonlyMap<string, string>;
  /** `below`: the group that the path begins at in a hierarchy, when that is not its root. */
  constructor(path: string, below: ReadonlyMap<string, string>) {
    this.#path = path;
    this.#below = below;
  }
  get path(): string {
    return this.#below.size === 0 ? this.#path : JSON.stringify([this.#path, ...this.#below]);
  }
  /** Its path in the hierarchy that is mounted there. */
  #in(root: string): string {
    return (this.#below.get(root) ?? "") + this.#path;
  }
  #full(root: string): string {
    return root + this.#in(root);
  }
  #folders(): string[] {
    return this.#roots.map((root) => this.#full(root));
  }
  madeParents(): readonly string[] {
    return parentsMade(this.#folders());
  }
  frozen(): boolean {
    const root = hierarchy().mounts.get("freezer");
    return root !== undefined && readTextIf(`${this.#full(root)}/freezer.state`)?.startsWith("FR") === true; // also FREEZING
  }
  /** Takes up what another process made. */
  reopen(): this {
    this.#roots = allRoots().filter((root) => exists(this.#full(root)));
    return this;
  }

  #root(controller: string, field = controller): string {
    const root = hierarchy().mounts.get(controller);
    if (root === undefined) throw new AppError("precondition", `${field}: the ${controller} controller is not mounted for cgroup ${this.path}`);
    return root;
  }
  #dir(controller: string): string {
    return this.#full(this.#root(controller));
  }

  /** Makes the folder of a controller; true when the container was not in that hierarchy yet. */
  #join(controller: string, limit: Limit): boolean {
    return this.#make(this.#root(controller, fieldOf(limit)));
  }
  #make(root: string): boolean {
    if (this.#roots.includes(root)) return false;
    const fresh = makeGroup(root, this.#in(root));
    if (!fresh && root === hierarchy().mounts.get("memory")) this.#killsBefore = this.#kills() ?? 0;
    this.#roots.push(root);
    if (root === hierarchy().mounts.get("cpuset")) for (const file of ["cpuset.cpus", "cpuset.mems"]) attempt("fill the cpuset", () => fillCpuset(root, this.#in(root), file));
    return true;
  }

  create(resources: Resources | undefined, _owner?: number, _every?: boolean, realtime = false): void {
    const wanted = hasLimits(resources) ? limits().limitsV1(resources) : [];
    const needed = NEEDED.map((name) => hierarchy().mounts.get(name));
    try {
      for (const limit of wanted) this.#root(limit.controller, fieldOf(limit)); // before anything is made
      const without = realtime ? hierarchy().mounts.get("cpu") : undefined;
      for (const root of allRoots()) {
        if (root === without && !needed.includes(root)) continue;
        try {
          this.#make(root);
        } catch (error) {
          if (needed.includes(root) || !forbidden(error)) throw error;
          if (this.#roots.at(-1) === root) { // made, but cannot be joined
            removeGroupNow(root, this.#in(root));
            this.#roots.pop();
          }
        }
      }
      for (const limit of wanted) this.#join(limit.controller, limit);
      writeLimits(wanted, (controller) => this.#dir(controller));
      if (hierarchy().mounts.has("devices")) this.#devices(resources?.devices ?? []);
    } catch (error) {
      this.removeNow();
      throw error;
    }
  }

  /** Nothing to do: they are set one by one, and a node that is made meanwhile would be denied, so `create` sets them. */
  restrictDevices(): void {}

  #devices(rules: readonly DeviceRule[]): void {
    const path = this.#dir("devices");
    const lines = deviceLines(rules, readText(`${path}/devices.list`));
    using dir = openDir(path);
    for (let i = 0, end = 0; i < lines.length; i = end) { // those for one file together
      const file = (lines[i] as (typeof lines)[0])[0];
      while (lines[end]?.[0] === file) end++;
      const texts = lines.slice(i, end).map(([, line]) => line);
      attempt(`linux.resources.devices: ${texts.join(", ")}`, () => put(dir, file, ...texts));
    }
  }

  dirFd(): undefined {
    return undefined;
  }
  procsFiles(): readonly string[] {
    return this.#folders().map((dir) => `${dir}/tasks`);
  }
  v1Mounts(): readonly string[] {
    const named = new Map([...hierarchy().mounts].filter(([name]) => name.startsWith("name=")).map(([name, root]) => [root, name]));
    return this.#roots.map((root) => `${named.get(root) ?? root.slice(root.lastIndexOf("/") + 1)}:${this.#full(root)}`);
  }

  sub(path: string): Cgroup {
    const cut = path.indexOf(":");
    const controllers = cut < 0 ? [...hierarchy().mounts.keys()] : path.slice(0, cut).split(",");
    const clean = cleanGroup(path.slice(cut + 1), "--cgroup");
    const at = new Map(this.#roots.map((root) => [root, this.#in(root)]));
    for (const controller of controllers) {
      const root = hierarchy().mounts.get(controller);
      if (root === undefined) throw new AppError("invalid", `--cgroup: unknown controller ${controller}`);
      if (!this.#roots.includes(root) && (cut < 0 || clean === "")) continue; // the container is where its caller was
      const dir = this.#full(root) + clean;
      if (!exists(dir)) throw new AppError("not-found", `error adding pid of the process to cgroups: ${dir}/cgroup.procs: no such file or directory`);
      at.set(root, this.#in(root) + clean);
    }
    return new Groups("", at).reopen();
  }

  update(resources: Resources): void {
    const wanted = limits().limitsV1(resources);
    for (const limit of wanted) {
      const { controller } = limit;
      if (!this.#join(controller, limit)) continue;
      for (const pid of below().pidsBelow(this.#full(this.#roots[0] as string), LOOKED_AT)) {
        const bytes = native.utf8Encode(String(pid));
        attempt(`move process ${pid} to the ${controller} cgroup`, () => writePid(`${this.#dir(controller)}/cgroup.procs`, bytes));
      }
    }
    writeLimits(wanted, (controller) => this.#dir(controller));
    if (resources.devices !== undefined && resources.devices.length > 0) this.#devices(resources.devices);
  }

  async freeze(): Promise<void> {
    const dir = this.#dir("freezer");
    for (let tries = 0; tries < FREEZE_TRIES; tries++) {
      put(dir, "freezer.state", "FROZEN"); // a process forked meanwhile leaves it at FREEZING until it is asked again
      if (readText(`${dir}/freezer.state`).trim() === "FROZEN") return;
      await pause(tries < 10 ? 1 : 50);
    }
    put(dir, "freezer.state", "THAWED");
    throw new AppError("deadline", `freeze the cgroup ${this.path}: it does not come to rest`);
  }
  thaw(): Promise<void> {
    put(this.#dir("freezer"), "freezer.state", "THAWED");
    return Promise.resolve();
  }

  pids(): number[] {
    const root = this.#roots[0];
    return root === undefined ? [] : below().pidsBelow(this.#full(root));
  }
  #freezer(): string | undefined {
    const root = hierarchy().mounts.get("freezer");
    return root !== undefined && this.#roots.includes(root) ? this.#full(root) : undefined;
  }

  /** Usually a few processes and no groups of their own: killed at once. Whoever is found after that is a child's. */
  async killAll(): Promise<void> {
    const dirs = this.#folders();
    const freezer = this.#freezer();
    const top = freezer ?? dirs[0];
    if (top === undefined) return;
    const some = firstPids(top);
    if (some.length > 1 && freezer !== undefined) put(freezer, "freezer.state", "FROZEN"); // so that nobody forks meanwhile
    for (const pid of some) sys(NR.kill, pid, SIG.KILL);
    if (freezer !== undefined) put(freezer, "freezer.state", "THAWED"); // what is frozen does not die
    if (some.length > 1) await pause(1);
    const strays = dirs.some((dir) => dir !== top && firstPids(dir).some((pid) => !some.includes(pid))); // moved out of the freezer's group only
    if (!strays && !dirs.some(hasGroupsBelow) && (some.length <= 1 || firstPids(top).length === 0)) return;
    await childTask(`kill the processes of the cgroup ${this.path}`, 4 * KILL_MS, () => below().killV1(freezer, dirs, KILL_MS));
  }
  async fetch(pids: readonly number[]): Promise<void> {
    const freezer = this.#freezer();
    if (freezer !== undefined) await childTask(`fetch the processes of the cgroup ${this.path} back`, KILL_MS, () => below().fetchAll(freezer, pids));
  }

  stats(): Stats {
    return stats().statsV1((controller) => {
      const root = hierarchy().mounts.get(controller);
      return root !== undefined && this.#roots.includes(root) ? this.#full(root) : undefined;
    });
  }
  #kills(): number | undefined {
    return hierarchy().mounts.has("memory") ? oom().oomKills(readTextIf(`${this.#dir("memory")}/memory.oom_control`)) : undefined;
  }
  oomKills(): number | undefined {
    const kills = this.#kills();
    return kills === undefined ? undefined : kills - this.#killsBefore;
  }
  watchOom(onOom: () => void, told?: number): OomWatch {
    const dir = hierarchy().mounts.has("memory") ? this.#dir("memory") : undefined; // the kernel keeps the controller for version 2, or has none
    return oom().watchV1(dir, onOom, told);
  }
  removeNow(): void {
    for (const root of this.#roots) removeGroupNow(root, this.#in(root));
    this.#roots = [];
  }
  remove(): Promise<void> {
    return removeGroups(this.#roots.map((root) => [root, this.#in(root)]), (gone) => {
      this.#roots = this.#roots.filter((root) => root !== gone);
    });
  }
}

/** A process may end while it is being moved. */
function writePid(file: string, bytes: Uint8Array): void {
  using fd = open(file, O.WRONLY);
  const r = sys(NR.write, fd.n, bytes, bytes.length);
  if (r < 0 && r !== -E.ESRCH) throw new SysError("write", -r);
}

/** The groups at `path`, below these groups of the hierarchies (by where they are mounted); nothing is made yet. */
export function group(path: string, below: ReadonlyMap<string, string> = new Map()): Cgroup {
  return new Groups(path, below);
}

/** The groups that another process made, by what their `path` was. */
export function reopen(path: string): Cgroup {
  const [own, ...below] = path.startsWith("[") ? (JSON.parse(path) as [string, ...[string, string][]]) : [path];
  return new Groups(own, new Map(below)).reopen();
}
