// Work that may block (a mount from the host, sync, umount) runs in a forked copy of the agent: `fn` is synchronous, its
// result comes back as JSON on a pipe, and a deadline kills it. The copy shares mount and network namespaces with the
// agent, so what it mounts is there for the agent too. It leaves by exit_group only.
import { must, sys, SysError } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { pipe, readRaw, setNonblock, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { EPOLL, SIG, unblockSignals } from "../sys/poll.js";
import { deferred } from "./async.js";
import { AppError, because, messageOf, type ErrorKind } from "./errors.js";
import { after, watch } from "./loop.js";
import { onExit } from "./reaper.js";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
interface Reply { ok?: Json; kind?: ErrorKind; call?: string; errno?: number; message?: string }

/** fork(2) by clone: returns the child's pid, or 0 in the child. */
export function fork(): number {
  return must("clone", NR.clone, SIG.CHLD, 0, 0, 0, 0);
}

/** Closes every descriptor from 3 up but `keep` (ascending order not needed). See close_range(2). */
export function closeOthers(keep: readonly number[]): void {
  let from = 3;
  for (const n of [...keep].sort((a, b) => a - b)) {
    if (n < from) continue;
    if (n > from) sys(NR.close_range, from, n - 1, 0);
    from = n + 1;
  }
  sys(NR.close_range, from, 0xffffffff, 0);
}

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

/**
 * Runs `fn` in a forked child; rejects with its error (SysError and AppError survive), or with kind "deadline" after `ms`
 * milliseconds, when the child is killed. `keep` names descriptors that the child needs. `born` is called in the parent when the
 * child is there; what it returns is called when the child has been reaped, which may be long after the deadline, or never.
 */
export async function childTask<T extends Json>(what: string, ms: number, fn: () => T, keep: readonly Fd[] = [], born?: () => () => void): Promise<T> {
  const { read, write } = pipe();
  let pid: number;
  try {
    pid = fork();
  } catch (error) {
    read.close();
    write.close();
    throw because(what, error);
  }
  if (pid === 0) {
    try {
      unblockSignals();
      closeOthers([write.n, ...keep.map((fd) => fd.n)]);
      writeAll(write, JSON.stringify(reportFrom(fn)));
    } finally {
      for (;;) sys(NR.exit_group, 0);
    }
  }
  write.close();
  setNonblock(read);
  return collect(what, ms, pid, read, born?.() ?? (() => undefined)) as Promise<T>;
}

/** What the child has said; undefined when it died before the end of it. */
function replyIn(bytes: Uint8Array): Reply | undefined {
  try {
    return JSON.parse(native.utf8Decode(bytes) ?? "") as Reply;
  } catch {
    return undefined;
  }
}

function collect(what: string, ms: number, pid: number, read: Fd, ended: () => void): Promise<Json> {
  const done = deferred<Json>();
  let bytes = new Uint8Array(0);
  const chunk = new Uint8Array(4096);
  const finish = (settle: () => void): void => {
    timer.cancel();
    watcher.close();
    read.close();
    settle();
  };
  const timer = after(ms, () => {
    sys(NR.kill, pid, SIG.KILL);
    finish(() => done.reject(new AppError("deadline", `${what}: not finished after ${ms} ms`)));
  });
  onExit(pid, ended);
  const watcher = watch(read.n, EPOLL.IN, () => {
    const n = readRaw(read.n, chunk, 0, chunk.length);
    if (n > 0) {
      const longer = new Uint8Array(bytes.length + n);
      longer.set(bytes);
      longer.set(chunk.subarray(0, n), bytes.length);
      bytes = longer;
    } else if (n === 0) {
      finish(() => {
        const reply = replyIn(bytes);
        if (reply === undefined) return done.reject(new AppError("internal", `${what}: the helper process died`));
        if (reply.ok !== undefined) done.resolve(reply.ok);
        else done.reject(toError(what, reply));
      });
    }
  });
  return done.promise;
}

