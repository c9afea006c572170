// One call from its request to its reply: what a handler sees of the connection that it came by.
import type { Timer } from "../lib/loop.js";
import { type Answering, room, sendBytes, sendError, sendStatus, sendValue, type Sink } from "./reply.js";
import { CODE, type Status } from "./status.js";

// No #private names here and in connection.ts: the guest's engine checks each use, and this is the path of every byte.

/** What a call came by, and its answer goes to. */
export interface Caller extends Sink {
  readonly closed: boolean;
  /** It takes its replies too slowly. */
  readonly congested: boolean;
  /** Runs `go` when it takes replies again (at once if it does) or is gone. */
  whenWritable(go: () => void): void;
  /** The calls that are not answered yet. */
  readonly calls: ReadonlySet<Call>;
  addCall(call: Call): void;
  /** True if it was there. */
  removeCall(call: Call): boolean;
}

const MAX_PENDING = 4096; // calls of one connection that wait for something
const MAX_PENDING_ALL = 16384; // of all connections
const BUSY = { code: CODE.exhausted, message: `more than ${MAX_PENDING} calls of this connection are pending` };
const ALL_BUSY = { code: CODE.exhausted, message: `more than ${MAX_PENDING_ALL} calls are pending` };
let pendingCalls = 0;

/** What another program of the agent needs to go on with a call; kept in debug builds alone. See rpc/record.ts. */
export interface Carried {
  /** In which order they came, over all connections. */
  readonly number: number;
  /** The request's envelope as it came. */
  readonly envelope: Uint8Array;
  /** Of a call that hands bytes on: those that it still has. */
  rest: (() => Uint8Array) | undefined;
  /** And the number of those that it has handed on before. */
  readonly done: number;
}

export class Call {
  // declared, not initialised: an object without field initialisers is made much faster, and one is made for most requests
  declare readonly connection: Caller;
  declare readonly stream: number;
  declare readonly method: Answering;
  private declare cancelled: (() => void) | undefined;
  declare timer: Timer | undefined;
  declare carried: Carried | undefined;
  /** No answer is wanted any more: it has been given, or nobody waits for it. */
  done: boolean;

  constructor(connection: Caller, stream: number, method: Answering) {
    this.connection = connection;
    this.stream = stream;
    this.method = method;
    this.done = false;
  }

  /** Called once if the call ends without the handler: deadline passed, connection lost. The handler's answer is then dropped. */
  set onCancel(cancelled: (() => void) | undefined) {
    if (!this.done) this.cancelled = cancelled; // else it would be kept for nothing, and with it what it refers to
  }

  /** Can the connection take more now? If not, a handler of a stream waits with `whenWritable` before it reads anything. */
  get writable(): boolean {
    return !this.connection.congested;
  }

  /** Runs `go` when the connection can take more (now, if it can) or is gone; `go` has to look at `done` first. */
  whenWritable(go: () => void): void {
    this.connection.whenWritable(go);
  }

  /** Answers with the fields of the response message. */
  reply(value: unknown): void {
    if (this.finish()) sendValue(this.connection, this.stream, this.method, value);
  }

  /** Answers with an error. */
  fail(error: unknown): void {
    if (this.finish()) sendError(this.connection, this.stream, this.method, error);
  }

  /**
   * The reply buffer with at least `length` bytes from DATA_AT on, for `replyBytes`. It is everybody's: fill it and send it in one go,
   * without anything in between.
   */
  room(length: number): Uint8Array {
    return room(length);
  }

  /** Answers with a message whose field 1 is the `length` bytes that lie in the reply buffer from DATA_AT on (ReadStreamResponse). */
  replyBytes(length: number): void {
    if (this.finish()) sendBytes(this.connection, this.stream, length);
  }

  /** The connection is gone or the deadline has passed: `status` is sent if there is one. */
  cancel(status?: Status): void {
    const { cancelled } = this;
    if (!this.finish()) return;
    if (status !== undefined) sendStatus(this.connection, this.stream, status);
    cancelled?.();
  }

  private finish(): boolean {
    if (this.done) return false;
    this.done = true;
    if (this.timer !== undefined) this.timer.cancel();
    if (this.cancelled !== undefined) this.cancelled = undefined; // it refers to the call: a circle
    if (this.connection.removeCall(this)) pendingCalls--;
    return true;
  }

  /** Counts it as one that is not answered yet. False: there are too many; it has been answered so. */
  wait(): boolean {
    const { connection } = this;
    const busy = connection.calls.size >= MAX_PENDING ? BUSY : pendingCalls >= MAX_PENDING_ALL ? ALL_BUSY : undefined;
    if (busy !== undefined) {
      this.cancel(busy);
      return false;
    }
    connection.addCall(this);
    pendingCalls++;
    return true;
  }
}
