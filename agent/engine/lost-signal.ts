// What becomes of a signal to process 1 of a pid namespace: the kernel drops what that neither handles nor blocks, however others
// would end by it. See pid_namespaces(7), signal(7), proc_pid_status(5).
import { SIG } from "../abi/flags.js";
import { readTextIf } from "../lib/fs.js";
import { lines } from "../lib/text.js";

/** Signals that end no process by themselves: CHLD, URG, WINCH are ignored, CONT continues, STOP, TSTP, TTIN and TTOU stop. */
const HARMLESS: readonly number[] = [SIG.CHLD, 23, SIG.WINCH, SIG.CONT, SIG.STOP, 20, 21, 22];

/** Does the default action end a process? */
export const ends = (number: number): boolean => number > 0 && !HARMLESS.includes(number);

/** Does the process block, ignore or handle it? */
function minds(pid: number, number: number): boolean {
  const digit = (number - 1) >> 2;
  for (const line of lines(readTextIf(`/proc/${pid}/status`) ?? "")) {
    if (!line.startsWith("SigBlk:") && !line.startsWith("SigIgn:") && !line.startsWith("SigCgt:")) continue;
    if ((Number(`0x${line[line.length - 1 - digit]}`) & (1 << ((number - 1) & 3))) !== 0) return true;
  }
  return false;
}

/**
 * The signal that does to a container's first process what `number` does to any other: SIGKILL when it would be lost. `waiting`: it has
 * not been started, so that all actions are the default ones.
 */
export function effective(pid: number, waiting: boolean, number: number): number {
  return ends(number) && (waiting || !minds(pid, number)) ? SIG.KILL : number;
}
