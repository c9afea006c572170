// Which faults: by system call, occurrence and errno. Pure, but for reading a trace.

export interface Case {
  /** The system call's name, as strace knows it. */
  readonly call: string;
  /** Which of the calls of that name, from 1. */
  readonly at: number;
  readonly errno: string;
  /** In the children too (each counts for itself). */
  readonly children: boolean;
}

export const nameOf = ({ call, at, errno, children }: Case): string => `${call}:${at}:${errno}${children ? ":f" : ""}`;

/** The opposite. Throws Error. */
export const caseOf = (text: string): Case => {
  const [call, at, errno, f] = text.split(":");
  if (call === undefined || errno === undefined || !(Number(at) > 0)) throw new Error(`${text} is no case: want CALL:NUMBER:ERRNO[:f]`);
  return { call, at: Number(at), errno, children: f === "f" };
};

/** They cannot fail (a signal to one's own child), are no calls of ours, or the fault would only keep the kernel from doing what nobody can undo (close). */
const NEVER = ["clock_gettime", "sched_yield", "getpid", "gettid", "exit", "exit_group", "rt_sigreturn", "close", "close_range", "munmap", "madvise", "execve", "wait4", "restart_syscall", "epoll_pwait", "umask", "geteuid", "getuid", "kill", "pidfd_send_signal"];

const NEW_FILE = ["EMFILE", "ENOMEM", "ENFILE"];
const ERRORS: Readonly<Record<string, readonly string[]>> = {
  openat: NEW_FILE, openat2: ["EMFILE", "EAGAIN"], pipe2: NEW_FILE, socket: NEW_FILE, socketpair: NEW_FILE, accept4: ["EMFILE", "ENOMEM", "EIO", "ECONNABORTED"], eventfd2: NEW_FILE, pidfd_open: NEW_FILE, inotify_init1: NEW_FILE, memfd_create: NEW_FILE,
  open_tree: NEW_FILE, fsopen: NEW_FILE, fsmount: NEW_FILE, dup3: ["EBADF"], fcntl: ["EMFILE", "EBADF"], clone: ["EAGAIN", "ENOMEM"], clone3: ["EAGAIN", "ENOMEM"], epoll_ctl: ["ENOSPC", "ENOMEM"], inotify_add_watch: ["ENOSPC", "ENOMEM"],
  read: ["EIO", "EINTR"], write: ["EIO", "ENOSPC"], pread64: ["EIO"], pwrite64: ["ENOSPC"], sendto: ["ENOBUFS"], recvfrom: ["ENOBUFS"], sendmsg: ["ENOBUFS"], recvmsg: ["ENOBUFS", "EMFILE"], mkdirat: ["ENOSPC"], symlinkat: ["ENOSPC"], mknodat: ["ENOSPC"], renameat2: ["ENOSPC"],
  mmap: ["ENOMEM"], brk: ["ENOMEM"], mremap: ["ENOMEM"], setns: ["EPERM", "ENOMEM"], mount: ["ENOMEM", "EPERM"], move_mount: ["ENOMEM"], umount2: ["EBUSY"], unlinkat: ["EBUSY", "EIO"], waitid: ["EINTR"], getdents64: ["EIO"],
};
const OTHERS = ["EIO", "ENOMEM"];

const hash = (text: string): number => {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619) >>> 0;
  return h;
};

/** How often each process of a trace (strace -f -o FILE; without -f one process) made each call. */
export const counted = (trace: string, follows: boolean): Map<string, Map<string, number>> => {
  const all = new Map<string, Map<string, number>>();
  for (const line of trace.split("\n")) {
    const match = (follows ? /^(\d+)\s+([a-z_0-9]+)\(/ : /^()([a-z_0-9]+)\(/).exec(line);
    if (match === null) continue;
    const [, pid = "", call = ""] = match;
    const own = all.get(pid) ?? new Map<string, number>();
    own.set(call, (own.get(call) ?? 0) + 1);
    all.set(pid, own);
  }
  return all;
};

/**
 * All cases of these counts, or with `most` so many of them: some of every call, in an order that is always the same and mixes the
 * calls, so that a run that is cut short has seen something of each.
 */
export const casesOf = (counts: ReadonlyMap<string, number>, children: boolean, full: boolean): Case[] => {
  const all: { one: Case; rank: number }[] = [];
  for (const [call, times] of counts) {
    if (NEVER.includes(call)) continue;
    const errors = ERRORS[call] ?? OTHERS;
    for (let at = 1; at <= times; at++) {
      errors.slice(0, full ? undefined : 1).forEach((_, i) => {
        const one: Case = { call, at, errno: errors[full ? i : at % errors.length] as string, children };
        // the first ones of a rare call come early: rank by the share of this call that comes before it
        all.push({ one, rank: (hash(nameOf(one)) % 1000) / 1000 * Math.min(1, times / 8) });
      });
    }
  }
  return all.sort((a, b) => a.rank - b.rank).map(({ one }) => one);
};
