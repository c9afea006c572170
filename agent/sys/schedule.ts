// Where and how a thread runs: sched_setattr(2), ioprio_set(2), personality(2), set_mempolicy(2), sched_setaffinity(2). All of it
// passes execve and is inherited by children.
import type { SchedAttr } from "../abi/layouts.js";
import { IOPRIO, SCHED } from "../abi/flags.js";
import { must } from "./call.js";
import { NR } from "../abi/nr.js";
import { struct } from "./struct.js";

const SCHED_ATTR = struct({
  size: "u32", policy: "u32", flags: "u64", nice: "i32", priority: "u32", runtime: "u64", deadline: "u64", period: "u64", utilMin: "u32", utilMax: "u32",
});

/** The bytes of struct sched_attr (include/uapi/linux/sched/types.h). */
export function schedAttr(args: SchedAttr): Uint8Array {
  const size = (args.flags & (SCHED.FLAG_UTIL_CLAMP_MIN | SCHED.FLAG_UTIL_CLAMP_MAX)) === 0 ? SCHED.ATTR_SIZE_VER0 : SCHED_ATTR.size; // older kernels know no more
  return SCHED_ATTR.make({ ...args, size }).subarray(0, size);
}

/** sched_setattr(2) of a thread (0: this one); times in nanoseconds. */
export function setScheduler(args: SchedAttr, pid = 0): void {
  must("sched_setattr", NR.sched_setattr, pid, schedAttr(args), 0);
}
/** ioprio_set(2) of this thread: class << 13 | level. */
export function setIoPriority(priority: number): void {
  must("ioprio_set", NR.ioprio_set, IOPRIO.WHO_PROCESS, 0, priority);
}
/** personality(2). */
export function setPersonality(persona: number): void {
  must("personality", NR.personality, persona);
}
/** set_mempolicy(2): mode with its flags, and a bit mask of nodes (a multiple of eight bytes; none: no nodes). */
export function setMemoryPolicy(mode: number, nodes: Uint8Array): void {
  if (nodes.length === 0) must("set_mempolicy", NR.set_mempolicy, mode, null, 0);
  else must("set_mempolicy", NR.set_mempolicy, mode, nodes, nodes.length * 8 + 1); // the kernel looks at one bit fewer
}

/** As many CPUs as any kernel knows, as a bit mask in bytes. */
const MASK_BYTES = 1024;

/** sched_setaffinity(2) of this thread to a bit mask of CPUs. */
export function setAffinity(cpus: Uint8Array): void {
  must("sched_setaffinity", NR.sched_setaffinity, 0, cpus.length, cpus);
}
/** sched_getaffinity(2) of this thread. */
export function getAffinity(): Uint8Array {
  const mask = new Uint8Array(MASK_BYTES);
  const n = must("sched_getaffinity", NR.sched_getaffinity, 0, MASK_BYTES, mask);
  return mask.subarray(0, n);
}
