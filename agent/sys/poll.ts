// Waiting for events: epoll(7), eventfd(2), signalfd(2), inotify(7) and the signal mask.
import { Pollfd, Sigaction, Sigset } from "../abi/layouts.js";
import { AT, EPOLL_CTL, EpollEvent, F, O, POLL, SIG, SIGMASK } from "../abi/flags.js";
import { check, must, sys } from "./call.js";
import { Fd } from "./fd.js";
import { NR } from "../abi/nr.js";
import { struct } from "./struct.js";

const enum EventWord { ALL = EpollEvent.SIZE / 4, EVENTS = EpollEvent.events / 4, DATA = EpollEvent.data / 4 }

const ABOVE_STDIO = 3;

/** The same file under a number above 2: init may be started without standard streams, and their numbers must stay free for them. */
function aboveStdio(n: number): Fd {
  const fd = new Fd(n);
  if (n >= ABOVE_STDIO) return fd;
  const above = new Fd(must("fcntl", NR.fcntl, n, F.DUPFD_CLOEXEC, ABOVE_STDIO));
  fd.close();
  return above;
}

/** An epoll instance with a reused event buffer. `tag` is a second 32-bit value that comes back with the event. */
export class Epoll {
  // no #private names: the engine checks each use, and every event passes here
  private readonly fd = aboveStdio(must("epoll_create1", NR.epoll_create1, O.CLOEXEC));
  private readonly events: Int32Array;
  private readonly address: number;
  private readonly one = new Int32Array(EventWord.ALL);
  constructor(readonly capacity: number) {
    this.events = new Int32Array(capacity * EventWord.ALL);
    this.address = native.addressOf(this.events.buffer as ArrayBuffer);
  }
  /** The instance's own descriptor, which is readable when there are events. */
  get number(): number {
    return this.fd.n;
  }
  private control(op: EPOLL_CTL, fd: number, events: number, tag: number): number {
    this.one[EventWord.EVENTS] = events;
    this.one[EventWord.DATA] = fd;
    this.one[EventWord.DATA + 1] = tag;
    return sys(NR.epoll_ctl, this.fd.n, op, fd, this.one.buffer as ArrayBuffer);
  }
  /** Each returns 0 or the negative errno (EPERM: the file cannot be polled). */
  add(fd: number, events: number, tag: number): number {
    return this.control(EPOLL_CTL.ADD, fd, events, tag);
  }
  modify(fd: number, events: number, tag: number): number {
    return this.control(EPOLL_CTL.MOD, fd, events, tag);
  }
  remove(fd: number): number {
    return this.control(EPOLL_CTL.DEL, fd, 0, 0);
  }
  /** Waits at most `ms` (-1: for ever); returns the number of events, or the negative errno. */
  wait(ms: number): number {
    return sys(NR.epoll_pwait, this.fd.n, this.address, this.capacity, ms, null, Sigset.SIZE);
  }
  eventsOf(i: number): number {
    return this.events[i * EventWord.ALL + EventWord.EVENTS] as number;
  }
  fdOf(i: number): number {
    return this.events[i * EventWord.ALL + EventWord.DATA] as number;
  }
  tagOf(i: number): number {
    return this.events[i * EventWord.ALL + EventWord.DATA + 1] as number;
  }
}

/** eventfd(2), non-blocking, close-on-exec. */
export function eventfd(): Fd {
  return new Fd(must("eventfd2", NR.eventfd2, 0, O.CLOEXEC | O.NONBLOCK));
}

function mask(signals: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Sigset.SIZE);
  for (const s of signals) bytes[(s - 1) >> 3] = (bytes[(s - 1) >> 3] as number) | (1 << ((s - 1) & 7));
  return bytes;
}

/** Blocks every signal of this thread but those a fault raises (signal(7)): what arrives is read from a signalfd. */
export function blockSignals(): void {
  const all = new Uint8Array(Sigset.SIZE).fill(0xff);
  for (const s of [SIG.ILL, SIG.TRAP, SIG.BUS, SIG.FPE, SIG.SEGV, SIG.SYS]) all[(s - 1) >> 3] = (all[(s - 1) >> 3] as number) & ~(1 << ((s - 1) & 7));
  must("rt_sigprocmask", NR.rt_sigprocmask, SIGMASK.SETMASK, all, null, Sigset.SIZE);
}

/** Does this process ignore signals? Only what is certain saves the many calls. See proc_pid_status(5), SigIgn. */
function ignoresAny(): boolean {
  const text = new Uint8Array(4096);
  const fd = sys(NR.openat, AT.FDCWD, "/proc/self/status", O.RDONLY | O.CLOEXEC);
  if (fd < 0) return true;
  const n = sys(NR.read, fd, text, text.length);
  sys(NR.close, fd);
  return !(native.utf8Decode(text, 0, Math.max(0, n)) ?? "").includes("\nSigIgn:\t0000000000000000\n");
}

const LAST_SIGNAL = 64;

/**
 * Gives every signal its default action. What a process ignores stays ignored over fork and execve, so signals that the agent
 * was started with ignored would be deaf in every container (clone3's CLONE_CLEAR_SIGHAND spares them). See signal(7).
 */
export function defaultActions(): void {
  if (!ignoresAny()) return;
  const action = new Uint8Array(Sigaction.SIZE); // SIG_DFL, no flags, no restorer, empty mask
  for (let signal = 1; signal <= LAST_SIGNAL; signal++) sys(NR.rt_sigaction, signal, action, null, Sigset.SIZE); // EINVAL for KILL and STOP
}

/** Empties the signal mask (in a child, before execve). */
export function unblockSignals(): void {
  must("rt_sigprocmask", NR.rt_sigprocmask, SIGMASK.SETMASK, new Uint8Array(Sigset.SIZE), null, Sigset.SIZE);
}

/** Runs `wait`, a call that may block for long, with these signals let through to their actions. */
export function interruptibly<T>(signals: readonly number[], wait: () => T): T {
  const some = mask(signals);
  must("rt_sigprocmask", NR.rt_sigprocmask, SIGMASK.UNBLOCK, some, null, Sigset.SIZE);
  const result = wait();
  must("rt_sigprocmask", NR.rt_sigprocmask, SIGMASK.BLOCK, some, null, Sigset.SIZE);
  return result;
}

/** signalfd4(2) for these signals, non-blocking, close-on-exec. */
export function signalfd(signals: readonly number[]): Fd {
  return new Fd(must("signalfd4", NR.signalfd4, -1, mask(signals), Sigset.SIZE, O.CLOEXEC | O.NONBLOCK));
}
/** The same for all signals but these. */
export function signalfdExcept(signals: readonly number[]): Fd {
  return new Fd(must("signalfd4", NR.signalfd4, -1, mask(signals).map((bits) => ~bits), Sigset.SIZE, O.CLOEXEC | O.NONBLOCK));
}

/** inotify_init1(2), non-blocking, close-on-exec. */
export function inotifyInit(): Fd {
  return new Fd(must("inotify_init1", NR.inotify_init1, O.CLOEXEC | O.NONBLOCK));
}
/** inotify_add_watch(2): returns the watch descriptor. */
export function inotifyAddWatch(fd: Fd, path: string, events: number): number {
  return must("inotify_add_watch", NR.inotify_add_watch, fd.n, path, events);
}

function poll(list: Int32Array, ms: number): number {
  const limit = ms < 0 ? null : struct({ sec: "i64", nsec: "i64" }).make({ sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1e6 });
  return sys(NR.ppoll, list.buffer as ArrayBuffer, list.length / PollWord.ALL, limit, null, Sigset.SIZE);
}

/** struct pollfd: the events that are asked for and, in the upper half of their word, those that have come. */
const enum PollWord { ALL = Pollfd.SIZE / 4, EVENTS = Pollfd.events / 4 }

/**
 * ppoll(2) on descriptors (-1: passed over) and the events each is to be watched for, at most `ms` milliseconds (-1: for ever). What each
 * is ready for, in the same order; all 0 when it cannot be done now (EINTR, ENOMEM).
 */
export function pollAll(asked: readonly (readonly [fd: number, events: number])[], ms: number): number[] {
  const list = new Int32Array(asked.length * PollWord.ALL);
  asked.forEach(([fd, events], i) => list.set([fd, events & 0xffff], i * PollWord.ALL));
  const n = poll(list, ms);
  return asked.map((_, i) => (n > 0 ? (list[i * PollWord.ALL + PollWord.EVENTS] as number) >>> 16 : 0));
}

/** The same for one: what it is ready for, 0 when that was nothing in this time, or the negative errno. */
export function pollOne(fd: number, events: number, ms: number): number {
  const list = new Int32Array([fd, events & 0xffff]);
  const n = poll(list, ms);
  return n > 0 ? (list[PollWord.EVENTS] as number) >>> 16 : n;
}

/** Waits until `fd` can be read (a pidfd: its process has ended), at most `seconds`; false when it could not. Blocks. Throws SysError. */
export function waitReadable(fd: Fd, seconds: number): boolean {
  return check("ppoll", pollOne(fd.n, POLL.IN, seconds * 1000)) > 0;
}

/** Sleeps for so many milliseconds. Blocks: for processes without a loop, and for PID 1 before it serves anybody. */
export function pause(ms: number): void {
  poll(new Int32Array(0), ms);
}

/** Has the other end of a pipe, socket or terminal gone? Looks, and does not wait. */
export function isHungUp(n: number): boolean {
  return (Math.max(0, pollOne(n, 0, 0)) & (POLL.HUP | POLL.ERR)) !== 0;
}

/** Has it something to be read? Looks, and does not wait. */
export function isReadable(n: number): boolean {
  return (Math.max(0, pollOne(n, POLL.IN, 0)) & POLL.IN) !== 0;
}
