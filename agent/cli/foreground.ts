// A command that waits for its container: signals go on to the program, and the caller's terminal, in raw mode, is the
// container's terminal as long as it runs. See termios(3), pty(7).
import { sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { readRaw, setNonblock } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { EPOLL, SIG, signalfd } from "../sys/poll.js";
import { after, watch, type Watch } from "../lib/loop.js";
import { ENDING, forwardTo } from "./interrupt.js";

const TCGETS = 0x5401, TCSETS = 0x5402, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414;
const SIGURG = 23;

export interface Attached {
  /** Writes what the terminal still holds. */
  drain(): void;
  /** Gives the caller's terminal its old settings back. */
  restore(): void;
}

/** Signals for the program: all but those that only concern this process. */
function forward(send: (signal: number) => void, resized: () => void): void {
  const all: number[] = [];
  for (let s = 1; s <= 64; s++) if (![SIG.KILL, SIG.STOP, SIG.CHLD, SIGURG, 32, 33, ...ENDING].includes(s)) all.push(s);
  forwardTo(send);
  const fd = signalfd(all);
  const info = new Uint8Array(128);
  watch(fd.n, EPOLL.IN, () => {
    while (readRaw(fd.n, info, 0, info.length) === info.length) {
      if (info[0] === SIG.WINCH) resized();
      else send(info[0] as number);
    }
  });
}

/** Raw mode for the terminal on standard input; returns what sets it back. */
function raw(): () => void {
  const old = new Uint8Array(64); // struct termios of the kernel: iflag, oflag, cflag, lflag (u32 each), line, cc
  if (sys(NR.ioctl, 0, TCGETS, old) < 0) return () => undefined;
  const now = old.slice();
  const flags = new Uint32Array(now.buffer, 0, 4);
  flags[0] = (flags[0] as number) & ~0o2753; // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
  flags[1] = (flags[1] as number) & ~1; // OPOST
  flags[2] = ((flags[2] as number) & ~0o460) | 0o60; // CSIZE PARENB, CS8
  flags[3] = (flags[3] as number) & ~0o100113; // ECHO ECHONL ICANON ISIG IEXTEN
  sys(NR.ioctl, 0, TCSETS, now);
  return () => void sys(NR.ioctl, 0, TCSETS, old);
}

/** Lines of the container's terminal end in LF alone, as callers of such commands expect: the caller's own terminal adds what it needs. */
function bareLines(master: Fd): void {
  const termios = new Uint8Array(64);
  if (sys(NR.ioctl, master.n, TCGETS, termios) < 0) return;
  const flags = new Uint32Array(termios.buffer, 0, 4);
  flags[1] = (flags[1] as number) & ~4; // ONLCR
  sys(NR.ioctl, master.n, TCSETS, termios);
}

/** Copies from one descriptor to another until the end; writes wait, as the caller's own reader decides. */
function copy(from: number, to: number): void {
  const buffer = new Uint8Array(16384);
  let watching: Watch | undefined;
  const step = (): void => {
    const n = readRaw(from, buffer, 0, buffer.length);
    if (n === -E.EAGAIN || n === -E.EINTR) return;
    if (n <= 0) return watching?.close();
    writeOut(to, buffer.subarray(0, n));
    if (watching === undefined) after(0, step); // a regular file is always ready, and cannot be watched
  };
  try {
    watching = watch(from, EPOLL.IN, step);
  } catch {
    step();
  }
}

function writeOut(to: number, bytes: Uint8Array): void {
  const poll = new Int32Array([to, EPOLL.OUT]); // struct pollfd
  for (let at = 0; at < bytes.length; ) {
    const n = sys(NR.write, to, bytes.subarray(at), bytes.length - at);
    if (n > 0) at += n;
    else if (n === -E.EAGAIN) sys(NR.ppoll, poll.buffer as ArrayBuffer, 1, null, null, 0);
    else if (n !== -E.EINTR) return;
  }
}

/** Ties the caller to the container: `master` is its terminal's, or undefined when it has the caller's streams. */
export function attach(master: Fd | undefined, send: (signal: number) => void): Attached {
  const size = new Uint8Array(8);
  const resize = (): void => {
    if (master !== undefined && sys(NR.ioctl, 0, TIOCGWINSZ, size) === 0) sys(NR.ioctl, master.n, TIOCSWINSZ, size);
  };
  forward(send, resize);
  if (master === undefined) return { drain: () => undefined, restore: () => undefined };
  resize();
  bareLines(master);
  setNonblock(master);
  const restore = raw();
  copy(master.n, 1);
  copy(0, master.n);
  const drain = (): void => {
    const buffer = new Uint8Array(16384);
    for (let n = readRaw(master.n, buffer, 0, buffer.length); n > 0; n = readRaw(master.n, buffer, 0, buffer.length)) writeOut(1, buffer.subarray(0, n));
  };
  return { drain, restore };
}
