// The one way to the kernel: every system call of the agent passes `sys`. It keeps a flight recorder of the last calls; in the build with
// sanitizers it lets faults be put in their place (faults.ts). It must not retry, log or wait: `retry` is the only place that repeats a
// call, and only for EINTR (see signal(7)).
import { E } from "../abi/errno.js";
import { callName } from "../abi/nr-names.js";
import type { Fault } from "./faults.js";
import { escapes, exactArgument } from "./utf8.js";

const raw = native.syscall;

const RECORDED = 128; // a power of two
const recordedNr = new Int32Array(RECORDED);
const recordedResult = new Float64Array(RECORDED);
let recorded = 0;

let fault: Fault | undefined;

/** Installs a fault; undefined removes it. Without effect but where __DEBUG__ is true. */
export function injectFault(f: Fault | undefined): void {
  fault = f;
}

/** Installs the faults that KATA_FAULTS in the environment asks for. Throws Error naming the word that is wrong. */
export function injectFaultsFromOutside(): void {
  injectFault((native.load("sys__faults.js") as typeof import("./faults.js")).faultsFromEnvironment());
}

function remembered(nr: number, result: number): number {
  const slot = recorded++ & (RECORDED - 1);
  recordedNr[slot] = nr;
  recordedResult[slot] = result;
  return result;
}

/** Makes a system call; returns its result or the negative errno. Never throws. */
export function sys(nr: number, a?: SyscallArg, b?: SyscallArg, c?: SyscallArg, d?: SyscallArg, e?: SyscallArg, f?: SyscallArg): number {
  if (__DEBUG__) {
    const injected = fault?.(nr, [a, b, c, d, e, f]);
    if (injected !== undefined) return remembered(nr, injected);
  }
  const r = escapes ? raw(nr, exactArgument(a), exactArgument(b), exactArgument(c), exactArgument(d), exactArgument(e), f) : raw(nr, a, b, c, d, e, f);
  const slot = recorded++ & (RECORDED - 1); // as `remembered`: a call of it would cost each system call some 50 ns
  recordedNr[slot] = nr;
  recordedResult[slot] = r;
  return r;
}

/** The last system calls, oldest first, as "257=-2", in the build with sanitizers as "openat=-2" (what the flight recorder holds). */
export function flightRecord(): string[] {
  const lines: string[] = [];
  for (let i = Math.max(0, recorded - RECORDED); i < recorded; i++) {
    const slot = i & (RECORDED - 1);
    const nr = recordedNr[slot] as number;
    lines.push(`${__DEBUG__ ? callName(nr) : nr}=${recordedResult[slot]}`);
  }
  return lines;
}

type ErrnoWords = typeof import("./errno-text.js");
let words: ErrnoWords | undefined;
/** Not by lib/lazy: sys imports nothing above it. */
function errnoWords(): ErrnoWords {
  return (words ??= native.load("sys__errno-text.js") as ErrnoWords); // embedded names have __ for /
}

/** A failed system call: `call` as in section 2 of the manual, `errno` (positive) and its name in `code`. */
export class SysError extends Error {
  #said: string | undefined;
  constructor(readonly call: string, readonly errno: number) {
    super();
  }
  get code(): string {
    return errnoWords().errnoName(this.errno);
  }
  // made when somebody reads it: many are expected, and only their number is looked at
  override get message(): string {
    return this.#said ?? `${this.call}: ${this.code}: ${errnoWords().errnoText(this.errno)}`;
  }
  override set message(text: string) {
    this.#said = text;
  }
}

/** Passes a result through; throws SysError when it is a negative errno. */
export function check(call: string, result: number): number {
  if (result < 0 && result > -4096) throw new SysError(call, -result);
  return result;
}

/** Makes call `nr` and throws SysError{call} on failure; for calls that are not on a hot path. */
export function must(call: string, nr: number, a?: SyscallArg, b?: SyscallArg, c?: SyscallArg, d?: SyscallArg, e?: SyscallArg, f?: SyscallArg): number {
  return check(call, sys(nr, a, b, c, d, e, f));
}

/** Repeats a call while a signal interrupts it (EINTR). */
export function retry(make: () => number): number {
  let r = make();
  while (r === -E.EINTR) r = make();
  return r;
}

/** True when `error` is a SysError with one of these errnos. */
export function isErrno(error: unknown, ...errnos: number[]): error is SysError {
  return error instanceof SysError && errnos.includes(error.errno);
}
