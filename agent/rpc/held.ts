// What peers make the agent keep, over all connections: half frames and replies that are not taken. When it is too much, peers lose
// their connection until it is not: first those who have never sent a whole frame, and of all those whose half frame or queue has
// stood still for the longest. A host's frame comes in a moment, and a host that talks to the agent keeps its connection.
import { Level, log } from "../lib/log.js";
import { after } from "../lib/loop.js";

/** The most bytes that are kept for all peers together, for longer than a moment. Four frames of the largest size. */
export const MOST_HELD = 16777216;

export interface Holder {
  /** Bytes kept for it; only `hold` sets them. */
  held: number;
  /** It has sent a whole frame. */
  readonly served: boolean;
  /** It may never be closed. */
  readonly spared: boolean;
  close(): void;
}

const holders = new Set<Holder>(); // in the order in which they last got on
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

/** `holder` gets on: a frame is whole, or the peer has taken something. */
export function renew(holder: Holder): void {
  if (holders.delete(holder)) holders.add(holder);
}

function shed(): void {
  shedding = false;
  let closed = 0;
  for (const served of [false, true]) {
    for (const holder of holders) {
      if (total <= MOST_HELD) break;
      if (holder.spared || holder.served !== served) continue;
      holder.close();
      closed++;
    }
  }
  if (closed > 0) log(Level.WARN, `closed ${closed} connections: more than ${MOST_HELD} bytes were kept for peers`, undefined, "rpc");
}
