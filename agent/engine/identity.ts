// Which process it is: a pid is used again, but never with the same begin.
import { SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { readTextIf } from "../lib/fs.js";
import { decimal } from "../lib/text.js";

export interface Identity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: with the pid it names one process for ever. */
  readonly startTime: number;
}

/** When the process started (clock ticks since boot), or undefined when there is none that lives. See proc_pid_stat(5). */
export function startTimeOf(pid: number): number | undefined {
  let text: string | undefined;
  try {
    text = readTextIf(`/proc/${pid}/stat`);
  } catch (error) {
    if (error instanceof SysError && error.errno === E.ESRCH) return undefined;
    throw error;
  }
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // from field 3, the state
  return fields[0] === "Z" || fields[0] === "X" ? undefined : decimal(fields[19] ?? "");
}

/** Is it still that process? */
export function lives({ pid, startTime }: Identity): boolean {
  return pid > 0 && startTimeOf(pid) === startTime;
}
