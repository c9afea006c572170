// Our own terminal in raw mode, and back. Node's setRawMode leaves output processing on (a line feed becomes carriage return
// and line feed), which ruins the screen of full-screen programs in the guest, so stty(1) does it.
import { execFileSync } from "node:child_process";
import { atEnd } from "../lifetime.js";

const stty = (...args: string[]): string => execFileSync("stty", args, { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8" }).trim();

/** Put the terminal on our standard input into raw mode; the returned function gives it back as it was. */
export const rawTerminal = (): (() => void) => {
  const before = stty("-g");
  stty("raw", "-echo");
  const back = (): void => void stty(before);
  const forget = atEnd(back);
  return () => {
    back();
    forget();
  };
};
