// update: other limits for a container that runs, from options or from JSON. What is not mentioned stays. When the kernel refuses
// one of them, those that were set before it get their old values back. (container-engine 2.6; spellings as in runc-update(8))
import { O } from "../abi/flags.js";
import { open } from "../sys/file.js";
import { Fd } from "../sys/fd.js";
import { AppError, attempt, messageOf } from "../lib/errors.js";
import { readFd, writeText } from "../lib/fs.js";
import { decimal } from "../lib/text.js";
import type { Cgroup } from "../engine/cgroup/group.js";
import { checkResources } from "../oci/check-resources.js";
import { parseResources, parseSpec } from "../oci/parse.js";
import type { Resources } from "../oci/spec.js";
import { type Command, type Context, idOf, invalid, say } from "./context.js";
import { known, revive } from "./load.js";
import type { Options } from "./options.js";
import type { Entry } from "./store.js";

type Section = { readonly [field: string]: unknown };
type Sections = { readonly [name: string]: Section };

/** Option: section and field of linux.resources, and whether it counts bytes. */
export const FLAGS: { readonly [option: string]: readonly [section: string, field: string, kind?: "bytes" | "text"] } = {
  "blkio-weight": ["blockIO", "weight"], "cpu-period": ["cpu", "period"], "cpu-quota": ["cpu", "quota"], "cpu-burst": ["cpu", "burst"], "cpu-share": ["cpu", "shares"], "cpu-rt-period": ["cpu", "realtimePeriod"],
  "cpu-rt-runtime": ["cpu", "realtimeRuntime"], "cpu-idle": ["cpu", "idle"], "cpuset-cpus": ["cpu", "cpus", "text"], "cpuset-mems": ["cpu", "mems", "text"], memory: ["memory", "limit", "bytes"],
  "memory-reservation": ["memory", "reservation", "bytes"], "memory-swap": ["memory", "swap", "bytes"], "kernel-memory": ["memory", "kernel", "bytes"], "kernel-memory-tcp": ["memory", "kernelTCP", "bytes"], "pids-limit": ["pids", "limit"],
};
/** What 0 means "leave it" for: all but these. A limit of 0 processes is a limit, as at create. */
const ZERO_COUNTS = ["cpu.burst", "cpu.idle", "memory.swappiness", "pids.limit"];
/** What a limit is when nobody has asked for one. */
const UNLIMITED: Sections = { memory: { limit: -1, swap: -1, reservation: -1 }, cpu: { quota: -1, period: 100000, shares: 1024, burst: 0, idle: 0 }, pids: { limit: -1 }, blockIO: { weight: 500 } };

/** "64m", "1.5g", "-1", "1048576": bytes, units of 1024; an "i" and a "b" may follow the unit. Undefined for anything else. */
export function bytesOf(text: string): number | undefined {
  if (text === "-1") return -1;
  let body = text.toLowerCase();
  if (body.endsWith("b")) body = body.slice(0, -1);
  if (body.endsWith("i")) body = body.slice(0, -1);
  const power = " kmgtp".indexOf(body.slice(-1) || "?");
  const digits = power > 0 ? body.slice(0, -1).trim() : body;
  const [whole = "", fraction, ...more] = digits.split(".");
  if (decimal(whole) === undefined || (fraction !== undefined && (fraction.length > 15 || decimal(fraction) === undefined)) || more.length > 0) return undefined;
  return Math.floor(Number(digits) * 1024 ** Math.max(0, power));
}

function numberOf(text: string): number | undefined {
  const n = decimal(text.startsWith("-") ? text.slice(1) : text);
  return n === undefined ? undefined : text.startsWith("-") ? -n : n;
}

function fromFlags(options: Options): Resources {
  const out: { [section: string]: { [field: string]: unknown } } = {};
  for (const option in FLAGS) {
    const text = options.get(option);
    if (text === undefined || text === "") continue;
    const [section, field, kind] = FLAGS[option] as (typeof FLAGS)[string];
    const value = kind === "text" ? text : (kind === "bytes" ? bytesOf : numberOf)(text);
    (out[section] ??= {})[field] = value ?? invalid(`invalid value for ${option}: "${text}"`);
  }
  return parseResources(JSON.stringify(out));
}

function fromFile(path: string, context: Context): Resources {
  const text = attempt("--resources", () => {
    const file = path === "-" ? new Fd(0) : open(path, O.RDONLY);
    return native.utf8Decode(readFd(file, path, 16 << 20)) ?? invalid("is not UTF-8 text");
  });
  const { devices, ...rest } = parseResources(text);
  if (devices !== undefined && devices.length > 0) say(context, "warning", "resources.devices: devices are not updated, the container keeps those it has");
  return rest;
}

/** Only what is asked for: a number of 0 mostly means that the caller had nothing to say. */
export function asked(resources: Resources): Resources {
  const out: { [name: string]: unknown } = {};
  for (const [name, section] of Object.entries(resources) as [string, unknown][]) {
    if (Array.isArray(section) ? section.length === 0 : typeof section !== "object" || section === null) continue;
    if (Array.isArray(section) || name === "unified" || name === "rdma") {
      out[name] = section;
      continue;
    }
    const fields = Object.entries(section as Section).filter(([field, value]) => (value !== 0 || ZERO_COUNTS.includes(`${name}.${field}`)) && value !== "" && !(Array.isArray(value) && value.length === 0));
    if (fields.length > 0) out[name] = Object.fromEntries(fields);
  }
  const memory = out["memory"] as { readonly limit?: number; readonly swap?: number } | undefined;
  if (memory?.limit === -1 && memory.swap === undefined) out["memory"] = { ...memory, swap: -1 };
  return out;
}

/** Section by section: the old ones with the fields of the new ones. */
export function merged(old: Resources, change: Resources): Resources {
  const out: { [name: string]: unknown } = { ...old };
  for (const [name, section] of Object.entries(change) as [string, unknown][]) out[name] = Array.isArray(section) ? section : { ...(out[name] as Section | undefined), ...(section as Section) };
  return out;
}

/** What is written: each section that changes, whole, for some files hold two limits. Swap is left where it is when only memory moves. */
export function toWrite(whole: Resources, change: Resources): Resources {
  const out: { [name: string]: unknown } = {};
  for (const name of Object.keys(change)) out[name] = (whole as Sections)[name];
  if (whole.memory !== undefined && change.memory !== undefined) {
    const { swap, ...rest } = whole.memory;
    out["memory"] = { ...rest, ...(change.memory.swap === undefined || swap === undefined ? {} : { swap }) };
  }
  return out;
}

/** The old values of what was to change; where there was none, no limit. */
function writeBack(cgroup: Cgroup, old: Resources, change: Resources): void {
  for (const [name, section] of Object.entries(change) as [string, Section][]) {
    const now = (old as Sections)[name];
    const fields = Array.isArray(section) ? now : Object.fromEntries(Object.keys(section).map((field) => [field, now?.[field] ?? UNLIMITED[name]?.[field]]).filter(([, value]) => value !== undefined));
    if (fields === undefined) continue;
    try {
      cgroup.update({ [name]: name === "memory" || name === "cpu" ? { ...now, ...fields } : fields });
    } catch {
      // the first failure is the one that is told
    }
  }
}

function setSchemata(folder: string | undefined, options: Options): void {
  const wanted = ["l3-cache-schema", "mem-bw-schema"].map((name) => options.get(name) ?? "").filter((text) => text !== "");
  if (wanted.length === 0) return;
  if (folder === undefined) invalid("linux.intelRdt: the container is in no class of service");
  attempt("linux.intelRdt: set the schemata", () => writeText(`${folder}/schemata`, `${wanted.join("\n")}\n`));
}

const before = (entry: Entry): Resources => {
  const saved = entry.resources();
  return saved === undefined ? (parseSpec(entry.config()).linux?.resources ?? {}) : parseResources(saved);
};

function update(context: Context, options: Options): number {
  const it = known(context, idOf(options), true);
  if (it.status === "stopped" || it.status === "creating") throw new AppError("precondition", `container not running: ${it.saved.id}`);
  const file = options.get("resources");
  const change = asked(file === undefined || file === "" ? fromFlags(options) : fromFile(file, context));
  const old = before(it.entry);
  const whole = merged(old, change);
  const { cgroup, resctrl } = revive(it);
  checkResources(change, cgroup.version);
  try {
    cgroup.update(toWrite(whole, change));
    setSchemata(resctrl?.folders[0], options);
    it.entry.writeResources(JSON.stringify(whole));
  } catch (error) {
    writeBack(cgroup, old, change);
    throw new AppError("invalid", messageOf(error), error);
  }
  return 0;
}

export const commands = {
  update: {
    about: "change a container's resource limits", usage: "ID", least: 1, most: 1, run: update,
    options: {
      resources: ["value", "JSON file with linux.resources instead of options (-: standard input)", "r"],
      memory: ["value", "memory, in bytes or with k, m, g (-1: no limit)"],
      "memory-reservation": ["value", "memory that is left to it when there is little, as above"],
      "memory-swap": ["value", "memory and swap together, as above"],
      "kernel-memory": ["value", "gone from the kernel, refused"],
      "kernel-memory-tcp": ["value", "gone from the kernel, refused"],
      "pids-limit": ["value", "processes and threads (-1: no limit)"],
      "cpu-period": ["value", "period of CPU time, in microseconds"],
      "cpu-quota": ["value", "CPU time in each period, in microseconds (-1: no limit)"],
      "cpu-burst": ["value", "CPU time that may be saved up for later periods, in microseconds"],
      "cpu-share": ["value", "share of CPU time when others want it too (usual: 1024)"],
      "cpu-idle": ["value", "1: only CPU time that nobody else wants"],
      "cpu-rt-period": ["value", "the same period for realtime processes (version 1)"],
      "cpu-rt-runtime": ["value", "realtime CPU time in each such period (version 1)"],
      "cpuset-cpus": ["value", "CPUs to run on, as 0-3,8"],
      "cpuset-mems": ["value", "memory nodes to take from, as 0-1"],
      "blkio-weight": ["value", "share of the time of block devices, 10 to 1000"],
      "l3-cache-schema": ["value", "line for schemata of resctrl: part of the level 3 cache"],
      "mem-bw-schema": ["value", "line for schemata of resctrl: memory bandwidth"],
    },
  },
} as const satisfies { readonly [name: string]: Command };
