// What a signal that asks for the end does to a command: the processes that it has made and waits for are killed, and the command
// takes back what it has begun, as after any failure. A second one, or one with nothing to kill, ends it at once. While a command
// waits for a container in the foreground, the signal is the container's.
import { SIG } from "../abi/flags.js";
import { exitGroup } from "../sys/process.js";
import { killChildren } from "../lib/reaper.js";

/** Ctrl-C, Ctrl-\\, the terminal's end, and what kill(1) sends. */
export const ENDING: readonly number[] = [SIG.HUP, SIG.INT, SIG.QUIT, SIG.TERM];

let forward: ((signal: number) => void) | undefined;
let asked = false;
let undo: (() => void) | undefined;

/** What is to be undone however the command ends. */
export function atEnd(go: () => void): void {
  undo = go;
}

/** The end of the command. */
export function leave(status: number): never {
  undo?.();
  exitGroup(status);
}

/** From now on these signals are somebody else's. */
export function forwardTo(send: (signal: number) => void): void {
  forward = send;
}

export function interrupted(signal: number): void {
  if (forward !== undefined) return forward(signal);
  if (asked || killChildren() === 0) leave(128 + signal);
  asked = true;
}
