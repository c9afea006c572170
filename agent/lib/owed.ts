// What is left of something that failed and cannot be taken away now (no helper can be made, a call fails): it is tried again, less and
// less often, until it succeeds, and before anybody uses its name again. Whoever owes something has told its caller so.
import { messageOf } from "./errors.js";
import { Level, log } from "./log.js";
import { after, type Timer } from "./loop.js";

const FIRST_MS = 1000;
const MOST_MS = 60_000;

interface Debt { readonly key: string; readonly what: string; readonly job: () => Promise<void>; trying: Promise<void> | undefined }

const debts = new Set<Debt>();
let pauseMs = FIRST_MS;
let timer: Timer | undefined;

function attemptOne(debt: Debt): Promise<void> {
  return (debt.trying ??= debt.job().then(
    () => void debts.delete(debt),
    (error: unknown) => {
      debt.trying = undefined;
      throw error;
    },
  ));
}

function again(): void {
  if (debts.size === 0) return;
  timer ??= after(pauseMs, () => {
    timer = undefined;
    pauseMs = Math.min(2 * pauseMs, MOST_MS);
    void Promise.all([...debts].map((debt) => attemptOne(debt).catch((error: unknown) => log(Level.WARN, `${debt.what}: ${messageOf(error)}`)))).then(again);
  });
}

/** What is owed now. */
export const owing = (): string[] => [...debts].map(({ what }) => what);

/** `job` takes away what `why` has left, and may be called again when it fails. `key` is the name that is not free until then. */
export function owe(key: string, what: string, why: unknown, job: () => Promise<void>): void {
  log(Level.WARN, `${what}: ${messageOf(why)}; it is tried again`);
  debts.add({ key, what, job, trying: undefined });
  pauseMs = FIRST_MS;
  timer?.cancel();
  timer = undefined;
  again();
}

/** Does now what is owed for `key`, or everything. Rejects with the first that still cannot be done, when all have been tried. */
export async function paid(key?: string): Promise<void> {
  const all = [...debts].filter((debt) => key === undefined || debt.key === key);
  const ends = await Promise.allSettled(all.map(attemptOne));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
