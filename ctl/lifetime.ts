// How this process ends: what it made is taken away on every way out that can be seen (an end, a signal, an error nobody caught, a
// process.exit), and an end that comes before the work is done says so. Only SIGKILL leaves things behind.
import { rmSync } from "node:fs";

const steps = new Set<() => void>();

/** Take `step` (synchronous) when the process ends; the returned function forgets it. */
export const atEnd = (step: () => void): (() => void) => {
  steps.add(step);
  return () => void steps.delete(step);
};

/** Remove a folder of ours, at the latest when the process ends; the returned function does it now. */
export const removeAtEnd = (folder: string): (() => void) => {
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const forget = atEnd(remove);
  return () => {
    remove();
    forget();
  };
};

let doing = "starting";

/** Tell what goes on from here, for the word at an end that nobody wanted. */
export const now = (what: string): void => void (doing = what);

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

const endAll = (): void => {
  for (const step of [...steps].reverse()) {
    try {
      step();
    } catch {
      // The others matter as much.
    }
  }
};

export interface Ending {
  /** Exit status when the process ends before its work is done. */
  failed: number;
  /** Writes one line for the user. */
  say(line: string): void;
  /** Text for an error that nobody caught. */
  text(error: unknown): string;
}

/**
 * Do the work of a whole process, and end it with the exit status that `work` resolves with. A signal that nobody else listens for
 * ends it with 128 + n.
 */
export const wholeProcess = (work: () => Promise<number>, ending: Ending): void => {
  const end = (status: number): never => process.exit(status);
  const fail = (error: unknown): never => {
    ending.say(`${ending.text(error)} (while ${doing})`);
    return end(ending.failed);
  };
  for (const [name, number] of Object.entries(SIGNALS)) process.on(name, () => void (process.listenerCount(name) === 1 && end(128 + number)));
  process.on("uncaughtException", fail);
  process.on("exit", endAll);
  // Nothing is left that could happen, and the work is not done: a promise that nobody keeps.
  process.on("beforeExit", () => {
    ending.say(`ended before it was done, while ${doing}: this is a fault of the program`);
    end(ending.failed);
  });
  work().then(end, fail);
};
