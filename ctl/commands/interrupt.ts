// Ctrl-C and SIGTERM in a command that has a VM: the first asks nicely, the next insists. It owns the signal handlers while it
// is armed and gives them back.

export interface Interrupt {
  /** Raised by the first signal. */
  signal: AbortSignal;
  /** Resolves with the number of the first signal. */
  first: Promise<number>;
  /** Resolves with the second signal. */
  second: Promise<void>;
  /** Take the handlers away. */
  disarm(): void;
}

const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
const NAMES = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];

/** Catch SIGINT, SIGTERM and SIGHUP until disarmed. */
export const armInterrupt = (): Interrupt => {
  const controller = new AbortController();
  let onFirst: (number: number) => void = () => undefined;
  let onSecond: () => void = () => undefined;
  const first = new Promise<number>((resolve) => (onFirst = resolve));
  const second = new Promise<void>((resolve) => (onSecond = resolve));
  const handler = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) return onSecond();
    controller.abort();
    onFirst(NUMBERS[name as keyof typeof NUMBERS]);
  };
  for (const name of NAMES) process.on(name, handler);
  return { signal: controller.signal, first, second, disarm: () => NAMES.forEach((name) => process.off(name, handler)) };
};
