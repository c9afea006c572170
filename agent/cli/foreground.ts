// A command that waits for its container: signals go on to the program, and the caller's terminal, in raw mode, is the container's
// terminal as long as it runs. Each direction has a buffer of its own and never waits for the other, nor keeps anything else waiting.
// What the caller types is dropped only when the program has ended; what the program has written is given to the caller even then.
// When the caller can take nothing any more, the container's terminal is hung up. See termios(3), pty(7), signalfd(2).
import { SignalfdSiginfo } from "../abi/layouts.js";
import { EPOLL, F, SIG } from "../abi/flags.js";
import { E } from "../abi/errno.js";
import { Fd } from "../sys/fd.js";
import { fcntl, readRaw, setNonblock } from "../sys/file.js";
import { isHungUp, signalfdExcept } from "../sys/poll.js";
import { getpid } from "../sys/system.js";
import { bareLines, copyWindowSize, isTerminal, makeRaw } from "../sys/tty.js";
import { after, watch } from "../lib/loop.js";
import { atEnd, ENDING, forwardTo } from "./interrupt.js";
import { StreamEnd } from "./stream-end.js";

const BUFFER = 16384;
/** Between two looks at a terminal that nobody has open just now: who has closed it may open it again. */
const FIRST_LOOK_MS = 50, LAST_LOOK_MS = 1000;
/** What processes that have outlived the program may add to its output: more than a terminal holds. */
const MOST_AFTER_END = 1 << 20;
/** How long a reader may rest once the end has been asked for. */
const PATIENCE_MS = 2000;

/** What is told to the program. */
export interface Program {
  send(signal: number): void;
  /** Its terminal is gone. */
  hangUp(): void;
}

export interface Attached {
  /** The program has ended: gives the caller what the terminal still holds. */
  drain(): Promise<void>;
  /** Gives the caller's terminal its old settings back. */
  restore(): void;
}

/** Copies from one end to another. `goesOn`: after a failure to write or read (0: the end), may another try go better? */
class Flow {
  readonly #bytes = new Uint8Array(BUFFER);
  #at = 0;
  #end = 0;
  #left = Infinity;
  #last = false;
  #failures = 0;
  /** Bytes that have been written. */
  moved = 0;
  over = false;
  onOver: (() => void) | undefined;
  constructor(readonly from: StreamEnd, readonly to: StreamEnd, readonly goesOn: (end: StreamEnd, result: number) => boolean) {}

  /** One read, if there is nothing to write, and one write; then whoever is not ready is waited for. */
  readonly step = (): void => {
    if (this.over || (this.#at === this.#end && !this.#read())) return;
    const n = this.to.move(this.#bytes.subarray(this.#at, this.#end));
    if (n < 0) return this.#failed(this.to, n);
    this.#at += n;
    this.moved += n;
    if (this.#at !== this.#end) this.to.whenReady(this.step);
    else if (this.#last) this.from.wait(0, this.step);
    else this.from.whenReady(this.step);
  };

  #read(): boolean {
    const n = this.#left <= 0 ? 0 : this.from.move(this.#bytes.subarray(0, Math.min(BUFFER, this.#left)));
    if (n > 0) {
      this.#at = 0;
      this.#end = n;
      this.#left -= n;
      this.#failures = 0;
    } else if (this.#last) this.finish();
    else this.#failed(this.from, n);
    return n > 0;
  }

  #failed(end: StreamEnd, result: number): void {
    if (result === -E.EAGAIN || result === -E.EINTR) end.whenReady(this.step);
    else if (this.goesOn(end, result)) end.wait(Math.min(FIRST_LOOK_MS << this.#failures++, LAST_LOOK_MS), this.step);
    else this.finish();
  }

  /** Nothing more will be put into it: it is over when it is empty. */
  empty(): void {
    this.#last = true;
    this.#left = MOST_AFTER_END;
    if (this.#at === this.#end) this.step();
  }

  finish(): void {
    if (this.over) return;
    this.over = true;
    this.from.close();
    this.to.close();
    this.onOver?.();
  }
}

/** Signals for the program: all but those that only concern this process. */
function forward({ send }: Program, on: { readonly resized: () => void; readonly asked: () => void; readonly continued: () => void }): void {
  forwardTo((signal) => {
    send(signal);
    on.asked();
  });
  const fd = signalfdExcept([SIG.CHLD, SIG.URG, 32, 33, ...ENDING]);
  const info = new Int32Array(SignalfdSiginfo.SIZE / 4);
  const bytes = new Uint8Array(info.buffer);
  watch(fd.n, EPOLL.IN, () => {
    while (readRaw(fd.n, bytes, 0, bytes.length) === bytes.length) {
      const signal = info[SignalfdSiginfo.ssi_signo] as number;
      if (signal === SIG.WINCH) on.resized();
      else if (signal !== SIG.PIPE || info[SignalfdSiginfo.ssi_pid / 4] !== getpid()) send(signal); // else it comes of our own writing
      if (signal === SIG.CONT) on.continued();
    }
  });
}

const copySize = (master: Fd): void => void [0, 1, 2].find((n) => copyWindowSize(n, master));

/** Makes a new terminal what the caller expects, before a program has it: its size, and lines that end bare unless they go to a terminal in raw mode. */
export function prepareTerminal(master: Fd): void {
  copySize(master);
  if (!isTerminal(0) || !isTerminal(1)) bareLines(master);
}

/** Ties the caller to the container: `master` is its terminal's, or undefined when it has the caller's streams. */
export function attach(master: Fd | undefined, program: Program): Attached {
  const nothing = (): void => undefined;
  if (master === undefined) {
    forward(program, { resized: nothing, asked: nothing, continued: nothing });
    return { drain: () => Promise.resolve(), restore: nothing };
  }
  const link = new Link(master, program);
  forward(program, link);
  link.open();
  return link;
}

class Link implements Attached {
  readonly #input: Flow;
  readonly #output: Flow;
  readonly #fromTerminal = isTerminal(0); // one that has been hung up does not tell any more
  #undo: (() => void) | undefined;
  #asked = false;
  #draining = false;

  constructor(readonly master: Fd, readonly program: Program) {
    setNonblock(master);
    const writing = new Fd(fcntl(master, F.DUPFD_CLOEXEC, 3)); // a descriptor can be watched once
    const [readable, writable] = [new StreamEnd(master, "read"), new StreamEnd(writing, "write")];
    const [stdin, stdout] = [new StreamEnd(0, "read"), new StreamEnd(1, "write")];
    this.#input = new Flow(stdin, writable, (end, result) => end === writable || this.#inputGoesOn(stdin, result));
    this.#output = new Flow(readable, stdout, (end) => {
      if (end === stdout) this.#callerGone();
      return end === readable; // the program may open its terminal again
    });
  }

  open(): void {
    this.continued();
    atEnd(() => this.restore());
    this.#output.step();
    this.#input.step();
  }

  readonly resized = (): void => {
    if (this.master.open) copySize(this.master);
  };

  /** Whoever had the terminal meanwhile may have changed it. */
  readonly continued = (): void => {
    const undo = this.#output.over ? undefined : makeRaw(0);
    this.#undo ??= undo;
  };

  readonly asked = (): void => {
    if (this.#draining) this.#output.finish(); // there is nobody to ask but this process
    this.#asked = true;
  };

  /** No more input; a terminal that is gone may be the output's too. */
  #inputGoesOn(stdin: StreamEnd, result: number): boolean {
    if (result === -E.EIO && !stdin.hungUp()) return true; // another job has the terminal just now
    if (this.#fromTerminal && stdin.hungUp() && isHungUp(1)) this.#callerGone();
    return false;
  }

  #callerGone(): void {
    if (this.#output.over && this.#input.over) return;
    this.#output.finish();
    this.#input.finish();
    if (!this.#draining) this.program.hangUp();
  }

  drain(): Promise<void> {
    this.#draining = true;
    this.#input.finish();
    if (this.#asked) this.#hurry();
    return new Promise((done) => {
      this.#output.onOver = done;
      if (this.#output.over) done();
      else this.#output.empty();
    });
  }

  /** Ends it when the reader rests for long. */
  #hurry(): void {
    const { moved } = this.#output;
    after(PATIENCE_MS, () => (this.#output.moved === moved ? this.#output.finish() : this.#hurry()));
  }

  restore(): void {
    this.#undo?.();
    this.#undo = undefined;
  }
}
