// A control group of version 2. Controllers are enabled in the parents only when a container needs them.
// Source: Documentation/admin-guide/cgroup-v2.rst.
import { SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { type Fd } from "../sys/fd.js";
import { O, open, exists } from "../sys/file.js";
import { attachDeviceProgram, attachedDevicePrograms, detachDeviceProgram, loadDeviceProgram } from "../sys/bpf.js";
import { now } from "../lib/loop.js";
import { pause } from "../lib/async.js";
import { AppError, attempt, because } from "../lib/errors.js";
import { readText, writeText } from "../lib/fs.js";
import { lazy } from "../lib/lazy.js";
import { words } from "../lib/text.js";
import { limitsV2 } from "../oci/cgroup-limits.js";
import { deviceProgram } from "../oci/device-rules.js";
import type { DeviceRule, Memory, Resources } from "../oci/spec.js";
import { allMade, type Cgroup, hierarchy, killPids, makeGroup, makeParent, onParentGone, readPids, removeGroup, removeGroupNow, writeLimits } from "./cgroup.js";
import type { Stats } from "./cgroup-stats.js";

const stats = lazy<typeof import("./cgroup-stats.js")>("engine/cgroup-stats.js");
const oom = lazy<typeof import("./cgroup-oom.js")>("engine/cgroup-oom.js");

const FREEZE_MS = 10_000;
/** Always on where they exist: the host asks for their figures, and their limits may come later. */
const USUAL = ["cpu", "memory", "pids"];

const enabled = new Map<string, Set<string>>(); // controllers that a parent passes on to its children
let available: Set<string> | undefined;

/** Lets every group above `path` pass these controllers on. Throws "precondition" for one that the kernel has not. */
function enable(path: string, wanted: readonly string[], must: ReadonlySet<string>): void {
  const { root } = hierarchy();
  available ??= new Set(words(readText(`${root}/cgroup.controllers`)));
  for (const name of must) if (!available.has(name)) throw new AppError("precondition", `the kernel offers no ${name} controller for cgroup ${path}`);
  const names = wanted.filter((name) => available?.has(name));
  for (let cut = 0; cut >= 0; cut = path.indexOf("/", cut + 1)) {
    const parent = root + path.slice(0, cut);
    let has = enabled.get(parent);
    if (has === undefined) enabled.set(parent, (has = new Set()));
    const missing = names.filter((name) => !has.has(name));
    if (missing.length === 0) continue;
    if (cut > 0) makeParent(root, path.slice(0, cut));
    attempt(`enable ${missing.join(" ")} in ${parent}`, () => writeText(`${parent}/cgroup.subtree_control`, missing.map((name) => `+${name}`).join(" ")));
    for (const name of missing) has.add(name);
  }
}

/** The last device program, kept loaded: most containers have the same rules. */
let loaded: { readonly key: string; readonly program: Fd } | undefined;

function programFor(rules: readonly DeviceRule[]): Fd | undefined {
  const key = JSON.stringify(rules);
  if (loaded?.key === key) return loaded.program;
  const code = deviceProgram(rules);
  if (code === undefined) return undefined;
  const program = attempt("load the device rules", () => loadDeviceProgram(code));
  loaded?.program.close();
  loaded = { key, program };
  return program;
}

class Group implements Cgroup {
  readonly version = 2;
  constructor(readonly path: string) {}
  madeParents(): readonly string[] { return allMade(); }
  frozen(): boolean { return readText(`${this.dir}/cgroup.freeze`).trim() === "1"; }
  reopen(): Cgroup { return this; }

  get dir(): string {
    return hierarchy().root + this.path;
  }

  create(resources: Resources | undefined): void {
    const limits = limitsV2(resources ?? {});
    const needed = new Set(limits.map((l) => l.controller).filter((c) => c !== "cgroup"));
    enable(this.path, [...new Set([...USUAL, ...needed])], needed);
    attempt("make the container's cgroup", () => this.#make(needed));
    try {
      if (limits.length > 0) writeLimits(limits, () => this.dir);
      this.#devices(resources?.devices ?? []);
    } catch (error) {
      removeGroupNow(hierarchy().root, this.path);
      throw error;
    }
  }

  /** A parent may have been removed by others since it was noted: then everything is looked at again. */
  #make(needed: ReadonlySet<string>): void {
    const { root } = hierarchy();
    try {
      makeGroup(root, this.path);
      if (needed.size === 0 || words(readText(`${this.dir}/cgroup.controllers`)).length > 0) return;
    } catch (error) {
      if (!(error instanceof AppError) || !(error.why instanceof SysError) || error.why.errno !== E.ENOENT) throw error;
    }
    enabled.clear();
    enable(this.path, [...new Set([...USUAL, ...needed])], needed);
    makeGroup(root, this.path);
  }

  #devices(rules: readonly DeviceRule[]): void {
    const program = programFor(rules);
    if (program === undefined) return;
    using dir = open(this.dir, O.RDONLY | O.DIRECTORY);
    attempt("attach the device rules", () => attachDeviceProgram(dir, program));
  }

  dirFd(): Fd {
    return open(this.dir, O.PATH | O.DIRECTORY);
  }
  procsFiles(): readonly string[] {
    return [];
  }
  v1Mounts(): undefined {
    return undefined;
  }

  update(resources: Resources): void {
    const limits = limitsV2(resources);
    const needed = new Set(limits.map((l) => l.controller).filter((c) => c !== "cgroup"));
    enable(this.path, [...needed], needed);
    if (resources.memory !== undefined) this.#checkMemory(resources.memory);
    writeLimits(limits, () => this.dir);
    if (resources.devices !== undefined && resources.devices.length > 0) this.#replaceDevices(resources.devices);
  }

  #checkMemory(memory: Memory): void {
    if (memory.checkBeforeUpdate !== true || memory.limit === undefined || memory.limit <= 0) return;
    const current = Number(readText(`${this.dir}/memory.current`));
    if (current > memory.limit) throw new AppError("precondition", `memory.limit ${memory.limit} is below what the container uses (${current} bytes)`);
  }

  #replaceDevices(rules: readonly DeviceRule[]): void {
    using dir = open(this.dir, O.RDONLY | O.DIRECTORY);
    const old = attachedDevicePrograms(dir);
    const program = programFor(rules);
    try {
      if (program !== undefined) attempt("attach the device rules", () => attachDeviceProgram(dir, program, old[0]));
      for (const fd of program === undefined ? old : old.slice(1)) detachDeviceProgram(dir, fd);
    } finally {
      for (const fd of old) fd.close();
    }
  }

  freeze(): Promise<void> {
    return this.#setFrozen(1);
  }
  thaw(): Promise<void> {
    return this.#setFrozen(0);
  }
  async #setFrozen(state: 0 | 1): Promise<void> {
    writeText(`${this.dir}/cgroup.freeze`, String(state));
    const until = now() + FREEZE_MS;
    for (let ms = 1; !readText(`${this.dir}/cgroup.events`).includes(`frozen ${state}`); ms = Math.min(ms * 2, 50)) {
      if (now() > until) {
        writeText(`${this.dir}/cgroup.freeze`, "0");
        throw new AppError("deadline", `${state === 1 ? "freeze" : "thaw"} the cgroup ${this.path}: not done after ${FREEZE_MS} ms`);
      }
      await pause(ms);
    }
  }

  pids(): number[] {
    return readPids(this.dir);
  }

  async killAll(): Promise<void> {
    try {
      writeText(`${this.dir}/cgroup.kill`, "1");
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.errno !== E.ENOENT) throw because("kill the container's processes", error);
      if (exists(this.dir)) killPids(this.pids()); // the file came with Linux 5.14
    }
  }

  stats(): Stats {
    return stats().statsV2(this.dir);
  }
  watchOom(onOom: () => void): () => void {
    return oom().watchV2(this.dir, onOom);
  }
  remove(): Promise<void> {
    return removeGroup(hierarchy().root, this.path);
  }
}

/** The group at `path`. */
export function group(path: string): Cgroup {
  onParentGone((parent) => enabled.delete(parent));
  return new Group(path);
}
