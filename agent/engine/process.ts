// One process of a container as the agent knows it: a small plain record, and who waits for its end. A process that has been
// waited for stays only as long as it has output that nobody has read.
import { SIG } from "../abi/flags.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { pidfdSendSignal } from "../sys/process.js";
import { after, turnIsOver } from "../lib/loop.js";
import { killChild } from "../lib/reaper.js";
import type { Streams } from "./stdio/streams.js";

export interface Process {
  readonly execId: string;
  /** Its first child's until that has made the process itself: see newborn.ts, takeOver. */
  pid: number;
  pidfd: Fd;
  /** Absent while a terminal has not been handed over yet. */
  streams: Streams | undefined;
  /** Exit code, or 128 + signal; undefined while it lives. */
  status: number | undefined;
  /** Its status has been fetched: only its unread output keeps it. */
  collected: boolean;
  readonly waiters: Set<(status: number) => void>;
}

const TOLD_AT_ONCE = 16; // of those who wait, before it is asked whether others have their turn

/** The process has been reaped: its streams end when they are drained, and everybody who waits is told. */
export function ended(process: Process, status: number): void {
  process.status = status;
  process.pidfd.close();
  process.streams?.processEnded();
  tellSome(process.waiters, status);
}

function tellSome(waiters: Process["waiters"], status: number): void {
  let n = 0;
  for (const tell of waiters) {
    if (++n % TOLD_AT_ONCE === 0 && turnIsOver()) return void after(0, () => tellSome(waiters, status));
    waiters.delete(tell);
    tell(status);
  }
}

/** Calls `tell` with the status, at once when the process has ended; returns a function that gives up waiting. */
export function whenEnded(process: Process, tell: (status: number) => void): () => void {
  if (process.status !== undefined) {
    tell(process.status);
    return () => undefined;
  }
  process.waiters.add(tell);
  return () => void process.waiters.delete(tell);
}

/** Sends a signal; 0 or the negative errno (ESRCH once it has ended). A child of the agent is killed even if its descriptor does not serve. */
export function signal(process: Process, number: number): number {
  if (process.status !== undefined) return -E.ESRCH;
  const r = pidfdSendSignal(process.pidfd, number);
  return r < 0 && number === SIG.KILL && killChild(process.pid) ? 0 : r;
}
