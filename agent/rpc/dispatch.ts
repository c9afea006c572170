// The one wrapper around every method: finds it, logs, decodes the request, runs the handler, answers; deadlines and errors are dealt
// with here and nowhere else. Requests are started in the order in which they came; a handler that answers at once costs no promise.
import { messageOf } from "../lib/errors.js";
import { Level, log, logs } from "../lib/log.js";
import { after } from "../lib/loop.js";
import { Call, type Caller, type Carried } from "./call.js";
import type { Request } from "./gen/messages.js";
import { DecodeError, TooMuchError, decodeAs } from "./wire/decode.js";
import { type Envelope, namesIn, openRequest } from "./wire/frame.js";
import { LATER, type Method, methodNamed } from "./methods.js";
import { sendError, sendStatus, sendValue } from "./reply.js";
import { CODE, statusOf } from "./status.js";

const DEADLINE_EXCEEDED = { code: CODE.deadline, message: "timeout" };

/** A request as it was sent, decoded, before its handler sees it. */
export interface Asked {
  readonly method: Method;
  readonly request: Readonly<Record<string, unknown>>;
  /** What the client sent beside the request: a trace's context, for instance. */
  readonly metadata: Request["metadata"];
}

const inspectors: ((asked: Asked) => void)[] = [];

/**
 * Shows every request to `look` before its handler gets it: for a policy, metrics, tracing. What `look` throws is the answer, and the
 * handler does not hear of the request. Without anybody who looks, requests cost no more and their metadata are not read.
 * The answer ends it.
 */
export function inspect(look: (asked: Asked) => void): () => void {
  inspectors.push(look);
  return () => void inspectors.splice(inspectors.indexOf(look), 1);
}

let calls = 0; // so far, in debug builds
let again: Again | undefined; // set while a call is asked again
let carried: Carried | undefined; // of the call at hand, in debug builds

/** What has become of a call before: the time that it has left (0: for ever), and the bytes that it has handed on. */
export interface Again { readonly msLeft: number; readonly done: number }

/** Asks once more, for a client that still waits for the answer. Debug builds only. */
export function askAgain(connection: Caller, stream: number, request: Uint8Array, how: Again): void {
  again = how;
  dispatch(connection, stream, request, 0, request.length);
  again = undefined;
}

const envelope: Envelope = { route: "", payloadStart: 0, payloadEnd: 0, timeoutNano: 0 };
const routes = new Map<string, Method>();

/** Starts the call whose request envelope is in [start, end); those bytes are used again when this returns. False if it is no envelope. Never throws. */
export function dispatch(connection: Caller, stream: number, bytes: Uint8Array, start: number, end: number): boolean {
  let method: Method;
  try {
    openRequest(bytes, start, end, envelope);
    method = routes.get(envelope.route) ?? lookUp(bytes, start, end);
  } catch (error) {
    const { code, message } = statusOf(error);
    const malformed = error instanceof DecodeError && !(error instanceof TooMuchError);
    log(Level.WARN, `rpc refused: ${messageOf(error)}`, { stream }, "rpc");
    sendStatus(connection, stream, { code: malformed ? CODE.invalid : code, message });
    return !malformed;
  }
  if (__DEBUG__) carried = { number: ++calls, envelope: bytes.slice(start, end), rest: undefined, done: again?.done ?? 0 };
  run(connection, stream, method, bytes, inspectors.length === 0 ? undefined : namesIn(bytes, start, end).metadata);
  return true;
}

/** Runs the handler. One that does not ask for its call gets none unless its answer has to be waited for. */
function run(connection: Caller, stream: number, method: Method, bytes: Uint8Array, metadata: Request["metadata"] | undefined): void {
  const { payloadStart, payloadEnd, timeoutNano } = envelope;
  const call = method.needsCall ? new Call(connection, stream, method) : undefined;
  if (__DEBUG__ && call !== undefined) call.carried = carried;
  let result: unknown;
  try {
    if (!method.quiet && logs(Level.INFO)) log(Level.INFO, saying(method.name), undefined, "rpc");
    const request = method.copies
      ? decodeAs(method.request, bytes.slice(payloadStart, payloadEnd), 0, payloadEnd - payloadStart)
      : decodeAs(method.request, bytes, payloadStart, payloadEnd);
    if (metadata !== undefined) for (const look of inspectors) look({ method, request, metadata });
    result = method.handler(request, call as Call);
  } catch (error) {
    if (call === undefined) sendError(connection, stream, method, error);
    else call.fail(error);
    return;
  }
  if (result === LATER || result instanceof Promise) wait(call ?? new Call(connection, stream, method), timeoutNano, result);
  else if (call === undefined) sendValue(connection, stream, method, result);
  else call.reply(result);
}

function lookUp(bytes: Uint8Array, start: number, end: number): Method {
  const { service, method: name } = namesIn(bytes, start, end);
  const method = methodNamed(service, name);
  if (envelope.route !== "") routes.set(envelope.route, method);
  return method;
}

/** Keeps a call that is not answered yet. */
function wait(call: Call, timeoutNano: number, result: unknown): void {
  if (result instanceof Promise) {
    result.then(
      (value: unknown) => {
        if (value !== LATER) call.reply(value);
      },
      (error: unknown) => call.fail(error),
    );
  }
  if (call.done) return;
  if (!call.wait()) return;
  const ms = (__DEBUG__ && again?.msLeft) || Math.ceil(timeoutNano / 1e6);
  if (timeoutNano > 0) call.timer = after(ms, () => call.cancel(DEADLINE_EXCEEDED));
}

const sayings = new Map<string, string>();

/** The log line of a method's calls; there are only so many methods. */
function saying(name: string): string {
  let line = sayings.get(name);
  if (line === undefined) sayings.set(name, (line = `rpc call from shim to agent: "${snakeCase(name)}"`));
  return line;
}

/** "GetOOMEvent" as "get_oom_event": a new word begins at a capital after a small letter, or at the last of several capitals. */
export function snakeCase(name: string): string {
  const isCapital = (i: number): boolean => i < name.length && name.charAt(i) >= "A" && name.charAt(i) <= "Z";
  let result = "";
  for (let i = 0; i < name.length; i++) {
    const begins = isCapital(i) && i > 0 && (!isCapital(i - 1) || (i + 1 < name.length && !isCapital(i + 1)));
    result += (begins ? "_" : "") + name.charAt(i).toLowerCase();
  }
  return result;
}
