// A command that waits for its container: signals go on to the program, and the caller's terminal, in raw mode, is the
// container's terminal as long as it runs. See termios(3), pty(7).
import { sys } from "../sys/call.js";
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { readRaw, setNonblock } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { EPOLL, SIG, signalfdExcept } from "../sys/poll.js";
import { bareLines, copyWindowSize, makeRaw } from "../sys/tty.js";
import { after, watch, type Watch } from "../lib/loop.js";
import { ENDING, forwardTo } from "./interrupt.js";

const SIGURG = 23;

export interface Attached {
  /** Writes what the terminal still holds. */
  drain(): void;
  /** Gives the caller's terminal its old settings back. */
  restore(): void;
}

/** Signals for the program: all but those that only concern this process. */
function forward(send: (signal: number) => void, resized: () => void): void {
  forwardTo(send);
  const fd = signalfdExcept([SIG.CHLD, SIGURG, 32, 33, ...ENDING]);
  const info = new Uint8Array(128);
  watch(fd.n, EPOLL.IN, () => {
    while (readRaw(fd.n, info, 0, info.length) === info.length) {
      if (info[0] === SIG.WINCH) resized();
      else send(info[0] as number);
    }
  });
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
  const resize = (): void => {
    if (master !== undefined) copyWindowSize(0, master);
  };
  forward(send, resize);
  if (master === undefined) return { drain: () => undefined, restore: () => undefined };
  resize();
  bareLines(master); // as callers of such commands expect: their own terminal adds what it needs
  setNonblock(master);
  const restore = makeRaw(0) ?? (() => undefined);
  copy(master.n, 1);
  copy(0, master.n);
  const drain = (): void => {
    const buffer = new Uint8Array(16384);
    for (let n = readRaw(master.n, buffer, 0, buffer.length); n > 0; n = readRaw(master.n, buffer, 0, buffer.length)) writeOut(1, buffer.subarray(0, n));
  };
  return { drain, restore };
}
