// The whole boundary between TypeScript and the C host, on one page. Implemented in native/native.c.
// Who may name which member: test/rules/layers-table.ts. The two that are pure (utf8Encode, utf8Decode) are everybody's.

/** What a system call argument may be: whole numbers of 64 bits (2^64: the largest), strings (become NUL-terminated UTF-8), buffers (their address), null (0). */
type SyscallArg = number | string | Uint8Array | ArrayBuffer | null | undefined;

declare const native: {
  /** Makes system call `nr`; returns its result, or the negative errno. A string with a NUL inside answers -EINVAL; RangeError or TypeError for anything else. */
  syscall(nr: number, a?: SyscallArg, b?: SyscallArg, c?: SyscallArg, d?: SyscallArg, e?: SyscallArg, f?: SyscallArg): number;
  /** The address of a buffer's first byte; it does not move while the buffer lives. */
  addressOf(buffer: Uint8Array | ArrayBuffer): number;
  /** The UTF-8 bytes of a string, without a terminating NUL. */
  utf8Encode(text: string): Uint8Array;
  /** The string in bytes [start, end) (default: all of it), or undefined when they are not well-formed UTF-8. */
  utf8Decode(bytes: Uint8Array, start?: number, end?: number): string | undefined;
  /** Reads and evaluates an embedded module on first use and returns its namespace; synchronous. */
  load(name: string): unknown;
  /** libseccomp's calls by number (see sys/seccomp.ts); returns 0, a number, or a negative errno. */
  seccomp(op: number, a?: number, b?: number | string, c?: Uint8Array): number;
  /** This process ends soon: from now on cycles are not looked for, and the bytecode's pages stay where they are. */
  shortLived(): void;
  /** Looks for cycles of objects that nobody reaches any more, and gives them back. */
  collect(): void;
  /** argv and envp as the kernel handed them over. */
  readonly args: string[];
  readonly env: string[];
  /** Called for ever; it may block, unless there are `more` jobs of promises to be run. An exception is told to `fault`. */
  tick: (more: boolean) => void;
  /**
   * Told what nobody caught: of a job or of `tick` (no promise), and of a promise that was rejected when nobody handled it, and
   * again, with `handled`, when somebody does after all. Without it the former are printed, and one of `tick` ends a short-lived process.
   */
  fault?: (promise: object | undefined, error: unknown, handled: boolean) => void;
};

/** Set by the build. */
declare const __ARCH__: "x86_64" | "aarch64";
declare const __VERSION__: string;
/** The commit that the binary is made of: 12 hex digits, "-dirty" behind them when something was changed since; or "unknown". */
declare const __COMMIT__: string;
declare const __DEBUG__: boolean;
/** The code of native/stub.c, a character for each byte. */
declare const __STUB__: string;
