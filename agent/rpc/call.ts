// One call from its request to its reply: what a handler sees of the connection, and the buffer in which every reply is built. A reply
// leaves in one write, header and data together: handlers of streams read straight into the buffer, behind the room for the header.
import { AppError } from "../lib/errors.js";
import { Level, log } from "../lib/log.js";
import type { Timer } from "../lib/loop.js";
import type { Connection } from "./connection.js";
import { type Out, encode, encodeAs } from "./wire/encode.js";
import { FRAME, HEADER_BYTES, HEAD_ROOM, MAX_DATA, lengthBefore, putHeader, wrapPayload } from "./wire/frame.js";
import type { Method } from "./methods.js";
import { type Status, statusOf } from "./status.js";

/** The most bytes that one ReadStdout or ReadStderr can answer. */
export const MAX_READ = MAX_DATA - HEAD_ROOM;

const ENVELOPE_BYTES = 7; // around a payload of this size: status, tag and length
const KEPT_BYTES = HEAD_ROOM + 65536; // the reply buffer shrinks to this after a larger reply
const MAX_PENDING = 4096; // calls of one connection that wait for something
const MAX_PENDING_ALL = 16384; // of all connections
const BUSY = { code: 8, message: `more than ${MAX_PENDING} calls of this connection are pending` };
const ALL_BUSY = { code: 8, message: `more than ${MAX_PENDING_ALL} calls are pending` };
let pendingCalls = 0;
const out: Out = { bytes: new Uint8Array(2048), at: 0 };

export class Call {
  // declared, not initialised: an object without field initialisers is made much faster, and one is made for most requests
  declare readonly connection: Connection;
  declare readonly stream: number;
  declare readonly method: Method;
  private declare cancelled: (() => void) | undefined;
  declare timer: Timer | undefined;
  /** No answer is wanted any more: it has been given, or nobody waits for it. */
  done: boolean;

  constructor(connection: Connection, stream: number, method: Method) {
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
    if (out.bytes.length < HEAD_ROOM + length) out.bytes = new Uint8Array(HEAD_ROOM + length);
    return out.bytes;
  }

  /** Answers with a message whose field 1 is the `length` bytes that lie in the reply buffer from DATA_AT on (ReadStreamResponse). */
  replyBytes(length: number): void {
    if (!this.finish()) return;
    out.at = HEAD_ROOM + length;
    sendPayload(this.connection, this.stream, length === 0 ? HEAD_ROOM : lengthBefore(out.bytes, HEAD_ROOM, length, 0x0a));
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

/** Answers `stream` with the fields of the method's response message; nothing for an empty one. */
export function sendValue(connection: Connection, stream: number, method: Method, value: unknown): void {
  out.at = HEAD_ROOM;
  if (value !== undefined) {
    try {
      encodeAs(method.response, value as Record<string, unknown>, out);
    } catch (error) {
      return sendError(connection, stream, method, error);
    }
  }
  sendPayload(connection, stream, HEAD_ROOM);
}

/** Answers `stream` with an error of the method, which is logged here. */
export function sendError(connection: Connection, stream: number, method: Method, error: unknown): void {
  sendStatus(connection, stream, reported(method, error));
}

/** Where stream handlers put their bytes in the reply buffer. */
export const DATA_AT = HEAD_ROOM;

/** Logs an error, once, and gives its status. What is not an AppError or a system error is a bug and shows where it is. */
function reported(method: Method, error: unknown): Status {
  const status = statusOf(error);
  const bug = !(error instanceof AppError) && error instanceof Error && error.constructor !== Error && status.code === 13;
  log(Level.WARN, `rpc ${method.name} failed: ${status.message}`, { code: status.code, stack: bug ? error.stack : undefined }, "rpc");
  return status;
}

function sendPayload(connection: Connection, stream: number, start: number): void {
  const size = out.at - start;
  if (size > MAX_DATA - ENVELOPE_BYTES) {
    shrink();
    return sendStatus(connection, stream, { code: 3, message: tooLong(size) });
  }
  const from = wrapPayload(out.bytes, start, out.at, stream);
  connection.send(out.bytes, from, out.at);
  if (out.bytes.length > KEPT_BYTES) shrink();
}

function shrink(): void {
  out.bytes = new Uint8Array(KEPT_BYTES);
}

/** The text hosts know for frames over the limit. */
export function tooLong(length: number): string {
  return `message length ${length} exceed maximum message size of ${MAX_DATA}`;
}

const MAX_MESSAGE = 65536; // characters of an error message

/** Answers `stream` with an error. */
export function sendStatus(connection: Connection, stream: number, status: Status): void {
  const message = status.message.length > MAX_MESSAGE ? status.message.slice(0, MAX_MESSAGE) : status.message;
  out.at = HEADER_BYTES;
  encode("Response", { status: { code: status.code, message } }, out);
  putHeader(out.bytes, 0, out.at - HEADER_BYTES, stream, FRAME.RESPONSE);
  connection.send(out.bytes, 0, out.at);
  if (out.bytes.length > KEPT_BYTES) shrink();
}
