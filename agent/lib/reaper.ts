// Children: one signalfd for SIGCHLD, one loop of wait4 that reaps everything (as PID 1 or subreaper also orphans), and a
// map from pid to whoever asked for its end. Nobody else may wait for a child of the agent: so a number in the map is its child's
// until it is taken out, and only what is in it may be sent a signal by its number. See wait4(2), signalfd(2).
import { SignalfdSiginfo } from "../abi/layouts.js";
import { EPOLL, SIG } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import { NR } from "../abi/nr.js";
import { signalfd } from "../sys/poll.js";
import { type ExitStatus, takeEnded } from "../sys/wait.js";
import { after, guarded, watch } from "./loop.js";
import { readRaw } from "../sys/file.js";

const waiting = new Map<number, (status: ExitStatus) => void>();

/** Calls `done` when the child `pid` has been reaped. Ask in the same turn in which the child was made. */
export function onExit(pid: number, done: (status: ExitStatus) => void): void {
  waiting.set(pid, done);
}

/** Resolves with the child's status. Ask in the same turn in which the child was made. */
export function exitOf(pid: number): Promise<ExitStatus> {
  return new Promise((done) => onExit(pid, done));
}

/**
 * SIGKILL to the child `pid`, unless it has been reaped: then the number may be another's. Without a descriptor, which may be what there
 * is none of. False when it is none of those that somebody waits for.
 */
export function killChild(pid: number): boolean {
  return waiting.has(pid) && sys(NR.kill, pid, SIG.KILL) === 0;
}

/** The children that somebody waits for. */
export const awaited = (): Iterable<number> => waiting.keys();

/** SIGKILL to every child that somebody waits for; their number. */
export function killChildren(): number {
  for (const pid of waiting.keys()) sys(NR.kill, pid, SIG.KILL);
  return waiting.size;
}

const left = new Set<number>();

/** The child's end is for whoever inherits it when this process leaves: it is not waited for, and `onExit` is not told. */
export function leaveUnreaped(pid: number): void {
  left.add(pid);
}

/** It is waited for after all. */
export function takeBack(pid: number): void {
  if (left.delete(pid)) reap();
}

/** Reaps one child, `which` or (-1) any; false when none has ended. */
function collect(which: number): boolean {
  const ended = takeEnded(which);
  if (ended === undefined) return false;
  const done = waiting.get(ended.pid);
  waiting.delete(ended.pid);
  if (done !== undefined) guarded("end of a child", () => done(ended.status));
  return true;
}

const AT_ONCE = 64; // ends of processes before others get their turn

/** Takes back those who have ended. */
export function reap(): void {
  if (left.size > 0) {
    for (const pid of [...waiting.keys()]) if (!left.has(pid)) collect(pid);
    return;
  }
  for (let i = 0; i < AT_ONCE; i++) if (!collect(-1)) return;
  after(0, reap); // the signal has come once for all of them
}

/** Starts reaping; `onSignal` gets the other signals that the agent acts on. Signals must be blocked already. */
export function startReaper(signals: readonly number[], onSignal: (signal: number) => void): void {
  const fd = signalfd([SIG.CHLD, ...signals]);
  const info = new Uint8Array(SignalfdSiginfo.SIZE);
  watch(fd.n, EPOLL.IN, () => {
    for (let i = 0; i <= signals.length && readRaw(fd.n, info, 0, info.length) === info.length; i++) {
      const signal = info[SignalfdSiginfo.ssi_signo] as number;
      if (signal !== SIG.CHLD) guarded("signal", () => onSignal(signal));
    }
    reap();
  }, () => undefined); // without it no end of a process would be heard of any more
}
