// Paths in which somebody else has a part: a request, an image, a container, a share of the host. What such a path leads to may
// never answer (virtio-fs, 9p, NFS, FUSE; fuse(4) has no time limit), so no system call that takes one may be made on the loop:
// a `ForeignPath` is no string, and only code that holds an `OffLoop` gets its text. `aside` alone gives one, in a process of its own.
import { SOCK } from "../abi/flags.js";
import type { Fd } from "../sys/fd.js";
import { receiveFds, sendFds, socketpair } from "../sys/socket.js";
import { childTask, type Json, Unanswered } from "./child-task.js";
import { AppError } from "./errors.js";
import { Level, log } from "./log.js";

declare const foreignBrand: unique symbol;
declare const offLoopBrand: unique symbol;

/** A path from outside. At run time it is its text, so that it can be printed; the type keeps it from calls. */
export interface ForeignPath { readonly [foreignBrand]: never }
/** The right to reach such paths: this code runs in a helper process that may wait for as long as it takes. */
export interface OffLoop { readonly [offLoopBrand]: never }

/** Marks a path as one from outside. */
export const foreign = (text: string): ForeignPath => text as unknown as ForeignPath;
/** The path for a system call, for who may wait. */
export const reach = (path: ForeignPath, _off: OffLoop): string => path as unknown as string;
/** The path as a name: for comparing, for messages, for the keys of maps. Never for a call. */
export const named = (path: ForeignPath): string => path as unknown as string;

/** Helpers that may be alive at once; those that are stuck count. Each costs some hundred kilobytes. */
const MOST = 64;
let alive = 0;
const late = new Map<string, number>();
let patienceMs = Infinity;

/** Sets how long any file system may let us wait; shorter limits of single steps stay. */
export function setPatience(ms: number): void {
  patienceMs = ms;
}

/** `ms`, or less where the settings say so. */
export const withPatience = (ms: number): number => Math.min(ms, patienceMs);

/** Helpers that were killed at their deadline and have not ended since: the kernel waits for their file system. */
export const lateHelpers = (): number => [...late.values()].reduce((a, b) => a + b, 0);

function noteLate(what: string): void {
  late.set(what, (late.get(what) ?? 0) + 1);
  log(Level.WARN, `${what}: the helper process has been killed and not ended yet`, { late: lateHelpers() });
}

function noteEnd(what: string): void {
  const left = (late.get(what) ?? 0) - 1;
  if (left > 0) late.set(what, left);
  else late.delete(what);
}

/** Throws AppError "deadline" when a helper with this key is late: it would be in vain to send another. */
export function mustNotWait(what: string, key: string): void {
  if (late.has(key)) throw new AppError("deadline", `${what}: an earlier try still waits for the file system`);
}

export interface Asking {
  /** Descriptors that the helper needs. */
  readonly keep?: readonly Fd[];
  /** Names the file system that may not answer; `what` if it is left out. */
  readonly key?: string;
  readonly atLast?: () => void;
}

/**
 * Runs `fn` in a helper process and resolves with what it returns; see `childTask`. Rejects with kind "deadline" after `ms`
 * milliseconds: the helper is killed, and left alone if even that does not end it (a request to a FUSE server cannot be interrupted
 * once it has been read). While one is stuck, another try of the same `key` is refused at once; beyond 64 helpers all are ("exhausted").
 * `atLast` is called when one has ended that was late, or of which nobody knows what it did: what it may have done is to be undone.
 */
export async function aside<T extends Json>(what: string, ms: number, fn: (off: OffLoop) => T, { keep = [], key = what, atLast }: Asking = {}): Promise<T> {
  mustNotWait(what, key);
  if (alive >= MOST) throw new AppError("exhausted", `${what}: ${alive} helper processes wait for file systems already`);
  let there = false;
  let isLate = false;
  let unknown = false;
  const born = (): (() => void) => {
    alive++;
    there = true;
    return () => {
      alive--;
      there = false;
      if (isLate) noteEnd(key);
      if (unknown) atLast?.();
    };
  };
  try {
    return await childTask(what, withPatience(ms), () => fn(undefined as unknown as OffLoop), keep, born);
  } catch (error) {
    if (error instanceof Unanswered) {
      unknown = there;
      isLate = there && error.kind === "deadline";
      if (isLate) noteLate(key);
      if (!there) atLast?.();
    }
    throw error;
  }
}

/** Descriptors that one message can carry. See unix(7), SCM_RIGHTS. */
const IN_ONE = 253;

/**
 * Descriptors that `make` opens in a helper process, in that order; the caller's to close. With them comes what `make` says about them.
 * Rejects like `aside`.
 */
export async function descriptorsAside<T extends Json>(what: string, ms: number, make: (off: OffLoop) => { readonly fds: readonly Fd[]; readonly about: T }, keep: readonly Fd[] = []): Promise<{ readonly fds: Fd[]; readonly about: T }> {
  const [here, there] = socketpair(SOCK.SEQPACKET);
  using mine = here;
  using its = there;
  const { count, about } = await aside(what, ms, (off) => {
    const made = make(off);
    for (let i = 0; i < made.fds.length; i += IN_ONE) sendFds(its, new Uint8Array(1), made.fds.slice(i, i + IN_ONE));
    return { count: made.fds.length, about: made.about };
  }, { keep: [its, ...keep] });
  const fds: Fd[] = [];
  try {
    while (fds.length < count) fds.push(...receiveFds(mine, IN_ONE));
  } catch (error) {
    for (const fd of fds) fd.close();
    throw error;
  }
  return { fds, about };
}
