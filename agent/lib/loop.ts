// The event loop: the only user of epoll. One `tick` waits for events or the next timer and runs their callbacks; promises
// run between ticks (native/main.c). A callback must return at once. An exception from a callback reaches `onCrash`.
import { check, sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { NR } from "../sys/nr.js";
import { Epoll } from "../sys/poll.js";
import { CLOCK, clockMs } from "../sys/system.js";

const epoll = new Epoll(64);

export interface Watch {
  readonly fd: number;
  /** Changes the set of events; 0 keeps it registered but silent (errors and hang-ups still come). */
  modify(events: number): void;
  /** Asks for the next event after one that came with EPOLL.ONESHOT. */
  rearm(): void;
  /** Stops watching; call it before the descriptor is closed. */
  close(): void;
}

class Watcher implements Watch {
  events = 0;
  constructor(readonly fd: number, readonly tag: number, public run: ((events: number) => void) | undefined) {}
  modify(events: number): void {
    if (events === this.events || this.run === undefined) return;
    check("epoll_ctl", epoll.modify(this.fd, events, this.tag));
    this.events = events;
  }
  rearm(): void {
    if (this.run !== undefined) check("epoll_ctl", epoll.modify(this.fd, this.events, this.tag));
  }
  close(): void {
    if (this.run === undefined) return;
    this.run = undefined;
    if (watchers.get(this.fd) !== this) return; // the descriptor was closed first, and its number has a new owner
    watchers.delete(this.fd);
    epoll.remove(this.fd);
  }
}

const watchers = new Map<number, Watcher>();
let tags = 0;

/** Calls `run(events)` whenever one of the EPOLL events is there. Throws SysError (EPERM: a file that cannot be polled). */
export function watch(fd: number, events: number, run: (events: number) => void): Watch {
  tags = (tags + 1) | 0; // tells an event of a closed descriptor from one of its number's next owner
  const watcher = new Watcher(fd, tags, run);
  check("epoll_ctl", epoll.add(fd, events, tags));
  watcher.events = events;
  watchers.set(fd, watcher);
  return watcher;
}

export interface Timer { cancel(): void }
class Alarm implements Timer {
  constructor(readonly due: number, public run: (() => void) | undefined) {}
  cancel(): void {
    if (this.run === undefined) return;
    this.run = undefined;
    const i = alarms.indexOf(this);
    if (i >= 0) alarms.splice(i, 1);
  }
}
const alarms: Alarm[] = []; // soonest first; there are never many

/** Milliseconds on the monotonic clock. */
export function now(): number {
  return clockMs(CLOCK.MONOTONIC);
}

/** Calls `run` once, `ms` milliseconds from now. */
export function after(ms: number, run: () => void): Timer {
  const alarm = new Alarm(now() + ms, run);
  let i = alarms.length;
  while (i > 0 && (alarms[i - 1] as Alarm).due > alarm.due) i--;
  alarms.splice(i, 0, alarm);
  return alarm;
}

let crash: (error: unknown) => void = (error) => {
  throw error;
};
/** Sets what happens with an exception that no callback caught. */
export function onCrash(handler: (error: unknown) => void): void {
  crash = handler;
}

function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    crash(error);
  }
}

/** Milliseconds until the next timer, rounded up; -1 without one. */
function patience(): number {
  const next = alarms[0];
  if (next === undefined) return -1;
  return Math.max(0, Math.min(0x7fffffff, Math.ceil(next.due - now())));
}

function runTimers(): void {
  if (alarms.length === 0) return;
  const time = now();
  while (alarms.length > 0 && (alarms[0] as Alarm).due <= time) {
    const alarm = alarms.shift() as Alarm;
    const run = alarm.run;
    alarm.run = undefined;
    if (run !== undefined) guarded(run);
  }
}

/**
 * How often the loop looks again before it sleeps, when the last round had something to do: some 40 microseconds. A peer that
 * answers at once then finds the agent awake; waking a sleeping processor of a virtual machine takes longer than that.
 */
let looks = 40;
let busy = false;

/** The loop sleeps at once when there is nothing to do: for who talks to nobody again and again. */
export function sleepAtOnce(): void {
  looks = 0;
}

/** The number of events, now or after a wait that gives way to whoever else wants the processor. */
function nextEvents(): number {
  for (let i = 0; busy && i < looks; i++) {
    const n = epoll.wait(0);
    if (n !== 0) return n;
    sys(NR.sched_yield);
  }
  const n = epoll.wait(patience());
  busy = n > 0;
  return n;
}

/** One round: waits, then runs what is due. */
export function tick(): void {
  const n = nextEvents();
  if (n < 0 && n !== -E.EINTR) check("epoll_pwait", n);
  for (let i = 0; i < n; i++) {
    const watcher = watchers.get(epoll.fdOf(i));
    if (watcher === undefined || watcher.tag !== epoll.tagOf(i) || watcher.run === undefined) continue;
    try {
      watcher.run(epoll.eventsOf(i));
    } catch (error) {
      crash(error);
    }
  }
  runTimers();
}

/** Hands the process over to the loop: native calls tick() for ever. */
export function run(): void {
  native.tick = tick;
}
