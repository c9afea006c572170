// One connection: bytes in, frames out. Frames are handled where they lie in the receive buffer, which all connections share; a peer
// that has sent half a frame keeps what has come of it, and no more. What the peer does not take is queued, and nothing more is read
// from a peer while its queue is long. What all peers together make the agent keep is bounded (held.ts). It must never throw: a lost
// peer ends its calls and nothing else.
import { E } from "../abi/errno.js";
import { Level, log } from "../lib/log.js";
import { type Timer, after, turnIsOver } from "../lib/loop.js";
import type { Call, Caller } from "./call.js";
import { sendStatus, tooLong } from "./reply.js";
import { CODE } from "./status.js";
import { FRAME, HEADER_BYTES, MAX_DATA, looksLikeHeader, u32 } from "./wire/frame.js";
import { type Holder, hold, renew } from "./held.js";

// No #private names here and in call.ts: the guest's engine checks each use, and this is the path of every byte.

/** A byte stream to a peer that never waits. Counts are answered as by read(2) and write(2), errors as the negative errno. */
export interface Channel {
  /** A serial port: its end means that the peer has left and another may come; it may begin in the middle of a frame. */
  readonly endless: boolean;
  read(bytes: Uint8Array, at: number, length: number): number;
  write(bytes: Uint8Array, at: number, length: number): number;
  /** Says which of `readable()` and `writable()` shall be called. */
  want(readable: boolean, writable: boolean): void;
  close(): void;
}

/** Who a connection belongs to. */
export interface Owner {
  /** A request's envelope is in [start, end); those bytes are used again when this returns. False if it is no envelope. Must not throw. */
  request(from: Connection, stream: number, bytes: Uint8Array, start: number, end: number): boolean;
  /** Told once, when the channel has been closed. */
  closed(connection: Connection): void;
}

const LARGE_BUFFER = 65536;
const CONGESTED_BYTES = 262144; // queued output above which a peer is no longer read
const HALF_FRAME_MS = 2000; // on a serial port: a frame whose rest does not come is garbage
const TURNS = 64; // reads of a serial port before others get their turn
const FRAMES = 128; // frames of one peer before others get their turn, if they take no longer than a turn
const ASKED = 4; // frames between two looks at the clock

let bufferBytes = 4096; // LARGE_BUFFER as soon as a peer fills one: an agent that only hears small requests stays small
let shared: Uint8Array | undefined; // absent while it is in use
let holding = false; // in debug builds
const NO_CALLS: ReadonlySet<Call> = new Set();

/** Debug builds: requests that come from now on wait in their connections, until they no longer have to; see `wanting`. */
export function holdRequests(on: boolean): void {
  holding = on;
}

function takeShared(): Uint8Array {
  const buffer = shared ?? new Uint8Array(bufferBytes);
  shared = undefined;
  return buffer;
}

export class Connection implements Caller, Holder {
  private pending: Set<Call> | undefined = undefined; // made when it is needed: most of many connections may be idle
  /** What has come of a frame that is not whole yet, `fill` bytes of it. */
  private own: Uint8Array | undefined = undefined;
  private fill = 0;
  private skip = 0; // bytes still to come that belong to a frame over the limit
  /** Replies that the peer has not taken, from `from` to `to`. */
  private queue: Uint8Array | undefined = undefined;
  private from = 0;
  private to = 0;
  private waiting: (() => void)[] | undefined = undefined;
  private stale: Timer | undefined = undefined;
  private resting = false; // others have their turn before what has come is looked at
  closed = false;
  /** The peer takes its replies too slowly: from CONGESTED_BYTES in the queue until half of that. */
  congested = false;
  held = 0;
  served = false;

  constructor(readonly channel: Channel, private readonly owner: Owner) {}

  get spared(): boolean {
    return this.channel.endless; // there is only one, and it cannot come again
  }

  /** The calls that are not answered yet. */
  get calls(): ReadonlySet<Call> {
    return this.pending ?? NO_CALLS;
  }

  addCall(call: Call): void {
    (this.pending ??= new Set()).add(call);
  }

  /** True if it was there. */
  removeCall(call: Call): boolean {
    return this.pending?.delete(call) === true;
  }

  /** Runs `go` when the peer takes replies again (at once if it does) or is gone. */
  whenWritable(go: () => void): void {
    if (this.congested) (this.waiting ??= []).push(go);
    else go();
  }

  /** The channel has something to read. */
  readable(): void {
    for (let turn = 1; !this.resting; turn++) {
      const buffer = this.own === undefined && shared !== undefined ? shared : this.roomToRead();
      if (buffer === shared) shared = undefined;
      const n = this.channel.read(buffer, this.fill, buffer.length - this.fill);
      if (n <= 0) {
        if (buffer !== this.own) shared = buffer;
        return n === -E.EAGAIN ? undefined : this.lost(n);
      }
      this.fill += n;
      if (this.fill === buffer.length && buffer.length === bufferBytes) bufferBytes = LARGE_BUFFER;
      this.frames(buffer);
      if (!this.channel.endless || this.closed || this.congested) return;
      if (turn === TURNS) return void after(0, () => this.closed || this.readable()); // a serial port says only once that there is more
    }
  }

  /** A buffer that begins with what has come so far and has room for more: the shared one unless that is a large frame already. */
  private roomToRead(): Uint8Array {
    const { own, fill } = this;
    if (own !== undefined && fill < own.length) return own;
    if (2 * fill > LARGE_BUFFER) return this.keep(new Uint8Array(2 * fill), own as Uint8Array, 0, fill);
    if (2 * fill > bufferBytes) bufferBytes = LARGE_BUFFER;
    let buffer = takeShared();
    if (buffer.length < bufferBytes) buffer = new Uint8Array(bufferBytes);
    if (own !== undefined) buffer.set(own.subarray(0, fill));
    return buffer;
  }

  /** Handles the frames in `buffer` that are complete and keeps the rest. A large one takes long: it has a turn of its own. */
  private frames(buffer: Uint8Array, rested = false): void {
    let at = 0;
    let needed = HEADER_BYTES;
    let n = 0;
    let late = false;
    while (!this.congested && !late && !(__DEBUG__ && holding)) {
      if (this.skip > 0) {
        const passed = Math.min(this.skip, this.fill - at);
        this.skip -= passed;
        at += passed;
      }
      if (this.fill - at < HEADER_BYTES) break;
      if (this.channel.endless && !looksLikeHeader(buffer, at)) {
        at++;
        continue;
      }
      const length = u32(buffer, at);
      if (length > MAX_DATA) {
        this.overlong(buffer, at, length);
        at += HEADER_BYTES;
      } else if (this.fill - at < HEADER_BYTES + length) {
        needed = HEADER_BYTES + length;
        break;
      } else if (length > LARGE_BUFFER && (n > 0 || !rested)) {
        late = true;
      } else {
        n++;
        const good = this.frame(buffer, at, at + HEADER_BYTES + length);
        // on a serial port a peer may have left in the middle of its frame: what follows it is the next one's
        at += good || !this.channel.endless ? HEADER_BYTES + length : 1;
      }
      if (this.fill === 0) break; // the peer was lost meanwhile
      late = late || n === FRAMES || (n > 0 && n % ASKED === 0 && turnIsOver());
    }
    if (n > 0) this.served = true;
    if (at === this.fill && this.own === undefined && buffer.length === bufferBytes && !this.channel.endless) {
      this.fill = 0; // the usual end: everything was whole
      shared = buffer;
      return;
    }
    this.rest(buffer, Math.min(at, this.fill), needed);
    if (n > 0 && this.held > 0) renew(this);
    if (late && this.fill > 0 && !this.congested) this.giveWay();
  }

  /** Keeps what is left of `buffer` from `at` on, and gives it back if it is the shared one. */
  private rest(buffer: Uint8Array, at: number, needed: number): void {
    const { fill } = this;
    const left = (this.fill = fill - at);
    if (this.channel.endless) this.watchHalfFrame(left);
    if (left === 0) {
      if (this.own !== undefined) this.own = undefined;
    } else if (buffer !== this.own || at > 0) this.keep(new Uint8Array(2 * left <= LARGE_BUFFER ? left : Math.min(Math.max(needed, left), 2 * left)), buffer, at, fill);
    if (this.held > 0) this.count();
    if (buffer !== this.own && buffer.length === bufferBytes) shared = buffer;
  }

  /** Moves bytes [at, end) of `from` to the front of `to`, which holds them from now on. */
  private keep(to: Uint8Array, from: Uint8Array, at: number, end: number): Uint8Array {
    to.set(from.subarray(at, end));
    this.own = to;
    this.count();
    return to;
  }

  /** Tells what is held for this peer now. */
  private count(): void {
    hold(this, (this.own?.length ?? 0) + (this.queue?.length ?? 0));
  }

  /** Lets others have their turn before the frames that have come already. */
  private giveWay(): void {
    this.resting = true;
    this.wanting();
    after(0, () => {
      if (!this.resting) return;
      this.resting = false;
      if (this.closed) return;
      this.wanting();
      this.again();
    });
  }

  /** Looks at what has come already. */
  private again(): void {
    if (!this.resting && !this.congested && this.own !== undefined) this.frames(this.own, true);
    if (!this.closed && !this.resting && !this.congested && this.channel.endless) this.readable();
  }

  private wanting(): void {
    this.channel.want(!this.congested && !this.resting && !(__DEBUG__ && holding), this.queue !== undefined);
  }

  /** False if it is a request that makes no sense. */
  private frame(buffer: Uint8Array, at: number, end: number): boolean {
    const type = buffer[at + 8] as number;
    const stream = u32(buffer, at + 4);
    if (type === FRAME.REQUEST) {
      if (stream % 2 === 1) return this.owner.request(this, stream, buffer, at + HEADER_BYTES, end);
      sendStatus(this, stream, { code: CODE.invalid, message: "stream id must be odd" });
    } else if (type === FRAME.DATA) sendStatus(this, stream, { code: CODE.invalid, message: "Stream is no longer active" });
    else log(Level.DEBUG, "frame of an unknown type ignored", { type, stream }, "rpc");
    return true;
  }

  private overlong(buffer: Uint8Array, at: number, length: number): void {
    this.skip = length;
    const type = buffer[at + 8] as number;
    if (type === FRAME.REQUEST || type === FRAME.DATA) sendStatus(this, u32(buffer, at + 4), { code: CODE.invalid, message: tooLong(length) });
  }

  /** Sends bytes [start, end); they may be used again when this returns. */
  send(bytes: Uint8Array, start: number, end: number): void {
    if (this.closed) return;
    let at = start;
    while (this.queue === undefined) {
      const n = this.channel.write(bytes, at, end - at);
      if (n > 0) at += n;
      else if (n === -E.EAGAIN) break;
      else return this.lost(n);
      if (at === end) return;
    }
    this.enqueue(bytes, at, end);
    if (this.to - this.from > CONGESTED_BYTES) this.congested = true;
    this.wanting();
  }

  private enqueue(bytes: Uint8Array, start: number, end: number): void {
    const before = this.queue;
    const { from, to } = this;
    const size = to - from + end - start;
    if (before === undefined || to + end - start > before.length) {
      const queue = before !== undefined && 2 * size <= before.length ? before : new Uint8Array(before === undefined ? size : size + Math.min(size, CONGESTED_BYTES));
      if (queue === before) queue.copyWithin(0, from, to);
      else if (before !== undefined) queue.set(before.subarray(from, to));
      this.queue = queue;
      this.from = 0;
      this.to = to - from;
      if (queue !== before) this.count();
    }
    (this.queue as Uint8Array).set(bytes.subarray(start, end), this.to);
    this.to += end - start;
  }

  /** The channel takes bytes again. */
  writable(): void {
    const wasCongested = this.congested;
    while (this.queue !== undefined) {
      const n = this.channel.write(this.queue, this.from, this.to - this.from);
      if (n === -E.EAGAIN) break;
      if (n <= 0) return this.lost(n);
      this.from += n;
      if (this.from === this.to) this.dropQueue();
      else renew(this);
    }
    this.congested = this.congested && this.to - this.from > CONGESTED_BYTES / 2;
    this.wanting();
    if (wasCongested && !this.congested) this.resume();
  }

  private dropQueue(): void {
    this.queue = undefined;
    this.from = this.to = 0;
    this.count();
  }

  private resume(): void {
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting !== undefined) for (const go of waiting) this.whenWritable(go);
    if (!this.closed) this.again();
  }

  /** Ends it from our side: calls are cancelled, what is queued is dropped. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.forget();
    this.channel.close();
    this.owner.closed(this);
  }

  /** The peer is gone (0 or a negative errno). A serial port waits for the next one. */
  private lost(reason: number): void {
    if (!this.channel.endless) {
      if (reason < 0) log(Level.DEBUG, "connection lost", { errno: -reason }, "rpc");
      return this.close();
    }
    this.forget();
    this.channel.want(true, false);
  }

  private forget(): void {
    const { pending, waiting } = this;
    this.fill = this.skip = this.from = this.to = 0;
    this.congested = this.resting = false;
    this.own = this.queue = this.waiting = undefined;
    this.count();
    this.stale?.cancel();
    this.stale = undefined;
    if (pending !== undefined) for (const call of pending) call.cancel(); // each takes itself out
    this.pending = undefined;
    if (waiting !== undefined) for (const go of waiting) go();
  }

  /** On a serial port the rest of a frame may never come: then it is passed over as garbage. */
  private watchHalfFrame(left: number): void {
    this.stale?.cancel();
    this.stale = undefined;
    if (left === 0 || this.congested) return;
    this.stale = after(HALF_FRAME_MS, () => {
      this.stale = undefined;
      const { own } = this;
      if (own === undefined) return;
      own.copyWithin(0, 1, this.fill--);
      if (this.fill > 0) return this.frames(own);
      this.own = undefined;
      this.count();
    });
  }
}
