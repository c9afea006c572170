// Programs of the guest (iptables-restore, mkfs, modprobe): run with captured output, a deadline and clean descriptors.
// The child is a fork that leaves by execve or exit_group. See execve(2).
import { must, SysError, sys } from "../sys/call.js";
import { Fd, fdPath } from "../sys/fd.js";
import { dup2, O, open, pipe, readRaw, setNonblock, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { EPOLL, SIG, unblockSignals } from "../sys/poll.js";
import { deferred } from "./async.js";
import { closeOthers, fork } from "./child-task.js";
import { AppError } from "./errors.js";
import { after, watch, type Watch } from "./loop.js";
import { exitOf } from "./reaper.js";

export interface Finished { readonly status: number; readonly stdout: Uint8Array; readonly stderr: string }
export interface CommandOptions { readonly input?: Uint8Array | string; readonly env?: readonly string[]; readonly timeoutMs: number; readonly outputLimit?: number }

/** A NULL-terminated array of pointers to NUL-terminated strings, and the buffers that must stay alive with it. */
export function stringVector(texts: readonly string[]): { pointers: Uint8Array; held: Uint8Array[] } {
  const held = texts.map((t) => native.utf8Encode(`${t}\0`));
  const pointers = new Uint8Array((texts.length + 1) * 8);
  const view = new DataView(pointers.buffer);
  held.forEach((b, i) => {
    const address = native.addressOf(b);
    view.setUint32(i * 8, address % 4294967296, true);
    view.setUint32(i * 8 + 4, Math.floor(address / 4294967296), true);
  });
  return { pointers, held };
}

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
    } else if (n === 0 || (n < 0 && n !== -11)) stop();
  });
  return { promise: done.promise, stop };
}

function inChild(argv: readonly string[], env: readonly string[], stdin: Fd, stdout: Fd, stderr: Fd): never {
  try {
    dup2(stdin, 0);
    dup2(stdout, 1);
    dup2(stderr, 2);
    closeOthers([]);
    unblockSignals();
    const args = stringVector(argv);
    const vars = stringVector(env);
    const r = sys(NR.execve, argv[0] as string, args.pointers, vars.pointers);
    writeAll(new Fd(2), new SysError(`execve ${argv[0]}`, -r).message);
  } finally {
    for (;;) sys(NR.exit_group, 127);
  }
}

/**
 * Runs argv[0] (an absolute path). Rejects with kind "deadline" when it runs longer than timeoutMs (it is killed), with
 * "exhausted" never: output beyond the limit is dropped. The exit status follows reaper.ts.
 */
export async function command(argv: readonly string[], options: CommandOptions): Promise<Finished> {
  const input = inputFile(options.input ?? "");
  const out = pipe();
  const err = pipe();
  const pid = fork();
  if (pid === 0) inChild(argv, options.env ?? ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], input, out.write, err.write);
  const exit = exitOf(pid);
  for (const fd of [input, out.write, err.write]) fd.close();
  const stdout = gather(out.read, options.outputLimit ?? 4 << 20);
  const stderr = gather(err.read, 64 << 10);
  let late = false;
  const timer = after(options.timeoutMs, () => {
    late = true;
    sys(NR.kill, pid, SIG.KILL);
    stdout.stop();
    stderr.stop();
  });
  const [status, o, e] = await Promise.all([exit, stdout.promise, stderr.promise]);
  timer.cancel();
  if (late) throw new AppError("deadline", `${replayLine(argv)}: not finished after ${options.timeoutMs} ms`);
  return { status, stdout: o, stderr: native.utf8Decode(e) ?? "(output is not text)" };
}

/** Input as an unlinked file, so that writing it can never block the loop. */
function inputFile(input: Uint8Array | string): Fd {
  if (input.length === 0) return open("/dev/null", O.RDONLY);
  const fd = new Fd(must("memfd_create", NR.memfd_create, "stdin", 1));
  writeAll(fd, input);
  const readable = open(fdPath(fd), O.RDONLY);
  fd.close();
  return readable;
}
