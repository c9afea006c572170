// Our own terminal: in raw mode and back, and written to without waiting for its reader. Node's setRawMode leaves output processing
// on (a line feed becomes carriage return and line feed), which ruins the screen of full-screen programs in the guest, so stty(1) does it.
import type { Writable } from "node:stream";
import { execFileSync } from "node:child_process";
import { atEnd } from "../lifetime.js";

const stty = (...args: string[]): string => execFileSync("stty", args, { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8" }).trim();

/** Put the terminal on our standard input into raw mode; the returned function gives it back as it was. */
export const rawTerminal = (): (() => void) => {
  const before = stty("-g");
  stty("raw", "-echo");
  const back = (): void => {
    try {
      stty(before);
    } catch {
      // It has been hung up: nobody has it any more.
    }
  };
  const forget = atEnd(back);
  return () => {
    back();
    forget();
  };
};

/**
 * Let `out` never wait for its reader. Node writes to a terminal with calls that wait: while its reader rests no signal would be served,
 * nor the end of the process in the guest.
 */
export const neverWait = (out: Writable): void => void (out as { _handle?: { setBlocking?: (on: boolean) => number } })._handle?.setBlocking?.(false);
