// Work that may block (a mount from the host, sync, umount) runs in a forked copy of the agent: `fn` is synchronous, its
// result comes back as JSON on a pipe, and a deadline kills it. The copy shares mount and network namespaces with the
// agent, so what it mounts is there for the agent too. It leaves by exit_group only.
import { SysError } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { pipe, writeAll } from "../sys/file.js";
import { unblockSignals } from "../sys/poll.js";
import { exitGroup } from "../sys/process.js";
import { fromOthers } from "../sys/utf8.js";
import { AppError, messageOf, type ErrorKind } from "./errors.js";
import { closeOthers, fork } from "./fork.js";
import { gather, type Gathered } from "./gather.js";
import { logDescriptor } from "./log.js";
import { after } from "./loop.js";
import { killChild, onExit } from "./reaper.js";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
interface Reply { ok?: Json; kind?: ErrorKind; call?: string; errno?: number; message?: string }

function reportFrom(fn: () => Json): Reply {
  try {
    return { ok: fn() };
  } catch (error) {
    if (error instanceof SysError) return { call: error.call, errno: error.errno, message: error.message };
    return { kind: error instanceof AppError ? error.kind : "internal", message: messageOf(error) };
  }
}

function toError(what: string, reply: Reply): Error {
  if (reply.call !== undefined && reply.errno !== undefined) {
    const error = new SysError(reply.call, reply.errno);
    error.message = `${what}: ${reply.message ?? error.message}`;
    return error;
  }
  return new AppError(reply.kind ?? "internal", `${what}: ${reply.message ?? "no reason given"}`);
}

/** The helper could not be made, for want of what the kernel or the limits give: nothing of its work has been done. */
export class NotStarted extends AppError {}

/** The helper was killed at its deadline, or its answer could not be heard: what it has done is not known. */
export class Unanswered extends AppError {}

/** In the helper: `fn` and its report, then the end. */
function help(write: Fd, keep: readonly Fd[], fn: () => Json): never {
  try {
    unblockSignals();
    writeAll(write, JSON.stringify(reportFrom(() => {
      closeOthers([write.n, logDescriptor(), ...keep.map((fd) => fd.n)]);
      return fn();
    })));
  } finally {
    exitGroup(0);
  }
}

const LONGEST_REPLY = 16 << 20;

/** Everything that can fail comes before the fork: there is never a helper whose work nobody would hear of. */
function begin(what: string, fn: () => Json, keep: readonly Fd[], born: (() => () => void) | undefined): { readonly pid: number; readonly reply: Gathered } {
  let write: Fd | undefined;
  let reply: Gathered | undefined;
  try {
    const ends = pipe();
    write = ends.write;
    reply = gather(ends.read, LONGEST_REPLY);
    const pid = fork();
    if (pid === 0) help(write, keep, fn);
    onExit(pid, born?.() ?? (() => undefined));
    return { pid, reply };
  } catch (error) {
    reply?.stop();
    throw new NotStarted("exhausted", `${what}: ${messageOf(error)}`, error);
  } finally {
    write?.close();
  }
}

let tasks = 0; // counted in debug builds

/** Helpers whose report is awaited, in a debug build. */
export const tasksAtWork = (): number => tasks;

/**
 * Runs `fn` in a forked child; rejects with its error (SysError and AppError survive), or with kind "deadline" after `ms`
 * milliseconds, when the child is killed (Unanswered); with NotStarted when there is no child. `keep` names descriptors that the child needs.
 * `born` is called in the parent when the child is there; what it returns is called when the child has been reaped, which may be
 * long after the deadline, or never.
 */
export async function childTask<T extends Json>(what: string, ms: number, fn: () => T, keep: readonly Fd[] = [], born?: () => () => void): Promise<T> {
  const { pid, reply } = begin(what, fn, keep, born);
  let late = false;
  const timer = after(ms, () => {
    late = true;
    killChild(pid);
    reply.stop();
  });
  if (__DEBUG__) tasks++;
  const bytes = await reply.promise;
  if (__DEBUG__) tasks--;
  timer.cancel();
  if (late) throw new Unanswered("deadline", `${what}: not finished after ${ms} ms`);
  const said = replyIn(bytes);
  if (said === undefined) {
    killChild(pid); // it lives if its end of the pipe could not be read
    throw new Unanswered("internal", `${what}: the helper process died`);
  }
  if (said.ok === undefined) throw toError(what, said);
  return said.ok as T;
}

/** What the child has said; undefined when it died before the end of it. */
function replyIn(bytes: Uint8Array): Reply | undefined {
  try {
    return JSON.parse(fromOthers(native.utf8Decode(bytes) ?? "")) as Reply;
  } catch {
    return undefined;
  }
}
