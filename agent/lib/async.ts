// Small tools for promises: one that is settled from outside, a deadline, and a queue that runs one job at a time.
import { AppError } from "./errors.js";
import { after } from "./loop.js";

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise and the two functions that settle it. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

let sleepers = 0; // counted in debug builds

/** Resolves after `ms` milliseconds. */
export function pause(ms: number): Promise<void> {
  if (__DEBUG__) sleepers++;
  return new Promise((done) => after(ms, __DEBUG__ ? () => (sleepers--, done()) : done));
}

/** How many wait in `pause`, in a debug build. */
export const asleep = (): number => sleepers;

/** Settles like `promise`, or rejects with kind "deadline" and "what: timed out after N ms"; `onLate` is told first. */
export function withDeadline<T>(what: string, ms: number, promise: Promise<T>, onLate?: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = after(ms, () => {
      onLate?.();
      reject(new AppError("deadline", `${what}: timed out after ${ms} ms`));
    });
    promise.then((v) => (timer.cancel(), resolve(v)), (e) => (timer.cancel(), reject(e)));
  });
}

function count(serial: Serial, job: Promise<unknown>): void {
  const ended = (): void => void (serial.jobs = (serial.jobs ?? 0) - 1);
  serial.jobs = (serial.jobs ?? 0) + 1;
  job.then(ended, ended);
}

/** Runs jobs one after the other; a failed job does not stop the next. */
export class Serial {
  private tail: Promise<unknown> = Promise.resolve();
  /** Jobs that have not ended, if there have been any; counted in debug builds. */
  declare jobs: number | undefined;
  run<T>(job: () => Promise<T>): Promise<T> {
    const next = this.tail.then(job, job);
    if (__DEBUG__) count(this, next);
    this.tail = next.catch(() => undefined);
    return next;
  }
}
