// Owns the one line that tells how far a step is: rewritten in place on a terminal, written now and then elsewhere. Goes to
// standard error only, so that --json output stays clean. Must never throw.

export interface Progress {
  /** Shows a state, e.g. step("compiling", 120, 2600). Cheap to call often. */
  step(what: string, done?: number, total?: number): void;
  /** Writes a whole line that stays. */
  note(line: string): void;
  /** Removes the moving line. */
  end(): void;
}

/** Writes to `stream` (standard error by default); `quiet` keeps only notes out of it too. */
export function progress(quiet: boolean, stream: NodeJS.WriteStream = process.stderr): Progress {
  const live = stream.isTTY === true;
  const started = Date.now();
  let last = 0;
  let lastWhat = "";
  let begun: Begun = { at: started, done: 0 };
  let shown = false;
  const clear = (): void => {
    if (shown) stream.write("\r\x1b[K");
    shown = false;
  };
  return {
    step(what, done, total) {
      if (quiet) return;
      const now = Date.now();
      const fresh = what !== lastWhat;
      if (!fresh && now - last < (live ? 200 : 15_000)) return;
      last = now;
      lastWhat = what;
      if (fresh) begun = { at: now, done: done ?? 0 };
      const part = done === undefined ? "" : total === undefined ? ` ${done}` : ` ${Math.min(done, total)}/${total} (${Math.min(99, Math.floor((done * 100) / total))} %)`;
      const line = `${what}${part}, ${clock(now - started)}${done === undefined || total === undefined ? "" : remaining(begun, now, done, total)}`;
      if (live) {
        clear();
        stream.write(line.slice(0, Math.max(20, (stream.columns ?? 80) - 1)));
        shown = true;
      } else stream.write(`${line}\n`);
    },
    note(line) {
      if (quiet) return;
      clear();
      stream.write(`${line}\n`);
    },
    end: clear,
  };
}

/** When a step was first seen, and how far it was then. */
interface Begun {
  readonly at: number;
  readonly done: number;
}

/** Too little seen to tell: a guess from less would jump about. */
const ENOUGH_MS = 3000;
const ENOUGH_PART = 0.02;

/** How long a step will still take if it goes on as fast as so far, in words; empty while too little of it has been seen. */
export function remaining(begun: Begun, now: number, done: number, total: number): string {
  const [took, did] = [now - begun.at, done - begun.done];
  if (took < ENOUGH_MS || did < total * ENOUGH_PART || done >= total) return "";
  return `, about ${clock((took * (total - done)) / did)} left`;
}

/** Milliseconds as "7 s" or "3 min 05 s". */
export function clock(ms: number): string {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
}
