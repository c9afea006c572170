// Ends of children: wait4(2), and what its word says.
import { WAIT } from "../abi/flags.js";
import { retry, sys } from "./call.js";
import { NR } from "../abi/nr.js";

/** How a process ended, as hosts count it: the exit code, or 128 + the signal's number. */
export type ExitStatus = number;

const word = new Int32Array(1);

/** What the word of wait4(2) says of a process that has ended: see WIFEXITED, WEXITSTATUS and WTERMSIG there. */
export function exitStatus(of: number): ExitStatus {
  const signal = of & 0x7f;
  return signal === 0 ? (of >> 8) & 0xff : 128 + signal;
}

/** Waits for the end of the child `pid` and takes it; its status or the negative errno (ECHILD: it is none, or somebody else has taken it). Blocks. */
export function waitFor(pid: number): ExitStatus {
  const r = retry(() => sys(NR.wait4, pid, word.buffer as ArrayBuffer, 0, null));
  return r < 0 ? r : exitStatus(word[0] as number);
}

/** Takes the end of the child `which`, or (-1) of any, if it has ended; undefined when not. */
export function takeEnded(which: number): { readonly pid: number; readonly status: ExitStatus } | undefined {
  const pid = sys(NR.wait4, which, word.buffer as ArrayBuffer, WAIT.WNOHANG | WAIT.__WALL, null);
  return pid > 0 ? { pid, status: exitStatus(word[0] as number) } : undefined;
}
