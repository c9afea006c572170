// A control group of version 2. Controllers are enabled in the parents only when a container needs them.
// Source: Documentation/admin-guide/cgroup-v2.rst.
import { AT, SIG } from "../../abi/flags.js";
import { isErrno, SysError, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { type Fd } from "../../sys/fd.js";
import { exists, fchownat } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { now } from "../../lib/loop.js";
import { pause } from "../../lib/async.js";
import { childTask } from "../../lib/child-task.js";
import { AppError, attempt, because } from "../../lib/errors.js";
import { readText, readTextIf } from "../../lib/fs.js";
import { lazy } from "../../lib/lazy.js";
import { lines, words } from "../../lib/text.js";
import { cleanGroup, fieldOf, hasLimits, type Limit } from "../../oci/cgroup.js";
import type { DeviceRule, Memory, Resources } from "../../oci/spec.js";
import type { Cgroup, OomWatch } from "./group.js";
import { hierarchy } from "./hierarchy.js";
import type { Stats } from "./stats.js";
import { openDir, put } from "./control-file.js";
import { firstPids, makeGroup, makeParent, onParentGone, parentsMade, removeGroupNow, removeGroups, writeLimits } from "./files.js";

const below = lazy<typeof import("./below.js")>("engine/cgroup/below.js");
const bpf = lazy<typeof import("../../sys/bpf.js")>("sys/bpf.js");
const rulesOf = lazy<typeof import("../../oci/device-rules.js")>("oci/device-rules.js");
const limits = lazy<typeof import("../../oci/cgroup-limits.js")>("oci/cgroup-limits.js");
const stats = lazy<typeof import("./stats.js")>("engine/cgroup/stats.js");
const oom = lazy<typeof import("./oom.js")>("engine/cgroup/oom.js");

const FREEZE_MS = 10_000;
/** So long those who are killed one by one are looked for again. */
const KILL_MS = 5000;
/** Always on where they exist: the host asks for their figures, and their limits may come later. */
const USUAL = ["cpu", "memory", "pids"];

const enabled = new Map<string, Set<string>>(); // controllers that a parent passes on to its children
let available: Set<string> | undefined;

/** What limits need, with the field that needs it. */
type Needed = ReadonlyMap<string, string>;

function neededBy(wanted: readonly Limit[]): Needed {
  const needed = new Map<string, string>();
  for (const limit of wanted) if (limit.controller !== "cgroup" && !needed.has(limit.controller)) needed.set(limit.controller, fieldOf(limit));
  return needed;
}

const offered = (): Set<string> => (available ??= new Set(words(readText(`${hierarchy().root}/cgroup.controllers`))));

/** Lets every group above `path` pass these controllers on; false when not all could be. Throws for a needed one, naming the field. */
function enable(path: string, wanted: Iterable<string>, needed: Needed): boolean {
  const { root } = hierarchy();
  for (const [name, field] of needed) if (!offered().has(name)) throw new AppError("precondition", `${field}: the requested cgroup controller \`${name}\` is not available`);
  let names = [...new Set([...wanted, ...needed.keys()])].filter((name) => offered().has(name));
  const all = names.length;
  for (let cut = 0; cut >= 0; cut = path.indexOf("/", cut + 1)) {
    const parent = root + path.slice(0, cut);
    let has = enabled.get(parent);
    if (has === undefined) enabled.set(parent, (has = new Set()));
    const missing = names.filter((name) => !has.has(name));
    if (missing.length === 0) continue;
    if (cut > 0) makeParent(root, path.slice(0, cut));
    for (const name of passOn(parent, missing, needed)) has.add(name);
    names = names.filter((name) => has.has(name)); // what one group does not pass on those below it cannot
  }
  return names.length === all;
}

/** A group with processes that passes one of these on becomes threaded; the others it cannot pass on. */
const THREADED = ["cpu", "cpuset", "perf_event", "pids"];

/** All in one write; when that fails one by one, since only the needed ones have to be there. Returns what the group passes on. */
function passOn(parent: string, names: readonly string[], needed: Needed): string[] {
  const write = (list: readonly string[]): void => put(parent, "cgroup.subtree_control", list.map((name) => `+${name}`).join(" "));
  try {
    write(names);
    return [...names];
  } catch (error) {
    if (isErrno(error, E.EBUSY)) return passOnBusy(parent, names.filter((name) => needed.has(name)), needed, write);
    if (!(error instanceof SysError)) throw error;
  }
  return names.filter((name) => {
    try {
      write([name]);
      return true;
    } catch (error) {
      const field = needed.get(name);
      if (field === undefined) return false;
      throw because(`${field}: enable ${name} in ${parent}`, error);
    }
  });
}

/** The same for a group that has processes: it is left as it is, unless something is needed. */
function passOnBusy(parent: string, names: string[], needed: Needed, write: (names: readonly string[]) => void): string[] {
  if (names.length === 0) return names;
  try {
    write(names);
    return names;
  } catch (error) {
    const name = names.find((n) => !THREADED.includes(n)) ?? (names[0] as string);
    throw new AppError("precondition", `${needed.get(name)}: cgroup ${parent} has processes of its own, so that it cannot give the ${name} controller to groups below it: choose another linux.cgroupsPath`, error);
  }
}

/** The last device program, kept loaded: most containers have the same rules. */
let loaded: { readonly key: string; readonly program: Fd } | undefined;

function programFor(rules: readonly DeviceRule[]): Fd | undefined {
  const key = JSON.stringify(rules);
  if (loaded?.key === key) return loaded.program;
  const code = rulesOf().deviceProgram(rules);
  if (code === undefined) return undefined;
  const program = attempt("load the device rules", () => bpf().loadDeviceProgram(code));
  loaded?.program.close();
  loaded = { key, program };
  return program;
}

class Group implements Cgroup {
  readonly version = 2;
  /** Of whoever had the group. */
  #killsBefore = 0;
  constructor(readonly path: string, readonly exact = false) {}

  get dir(): string {
    return hierarchy().root + this.path;
  }
  madeParents(): readonly string[] {
    return parentsMade([this.dir]);
  }
  frozen(): boolean {
    return readTextIf(`${this.dir}/cgroup.events`)?.includes("frozen 1") === true;
  }

  create(resources: Resources | undefined, owner = 0, every = false): void {
    const wanted = hasLimits(resources) ? limits().limitsV2(resources) : [];
    const needed = neededBy(wanted);
    const again = (): boolean => enable(this.path, every ? offered() : USUAL, needed);
    const whole = again();
    attempt("make the container's cgroup", () => this.#make(needed, whole, again));
    try {
      if (wanted.length > 0) writeLimits(wanted, () => this.dir);
      if (owner > 0) attempt("hand over the container's cgroup", () => this.#handOver(owner));
    } catch (error) {
      this.removeNow();
      throw error;
    }
  }

  /** A parent may have been removed by others since it was noted: then everything is looked at again. */
  #make(needed: Needed, whole: boolean, again: () => boolean): void {
    const { root } = hierarchy();
    try {
      if (!makeGroup(root, this.path)) this.#killsBefore = this.#kills() ?? 0;
      const { length } = this.#controllers();
      if (!whole || length === 0) this.#beThreaded();
      if (length > 0 || needed.size === 0) return;
    } catch (error) {
      if (!(error instanceof AppError) || !isErrno(error.why, E.ENOENT)) throw error;
    }
    enabled.clear();
    again();
    makeGroup(root, this.path);
  }
  #controllers(): string[] {
    return words(readText(`${this.dir}/cgroup.controllers`));
  }
  /** Below a threaded group nobody can be in one that is not threaded itself. See cgroup-v2.rst, Threads. */
  #beThreaded(): void {
    if (readTextIf(`${this.dir}/cgroup.type`)?.startsWith("domain invalid") === true) put(this.dir, "cgroup.type", "threaded");
  }

  /** The folder and the files with which groups below it are made and filled; the limits stay the machine's. See cgroup-v2.rst, Delegation. */
  #handOver(owner: number): void {
    using dir = openDir(this.dir);
    fchownat(dir, "", owner, -1, AT.EMPTY_PATH);
    for (const file of lines(readTextIf("/sys/kernel/cgroup/delegate") ?? "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n")) {
      try {
        fchownat(dir, file, owner, -1, AT.SYMLINK_NOFOLLOW);
      } catch (error) {
        if (!isErrno(error, E.ENOENT)) throw error;
      }
    }
  }

  restrictDevices(resources: Resources | undefined): void {
    const program = programFor(resources?.devices ?? []);
    if (program === undefined) return;
    using dir = openDir(this.dir);
    attempt("attach the device rules", () => bpf().attachDeviceProgram(dir, program));
  }

  dirFd(like?: number): Fd | undefined {
    if (like === undefined) return openDir(this.dir);
    if (this.exact) return undefined;
    const line = lines(readText(`/proc/${like}/cgroup`)).find((l) => l.startsWith("0::"));
    return line === undefined ? undefined : openDir(hierarchy().root + line.slice(3));
  }
  procsFiles(): readonly string[] {
    return [];
  }
  v1Mounts(): undefined {
    return undefined;
  }
  sub(path: string): Cgroup {
    const below = new Group(this.path + cleanGroup(path, "--cgroup"), true);
    if (!exists(below.dir)) throw new AppError("not-found", `error adding pid of the process to cgroups: ${below.dir}/cgroup.procs: no such file or directory`);
    return below;
  }

  update(resources: Resources): void {
    const wanted = limits().limitsV2(resources);
    const needed = neededBy(wanted);
    enable(this.path, [], needed);
    if (resources.memory !== undefined) this.#checkMemory(resources.memory);
    writeLimits(wanted, () => this.dir);
    if (resources.devices !== undefined && resources.devices.length > 0) this.#replaceDevices(resources.devices);
  }

  /** The kernel would end processes rather than refuse a limit below what is in use. */
  #checkMemory({ checkBeforeUpdate, limit, swap }: Memory): void {
    if (checkBeforeUpdate !== true) return;
    const used = (file: string): number => Number(readTextIf(`${this.dir}/${file}`) ?? 0);
    const current = used("memory.current");
    const check = (field: string, what: string, value: number | undefined, use: number): void => {
      if (value !== undefined && value > 0 && use > value) throw new AppError("precondition", `linux.resources.memory.${field}: rejecting ${what} limit ${value} because of the usage of ${use} bytes`);
    };
    check("swap", "memory+swap", swap, current + used("memory.swap.current"));
    check("limit", "memory", limit, current);
  }

  #replaceDevices(rules: readonly DeviceRule[]): void {
    using dir = openDir(this.dir);
    const old = bpf().attachedDevicePrograms(dir);
    const program = programFor(rules);
    try {
      if (program !== undefined) attempt("attach the device rules", () => bpf().attachDeviceProgram(dir, program, old[0]));
      for (const fd of program === undefined ? old : old.slice(1)) bpf().detachDeviceProgram(dir, fd);
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
    put(this.dir, "cgroup.freeze", String(state));
    const until = now() + FREEZE_MS;
    for (let ms = 1; !readText(`${this.dir}/cgroup.events`).includes(`frozen ${state}`); ms = Math.min(ms * 2, 50)) {
      if (now() > until) {
        put(this.dir, "cgroup.freeze", "0");
        throw new AppError("deadline", `${state === 1 ? "freeze" : "thaw"} the cgroup ${this.path}: not done after ${FREEZE_MS} ms`);
      }
      await pause(ms);
    }
  }

  pids(): number[] {
    return below().pidsBelow(this.dir);
  }

  /** cgroup.kill reaches everybody below too, frozen or not. It came with Linux 5.14, and a group that the container made threaded refuses it. */
  async killAll(): Promise<void> {
    try {
      return put(this.dir, "cgroup.kill", "1");
    } catch (error) {
      if (!isErrno(error, E.ENOENT, E.EOPNOTSUPP)) throw because("kill the container's processes", error);
    }
    if (!exists(this.dir)) return;
    for (const pid of firstPids(this.dir)) sys(NR.kill, pid, SIG.KILL);
    await childTask("kill the container's processes", 4 * KILL_MS, () => below().killV2(this.dir, KILL_MS));
  }
  /** Nothing to do: what is frozen can be killed. */
  fetch(): Promise<void> {
    return Promise.resolve();
  }

  stats(pressure = false): Stats {
    return stats().statsV2(this.dir, pressure);
  }
  #kills(): number | undefined {
    return oom().oomKills(readTextIf(`${this.dir}/memory.events`));
  }
  oomKills(): number | undefined {
    const kills = this.#kills();
    return kills === undefined ? undefined : kills - this.#killsBefore;
  }
  watchOom(onOom: () => void, told?: number): OomWatch {
    return oom().watchV2(this.dir, onOom, told);
  }
  removeNow(): void {
    removeGroupNow(hierarchy().root, this.path);
  }
  remove(): Promise<void> {
    return removeGroups([[hierarchy().root, this.path]]);
  }
}

/** The group at `path`. */
export function group(path: string): Cgroup {
  onParentGone((parent) => enabled.delete(parent));
  return new Group(path);
}
