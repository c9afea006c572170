// A small kernel behind the fake `native`: descriptors, pipes, children, epoll and a clock, enough for what the loop, helpers and
// listeners do. It counts what is open and who lives, and lets one call fail. Import it before modules of agent/.
import { answerCalls } from "./fake-native.js";

const SPACE = 2 ** 24; // addresses of one buffer
const buffers: Uint8Array[] = [];
const known = new Map<ArrayBufferLike, number>();
const bytesOf = (b: Uint8Array | ArrayBuffer): Uint8Array => (b instanceof Uint8Array ? b : new Uint8Array(b));
(globalThis as unknown as { native: { addressOf: unknown } }).native.addressOf = (b: Uint8Array | ArrayBuffer): number => {
  const view = bytesOf(b);
  let i = known.get(view.buffer);
  if (i === undefined) {
    i = buffers.push(new Uint8Array(view.buffer)) - 1;
    known.set(view.buffer, i);
  }
  return (i + 1) * SPACE + view.byteOffset;
};
/** The memory that a system call's argument names. */
const memory = (arg: unknown): Uint8Array => {
  if (typeof arg === "number") return (buffers[Math.floor(arg / SPACE) - 1] as Uint8Array).subarray(arg % SPACE);
  return bytesOf(arg as Uint8Array | ArrayBuffer);
};
const words = (arg: unknown): Int32Array => {
  const m = memory(arg);
  return new Int32Array(m.buffer, m.byteOffset, m.byteLength >> 2);
};

const { NR } = (await import("../../agent/abi/nr.js")) as unknown as { readonly NR: Record<string, number> }; // a table only here
const { E } = await import("../../agent/abi/errno.js");
const names = new Map<number, string>(Object.entries(NR).filter(([, n]) => typeof n === "number").map(([k, n]) => [n, k]));

interface File { readonly kind: string; bytes: number[]; ended: boolean; peer?: number }
type Answer = (args: readonly unknown[]) => number | undefined;

export class FakeKernel {
  readonly files = new Map<number, File>();
  readonly children = new Set<number>();
  readonly killed: number[] = [];
  /** Ends of children that nobody has waited for yet: pid and status word. */
  readonly ends: [number, number][] = [];
  readonly watches = new Map<number, { events: number; tag: number; silent: boolean }>();
  /** Names of the calls that were made. */
  calls: string[] = [];
  /** Answers of single calls, by name. */
  readonly on: Record<string, Answer> = {};
  /** The call of this number (from 0) among those that count fails with this errno, once. */
  fail: { at: number; errno: number } | undefined;
  /** Calls that `fail` counts. */
  counted: (name: string) => boolean = () => true;
  seen = 0;
  ms = 1000;
  #pid = 100;

  constructor() {
    answerCalls((nr, args) => this.#call(names.get(nr) ?? String(nr), args));
  }
  /** Begins anew: nothing is open but what there was before. */
  arm(fail: FakeKernel["fail"], counted: (name: string) => boolean): void {
    this.calls = [];
    this.seen = 0;
    this.fail = fail;
    this.counted = counted;
  }
  make(kind: string): number {
    let n = 3;
    while (this.files.has(n)) n++;
    this.files.set(n, { kind, bytes: [], ended: false });
    return n;
  }
  file(n: number): File {
    return this.files.get(n) as File;
  }
  /** What is open, but the loop's own instance. */
  open(): string[] {
    return [...this.files].map(([n, f]) => `${n} ${f.kind}`).filter((text) => !text.endsWith("epoll")).sort();
  }
  #call(name: string, args: readonly unknown[]): number {
    this.calls.push(name);
    if (this.counted(name) && this.seen++ === this.fail?.at) return -this.fail.errno;
    const own = this.on[name]?.(args);
    return own ?? this.#answer(name, args);
  }
  #answer(name: string, a: readonly unknown[]): number {
    const n = a[0] as number;
    switch (name) {
      case "epoll_create1": return this.make("epoll");
      case "epoll_ctl": return this.#control(a);
      case "epoll_pwait": return this.#wait(a);
      case "ppoll": return this.#poll(a);
      case "clock_gettime": {
        const w = words(a[1]);
        w[0] = Math.floor(this.ms / 1000);
        w[1] = 0;
        w[2] = (this.ms % 1000) * 1e6;
        return 0;
      }
      case "pipe2": {
        const read = this.make("pipe");
        const write = this.make("pipe");
        this.file(read).peer = write;
        this.file(write).peer = read;
        words(a[0]).set([read, write]);
        return 0;
      }
      case "clone": {
        const pid = this.#pid++;
        this.children.add(pid);
        return pid;
      }
      case "kill":
        this.killed.push(n);
        return 0;
      case "wait4": {
        const end = this.ends.shift();
        if (end === undefined) return -E.ECHILD;
        this.children.delete(end[0]);
        words(a[1])[0] = end[1];
        return end[0];
      }
      case "fcntl": return a[1] === 1030 ? this.make(this.file(n)?.kind ?? "file") : 0;
      case "close": {
        if (!this.files.delete(n)) return -E.EBADF;
        this.watches.delete(n);
        return 0;
      }
      case "read": {
        const f = this.file(n);
        if (f === undefined) return -E.EBADF;
        if (f.bytes.length === 0) return f.ended ? 0 : -E.EAGAIN;
        const taken = f.bytes.splice(0, a[2] as number);
        memory(a[1]).set(taken);
        return taken.length;
      }
      case "write": return a[2] as number;
      case "openat": case "memfd_create": case "signalfd4": case "inotify_init1": case "eventfd2": case "socket": return this.make(name);
      case "sched_yield": case "fstat": case "bind": case "listen": case "setsockopt": case "inotify_rm_watch": case "close_range": return 0;
      default: return -E.ENOSYS;
    }
  }
  #control([, op, fd, event]: readonly unknown[]): number {
    const n = fd as number;
    if (op === 2) return this.watches.delete(n) ? 0 : -E.ENOENT;
    const w = words(event);
    this.watches.set(n, { events: w[0] as number, tag: w[2] as number, silent: false });
    return 0;
  }
  /** Who is ready: a scripted set of descriptors. */
  readonly ready = new Map<number, number>();
  #wait([, events, most]: readonly unknown[]): number {
    const w = words(events);
    let i = 0;
    for (const [n, watch] of this.watches) {
      const is = (this.ready.get(n) ?? 0) & (watch.events | 24);
      if (is === 0 || watch.silent || i >= (most as number)) continue;
      if ((watch.events & 0x40000000) !== 0) watch.silent = true;
      w.set([is, n, watch.tag], i++ * 3);
    }
    return i;
  }
  #poll([list, count]: readonly unknown[]): number {
    const w = words(list);
    let found = 0;
    for (let i = 0; i < (count as number); i++) {
      const n = w[i * 2] as number;
      const is = n < 0 ? 0 : (this.ready.get(n) ?? 0) & (((w[i * 2 + 1] as number) & 0xffff) | 24);
      w[i * 2 + 1] = ((w[i * 2 + 1] as number) & 0xffff) | (is << 16);
      if (is !== 0) found++;
    }
    return found;
  }
}
