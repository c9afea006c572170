// Sets the process up for the command line: streams, signals, reaping of children, then the loop.
import { sys } from "../sys/call.js";
import { fillStdio } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { blockSignals, defaultActions } from "../sys/poll.js";
import { ENDING, interrupted } from "../cli/interrupt.js";
import { commandLine } from "../cli/main.js";
import { run, sleepAtOnce } from "../lib/loop.js";
import { startReaper } from "../lib/reaper.js";

/** Runs one command; the process ends with its status. */
export function start(args: readonly string[], self: string): void {
  native.shortLived();
  sleepAtOnce();
  fillStdio();
  blockSignals();
  defaultActions();
  startReaper(ENDING, interrupted);
  commandLine(args, self, sys(NR.geteuid));
  run();
}
