// The standard streams of a process, the parent's side. Nothing is kept here: a read goes from the pipe into the caller's
// buffer, a write from the caller's buffer into the pipe, and whoever must wait waits in the kernel. A stream ends at the
// real end of file, or, once the process itself has ended, when its pipe has been drained, even if a child still holds it.
// Sources: pipe(7), pty(7), epoll(7).
import { EPOLL, F, IOCTL, O } from "../../abi/flags.js";
import { SysError, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { Fd } from "../../sys/fd.js";
import { fcntl, pipe, readRaw, setNonblock } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { isReadable } from "../../sys/poll.js";
import { eofCharacter, setWindowSize } from "../../sys/tty.js";
import { AppError } from "../../lib/errors.js";
import { after, watch, type Watch } from "../../lib/loop.js";

type Go = () => void;

/** What children of a process that has ended may add to its output before a reader has caught up. */
const GRACE_BYTES = 131072;

/** Readers of one stream, and writers, that may wait at the same time. A host has one. */
const MOST_WAITING = 1024;
/** Input that waits in the agent for all processes to read it: beyond that more is refused. */
export const MOST_INPUT = 8388608;
let inputBytes = 0;

const tooMany = (what: string): AppError => new AppError("exhausted", `more than ${MOST_WAITING} calls wait to ${what} one stream`);

const AT_ONCE = 16; // reads or writes of a stream before others get their turn

/** What a process writes. Readers take turns: take, then readInto and whenReadable as often as needed, then doneWaiting. */
export class OutStream {
  private watching: Watch | undefined;
  private wake: Go | undefined;
  private busy = false;
  private serving = false;
  private queue: Set<Go> | undefined;
  private ended = false;
  /** What may still be read once the process has ended: a child that goes on writing must not keep the end away for ever. */
  private left = Infinity;
  /** Has anybody read from it? */
  used = false;
  /** Has the end been given to a reader? */
  over = false;
  /** Called once when that happens. */
  onOver: Go | undefined;
  constructor(readonly fd: Fd) {}

  /** Calls `go` when those who came before are done. Throws "exhausted" when too many wait already. */
  take(go: Go): void {
    if (this.busy) {
      const queue = (this.queue ??= new Set());
      if (queue.size >= MOST_WAITING) throw tooMany("read");
      queue.add(go);
      return;
    }
    this.busy = true;
    go();
  }

  /**
   * The next in line may go: one after the other from here, not each from within the one before. Of those who wait at a process that
   * writes without end some go now, and the others when everybody else has had a turn.
   */
  doneWaiting(): void {
    this.busy = false;
    if (this.serving) return;
    this.serving = true;
    let served = 0;
    try {
      for (let next = this.next(); next !== undefined; next = this.next()) {
        this.busy = true;
        next();
        if (++served < AT_ONCE || this.busy || this.queue === undefined) continue;
        this.busy = true; // who comes now goes behind those who wait
        after(0, () => this.doneWaiting());
      }
    } finally {
      this.serving = false;
    }
  }

  private next(): Go | undefined {
    if (this.busy || this.queue === undefined) return undefined;
    const [next] = this.queue;
    if (next === undefined) this.queue = undefined;
    else this.queue.delete(next);
    return next;
  }

  /** `go` waits no longer, neither for its turn nor for something to read: it is run once more if it holds up the others. */
  giveUp(go: Go): void {
    if (this.queue?.delete(go) !== true && this.wake === go) this.now();
  }

  /** One read(2) of at most `max` bytes to bytes[at]: their number, 0 at the end, -EAGAIN when there is nothing yet, or the negative errno. */
  readInto(bytes: Uint8Array, at: number, max: number): number {
    this.used = true;
    const n = this.fd.open && this.left > 0 ? readRaw(this.fd.n, bytes, at, Math.min(max, this.left)) : 0;
    this.left -= Math.max(n, 0);
    if (n > 0 || (n < 0 && n !== -E.EIO && !(n === -E.EAGAIN && this.ended))) return n; // EIO: nobody has the terminal open any more
    if (this.ended) this.close();
    if (!this.over) {
      this.over = true;
      this.onOver?.();
    }
    return 0;
  }

  /** Calls `wake` once when there is something to read, or the end has come. One at a time. */
  whenReadable(wake: Go): void {
    if (!this.fd.open || this.ended) return wake();
    this.wake = wake;
    if (this.watching === undefined) this.watching = watch(this.fd.n, EPOLL.IN | EPOLL.ONESHOT, () => this.now(), () => this.close());
    else this.watching.rearm();
  }

  private now(): void {
    const wake = this.wake;
    this.wake = undefined;
    wake?.();
  }

  /** The process has ended: what is in the pipe can still be read, and then it is over. */
  processEnded(): void {
    this.ended = true;
    if (this.fd.open) this.left = this.unread() + GRACE_BYTES;
    this.now();
  }

  /** How many bytes there are to be read, as far as the kernel knows. See IOCTL.FIONREAD in ioctl_tty(2), pipe(7). */
  unread(): number {
    const bytes = new Int32Array(1);
    if (this.fd.open) sys(NR.ioctl, this.fd.n, IOCTL.FIONREAD, bytes.buffer as ArrayBuffer);
    return bytes[0] as number;
  }

  /** Is there something that nobody has read? */
  pending(): boolean {
    return this.fd.open && isReadable(this.fd.n);
  }

  close(): void {
    this.watching?.close();
    this.watching = undefined;
    this.fd.close();
    this.now();
  }
}

/** Input that waits. */
export interface Write {
  /** Not written yet. */
  rest: Uint8Array;
  readonly size: number;
  readonly done: (error: Error | undefined) => void;
}

/** What a process reads. Writes are done in the order in which they came. */
export class InStream {
  private watching: Watch | undefined;
  private own: Fd | undefined; // a terminal's descriptor is watched for reading already
  private readonly queue = new Set<Write>();
  /** No more input is wanted: it ends when what waits has been written. */
  ending = false;
  private last = 10;
  constructor(readonly fd: Fd, readonly terminal: boolean) {}

  /** Throws "exhausted" when `length` more bytes may not wait here. */
  admit(length: number): void {
    if (this.queue.size >= MOST_WAITING) throw tooMany("write to");
    if (inputBytes + length > MOST_INPUT) throw new AppError("exhausted", `more than ${MOST_INPUT} bytes of input wait for processes to read them`);
  }

  /** Writes what fits now: the number of bytes (0 when it is full or others wait), or the negative errno. */
  writeNow(data: Uint8Array): number {
    if (this.queue.size > 0) return 0;
    const n = this.put(data);
    return n === -E.EAGAIN ? 0 : n;
  }

  private put(data: Uint8Array): number {
    if (!this.fd.open || this.ending) return -E.EPIPE;
    const n = sys(NR.write, this.fd.n, data, data.length);
    if (n > 0) this.last = data[n - 1] as number;
    return n;
  }

  /** Writes all of `data` (kept until then) as the process reads; `done` gets the error if any. The answer is for `giveUp`. */
  write(data: Uint8Array, done: (error: Error | undefined) => void): Write {
    const entry: Write = { rest: data, size: data.length, done };
    this.queue.add(entry);
    inputBytes += entry.size;
    if (this.queue.size === 1) this.push();
    return entry;
  }

  /** What is left of it is not written. */
  giveUp(entry: Write): void {
    this.remove(entry);
    if (this.ending && this.queue.size === 0) this.finish();
  }

  /** True if it was there. */
  private remove(entry: Write): boolean {
    if (!this.queue.delete(entry)) return false;
    inputBytes -= entry.size;
    return true;
  }

  private push(): void {
    let turns = AT_ONCE;
    for (const entry of this.queue) {
      const left = this.writeRest(entry, turns);
      if (left === -E.EAGAIN) return this.wait();
      if (this.remove(entry)) entry.done(left < 0 ? new SysError("write", -left) : undefined);
      turns = left < 0 ? 1 : left; // where one has failed, the next ones do
    }
    if (this.ending) this.finish();
  }

  /** What is left of the turns, a write(2) each, when all of it has been written; or the negative errno, EAGAIN also without any turn left. */
  private writeRest(entry: Write, turns: number): number {
    for (; entry.rest.length > 0; turns--) {
      if (turns === 0) return -E.EAGAIN;
      const n = this.fd.open ? sys(NR.write, this.fd.n, entry.rest, entry.rest.length) : -E.EPIPE;
      if (n <= 0) return n === 0 ? -E.EIO : n; // a descriptor that takes nothing of something would be asked for ever
      this.last = entry.rest[n - 1] as number;
      entry.rest = entry.rest.subarray(n);
    }
    return turns;
  }

  private wait(): void {
    if (this.watching !== undefined) return this.watching.rearm();
    if (this.terminal) this.own = new Fd(fcntl(this.fd, F.DUPFD_CLOEXEC, 3));
    this.watching = watch((this.own ?? this.fd).n, EPOLL.OUT | EPOLL.ONESHOT, () => this.push(), () => this.close());
  }

  /** No more input, once everything has been written. The program at a terminal sees the end that a user would type. */
  end(): void {
    if (this.ending) return;
    this.ending = true;
    if (this.queue.size === 0) this.finish();
  }

  private finish(): void {
    if (this.terminal) this.typeEnd();
    this.close();
  }

  /** VEOF ends a line; what is typed on the line before it is handed over first, so an unfinished line needs two. */
  private typeEnd(): void {
    try {
      const key = this.fd.open ? eofCharacter(this.fd) : 0;
      if (key !== 0) sys(NR.write, this.fd.n, new Uint8Array([key, key]), this.last === 10 || this.last === key ? 1 : 2);
    } catch {
      // nobody has the terminal any more: there is nobody to tell
    }
  }

  /** Lets go of the descriptor; writes that wait fail with EPIPE. */
  close(): void {
    this.ending = true;
    this.watching?.close();
    this.watching = undefined;
    this.own?.close();
    if (!this.terminal) this.fd.close(); // a terminal's master belongs to the output
    for (const entry of this.queue) if (this.remove(entry)) entry.done(new SysError("write", E.EPIPE));
  }
}

/** The streams of one process. */
export class Streams {
  /** Called once when the process has ended and all its output has been read to the end. */
  onDrained: Go | undefined;
  private ended = false;
  private readonly input: InStream;
  constructor(input: Fd, readonly stdout: OutStream, readonly stderr: OutStream | undefined, readonly terminal: boolean) {
    this.input = new InStream(input, terminal);
    stdout.onOver = () => this.drained();
    if (stderr !== undefined) stderr.onOver = stdout.onOver;
  }

  /** Undefined once the end of input has been asked for. */
  get stdin(): InStream | undefined {
    return this.input.ending ? undefined : this.input;
  }

  private drained(): void {
    if (!this.ended || !this.stdout.over || this.stderr?.over === false) return;
    const tell = this.onDrained;
    this.onDrained = undefined;
    tell?.();
  }

  processEnded(): void {
    this.ended = true;
    this.input.close();
    this.stdout.processEnded();
    this.stderr?.processEnded();
    this.drained();
  }

  /**
   * For a process that has been waited for: is there output that nobody has read, or a reader who has not been given the end yet?
   * A stream with neither lets go of its descriptor.
   */
  pending(): boolean {
    let any = false;
    for (const stream of [this.stdout, this.stderr]) {
      if (stream === undefined) continue;
      if (!stream.over && (stream.used || stream.pending())) any = true;
      else stream.close();
    }
    return any;
  }

  /** Sets the terminal's size. Throws "unavailable" when there is no terminal, SysError when it is gone. */
  resize(rows: number, columns: number): void {
    if (!this.terminal || !this.stdout.fd.open) throw new AppError("unavailable", "no tty");
    setWindowSize(this.stdout.fd, rows, columns);
  }

  close(): void {
    this.input.close();
    this.stdout.close();
    this.stderr?.close();
  }
}

/** The child's ends (the caller closes them after the clone) and the parent's. */
export interface Stdio { readonly stdin: Fd; readonly stdout: Fd; readonly stderr: Fd; readonly streams: Streams }

/** Three pipes; those for output hold `pipeSize` bytes when that is given. */
export function makeStdio(options: { readonly pipeSize: number }): Stdio {
  const ends: Fd[] = [];
  const make = (): { read: Fd; write: Fd } => {
    const made = pipe();
    ends.push(made.read, made.write);
    return made;
  };
  try {
    const [input, output, error] = [make(), make(), make()];
    for (const fd of [input.write, output.read, error.read]) fcntl(fd, F.SETFL, O.NONBLOCK); // new pipes have no other flags
    if (options.pipeSize > 0) for (const fd of [output.write, error.write]) fcntl(fd, F.SETPIPE_SZ, options.pipeSize);
    return { stdin: input.read, stdout: output.write, stderr: error.write, streams: new Streams(input.write, new OutStream(output.read), new OutStream(error.read), false) };
  } catch (error) {
    for (const fd of ends) fd.close();
    throw error;
  }
}

/** The streams at a terminal's master. */
export function ptyStreams(master: Fd): Streams {
  setNonblock(master);
  return new Streams(master, new OutStream(master), undefined, true);
}
