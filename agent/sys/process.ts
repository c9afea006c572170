// Processes: clone3(2), execve(2), kill(2), pidfd calls, sessions, limits, and prctl(2) split by meaning.
import { Rlimit64 } from "../abi/layouts.js";
import { AT, CLONE, O, PR, RLIMIT, SIG } from "../abi/flags.js";
import { must, sys } from "./call.js";
import { Fd } from "./fd.js";
import { NR } from "../abi/nr.js";
import { getU64, keepAlive, setU64, struct, viewOf } from "./struct.js";
import { textBytes } from "./utf8.js";

const ARGS = struct({ flags: "u64", pidfd: "u64", childTid: "u64", parentTid: "u64", exitSignal: "u64", stack: "u64", stackSize: "u64", tls: "u64", setTid: "u64", setTidSize: "u64", cgroup: "u64" });

export interface Cloned { readonly pid: number; readonly pidfd: Fd }

/**
 * clone3(2) with CLONE_PIDFD and CLONE_CLEAR_SIGHAND: the child (answer 0) goes on in a copy of this process with default
 * signal handlers. `cgroup` is the descriptor of a cgroup v2 folder to be born in. Answers the negative errno on failure.
 */
export function clone3(flags: number, cgroup?: Fd): Cloned | number {
  const pidfd = new Int32Array([-1]);
  const args = ARGS.make({
    flags: flags + CLONE.PIDFD + CLONE.CLEAR_SIGHAND + (cgroup === undefined ? 0 : CLONE.INTO_CGROUP), pidfd: native.addressOf(pidfd.buffer as ArrayBuffer),
    exitSignal: (flags & CLONE.PARENT) !== 0 ? 0 : SIG.CHLD, cgroup: cgroup?.n ?? 0,
  });
  const pid = sys(NR.clone3, args, ARGS.size);
  if (pid <= 0) return pid;
  return { pid, pidfd: new Fd(pidfd[0] as number) };
}

/** NULL-terminated array of pointers to NUL-terminated strings; keep the result alive until the call. */
function stringVector(texts: readonly string[]): { pointers: Uint8Array; held: Uint8Array[] } {
  const held = texts.map((t) => textBytes(`${t}\0`));
  const pointers = new Uint8Array((texts.length + 1) * 8);
  const view = viewOf(pointers);
  held.forEach((bytes, i) => setU64(view, i * 8, native.addressOf(bytes)));
  return { pointers, held };
}

/** execve(2): returns only the negative errno of a failure. */
export function execve(path: string, argv: readonly string[], env: readonly string[]): number {
  const args = stringVector(argv);
  const vars = stringVector(env);
  const r = sys(NR.execve, path, args.pointers, vars.pointers);
  keepAlive(...args.held, ...vars.held);
  return r;
}

/** execveat(2) of what a descriptor names: returns only the negative errno of a failure. */
export function execveat(fd: Fd, argv: readonly string[], env: readonly string[]): number {
  const args = stringVector(argv);
  const vars = stringVector(env);
  const r = sys(NR.execveat, fd.n, "", args.pointers, vars.pointers, AT.EMPTY_PATH);
  keepAlive(...args.held, ...vars.held);
  return r;
}

/** Ends this process now, without anything at all being run. */
export function exitGroup(status: number): never {
  for (;;) sys(NR.exit_group, status);
}

/** kill(2); the answer is 0 or the negative errno. */
export function kill(pid: number, signal: number): number {
  return sys(NR.kill, pid, signal);
}
/** pidfd_open(2): close-on-exec. */
export function pidfdOpen(pid: number): Fd {
  return new Fd(must("pidfd_open", NR.pidfd_open, pid, 0));
}
/** pidfd_getfd(2): a copy of descriptor `n` of the pidfd's process, close-on-exec. */
export function pidfdGetfd(pidfd: Fd, n: number): Fd {
  return new Fd(must("pidfd_getfd", NR.pidfd_getfd, pidfd.n, n, 0));
}
/** The pid of a pidfd's process as this one sees it; 0 when it is in no namespace below, -1 once it has been reaped. See proc_pid_fdinfo(5). */
export function pidOf(pidfd: Fd): number {
  using info = new Fd(must("open", NR.openat, AT.FDCWD, `/proc/self/fdinfo/${pidfd.n}`, O.RDONLY | O.CLOEXEC));
  const text = new Uint8Array(512);
  const n = must("read", NR.read, info.n, text, text.length);
  return parseInt((native.utf8Decode(text, 0, n) ?? "").split("\nPid:\t")[1] ?? "-1", 10);
}
/** pidfd_send_signal(2); the answer is 0 or the negative errno. */
export function pidfdSendSignal(pidfd: Fd, signal: number): number {
  return sys(NR.pidfd_send_signal, pidfd.n, signal, null, 0);
}
/**
 * SIGKILL to a child that this process has not waited for: by its descriptor or, where that does not serve, by its number, which is still
 * its own.
 */
export function killOwn({ pid, pidfd }: Cloned): void {
  if (pidfdSendSignal(pidfd, SIG.KILL) < 0) kill(pid, SIG.KILL);
}
/** setsid(2). */
export function setsid(): void {
  must("setsid", NR.setsid);
}
/** setns(2) into what a namespace descriptor or pidfd names; `kinds` are CLONE.NEW* bits. */
export function setns(fd: Fd, kinds: number): void {
  must("setns", NR.setns, fd.n, kinds);
}
/** unshare(2) of CLONE.NEW* bits. */
export function unshare(kinds: number): void {
  must("unshare", NR.unshare, kinds);
}
/** prlimit64(2) on a process (0: this one); values up to 2^64-1 (RLIM_INFINITY). */
export function prlimit(pid: number, resource: number, soft: number | bigint, hard: number | bigint): void {
  const limit = new Uint8Array(Rlimit64.SIZE);
  const view = viewOf(limit);
  setU64(view, Rlimit64.rlim_cur, soft);
  setU64(view, Rlimit64.rlim_max, hard);
  must("prlimit64", NR.prlimit64, pid, resource, limit, null);
}
/** Raises a process's hard limit to `hard` where it is below; the soft one stays. Throws SysError (EPERM: no CAP_SYS_RESOURCE). */
export function raiseHardLimit(pid: number, resource: number, hard: number | bigint): void {
  const now = new Uint8Array(Rlimit64.SIZE);
  must("prlimit64", NR.prlimit64, pid, resource, null, now);
  const view = viewOf(now);
  if (getU64(view, Rlimit64.rlim_max) >= hard) return;
  setU64(view, Rlimit64.rlim_max, hard);
  must("prlimit64", NR.prlimit64, pid, resource, now, null);
}

let descriptors: Uint8Array | undefined;

/** Raises this process's limit of open descriptors as far as it may (at most 2^20); what it was is kept for its children. See getrlimit(2). */
export function raiseDescriptorLimit(): void {
  const before = new Uint8Array(Rlimit64.SIZE);
  if (sys(NR.prlimit64, 0, RLIMIT.NOFILE, null, before) < 0) return;
  descriptors = before;
  const hard = getU64(viewOf(before), Rlimit64.rlim_max);
  for (const most of [1048576, hard]) {
    const wanted = new Uint8Array(Rlimit64.SIZE);
    setU64(viewOf(wanted), Rlimit64.rlim_cur, Math.min(most, 1048576));
    setU64(viewOf(wanted), Rlimit64.rlim_max, Math.max(most, hard));
    if (sys(NR.prlimit64, 0, RLIMIT.NOFILE, wanted, null) === 0) return;
  }
}

/** What it was, if it is known. */
export const firstDescriptorLimit = (): Uint8Array | undefined => descriptors;
/** An earlier program of this process has raised it, from this. */
export function descriptorLimitWas(before: Uint8Array | undefined): void {
  descriptors = before;
}

/** In a child: the limit that the agent itself was started with. Once: later it may have another of its own, which its children keep. */
export function restoreDescriptorLimit(): void {
  if (descriptors !== undefined) sys(NR.prlimit64, 0, RLIMIT.NOFILE, descriptors, null);
  descriptors = undefined;
}

const EVERY_CPU_BYTES = 1024; // as many CPUs as any kernel knows

/** sched_setaffinity(2) of this thread to every CPU there is; answers 0 or the negative errno. */
export function resetAffinity(): number {
  return sys(NR.sched_setaffinity, 0, EVERY_CPU_BYTES, new Uint8Array(EVERY_CPU_BYTES).fill(255));
}

/** prctl(PR_SET_DUMPABLE): off, nobody without CAP_SYS_PTRACE can trace it or look into its /proc folder. */
export function setDumpable(on: boolean): void {
  must("prctl(PR_SET_DUMPABLE)", NR.prctl, PR.SET_DUMPABLE, on ? 1 : 0, 0, 0, 0);
}
/** prctl(PR_SET_PDEATHSIG): this process is killed when its parent ends. */
export function setDeathSignal(): void {
  must("prctl(PR_SET_PDEATHSIG)", NR.prctl, PR.SET_PDEATHSIG, SIG.KILL, 0, 0, 0);
}
/** Waits for a signal that ends it: ppoll(2) of nothing. */
export function sleepForEver(): never {
  for (;;) sys(NR.ppoll, null, 0, null, null, 0);
}
/** prctl(PR_SET_NO_NEW_PRIVS): for good. */
export function setNoNewPrivs(): void {
  must("prctl(PR_SET_NO_NEW_PRIVS)", NR.prctl, PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
/** prctl(PR_SET_CHILD_SUBREAPER): orphans below become this process's children. */
export function setChildSubreaper(): void {
  must("prctl(PR_SET_CHILD_SUBREAPER)", NR.prctl, PR.SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}
/** setdomainname(2). */
export function setdomainname(name: string): void {
  must("setdomainname", NR.setdomainname, name, native.utf8Encode(name).length);
}
