// What peers make the agent keep, over all connections: half frames and replies that are not taken. When it is too much, those who
// were served the longest ago lose their connection, until it is not: a host that talks to the agent keeps its own.
import { Level, log } from "../lib/log.js";
import { after } from "../lib/loop.js";

/** The most bytes that are kept for all peers together, for longer than a moment. Four frames of the largest size. */
export const MOST_HELD = 16777216;

export interface Holder {
  /** Bytes kept for it; only `hold` sets them. */
  held: number;
  /** Grows with each turn in which it was served; 0 for one that never was. */
  readonly lastServed: number;
  /** It may never be closed. */
  readonly spared: boolean;
  close(): void;
}

const holders = new Set<Holder>();
let total = 0;
let shedding = false;

/** What is kept for `holder` is this much now. Nobody is closed before this turn of the loop has ended. */
export function hold(holder: Holder, bytes: number): void {
  if (bytes === holder.held) return;
  total += bytes - holder.held;
  if (holder.held === 0) holders.add(holder);
  else if (bytes === 0) holders.delete(holder);
  holder.held = bytes;
  if (total <= MOST_HELD || shedding) return;
  shedding = true;
  after(0, shed);
}

function shed(): void {
  shedding = false;
  let closed = 0;
  while (total > MOST_HELD) {
    let worst: Holder | undefined;
    for (const h of holders) {
      if (!h.spared && (worst === undefined || h.lastServed < worst.lastServed || (h.lastServed === worst.lastServed && h.held > worst.held))) worst = h;
    }
    if (worst === undefined) break;
    worst.close();
    closed++;
  }
  if (closed > 0) log(Level.WARN, `closed ${closed} connections: more than ${MOST_HELD} bytes were kept for peers`, undefined, "rpc");
}
