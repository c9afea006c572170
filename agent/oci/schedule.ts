// How a process is scheduled and where its memory comes from: scheduler, ioPriority, personality, memoryPolicy and CPU lists of
// a configuration, checked and turned into the numbers of the kernel's calls. Pure. (runtime-spec; sched_setattr(2),
// ioprio_set(2), personality(2), set_mempolicy(2), include/uapi/linux/{sched,ioprio,mempolicy}.h)
import type { SchedAttr } from "../abi/layouts.js";
import { IOPRIO, MPOL, PER, SCHED } from "../abi/flags.js";
import { decimal } from "../lib/text.js";
import { inRange, named, refuse } from "./field.js";
import type { Linux, Process, Scheduler } from "./spec.js";

const POLICIES = {
  SCHED_OTHER: SCHED.NORMAL, SCHED_FIFO: SCHED.FIFO, SCHED_RR: SCHED.RR, SCHED_BATCH: SCHED.BATCH, SCHED_ISO: SCHED.ISO, SCHED_IDLE: SCHED.IDLE, SCHED_DEADLINE: SCHED.DEADLINE,
};
const SCHED_FLAGS = {
  SCHED_FLAG_RESET_ON_FORK: SCHED.FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM: SCHED.FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN: SCHED.FLAG_DL_OVERRUN,
  SCHED_FLAG_KEEP_POLICY: SCHED.FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS: SCHED.FLAG_KEEP_PARAMS, SCHED_FLAG_UTIL_CLAMP_MIN: SCHED.FLAG_UTIL_CLAMP_MIN,
  SCHED_FLAG_UTIL_CLAMP_MAX: SCHED.FLAG_UTIL_CLAMP_MAX,
};
const CLASSES = { IOPRIO_CLASS_RT: IOPRIO.CLASS_RT, IOPRIO_CLASS_BE: IOPRIO.CLASS_BE, IOPRIO_CLASS_IDLE: IOPRIO.CLASS_IDLE };
const DOMAINS = { LINUX: PER.LINUX, LINUX32: PER.LINUX32 };
/** Modes of memoryPolicy by name, as set_mempolicy(2) numbers them. */
export const MEMORY_MODES = {
  MPOL_DEFAULT: MPOL.DEFAULT, MPOL_PREFERRED: MPOL.PREFERRED, MPOL_BIND: MPOL.BIND, MPOL_INTERLEAVE: MPOL.INTERLEAVE, MPOL_LOCAL: MPOL.LOCAL,
  MPOL_PREFERRED_MANY: MPOL.PREFERRED_MANY, MPOL_WEIGHTED_INTERLEAVE: MPOL.WEIGHTED_INTERLEAVE,
};
/** Flags of memoryPolicy by name. */
export const MEMORY_FLAGS = { MPOL_F_NUMA_BALANCING: MPOL.F_NUMA_BALANCING, MPOL_F_RELATIVE_NODES: MPOL.F_RELATIVE_NODES, MPOL_F_STATIC_NODES: MPOL.F_STATIC_NODES };
const STATIC_AND_RELATIVE = MPOL.F_STATIC_NODES | MPOL.F_RELATIVE_NODES;
/** As many CPUs or nodes as any kernel knows. */
const MOST_BITS = 8192;

/** What a process inherits over execve and has from the start. */
export interface Traits {
  /** `name` is for messages. */
  readonly scheduler?: { readonly name: string; readonly attr: SchedAttr };
  /** Class and level as ioprio_set(2) takes them. */
  readonly ioPriority?: number;
  readonly personality?: number;
  /** `nodes`: a bit mask, the lowest first; empty for none. */
  readonly memoryPolicy?: { readonly name: string; readonly mode: number; readonly nodes: Uint8Array };
}

function flagBits(field: string, what: string, table: { readonly [name: string]: number }, flags: readonly string[] | undefined): number {
  let bits = 0;
  flags?.forEach((name, i) => (bits |= named(`${field}.flags[${i}]`, what, table, name)));
  return bits;
}

/** "0-3,7" as a bit mask in bytes, a multiple of eight long; an empty list has no bytes. Refuses anything else. */
export function bitList(field: string, list: string, what = "list"): Uint8Array {
  const mask = new Uint8Array(MOST_BITS / 8);
  let highest = -1;
  let total = 0;
  for (const item of list.trim() === "" ? [] : list.split(",")) {
    const [first = "", last = first, ...more] = item.trim().split("-");
    const from = decimal(first);
    const to = decimal(last);
    if (from === undefined || to === undefined || more.length > 0 || to < from || to >= MOST_BITS || (total += to - from + 1) > MOST_BITS) {
      return refuse(field, `invalid ${what} "${list.slice(0, 80)}": not such as "0-3,7" of numbers below ${MOST_BITS}`);
    }
    for (let n = from; n <= to; n++) mask[n >> 3] = (mask[n >> 3] as number) | (1 << (n & 7));
    highest = Math.max(highest, to);
  }
  return mask.slice(0, Math.ceil((highest + 1) / 64) * 8);
}

const LEAST_RUNTIME = 1024n; // the kernel counts no finer
const MOST_RUNTIME = (1n << 63n) - 1n;

/** What sched_setattr(2) asks of a deadline: 1024 <= runtime <= deadline <= period, where a period of 0 is the deadline. */
function checkDeadline(field: string, { runtime, deadline, period }: Scheduler): void {
  const bad = (name: string, why: string): never => refuse(`${field}.${name}`, `sched_setattr: \`SCHED_DEADLINE\` ${why}`);
  if (runtime === undefined) return bad("runtime", "requires `runtime`");
  if (deadline === undefined) return bad("deadline", "requires `deadline`");
  const [r, d, p] = [BigInt(runtime), BigInt(deadline), BigInt(period ?? 0)];
  if (r === 0n) bad("runtime", "runtime must be greater than 0");
  if (r < LEAST_RUNTIME || r > MOST_RUNTIME) bad("runtime", `runtime ${r} must be between ${LEAST_RUNTIME} and ${MOST_RUNTIME}`);
  if (r > d) bad("runtime", `runtime ${r} must be <= deadline ${d}`);
  if (p !== 0n && d > p) bad("deadline", `deadline ${d} must be <= period ${p}`);
}

function schedulerOf(field: string, from: Scheduler): NonNullable<Traits["scheduler"]> {
  const policy = named(`${field}.policy`, "policy", POLICIES, from.policy);
  const flags = flagBits(field, "flag", SCHED_FLAGS, from.flags);
  const { nice = 0, priority = 0 } = from;
  inRange(`${field}.nice`, nice, -20, 19);
  if (policy === SCHED.FIFO || policy === SCHED.RR) {
    if ((flags & SCHED.FLAG_KEEP_PARAMS) === 0) inRange(`${field}.priority`, priority, 1, 99);
  } else if (priority !== 0) refuse(`${field}.priority`, "only SCHED_FIFO and SCHED_RR have one");
  for (const name of ["runtime", "deadline", "period"] as const) {
    if (BigInt(from[name] ?? 0) !== 0n && policy !== SCHED.DEADLINE) refuse(`${field}.${name}`, "only SCHED_DEADLINE has one");
  }
  if (policy === SCHED.DEADLINE) checkDeadline(field, from);
  return { name: from.policy, attr: { policy, flags, nice, priority, runtime: from.runtime ?? 0, deadline: from.deadline ?? 0, period: from.period ?? 0 } };
}

function ioPriorityOf(field: string, from: NonNullable<Process["ioPriority"]>): number {
  const kind = named(`${field}.class`, "class", CLASSES, from.class);
  inRange(`${field}.priority`, from.priority, 0, 7);
  return (kind << IOPRIO.CLASS_SHIFT) | from.priority;
}

function personalityOf({ domain, flags }: NonNullable<Linux["personality"]>): number {
  const n = named("linux.personality.domain", "domain", DOMAINS, domain);
  if (flags?.length) refuse("linux.personality.flags", "no flags are defined");
  return n;
}

function memoryPolicyOf(from: NonNullable<Linux["memoryPolicy"]>): NonNullable<Traits["memoryPolicy"]> {
  const field = "linux.memoryPolicy";
  const mode = named(`${field}.mode`, "memory policy mode", MEMORY_MODES, from.mode);
  const flags = flagBits(field, "memory policy flag", MEMORY_FLAGS, from.flags);
  if ((flags & STATIC_AND_RELATIVE) === STATIC_AND_RELATIVE) refuse(`${field}.flags`, "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other (to set_mempolicy an invalid argument)");
  const nodes = bitList(`${field}.nodes`, from.nodes ?? "", "memory policy nodes");
  const nodeless = mode === MPOL.DEFAULT || mode === MPOL.LOCAL;
  if (nodeless && nodes.length > 0) refuse(`${field}.nodes`, `${from.mode} takes none`);
  if (!nodeless && mode !== MPOL.PREFERRED && nodes.length === 0) refuse(`${field}.nodes`, `${from.mode} needs some`);
  return { name: from.mode ?? "", mode: mode | flags, nodes };
}

/** The traits of a process in a container with such a `linux` section; `field` is the process's place. Throws AppError "invalid". */
export function traitsOf(process: Pick<Process, "scheduler" | "ioPriority">, linux: Pick<Linux, "personality" | "memoryPolicy">, field = "process"): Traits {
  const { scheduler, ioPriority } = process;
  const { personality, memoryPolicy } = linux;
  return {
    ...(scheduler === undefined ? {} : { scheduler: schedulerOf(`${field}.scheduler`, scheduler) }),
    ...(ioPriority === undefined ? {} : { ioPriority: ioPriorityOf(`${field}.ioPriority`, ioPriority) }),
    ...(personality === undefined ? {} : { personality: personalityOf(personality) }),
    ...(memoryPolicy === undefined ? {} : { memoryPolicy: memoryPolicyOf(memoryPolicy) }),
  };
}

/** The CPUs of execCPUAffinity as bit masks; a list that is absent or empty is undefined. Throws AppError "invalid". */
export function affinityOf(from: NonNullable<Process["execCPUAffinity"]>, field = "process"): { readonly initial: Uint8Array | undefined; readonly final: Uint8Array | undefined } {
  const mask = (name: "initial" | "final"): Uint8Array | undefined => {
    const bits = bitList(`${field}.execCPUAffinity.${name}`, from[name] ?? "");
    return bits.length === 0 ? undefined : bits;
  };
  return { initial: mask("initial"), final: mask("final") };
}
