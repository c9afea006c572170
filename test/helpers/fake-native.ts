// Stands in for the C host's `native` in unit tests on Node: text works for real, system calls are answered by a function the test sets
// (default: ENOSYS). Import it before any module of agent/.
type Answer = (nr: number, args: readonly unknown[]) => number;

const ENOSYS = 38;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
let answer: Answer = () => -ENOSYS;

/** Sets what system calls answer; returns what was set before. */
export const answerCalls = (next: Answer): Answer => {
  const before = answer;
  answer = next;
  return before;
};

const utf8Decode = (bytes: Uint8Array, start = 0, end = bytes.length): string | undefined => {
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
};

Object.assign(globalThis, {
  native: {
    syscall: (nr: number, ...args: unknown[]) => answer(nr, args),
    addressOf: () => 0,
    utf8Encode: (text: string) => encoder.encode(text),
    utf8Decode,
    load: (name: string) => {
      throw new Error(`fake native: ${name} is loaded from another layer (lazy-modules.ts)`);
    },
    seccomp: () => -ENOSYS,
    collect: () => undefined,
    args: [],
    env: [],
    tick: () => undefined,
  },
  __ARCH__: "x86_64",
  __VERSION__: "0.0.0-test",
  __COMMIT__: "unknown",
  __DEBUG__: false,
});
