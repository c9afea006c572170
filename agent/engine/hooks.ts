// OCI hooks: programs of the machine (or, for startContainer, of the container) that run at fixed moments of a container's
// life, with its state as JSON on stdin. Source: runtime-spec config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
import { SysError, sys } from "../sys/call.js";
import { Fd } from "../sys/fd.js";
import { dup2, memfdCreate, O, open, readRaw, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { SIG, unblockSignals } from "../sys/poll.js";
import { execve, exitGroup, kill } from "../sys/process.js";
import { closeOthers, fork } from "../lib/child-task.js";
import { command } from "../lib/command.js";
import { AppError } from "../lib/errors.js";
import type { Hook, HookKind } from "../oci/spec.js";

const DEFAULT_SECONDS = 10;
const SHOWN = 400;

/** What a hook reads. */
export interface HookState { readonly id: string; readonly status: "creating" | "created" | "running" | "stopped"; readonly pid: number; readonly bundle: string; readonly annotations: { readonly [key: string]: string } }

const toJson = (state: HookState): string => JSON.stringify({ ociVersion: "1.1.0", ...state });
const failed = (kind: HookKind, hook: Hook, status: number, output: string): AppError =>
  new AppError("internal", `${kind} hook ${hook.path}: exit status ${status}${output === "" ? "" : `: ${output.trim().slice(0, SHOWN)}`}`);
const milliseconds = (hook: Hook): number => (hook.timeout ?? DEFAULT_SECONDS) * 1000;

/** Runs hooks in the agent's own namespaces, one after the other. Rejects with the first that fails or takes too long. */
export async function runHooks(kind: HookKind, hooks: readonly Hook[], state: HookState): Promise<void> {
  for (const hook of hooks) {
    const argv = [hook.path, ...(hook.args ?? []).slice(1)];
    const { status, stderr } = await command(argv, { input: toJson(state), env: hook.env ?? [], timeoutMs: milliseconds(hook) });
    if (status !== 0) throw failed(kind, hook, status, stderr);
  }
}

/** The same in a container's child, synchronously; `env` is what a hook without a list of its own gets. */
export function runHooksHere(kind: HookKind, hooks: readonly Hook[], state: HookState, env: readonly string[]): void {
  for (const hook of hooks) {
    const input = memfdCreate("state");
    writeAll(input, toJson(state));
    const output = memfdCreate("output");
    const pid = fork();
    if (pid === 0) inHook(hook, input, output, hook.env ?? env);
    const status = waitFor(pid, milliseconds(hook));
    const text = new Uint8Array(SHOWN);
    sys(NR.lseek, output.n, 0, 0);
    const n = readRaw(output.n, text, 0, SHOWN);
    input.close();
    output.close();
    if (status !== 0) throw failed(kind, hook, status, status < 0 ? `killed after ${milliseconds(hook)} ms` : (native.utf8Decode(text, 0, Math.max(0, n)) ?? ""));
  }
}

function inHook(hook: Hook, input: Fd, output: Fd, env: readonly string[]): never {
  try {
    sys(NR.lseek, input.n, 0, 0);
    dup2(input, 0);
    dup2(output, 1);
    dup2(output, 2);
    closeOthers([]);
    unblockSignals();
    const r = execve(hook.path, hook.args?.length ? hook.args : [hook.path], env);
    writeAll(new Fd(2), new SysError("execve", -r).message);
  } finally {
    exitGroup(127);
  }
}

/** Waits for a child of this process: its exit code, 128 + signal, or -1 when it had to be killed. */
function waitFor(pid: number, ms: number): number {
  const pidfd = sys(NR.pidfd_open, pid, 0);
  const poll = new Int32Array([pidfd, 1]); // struct pollfd: fd, then events POLLIN
  const patience = new Float64Array(2);
  const words = new Int32Array(patience.buffer); // struct timespec
  words[0] = Math.floor(ms / 1000);
  words[2] = (ms % 1000) * 1000000;
  const late = sys(NR.ppoll, poll.buffer as ArrayBuffer, 1, patience.buffer as ArrayBuffer, null, 0) === 0;
  if (late) kill(pid, SIG.KILL);
  const status = new Int32Array(1);
  sys(NR.wait4, pid, status.buffer as ArrayBuffer, 0, null);
  sys(NR.close, pidfd);
  const word = status[0] as number;
  const signal = word & 0x7f;
  return late ? -1 : signal === 0 ? (word >> 8) & 0xff : 128 + signal;
}

/** The child's pid as the agent sees it, by the agent's own /proc (before the root changes). */
export function pidOutside(): number {
  using self = open("/proc/self/stat", O.RDONLY);
  const text = new Uint8Array(32);
  const n = readRaw(self.n, text, 0, text.length);
  return parseInt(native.utf8Decode(text, 0, Math.max(0, n)) ?? "0", 10);
}
