// Which faults: by system call, occurrence and errno. Pure, but for reading a trace.

export interface Case {
  /** The system call's name, as strace knows it. */
  readonly call: string;
  /** Which of the calls of that name, from 1. */
  readonly at: number;
  /** It fails from there on. */
  readonly on: boolean;
  readonly errno: string;
  /** In the children too (each counts for itself). */
  readonly children: boolean;
  /** The end of a sandbox that is at work, and with it of the agent, instead of a life. */
  readonly end: boolean;
}

export const nameOf = ({ call, at, on, errno, children, end }: Case): string => `${call}:${at}${on ? "+" : ""}:${errno}${children ? ":f" : ""}${end ? ":end" : ""}`;

/** The opposite. Throws Error. */
export const caseOf = (text: string): Case => {
  const [call, at = "", errno, ...more] = text.split(":");
  if (call === undefined || errno === undefined || !/^[1-9]\d*\+?$/.test(at)) throw new Error(`${text} is no case: want CALL:NUMBER[+]:ERRNO[:f][:end]`);
  return { call, at: parseInt(at, 10), on: at.endsWith("+"), errno, children: more.includes("f"), end: more.includes("end") };
};

/** They cannot fail are no calls of ours, or the fault would only keep the kernel from doing what nobody can undo (close). */
const NEVER = ["clock_gettime", "sched_yield", "getpid", "gettid", "exit", "exit_group", "rt_sigreturn", "close", "close_range", "munmap", "madvise", "execve", "wait4", "restart_syscall", "epoll_pwait", "umask", "geteuid", "getuid"];

const NEW_FILE = ["EMFILE", "ENOMEM", "ENFILE"];
const ERRORS: Readonly<Record<string, readonly string[]>> = {
  openat: NEW_FILE, openat2: ["EMFILE", "EAGAIN"], pipe2: NEW_FILE, socket: NEW_FILE, socketpair: NEW_FILE, accept4: ["EMFILE", "ENOMEM", "EIO", "ECONNABORTED"], eventfd2: NEW_FILE, pidfd_open: NEW_FILE, inotify_init1: NEW_FILE, memfd_create: NEW_FILE,
  open_tree: NEW_FILE, fsopen: NEW_FILE, fsmount: NEW_FILE, dup3: ["EBADF"], fcntl: ["EMFILE", "EBADF"], clone: ["EAGAIN", "ENOMEM"], clone3: ["EAGAIN", "ENOMEM"], epoll_ctl: ["ENOSPC", "ENOMEM"], inotify_add_watch: ["ENOSPC", "ENOMEM"],
  read: ["EIO", "EINTR"], write: ["EIO", "ENOSPC"], pread64: ["EIO"], pwrite64: ["ENOSPC"], sendto: ["ENOBUFS"], recvfrom: ["ENOBUFS"], sendmsg: ["ENOBUFS"], recvmsg: ["ENOBUFS", "EMFILE"], mkdirat: ["ENOSPC"], symlinkat: ["ENOSPC"], mknodat: ["ENOSPC"], renameat2: ["ENOSPC"],
  mmap: ["ENOMEM"], brk: ["ENOMEM"], mremap: ["ENOMEM"], setns: ["EPERM", "ENOMEM"], mount: ["ENOMEM", "EPERM"], move_mount: ["ENOMEM"], umount2: ["EBUSY"], unlinkat: ["EBUSY", "EIO"], waitid: ["EINTR"], getdents64: ["EIO"], kill: ["EPERM"], pidfd_send_signal: ["EPERM", "ENOMEM"], pidfd_getfd: NEW_FILE,
};
const OTHERS = ["EIO", "ENOMEM"];

const hash = (text: string): number => {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619) >>> 0;
  return h;
};

/** How often each process of a trace (strace -f -o FILE) made each call, in the order in which they appear. */
export const counted = (trace: string): Map<string, Map<string, number>> => {
  const all = new Map<string, Map<string, number>>();
  for (const line of trace.split("\n")) {
    const match = /^(\d+)\s+([a-z_0-9]+)\(/.exec(line);
    if (match === null) continue;
    const [, pid = "", call = ""] = match;
    const own = all.get(pid) ?? new Map<string, number>();
    own.set(call, (own.get(call) ?? 0) + 1);
    all.set(pid, own);
  }
  return all;
};

const MOST_OF_ONE = 60;

/**
 * Cases of these counts, `full`: all of them, else some of every call, in an order that is always the same and mixes the calls, so that
 * a run that is cut short has seen something of each.
 */
export const casesOf = (counts: ReadonlyMap<string, number>, kind: Pick<Case, "children" | "end">, full: boolean): Case[] => {
  const all: { one: Case; rank: number }[] = [];
  for (const [call, times] of counts) {
    if (NEVER.includes(call)) continue;
    const errors = ERRORS[call] ?? OTHERS;
    const numbers = full || times <= MOST_OF_ONE ? Array.from({ length: times }, (_, i) => i + 1) : Array.from({ length: MOST_OF_ONE }, (_, i) => 1 + Math.floor((i * times) / MOST_OF_ONE));
    for (const at of numbers) {
      for (const errno of full ? errors : [errors[at % errors.length] as string]) {
        const one: Case = { call, at, on: false, errno, ...kind };
        // the first ones of a rare call come early: rank by the share of this call that comes before it
        all.push({ one, rank: (hash(nameOf(one)) % 1000) / 1000 * Math.min(1, times / 8) });
      }
    }
  }
  return all.sort((a, b) => a.rank - b.rank).map(({ one }) => one);
};

/** What runs out, and not for a single call. */
const LASTING: Readonly<Record<string, readonly string[]>> = {
  mmap: ["ENOMEM"], brk: ["ENOMEM"], openat: ["EMFILE", "ENOMEM"], openat2: ["EMFILE"], pipe2: ["EMFILE", "ENFILE"], socketpair: ["EMFILE"], epoll_ctl: ["ENOSPC", "ENOMEM"], clone: ["EAGAIN"], clone3: ["EAGAIN", "ENOMEM"], mkdirat: ["ENOSPC"],
  accept4: ["EMFILE"], memfd_create: ["EMFILE"], eventfd2: ["EMFILE"], write: ["ENOSPC"], mount: ["ENOMEM"], fcntl: ["EMFILE"], unlinkat: ["EIO"], pidfd_getfd: ["EMFILE"], pidfd_send_signal: ["EPERM"], kill: ["EPERM"],
};
const FROM = 6;

/** The same calls failing from some number on: the first, and others that lie evenly between it and the last. */
export const lastingOf = (counts: ReadonlyMap<string, number>, kind: Pick<Case, "children" | "end">): Case[] =>
  Object.entries(LASTING).flatMap(([call, errors]) => {
    const times = counts.get(call) ?? 0;
    const numbers = [...new Set(Array.from({ length: FROM }, (_, i) => 1 + Math.floor((i * times) / FROM)))].filter((at) => at <= times);
    return numbers.flatMap((at) => errors.map((errno): Case => ({ call, at, on: true, errno, ...kind })));
  });
