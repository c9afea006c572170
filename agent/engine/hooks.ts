// OCI hooks: programs of the machine (or, for startContainer, of the container) that run at fixed moments of a container's
// life, with its state as JSON on stdin. Stdin and output are memory files: neither a hook that reads nothing, nor one that
// leaves a daemon behind, keeps anybody waiting. Source: runtime-spec config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
import { O, POLL, SEEK, SIG } from "../abi/flags.js";
import { check, sys } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { chdir, memfdCreate, open, readRaw, umask, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { pollOne } from "../sys/poll.js";
import { kill } from "../sys/process.js";
import { waitFor } from "../sys/wait.js";
import { withDeadline } from "../lib/async.js";
import { AppError, because } from "../lib/errors.js";
import { fork, runProgram } from "../lib/fork.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { exitOf, killChild } from "../lib/reaper.js";
import type { Judgement } from "../oci/judgement.js";
import type { Hook, HookKind } from "../oci/spec.js";

const exact = lazy<typeof import("../sys/arguments.js")>("sys/arguments.js");

/** Of a hook that does not say how long it may take, where nobody else waits for ever. */
export const DEFAULT_SECONDS = 10;
const SHOWN = 1000;

/** What a hook, or a seccomp agent, is told of a container (runtime-spec runtime.md "State"). */
export interface HookState {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: "creating" | "created" | "running" | "stopped";
  readonly pid: number;
  readonly bundle: string;
  readonly annotations: { readonly [key: string]: string };
}

/** What of a container a state is made of. */
export interface Subject { readonly id: string; readonly ociVersion: string; readonly bundleDir: string; readonly annotations: { readonly [key: string]: string } }

/** The state as hooks read it; `pid` as whoever reads it sees it. */
export function stateOf({ id, ociVersion, bundleDir, annotations }: Subject, status: HookState["status"], pid: number): HookState {
  return { ociVersion, id, status, pid, bundle: bundleDir, annotations };
}

interface Setting {
  readonly env: readonly string[];
  /** Of hooks that do not say how long they may take. */
  readonly seconds: number | undefined;
  /** Done before it begins. */
  readonly before: () => void;
  readonly filtered?: boolean;
}

interface Running { readonly pid: number; readonly output: Fd }

/** The state as a hook reads it, from its beginning. */
export function stateFile(state: HookState): Fd {
  const file = memfdCreate("state");
  writeAll(file, JSON.stringify(state));
  sys(NR.lseek, file.n, 0, SEEK.SET);
  return file;
}

function begin(hook: Hook, state: HookState, { env, before, filtered = false }: Setting): Running {
  const output = memfdCreate("output");
  try {
    using input = stateFile(state);
    const pid = fork();
    if (pid === 0) runProgram({ path: hook.path, argv: hook.args?.length ? hook.args : [hook.path], env: hook.env ?? env, stdin: input, stdout: output, stderr: output, before, filtered });
    return { pid, output };
  } catch (error) {
    output.close();
    throw error;
  }
}

/** "/" when it is gone. */
function enter(dir: string): void {
  try {
    chdir(dir);
  } catch {
    chdir("/");
  }
}

/** Throws unless the status is 0: how it ended, and the beginning of what it said. */
export function judge(status: number, output: Fd): void {
  if (status === 0) return;
  const text = new Uint8Array(SHOWN);
  sys(NR.lseek, output.n, 0, SEEK.SET);
  const n = readRaw(output.n, text, 0, SHOWN);
  const said = (native.utf8Decode(text, 0, Math.max(0, n)) ?? "(output is not text)").trim();
  const how = status === 128 + SIG.SYS ? "bad system call" : status > 128 ? `signal ${status - 128}` : `exit status ${status}`;
  throw new AppError("internal", said === "" ? how : `${how}: ${said}`);
}

export const title = (kind: HookKind, i: number, hook: Hook): string => `hooks.${kind}[${i}]: error running ${kind} hook #${i}: ${hook.path}`;
export const late = (seconds: number): AppError => new AppError("deadline", `killed, not finished after ${seconds} s`);

async function runOne(hook: Hook, state: HookState, setting: Setting): Promise<void> {
  const { pid, output } = begin(hook, state, setting);
  try {
    const exit = exitOf(pid);
    const seconds = hook.timeout ?? setting.seconds;
    judge(seconds === undefined ? await exit : await withDeadline(hook.path, seconds * 1000, exit, () => killChild(pid)), output);
  } catch (error) {
    throw error instanceof AppError && error.kind === "deadline" ? late(hook.timeout ?? DEFAULT_SECONDS) : error;
  } finally {
    output.close();
  }
}

/**
 * Runs hooks in the engine's own namespaces, one after the other, beginning in the bundle. Who is patient gives
 * them all the time they want, else it is 10 s. Rejects with the first that fails; `anyway`:
 * whose failure changes nothing any more is logged, and the next one runs.
 */
export async function runHooks(kind: HookKind, hooks: readonly Hook[], state: HookState, { hookEnvironment, patience }: Judgement, anyway = false): Promise<void> {
  const setting = { env: hookEnvironment === "caller's" ? exact().callerEnv() : [], seconds: patience === "endless" ? undefined : DEFAULT_SECONDS, before: () => enter(state.bundle) };
  for (let i = 0; i < hooks.length; i++) {
    const hook = hooks[i] as Hook;
    try {
      await runOne(hook, state, setting);
    } catch (error) {
      const failure = because(title(kind, i, hook), error, "hook");
      if (!anyway) throw failure;
      log(Level.WARN, failure.message, { cid: state.id });
    }
  }
}

/** In a container's child, synchronously and where that is; `env` is what a hook without a list of its own gets. */
export function runHooksHere(kind: "createContainer" | "startContainer", hooks: readonly Hook[], state: HookState, env: readonly string[], { patience }: Judgement): void {
  const outside = kind === "createContainer";
  const setting = { env, seconds: patience === "endless" ? undefined : DEFAULT_SECONDS, before: () => outside && umask(0o022), filtered: !outside };
  hooks.forEach((hook, i) => {
    try {
      const { pid, output } = begin(hook, state, setting);
      judge(endOf(pid, hook.timeout ?? setting.seconds), output);
    } catch (error) {
      throw because(title(kind, i, hook), error, "hook");
    }
  });
}

/** Waits for a child of this process. Throws AppError "deadline" when it had to be killed. */
function endOf(pid: number, seconds: number | undefined): number {
  let killed = false;
  if (seconds !== undefined) {
    const pidfd = sys(NR.pidfd_open, pid, 0);
    // without a descriptor its time cannot be measured: it ends with this process's own
    killed = pidfd >= 0 && pollOne(pidfd, POLL.IN, seconds * 1000) === 0;
    if (killed) kill(pid, SIG.KILL);
    if (pidfd >= 0) sys(NR.close, pidfd);
  }
  const status = check("wait4", waitFor(pid));
  if (killed) throw late(seconds ?? 0);
  return status;
}

/** The child's pid as the agent sees it, by the agent's own /proc (before the root changes). */
export function pidOutside(): number {
  using self = open("/proc/self/stat", O.RDONLY);
  const text = new Uint8Array(32);
  const n = readRaw(self.n, text, 0, text.length);
  return parseInt(native.utf8Decode(text, 0, Math.max(0, n)) ?? "0", 10);
}
