// An owned descriptor: closed once, by its owner. Nothing above sys holds a bare number that it must close. See close(2).
import { sys } from "./call.js";
import { NR } from "../abi/nr.js";

// QuickJS has no Symbol.dispose; the bundler's `using` looks this one up instead.
const disposeSymbol: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for("Symbol.dispose") as typeof Symbol.dispose);

export class Fd {
  #n: number;
  /** Takes ownership of descriptor `n`. */
  constructor(n: number) {
    this.#n = n;
  }
  /** The number, for a system call; -1 once closed or taken. */
  get n(): number {
    return this.#n;
  }
  get open(): boolean {
    return this.#n >= 0;
  }
  /** Closes it; a second call does nothing. Errors of close(2) are ignored: the descriptor is gone either way on Linux. */
  close(): void {
    if (this.#n < 0) return;
    const n = this.#n;
    this.#n = -1;
    sys(NR.close, n);
  }
  /** Hands the number over to a new owner; this object no longer closes it. */
  take(): number {
    const n = this.#n;
    this.#n = -1;
    return n;
  }
  [disposeSymbol](): void {
    this.close();
  }
}

/** What `use` makes of a new descriptor; when it throws, the descriptor is closed. For those whose owner the result is to be. */
export function handOver<T>(fd: Fd, use: (fd: Fd) => T): T {
  try {
    return use(fd);
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** "/proc/self/fd/N": a path that names what the descriptor names, for calls that take no descriptor. See proc_pid_fd(5). */
export function fdPath(fd: Fd | number): string {
  return `/proc/self/fd/${typeof fd === "number" ? fd : fd.n}`;
}

/** Closes a bare number that has no owner; for a child that is about to leave, where owners would only cost time. */
export function closeNumber(n: number): void {
  sys(NR.close, n);
}
