// The event loop: the only user of epoll. One `tick` waits for events or the next timer and runs their callbacks; promises
// run between ticks (native/main.c). A callback must return at once and does a bounded piece of work: what is left comes again,
// after everybody else's turn. An exception from a callback costs its own watch: the owner is told, or the watch is closed, and
// `onCrash` hears of it. Sources: epoll(7), epoll_ctl(2).
import { CLOCK } from "../abi/flags.js";
import { check, sys, SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { NR } from "../abi/nr.js";
import { Epoll } from "../sys/poll.js";
import { clockMs } from "../sys/system.js";
import { lazy } from "./lazy.js";

const epoll = new Epoll(64);
const crowd = lazy<typeof import("./crowd.js")>("lib/crowd.js");
let crowdedOnce = false; // has there been a watch that epoll had no room for?

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
  /** epoll had no room for it: lib/crowd.ts looks after it. */
  crowded = false;
  constructor(readonly fd: number, readonly tag: number, public run: ((events: number) => void) | undefined, public onFault: ((error: unknown) => void) | undefined) {}
  modify(events: number): void {
    if (events === this.events || this.run === undefined) return;
    this.set(events);
  }
  rearm(): void {
    if (this.run !== undefined) this.set(this.events);
  }
  private set(events: number): void {
    if (this.crowded) crowd().ask(this, events);
    else check("epoll_ctl", epoll.modify(this.fd, events, this.tag));
    this.events = events;
  }
  close(): void {
    if (this.run === undefined) return;
    this.run = undefined;
    this.onFault = undefined;
    if (this.crowded) crowd().leave(this);
    if (watchers.get(this.fd) !== this) return; // the descriptor was closed first, and its number has a new owner
    watchers.delete(this.fd);
    if (!this.crowded) epoll.remove(this.fd);
  }
}

const watchers = new Map<number, Watcher>();
let tags = 0;

/**
 * Calls `run(events)` whenever one of the EPOLL events is there. When `run` throws, `onFault` is told, and the watch goes on; without
 * it the watch is closed. Throws SysError (EPERM: a file that cannot be polled). Where containers have used up the watches that the
 * kernel gives one user (ENOSPC, proc_sys_fs(5) max_user_watches), it works all the same, but slower.
 */
export function watch(fd: number, events: number, run: (events: number) => void, onFault?: (error: unknown) => void): Watch {
  tags = (tags + 1) | 0; // tells an event of a closed descriptor from one of its number's next owner
  const watcher = new Watcher(fd, tags, run, onFault);
  const r = epoll.add(fd, events, tags);
  if (r < 0) {
    if ((r !== -E.ENOSPC && r !== -E.ENOMEM) || !crowd().enter(watcher, events)) throw new SysError("epoll_ctl", -r);
    watcher.crowded = crowdedOnce = true;
  }
  watcher.events = events;
  watchers.set(fd, watcher);
  return watcher;
}

/** Number of watches there are. */
export function watched(): number {
  return watchers.size;
}

export interface Timer {
  /** On the clock of `now`. */
  readonly due: number;
  cancel(): void;
}
class Alarm implements Timer {
  constructor(readonly due: number, public run: (() => void) | undefined) {}
  cancel(): void {
    if (this.run === undefined) return;
    this.run = undefined;
    if (++cancelled > 64 && cancelled > alarms.length / 2) forgetCancelled();
  }
}
let alarms: Alarm[] = []; // soonest first; every call of a host may have one
let cancelled = 0; // of them, left in their places: taking each out would cost as much as there are others

function forgetCancelled(): void {
  alarms = alarms.filter((alarm) => alarm.run !== undefined);
  cancelled = 0;
}

/** The next one that has not been cancelled. */
function nextAlarm(): Alarm | undefined {
  while (alarms.length > 0 && (alarms[0] as Alarm).run === undefined) {
    alarms.shift();
    cancelled--;
  }
  return alarms[0];
}

/** Milliseconds on the monotonic clock. */
export function now(): number {
  return clockMs(CLOCK.MONOTONIC);
}

/** Calls `run` once, `ms` milliseconds from now. */
export function after(ms: number, run: () => void): Timer {
  const alarm = new Alarm(now() + ms, run);
  let [from, to] = [0, alarms.length];
  if (to > 0 && (alarms[to - 1] as Alarm).due <= alarm.due) from = to; // the usual case: it is the last
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((alarms[middle] as Alarm).due <= alarm.due) from = middle + 1;
    else to = middle;
  }
  if (from === alarms.length) alarms.push(alarm);
  else alarms.splice(from, 0, alarm);
  return alarm;
}

let crash: (error: unknown, where: string) => void = (error) => {
  throw error;
};
let broken: ((error: unknown) => void) | undefined; // only who lives on whatever its callbacks do has one
const rejected = new Map<unknown, unknown>(); // promises that nobody has handled yet, by their reasons

/**
 * Sets what happens with an exception that no callback caught. With `end`, which is called when the loop itself can no longer wait,
 * rejections that nobody handles and what the engine's own jobs throw are told too.
 */
export function onCrash(handler: (error: unknown, where: string) => void, end?: (error: unknown) => void): void {
  crash = handler;
  broken = end;
  if (end === undefined) return;
  native.fault = (promise, error, handled) => {
    if (promise === undefined) tell(error, "job");
    else if (handled) rejected.delete(promise);
    else rejected.set(promise, error);
  };
}

/** Nothing that goes wrong in here may get out. */
function tell(error: unknown, where: string): void {
  if (broken === undefined) return crash(error, where); // a command ends with its first
  try {
    crash(error, where);
  } catch {
    // it cannot even be told
  }
}

/** Calls `run`; what it throws costs nobody else anything: `onCrash` hears of it, with `where`. */
export function guarded(where: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    tell(error, where);
  }
}

function tellRejected(): void {
  const all = [...rejected.values()];
  rejected.clear();
  for (const error of all) tell(error, "promise");
}

/** Milliseconds until the next timer, rounded up; -1 without one. */
function patience(): number {
  const next = nextAlarm();
  if (next === undefined) return -1;
  return Math.max(0, Math.min(0x7fffffff, Math.ceil(next.due - now())));
}

const TURN_MS = 2;
let turn = 0; // when the callback at hand asked for the first time

/**
 * Has the callback at hand had its turn? Who has many pieces of work asks between them, and leaves the rest for a later one: how long a
 * piece takes depends on the machine, and an emulated one needs twenty times as long.
 */
export function turnIsOver(): boolean {
  const time = now();
  if (turn === 0) turn = time;
  return time - turn >= TURN_MS;
}

const TIMERS_A_ROUND = 256;

/** Runs those that are due, for one turn: what is left, or set meanwhile, comes after the next round's events. */
function runTimers(): void {
  if (alarms.length === 0) return;
  const time = now();
  let due = 0;
  while (due < TIMERS_A_ROUND && due < alarms.length && (alarms[due] as Alarm).due <= time) due++;
  if (due === 0) return;
  const round = alarms.splice(0, due);
  for (let i = 0; i < due; i++) {
    const alarm = round[i] as Alarm;
    const { run } = alarm;
    if (run === undefined) {
      cancelled = Math.max(0, cancelled - 1);
      continue;
    }
    alarm.run = undefined;
    turn = 0;
    guarded("timer", run);
    if (i + 1 < due && now() - time >= TURN_MS) return void alarms.unshift(...round.slice(i + 1));
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

const COLLECT_MS = 1000;
let collectAt: number | undefined; // since the last time there has been work, and this is when its garbage is looked for

/**
 * Milliseconds to sleep. The engine looks for cycles of objects when it has allocated half as much again as it had: after thousands of
 * calls at once that may be never. So the loop does it, at most once a second, when there is nothing else to do. Who ends soon does not.
 */
function sleepFor(): number {
  const next = patience();
  if (broken === undefined || (!busy && collectAt === undefined)) return next;
  const time = now();
  if (collectAt !== undefined && time >= collectAt) {
    collectAt = undefined;
    native.collect();
    return patience();
  }
  collectAt ??= time + COLLECT_MS;
  const wait = Math.ceil(collectAt - time);
  return next < 0 ? wait : Math.min(next, wait);
}

/** The number of events, now or after a wait that gives way to whoever else wants the processor. */
function nextEvents(): number {
  for (let i = 0; busy && i < looks; i++) {
    const n = epoll.wait(0);
    if (n !== 0) return n;
    sys(NR.sched_yield);
  }
  const n = epoll.wait(sleepFor());
  busy = n > 0;
  return n;
}

function deliver(watcher: Pick<Watcher, "fd" | "run" | "onFault" | "close">, events: number): void {
  turn = 0;
  try {
    (watcher.run as (events: number) => void)(events);
  } catch (error) {
    tell(error, `descriptor ${watcher.fd}`);
    const { onFault } = watcher;
    if (onFault === undefined) return watcher.close();
    try {
      onFault(error);
    } catch (another) {
      watcher.close();
      tell(another, "fault");
    }
  }
}

let failures = 0;
const FAILURES = 100; // waits in a row that fail: then it is no passing trouble

let atRest: (() => void) | undefined;

/** In a debug build: `look` is called before each wait for events in which no promise has work left; undefined: nobody is any more. */
export function whenAtRest(look: (() => void) | undefined): void {
  atRest = look;
}

/** One round: waits, then runs what is due. `more`: promises have work left, nothing is waited for. */
export function tick(more = false): void {
  if (rejected.size > 0) tellRejected();
  if (__DEBUG__ && !more && atRest !== undefined) guarded("at rest", atRest);
  const crowded = crowdedOnce ? crowd().ready(epoll.number, more ? 0 : patience()) : undefined;
  const n = more || crowded !== undefined ? epoll.wait(0) : nextEvents();
  if (n >= 0 || n === -E.EINTR) failures = 0;
  else if (++failures === FAILURES) (broken ?? crash)(new SysError("epoll_pwait", -n), "wait");
  for (let i = 0; i < n; i++) {
    const watcher = watchers.get(epoll.fdOf(i));
    if (watcher !== undefined && watcher.tag === epoll.tagOf(i) && watcher.run !== undefined) deliver(watcher, epoll.eventsOf(i));
  }
  for (const { watcher, events } of crowded ?? []) if (watcher.run !== undefined) deliver(watcher, events);
  runTimers();
}

/** Hands the process over to the loop: native calls tick() for ever. */
export function run(): void {
  native.tick = tick;
}
