// Programs of the guest (iptables-restore, mkfs, modprobe): run with captured output, a deadline and clean descriptors.
import { O } from "../abi/flags.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { memfdCreate, open, pipe, writeAll } from "../sys/file.js";
import { withDeadline } from "./async.js";
import { because } from "./errors.js";
import { fork, runProgram } from "./fork.js";
import { gather, type Gathered } from "./gather.js";
import { exitOf, killChild } from "./reaper.js";

export interface Finished { readonly status: number; readonly stdout: Uint8Array; readonly stderr: string }
export interface CommandOptions { readonly input?: Uint8Array | string; readonly env?: readonly string[]; readonly timeoutMs: number; readonly outputLimit?: number }

/** The command as a line that can be pasted into a shell. */
export function replayLine(argv: readonly string[]): string {
  return argv.map((a) => `'${a.split("'").join("'\\''")}'`).join(" ");
}

const ERRORS_LIMIT = 64 << 10;

/** Forks the program when its output can be read. Nothing stays open, and nothing runs, when that fails. */
function start(argv: readonly string[], { input, env, outputLimit }: CommandOptions): { readonly pid: number; readonly stdout: Gathered; readonly stderr: Gathered } {
  const childs: Fd[] = [];
  const read: Gathered[] = [];
  const output = (limit: number): { readonly write: Fd; readonly all: Gathered } => {
    const ends = pipe();
    childs.push(ends.write);
    const all = gather(ends.read, limit);
    read.push(all);
    return { write: ends.write, all };
  };
  try {
    const stdin = inputFile(input ?? "");
    childs.push(stdin);
    const out = output(outputLimit ?? 4 << 20);
    const err = output(ERRORS_LIMIT);
    const pid = fork();
    if (pid === 0) runProgram({ argv, env: env ?? ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], stdin, stdout: out.write, stderr: err.write });
    return { pid, stdout: out.all, stderr: err.all };
  } catch (error) {
    for (const { stop } of read) stop();
    throw because(replayLine(argv), error);
  } finally {
    for (const fd of childs) fd.close();
  }
}

/**
 * Runs argv[0] (an absolute path). Rejects with kind "deadline" when it runs longer than timeoutMs: it is killed, but not
 * waited for, because the disk that it waits for may never answer. Output beyond the limit is dropped. The exit status
 * follows reaper.ts.
 */
export async function command(argv: readonly string[], options: CommandOptions): Promise<Finished> {
  const { pid, stdout, stderr } = start(argv, options);
  const exit = exitOf(pid);
  const [status, o, e] = await withDeadline(replayLine(argv), options.timeoutMs, Promise.all([exit, stdout.promise, stderr.promise]), () => {
    killChild(pid);
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
