// An exception that a callback of the loop let out: it is a line in the log and costs its own watch, nothing else. The last system
// calls are told with it, and how often it happens, but not each time.
import { flightRecord } from "../sys/call.js";
import { messageOf } from "./errors.js";
import { type Fields, Level } from "./log.js";
import { Tally } from "./tally.js";

const faults = new Tally(Level.ERROR);
const CALLS = 24;

/** Tells of `error`, which came out of a callback of the kind `where`. */
export function reportFault(error: unknown, where: string): void {
  const told = (): Fields => ({ calls: flightRecord().slice(-CALLS).join(" "), stack: error instanceof Error ? error.stack : undefined });
  faults.tell(() => `fault in a callback (${where}): ${messageOf(error)}`, told);
}
