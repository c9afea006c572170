// How a child is scheduled and where its memory comes from, applied in the child while it has every right; and the CPUs that a
// further process is born on. Loaded only where a configuration asks for any of it. Synchronous.
import { SCHED } from "../../abi/flags.js";
import { isErrno } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { getAffinity, setAffinity, setIoPriority, setMemoryPolicy, setPersonality, setScheduler } from "../../sys/schedule.js";
import { AppError, attempt } from "../../lib/errors.js";
import { Level, log, logs } from "../../lib/log.js";
import type { Traits } from "../../oci/schedule.js";

/** Gives this process its traits. Throws what the kernel refused. */
export function applyTraits({ scheduler, ioPriority, personality, memoryPolicy }: Traits): void {
  if (scheduler !== undefined) attempt(`set the scheduler ${scheduler.name}`, () => applyScheduler(scheduler));
  if (ioPriority !== undefined) attempt("set the I/O priority", () => setIoPriority(ioPriority));
  if (personality !== undefined) attempt("set the personality", () => setPersonality(personality));
  if (memoryPolicy !== undefined) attempt(`set the memory policy ${memoryPolicy.name}`, () => setMemoryPolicy(memoryPolicy.mode, memoryPolicy.nodes));
}

function applyScheduler({ attr }: NonNullable<Traits["scheduler"]>, pid = 0): void {
  try {
    setScheduler(attr, pid);
  } catch (error) {
    if (attr.policy !== SCHED.DEADLINE || !isErrno(error, E.EPERM)) throw error;
    throw new AppError("precondition", `${error.message}: process scheduler can't be used together with AllowedCPUs (a cpuset of less than all CPUs)`);
  }
}

/** Puts this process on some CPUs. Throws SysError for CPUs that are not there. */
export const applyAffinity = setAffinity;

/** "0x5" of a bit mask of CPUs. */
function inHex(cpus: Uint8Array): string {
  let n = 0n;
  for (let i = cpus.length - 1; i >= 0; i--) n = n * 256n + BigInt(cpus[i] as number);
  return `0x${n.toString(16)}`;
}

/** Puts this process on the CPUs that a further process is to be born on. Throws AppError for CPUs that are not there. */
export function beOn(cpus: Uint8Array): void {
  attempt("process.execCPUAffinity.initial", () => setAffinity(cpus));
  if (logs(Level.DEBUG)) log(Level.DEBUG, `nsexec: affinity: ${inHex(getAffinity())}`); // "nsexec" is where suites look for it
}

/** Is it a scheduler that a process does not pass on to its child? Then somebody else sets it. See sched(7). */
export function isNotInherited({ scheduler }: Traits): boolean {
  return scheduler !== undefined && (scheduler.attr.policy === SCHED.DEADLINE || (scheduler.attr.flags & SCHED.FLAG_RESET_ON_FORK) !== 0);
}

/** Gives another process such a scheduler. */
export function scheduleOther(pid: number, { scheduler }: Traits): void {
  if (scheduler !== undefined) attempt(`set the scheduler ${scheduler.name}`, () => applyScheduler(scheduler, pid));
}
