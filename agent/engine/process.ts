// One process of a container as the agent knows it: a small plain record, and who waits for its end. A process that has been
// waited for stays only as long as it has output that nobody has read (unclaimed.ts). Only the functions here change it.
import { SIG } from "../abi/flags.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { type Cloned, pidfdSendSignal } from "../sys/process.js";
import { AppError } from "../lib/errors.js";
import { after, turnIsOver } from "../lib/loop.js";
import { killChild } from "../lib/reaper.js";
import type { Streams } from "./stdio/streams.js";

/** Who has asked for a process, and may ask how it has ended. */
export interface Claimant { /** It is gone. */ readonly closed: boolean }

interface Common {
  readonly execId: string;
  /** Its first child's until that has made the process itself: see newborn.ts, takeOver. */
  readonly pid: number;
  /** Absent while a terminal has not been handed over yet. */
  readonly streams: Streams | undefined;
  /** Of a further process that a client has asked for. */
  readonly claimant: Claimant | undefined;
  /** Its status has been fetched: only its unread output keeps it. */
  readonly collected: boolean;
  readonly waiters: Set<(status: number) => void>;
}
export interface Alive extends Common { readonly pidfd: Fd; readonly status: undefined }
/** `status`: the exit code, or 128 + signal. */
export interface Ended extends Common { readonly pidfd: undefined; readonly status: number }
export type Process = Alive | Ended;

type Changeable = { -readonly [K in keyof Common]: Common[K] } & { pidfd: Fd | undefined; status: number | undefined };
function changeable(process: Process): Changeable {
  return process as Changeable;
}

/** The record of a process that lives. */
export function alive(execId: string, { pid, pidfd }: Cloned, streams: Streams | undefined): Alive {
  return { execId, pid, pidfd, streams, status: undefined, claimant: undefined, collected: false, waiters: new Set() };
}

/** The record of a process that has ended. */
export function dead(execId: string, pid: number, status: number, streams?: Streams): Ended {
  return { execId, pid, pidfd: undefined, streams, status, claimant: undefined, collected: false, waiters: new Set() };
}

/** It is another one from now on: that which it has made in its place. The caller closes the old descriptor. */
export function replace(process: Process, { pid, pidfd }: Cloned): void {
  Object.assign(changeable(process), { pid, pidfd });
}

/** Its streams, once its terminal is there. */
export function setStreams(process: Process, streams: Streams): void {
  changeable(process).streams = streams;
}

/** Who may ask for its status. */
export function setClaimant(process: Process, claimant: Claimant | undefined): void {
  changeable(process).claimant = claimant;
}

/** Its status has been fetched. */
export function setCollected(process: Process): void {
  changeable(process).collected = true;
}

/** Its descriptor. Throws AppError "precondition" once it has ended. */
export function pidfdOf(process: Process): Fd {
  if (process.pidfd === undefined) throw new AppError("precondition", `process ${process.execId} has ended`);
  return process.pidfd;
}

const TOLD_AT_ONCE = 16; // of those who wait, before it is asked whether others have their turn

/** The process has been reaped: its streams end when they are drained, and everybody who waits is told. */
export function ended(process: Process, status: number): void {
  const own = changeable(process);
  own.status = status;
  own.pidfd?.close();
  own.pidfd = undefined;
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
