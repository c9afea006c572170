// One connection: bytes in, frames out. Frames are handled where they lie in the receive buffer, which all connections share as long as
// they hold no half frame. What the peer does not take is queued, and nothing more is read from a peer while its queue is long, so it
// cannot make the agent's memory grow. It must never throw: a lost peer ends its calls and nothing else.
import { E } from "../sys/errno.js";
import { Level, log } from "../lib/log.js";
import { type Timer, after } from "../lib/loop.js";
import { type Call, sendStatus, tooLong } from "./call.js";
import { dispatch } from "./dispatch.js";
import { FRAME, HEADER_BYTES, MAX_DATA, looksLikeHeader, u32 } from "./frame.js";

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

const LARGE_BUFFER = 65536;
const CONGESTED_BYTES = 262144; // queued output above which a peer is no longer read
const HALF_FRAME_MS = 2000; // on a serial port: a frame whose rest does not come is garbage
const TURNS = 64; // reads of a serial port before others get their turn
const INVALID_ARGUMENT = 3;

let bufferBytes = 4096; // LARGE_BUFFER as soon as a peer fills one: an agent that only hears small requests stays small
let spare: Uint8Array | undefined;

export class Connection {
  readonly calls = new Set<Call>();
  private buffer: Uint8Array | undefined = undefined;
  private fill = 0; // bytes in the buffer
  private skip = 0; // bytes still to come that belong to a frame over the limit
  private queue: Uint8Array[] = [];
  private queued = 0;
  private waiting: (() => void)[] = [];
  private stale: Timer | undefined = undefined;
  closed = false;
  /** The peer takes its replies too slowly: from CONGESTED_BYTES in the queue until half of that. */
  congested = false;

  /** `onClose` is told once, when the channel has been closed. */
  constructor(readonly channel: Channel, readonly onClose: (connection: Connection) => void) {}

  /** Runs `go` when the peer takes replies again (at once if it does) or is gone. */
  whenWritable(go: () => void): void {
    if (this.congested) this.waiting.push(go);
    else go();
  }

  /** The channel has something to read. */
  readable(): void {
    for (let turn = 1; ; turn++) {
      const buffer = this.buffer ?? (this.buffer = spare ?? new Uint8Array(bufferBytes));
      if (buffer === spare) spare = undefined;
      const n = this.channel.read(buffer, this.fill, buffer.length - this.fill);
      if (n === -E.EAGAIN) return this.rest();
      if (n <= 0) return this.lost(n);
      this.fill += n;
      if (this.fill === buffer.length && bufferBytes < LARGE_BUFFER) {
        bufferBytes = LARGE_BUFFER;
        spare = undefined;
      }
      this.frames();
      if (!this.channel.endless || this.closed || this.congested) return;
      if (turn === TURNS) return void after(0, () => this.closed || this.readable()); // a serial port says only once that there is more
    }
  }

  /** Handles the frames that are complete and keeps the rest. */
  private frames(): void {
    const buffer = this.buffer as Uint8Array;
    let at = 0;
    let needed = HEADER_BYTES;
    while (!this.congested) {
      if (this.skip > 0) {
        const n = Math.min(this.skip, this.fill - at);
        this.skip -= n;
        at += n;
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
      } else {
        const good = this.frame(buffer, at, at + HEADER_BYTES + length);
        // on a serial port a peer may have left in the middle of its frame: what follows it is the next one's
        at += good || !this.channel.endless ? HEADER_BYTES + length : 1;
      }
      if (this.buffer !== buffer) return; // the peer was lost meanwhile
    }
    if (at === this.fill && buffer.length === bufferBytes && !this.channel.endless) {
      this.fill = 0; // the usual end: everything was whole
      this.buffer = undefined;
      spare = buffer;
    } else this.keep(buffer, at, needed);
  }

  /** Moves what is left from `at` on to the front of a buffer in which `needed` bytes have room. */
  private keep(buffer: Uint8Array, at: number, needed: number): void {
    const left = this.fill - at;
    this.fill = left;
    if (this.channel.endless) this.watchHalfFrame(left);
    if (left === 0) return this.rest();
    if (needed > buffer.length) {
      this.buffer = new Uint8Array(needed);
      this.buffer.set(buffer.subarray(at, at + left));
      if (buffer.length === bufferBytes) spare = buffer;
    } else if (at > 0) buffer.copyWithin(0, at, at + left);
  }

  /** Gives the buffer back if nothing is in it. */
  private rest(): void {
    if (this.fill > 0 || this.buffer === undefined) return;
    if (this.buffer.length === bufferBytes) spare = this.buffer;
    this.buffer = undefined;
  }

  /** False if it is a request that makes no sense. */
  private frame(buffer: Uint8Array, at: number, end: number): boolean {
    const type = buffer[at + 8] as number;
    const stream = u32(buffer, at + 4);
    if (type === FRAME.REQUEST) {
      if (stream % 2 === 1) return dispatch(this, stream, buffer, at + HEADER_BYTES, end);
      sendStatus(this, stream, { code: INVALID_ARGUMENT, message: "stream id must be odd" });
    } else if (type === FRAME.DATA) sendStatus(this, stream, { code: INVALID_ARGUMENT, message: "Stream is no longer active" });
    else log(Level.DEBUG, "frame of an unknown type ignored", { type, stream }, "rpc");
    return true;
  }

  private overlong(buffer: Uint8Array, at: number, length: number): void {
    this.skip = length;
    const type = buffer[at + 8] as number;
    if (type === FRAME.REQUEST || type === FRAME.DATA) sendStatus(this, u32(buffer, at + 4), { code: INVALID_ARGUMENT, message: tooLong(length) });
  }

  /** Sends bytes [start, end); they may be used again when this returns. */
  send(bytes: Uint8Array, start: number, end: number): void {
    if (this.closed) return;
    let at = start;
    while (this.queued === 0) {
      const n = this.channel.write(bytes, at, end - at);
      if (n > 0) at += n;
      else if (n === -E.EAGAIN) break;
      else return this.lost(n);
      if (at === end) return;
    }
    this.queue.push(bytes.slice(at, end));
    this.queued += end - at;
    if (this.queued > CONGESTED_BYTES) this.congested = true;
    this.channel.want(!this.congested, true);
  }

  /** The channel takes bytes again. */
  writable(): void {
    const wasCongested = this.congested;
    while (this.queue.length > 0) {
      const first = this.queue[0] as Uint8Array;
      const n = this.channel.write(first, 0, first.length);
      if (n === -E.EAGAIN) break;
      if (n <= 0) return this.lost(n);
      this.queued -= n;
      if (n < first.length) this.queue[0] = first.subarray(n);
      else this.queue.shift();
    }
    this.congested = this.congested && this.queued > CONGESTED_BYTES / 2;
    this.channel.want(!this.congested, this.queued > 0);
    if (wasCongested && !this.congested) this.resume();
  }

  private resume(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const go of waiting) this.whenWritable(go);
    if (!this.closed && this.buffer !== undefined) this.frames();
    if (!this.closed && this.channel.endless && !this.congested) this.readable();
  }

  /** Ends it from our side: calls are cancelled, what is queued is dropped. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.forget();
    this.channel.close();
    this.onClose(this);
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
    this.fill = this.skip = this.queued = 0;
    this.congested = false;
    this.queue = [];
    this.stale?.cancel();
    this.stale = undefined;
    this.rest();
    for (const call of [...this.calls]) call.cancel();
    const waiting = this.waiting;
    this.waiting = [];
    for (const go of waiting) go();
  }

  /** On a serial port the rest of a frame may never come: then it is passed over as garbage. */
  private watchHalfFrame(left: number): void {
    this.stale?.cancel();
    this.stale = undefined;
    if (left === 0 || this.congested) return;
    this.stale = after(HALF_FRAME_MS, () => {
      this.stale = undefined;
      const buffer = this.buffer;
      if (buffer === undefined || this.fill === 0) return;
      buffer.copyWithin(0, 1, this.fill--);
      if (this.fill === 0) this.rest();
      else this.frames();
    });
  }
}
