// Which process it is: a pid is used again, but never with the same begin.
import { SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { readTextIf } from "../lib/fs.js";
import { decimal } from "../lib/text.js";

export interface Identity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: with the pid it names one process for ever. */
  readonly startTime: number;
}

/** Fields of /proc/PID/stat from the third, the state, on; undefined when there is no such process. See proc_pid_stat(5). */
export function statFields(pid: number | string): string[] | undefined {
  const text = readTextIf(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** When the process started (clock ticks since boot), or undefined when there is none that lives. See proc_pid_stat(5). */
export function startTimeOf(pid: number): number | undefined {
  let fields: string[] | undefined;
  try {
    fields = statFields(pid);
  } catch (error) {
    if (error instanceof SysError && error.errno === E.ESRCH) return undefined;
    throw error;
  }
  if (fields === undefined) return undefined;
  return fields[0] === "Z" || fields[0] === "X" ? undefined : decimal(fields[19] ?? "");
}

/** Is it still that process? */
export function lives({ pid, startTime }: Identity): boolean {
  return pid > 0 && startTimeOf(pid) === startTime;
}
