// Programs of the guest (iptables-restore, mkfs, modprobe): run with captured output, a deadline and clean descriptors.
// The child is a fork that leaves by execve or exit_group. See execve(2).
import { SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { Fd, fdPath } from "../sys/fd.js";
import { dup2, memfdCreate, O, open, pipe, readRaw, setNonblock, writeAll } from "../sys/file.js";
import { EPOLL, SIG, unblockSignals } from "../sys/poll.js";
import { execve, exitGroup, kill, restoreDescriptorLimit } from "../sys/process.js";
import { deferred, withDeadline } from "./async.js";
import { closeOthers, fork } from "./child-task.js";
import { because } from "./errors.js";
import { watch, type Watch } from "./loop.js";
import { exitOf } from "./reaper.js";

export interface Finished { readonly status: number; readonly stdout: Uint8Array; readonly stderr: string }
export interface CommandOptions { readonly input?: Uint8Array | string; readonly env?: readonly string[]; readonly timeoutMs: number; readonly outputLimit?: number }

/** The command as a line that can be pasted into a shell. */
export function replayLine(argv: readonly string[]): string {
  return argv.map((a) => `'${a.split("'").join("'\\''")}'`).join(" ");
}

/** Collects everything a descriptor gives until its end, at most `limit` bytes (the rest is dropped). */
function gather(fd: Fd, limit: number): { promise: Promise<Uint8Array>; stop: () => void } {
  setNonblock(fd);
  const done = deferred<Uint8Array>();
  const parts: Uint8Array[] = [];
  let size = 0;
  const chunk = new Uint8Array(4096);
  const stop = (): void => {
    watcher.close();
    fd.close();
    const all = new Uint8Array(size);
    let at = 0;
    for (const p of parts) {
      all.set(p, at);
      at += p.length;
    }
    done.resolve(all);
  };
  const watcher: Watch = watch(fd.n, EPOLL.IN, () => {
    const n = readRaw(fd.n, chunk, 0, chunk.length);
    if (n > 0 && size + n <= limit) {
      parts.push(chunk.slice(0, n));
      size += n;
    } else if (n === 0 || (n < 0 && n !== -E.EAGAIN)) stop();
  });
  return { promise: done.promise, stop };
}

function inChild(argv: readonly string[], env: readonly string[], stdin: Fd, stdout: Fd, stderr: Fd): never {
  try {
    dup2(stdin, 0);
    dup2(stdout, 1);
    dup2(stderr, 2);
    closeOthers([]);
    restoreDescriptorLimit();
    unblockSignals();
    const r = execve(argv[0] as string, argv, env);
    writeAll(new Fd(2), new SysError(`execve ${argv[0]}`, -r).message);
  } finally {
    exitGroup(127);
  }
}

/** Forks the program; the reading ends of its output. Nothing stays open when that fails. */
function start(argv: readonly string[], { input, env }: CommandOptions): { readonly pid: number; readonly out: Fd; readonly err: Fd } {
  const all: Fd[] = [];
  try {
    const stdin = inputFile(input ?? "");
    all.push(stdin);
    const out = pipe();
    all.push(out.read, out.write);
    const err = pipe();
    all.push(err.read, err.write);
    const pid = fork();
    if (pid === 0) inChild(argv, env ?? ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], stdin, out.write, err.write);
    for (const fd of [stdin, out.write, err.write]) fd.close();
    return { pid, out: out.read, err: err.read };
  } catch (error) {
    for (const fd of all) fd.close();
    throw because(replayLine(argv), error);
  }
}

/**
 * Runs argv[0] (an absolute path). Rejects with kind "deadline" when it runs longer than timeoutMs: it is killed, but not
 * waited for, because the disk that it waits for may never answer. Output beyond the limit is dropped. The exit status
 * follows reaper.ts.
 */
export async function command(argv: readonly string[], options: CommandOptions): Promise<Finished> {
  const { pid, out, err } = start(argv, options);
  const exit = exitOf(pid);
  const stdout = gather(out, options.outputLimit ?? 4 << 20);
  const stderr = gather(err, 64 << 10);
  const [status, o, e] = await withDeadline(replayLine(argv), options.timeoutMs, Promise.all([exit, stdout.promise, stderr.promise]), () => {
    kill(pid, SIG.KILL);
    stdout.stop();
    stderr.stop();
  });
  return { status, stdout: o, stderr: native.utf8Decode(e) ?? "(output is not text)" };
}

/** Input as an unlinked file, so that writing it can never block the loop. */
function inputFile(input: Uint8Array | string): Fd {
  if (input.length === 0) return open("/dev/null", O.RDONLY);
  using fd = memfdCreate("stdin");
  writeAll(fd, input);
  return open(fdPath(fd), O.RDONLY);
}
