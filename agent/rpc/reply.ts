// The buffer in which every reply is built. A reply leaves in one write, header and data together: handlers of streams read straight
// into the buffer, behind the room for the header.
import { AppError } from "../lib/errors.js";
import { Level, log } from "../lib/log.js";
import { type Out, encode, encodeAs } from "./wire/encode.js";
import { FRAME, HEADER_BYTES, HEAD_ROOM, MAX_DATA, lengthBefore, putHeader, wrapPayload } from "./wire/frame.js";
import type { Schema } from "./wire/schema.js";
import { CODE, type Status, statusOf } from "./status.js";

/** Where a reply goes. */
export interface Sink {
  /** Sends bytes [start, end); they may be used again when this returns. */
  send(bytes: Uint8Array, start: number, end: number): void;
}

/** What a reply needs to know of its method. */
export interface Answering { readonly name: string; readonly response: Schema }

/** The most bytes that one ReadStdout or ReadStderr can answer. */
export const MAX_READ = MAX_DATA - HEAD_ROOM;

const ENVELOPE_BYTES = 7; // around a payload of this size: status, tag and length
const KEPT_BYTES = HEAD_ROOM + 65536; // the reply buffer shrinks to this after a larger reply
const out: Out = { bytes: new Uint8Array(2048), at: 0 };

/** The reply buffer with at least `length` bytes from DATA_AT on, for `sendBytes`. It is everybody's: fill it and send it in one go. */
export function room(length: number): Uint8Array {
  if (out.bytes.length < HEAD_ROOM + length) out.bytes = new Uint8Array(HEAD_ROOM + length);
  return out.bytes;
}

/** Answers `stream` with a message whose field 1 is the `length` bytes that lie in the reply buffer from DATA_AT on. */
export function sendBytes(to: Sink, stream: number, length: number): void {
  out.at = HEAD_ROOM + length;
  sendPayload(to, stream, length === 0 ? HEAD_ROOM : lengthBefore(out.bytes, HEAD_ROOM, length, 0x0a));
}

/** Answers `stream` with the fields of the method's response message; nothing for an empty one. */
export function sendValue(to: Sink, stream: number, method: Answering, value: unknown): void {
  out.at = HEAD_ROOM;
  if (value !== undefined) {
    try {
      encodeAs(method.response, value as Record<string, unknown>, out);
    } catch (error) {
      return sendError(to, stream, method, error);
    }
  }
  sendPayload(to, stream, HEAD_ROOM);
}

/** Answers `stream` with an error of the method, which is logged here. */
export function sendError(to: Sink, stream: number, method: Answering, error: unknown): void {
  sendStatus(to, stream, reported(method, error));
}

/** Where stream handlers put their bytes in the reply buffer. */
export const DATA_AT = HEAD_ROOM;

/** Logs an error, once, and gives its status. What is not an AppError or a system error is a bug and shows where it is. */
function reported(method: Answering, error: unknown): Status {
  const status = statusOf(error);
  const bug = !(error instanceof AppError) && error instanceof Error && error.constructor !== Error && status.code === CODE.internal;
  log(Level.WARN, `rpc ${method.name} failed: ${status.message}`, { code: status.code, stack: bug ? error.stack : undefined }, "rpc");
  return status;
}

function sendPayload(to: Sink, stream: number, start: number): void {
  const size = out.at - start;
  if (size > MAX_DATA - ENVELOPE_BYTES) {
    shrink();
    return sendStatus(to, stream, { code: CODE.invalid, message: tooLong(size) });
  }
  const from = wrapPayload(out.bytes, start, out.at, stream);
  to.send(out.bytes, from, out.at);
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
export function sendStatus(to: Sink, stream: number, status: Status): void {
  const message = status.message.length > MAX_MESSAGE ? status.message.slice(0, MAX_MESSAGE) : status.message;
  out.at = HEADER_BYTES;
  encode("Response", { status: { code: status.code, message } }, out);
  putHeader(out.bytes, 0, out.at - HEADER_BYTES, stream, FRAME.RESPONSE);
  to.send(out.bytes, 0, out.at);
  if (out.bytes.length > KEPT_BYTES) shrink();
}
