// A container's control groups of version 1: one folder in each controller's hierarchy that it needs. A child joins by
// writing "0" to the `tasks` files: a single thread that moves itself needs no machine-wide lock, which costs milliseconds.
// Sources: cgroups(7), Documentation/admin-guide/cgroup-v1/.
import { SysError, sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { exists, O, open } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { pause } from "../lib/async.js";
import { AppError, attempt } from "../lib/errors.js";
import { readText, writeText } from "../lib/fs.js";
import { lazy } from "../lib/lazy.js";
import { limitsV1 } from "../oci/cgroup-limits.js";
import { deviceLines } from "../oci/device-lines.js";
import type { DeviceRule, Resources } from "../oci/spec.js";
import { allMade, type Cgroup, hierarchy, killPids, makeGroup, readPids, removeGroup, removeGroupNow, writeLimits } from "./cgroup.js";
import type { Stats } from "./cgroup-stats.js";

const stats = lazy<typeof import("./cgroup-stats.js")>("engine/cgroup-stats.js");
const oom = lazy<typeof import("./cgroup-oom.js")>("engine/cgroup-oom.js");

/** Always joined where they exist: for figures, limits that come later, the list of processes and the freezer. */
const USUAL = ["memory", "pids", "cpuacct", "devices", "freezer"];
const FREEZE_TRIES = 200;

/** Fills an empty cpuset (nobody can join it) with its parent's processors and memory nodes, from the top down. */
function fillCpuset(root: string, path: string): void {
  for (let cut = path.indexOf("/", 1); ; cut = path.indexOf("/", cut + 1)) {
    const dir = root + (cut < 0 ? path : path.slice(0, cut));
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      if (readText(`${dir}/${file}`).trim() === "") writeText(`${dir}/${file}`, readText(`${dir}/../${file}`));
    }
    if (cut < 0) return;
  }
}

class Groups implements Cgroup {
  readonly version = 1;
  /** Where the hierarchies are mounted that the container is in. */
  #roots: string[] = [];
  constructor(readonly path: string) {}
  madeParents(): readonly string[] { return allMade(); }
  frozen(): boolean { return readText(`${this.#dir("freezer")}/freezer.state`).trim() === "FROZEN"; }
  reopen(): Cgroup { this.#roots = [...new Set(hierarchy().mounts.values())].filter((r) => exists(r + this.path)); return this; }

  #dir(controller: string): string {
    const root = hierarchy().mounts.get(controller);
    if (root === undefined) throw new AppError("precondition", `the ${controller} controller is not mounted for cgroup ${this.path}`);
    return root + this.path;
  }

  /** Makes the folder of a controller; true when the container was not in that hierarchy yet. */
  #join(controller: string): boolean {
    const root = hierarchy().mounts.get(controller);
    if (root === undefined) throw new AppError("precondition", `the ${controller} controller is not mounted for cgroup ${this.path}`);
    if (this.#roots.includes(root)) return false;
    makeGroup(root, this.path);
    this.#roots.push(root);
    if (controller === "cpuset") attempt("fill the cpuset", () => fillCpuset(root, this.path));
    return true;
  }

  create(resources: Resources | undefined): void {
    const limits = limitsV1(resources ?? {});
    try {
      for (const name of USUAL) if (hierarchy().mounts.has(name)) this.#join(name);
      for (const { controller } of limits) this.#join(controller);
      writeLimits(limits, ({ controller }) => this.#dir(controller));
      if (hierarchy().mounts.has("devices")) this.#devices(resources?.devices ?? []);
    } catch (error) {
      for (const root of this.#roots) removeGroupNow(root, this.path);
      this.#roots = [];
      throw error;
    }
  }

  #devices(rules: readonly DeviceRule[]): void {
    const dir = this.#dir("devices");
    for (const [file, line] of deviceLines(rules, readText(`${dir}/devices.list`))) attempt(`write "${line}" to ${file}`, () => writeText(`${dir}/${file}`, line));
  }

  dirFd(): undefined {
    return undefined;
  }
  procsFiles(): readonly string[] {
    return this.#roots.map((root) => `${root}${this.path}/tasks`);
  }
  v1Mounts(): readonly string[] {
    return this.#roots.map((root) => `${root.slice(root.lastIndexOf("/") + 1)}:${root}${this.path}`);
  }

  update(resources: Resources): void {
    const limits = limitsV1(resources);
    for (const { controller } of limits) {
      if (!this.#join(controller)) continue;
      for (const pid of this.pids()) {
        const bytes = native.utf8Encode(String(pid));
        attempt(`move process ${pid} to the ${controller} cgroup`, () => writePid(`${this.#dir(controller)}/cgroup.procs`, bytes));
      }
    }
    writeLimits(limits, ({ controller }) => this.#dir(controller));
    if (resources.devices !== undefined && resources.devices.length > 0) this.#devices(resources.devices);
  }

  async freeze(): Promise<void> {
    const file = `${this.#dir("freezer")}/freezer.state`;
    for (let tries = 0; tries < FREEZE_TRIES; tries++) {
      writeText(file, "FROZEN"); // a process forked meanwhile leaves it at FREEZING until it is asked again
      if (readText(file).trim() === "FROZEN") return;
      await pause(tries < 10 ? 1 : 50);
    }
    writeText(file, "THAWED");
    throw new AppError("deadline", `freeze the cgroup ${this.path}: it does not come to rest`);
  }
  thaw(): Promise<void> {
    writeText(`${this.#dir("freezer")}/freezer.state`, "THAWED");
    return Promise.resolve();
  }

  pids(): number[] {
    const root = this.#roots[0];
    return root === undefined ? [] : readPids(root + this.path);
  }

  /** Freezing first, so that nobody forks while the list is worked through. */
  async killAll(): Promise<void> {
    const pids = this.pids();
    if (pids.length === 0) return;
    if (!hierarchy().mounts.has("freezer")) return killPids(pids);
    if (pids.length === 1) {
      killPids(pids);
      return this.thaw(); // what is frozen does not die
    }
    const frozen = await this.freeze().then(() => true, () => false);
    killPids(this.pids());
    if (frozen) await this.thaw();
  }

  stats(): Stats {
    return stats().statsV1((controller) => {
      const root = hierarchy().mounts.get(controller);
      return root !== undefined && this.#roots.includes(root) ? root + this.path : undefined;
    });
  }
  watchOom(onOom: () => void): () => void {
    if (!hierarchy().mounts.has("memory")) return () => undefined; // the kernel keeps the controller for version 2, or has none
    return oom().watchV1(this.#dir("memory"), onOom);
  }
  async remove(): Promise<void> {
    const roots = this.#roots;
    this.#roots = [];
    for (const root of roots) await removeGroup(root, this.path);
  }
}

/** A process may end while it is being moved. */
function writePid(file: string, bytes: Uint8Array): void {
  using fd = open(file, O.WRONLY);
  const r = sys(NR.write, fd.n, bytes, bytes.length);
  if (r < 0 && r !== -E.ESRCH) throw new SysError("write", -r);
}

/** The groups at `path` in the hierarchies of version 1. */
export function group(path: string): Cgroup {
  return new Groups(path);
}
