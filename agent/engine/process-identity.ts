// Which process it is: a pid is used again, but never with the same begin.
import { O } from "../abi/flags.js";
import { isErrno } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { getdents, open } from "../sys/file.js";
import { readTextIf } from "../lib/fs.js";
import { decimal } from "../lib/text.js";

export interface Identity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: with the pid it names one process for ever. */
  readonly startTime: number;
}

/** All processes that there are, as this process's /proc numbers them. */
export function allPids(): number[] {
  using proc = open("/proc", O.RDONLY | O.DIRECTORY);
  return getdents(proc).map(({ name }) => decimal(name) ?? 0).filter((pid) => pid > 0);
}

/** Fields of /proc/PID/stat from the third, the state, on; undefined when there is no such process, or none any more. See proc_pid_stat(5). */
export function statFields(pid: number): string[] | undefined {
  let text: string | undefined;
  try {
    text = readTextIf(`/proc/${pid}/stat`);
  } catch (error) {
    if (!isErrno(error, E.ESRCH)) throw error; // it has gone since the file was opened
  }
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** When the process started (clock ticks since boot), or undefined when there is none that lives. See proc_pid_stat(5). */
export function startTimeOf(pid: number): number | undefined {
  const fields = statFields(pid);
  if (fields === undefined) return undefined;
  return fields[0] === "Z" || fields[0] === "X" ? undefined : decimal(fields[19] ?? "");
}

/** Is it still that process? */
export function lives({ pid, startTime }: Identity): boolean {
  return pid > 0 && startTimeOf(pid) === startTime;
}
