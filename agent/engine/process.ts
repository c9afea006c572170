// One process of a container as the agent knows it: a small plain record, and who waits for its end. A process that has been
// waited for stays only as long as it has output that nobody has read.
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { pidfdSendSignal } from "../sys/process.js";
import type { Streams } from "./io.js";

export interface Process {
  readonly execId: string;
  readonly pid: number;
  readonly pidfd: Fd;
  /** Absent while a terminal has not been handed over yet. */
  streams: Streams | undefined;
  /** Exit code, or 128 + signal; undefined while it lives. */
  status: number | undefined;
  /** Its status has been fetched: only its unread output keeps it. */
  collected: boolean;
  waiters: ((status: number) => void)[];
}

/** The process has been reaped: its streams end when they are drained, and everybody who waits is told. */
export function ended(process: Process, status: number): void {
  process.status = status;
  process.pidfd.close();
  process.streams?.processEnded();
  const { waiters } = process;
  process.waiters = [];
  for (const tell of waiters) tell(status);
}

/** Calls `tell` with the status, at once when the process has ended; returns a function that gives up waiting. */
export function whenEnded(process: Process, tell: (status: number) => void): () => void {
  if (process.status !== undefined) {
    tell(process.status);
    return () => undefined;
  }
  process.waiters.push(tell);
  return () => {
    process.waiters = process.waiters.filter((w) => w !== tell);
  };
}

/** Sends a signal; 0 or the negative errno (ESRCH once it has ended). */
export function signal(process: Process, number: number): number {
  return process.status !== undefined ? -E.ESRCH : pidfdSendSignal(process.pidfd, number);
}
