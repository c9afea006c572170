// Owns the one line that tells how far a step is: rewritten in place on a terminal, written now and then elsewhere. Goes to
// standard error only, so that --json output stays clean. Must never throw.

export interface Progress {
  /** Shows a state, e.g. step("compiling", 120, 2600). Cheap to call often; several steps may go on at once. */
  step(what: string, done?: number, total?: number): void;
  /** Writes a whole line that stays. */
  note(line: string): void;
  /** Removes the moving line. */
  end(): void;
}

/** What is known of one step. */
interface Step {
  readonly begun: Begun;
  /** When `done` was last seen to grow, and to what. */
  grown: Begun;
  total: number | undefined;
  shown: number;
}

const LIVE_MS = 200;
const LINE_MS = 15_000;

/** Writes to `stream` (standard error by default); `quiet` keeps only notes out of it too. */
export function progress(quiet: boolean, stream: NodeJS.WriteStream = process.stderr, now: () => number = Date.now): Progress {
  const live = stream.isTTY === true;
  const started = now();
  const steps = new Map<string, Step>(); // several may go on at once
  let shown = false;
  let timer: NodeJS.Timeout | undefined;
  const clear = (): void => {
    if (shown) stream.write("\r\x1b[K");
    shown = false;
  };
  const write = (what: string, { begun, grown, total }: Step): void => {
    const of = total === undefined ? "" : `/${total} (${Math.min(99, Math.floor((grown.done * 100) / total))} %)`;
    const part = grown.done === 0 && total === undefined ? "" : ` ${Math.min(grown.done, total ?? Infinity)}${of}`;
    const line = `${what}${part}, ${clock(now() - started)}${total === undefined ? "" : remaining(begun, grown, now(), total)}`;
    if (live) {
      clear();
      stream.write(line.slice(0, Math.max(20, (stream.columns ?? 80) - 1)));
      shown = true;
    } else stream.write(`${line}\n`);
  };
  /** What takes long between two of its signs shows that it goes on; of one without an end nobody knows whether it does. */
  const again = (): void => {
    for (const [what, step] of steps) {
      if (step.total === undefined || step.grown.done >= step.total || now() - step.shown < (live ? 1000 : LINE_MS)) continue;
      step.shown = now();
      write(what, step);
      return;
    }
  };
  return {
    step(what, done = 0, total) {
      if (quiet) return;
      const at = now();
      let step = steps.get(what);
      const fresh = step === undefined;
      if (step === undefined) steps.set(what, (step = { begun: { at, done }, grown: { at, done }, total, shown: at }));
      if (done > step.grown.done) step.grown = { at, done };
      step.total = total;
      timer ??= setInterval(again, 1000).unref();
      if (!fresh && at - step.shown < (live ? LIVE_MS : LINE_MS)) return;
      step.shown = at;
      write(what, step);
    },
    note(line) {
      if (quiet) return;
      clear();
      stream.write(`${line}\n`);
    },
    end() {
      clearInterval(timer);
      timer = undefined;
      clear();
    },
  };
}

/** When a step was seen, and how far it was then. */
interface Begun {
  readonly at: number;
  readonly done: number;
}

/** Too little seen to tell: a guess from less would jump about. */
const ENOUGH_MS = 3000;
const ENOUGH_PART = 0.02;

/**
 * How long a step will still take if it goes on as fast as it did until it last grew, in words; empty while too little of it has been seen.
 * What lies between two signs counts down, so a part that takes longer than those before it says so by not getting less.
 */
export function remaining(begun: Begun, grown: Begun, now: number, total: number): string {
  const [took, did] = [grown.at - begun.at, grown.done - begun.done];
  if (now - begun.at < ENOUGH_MS || did < total * ENOUGH_PART || grown.done >= total) return "";
  const left = (took * (total - grown.done)) / did - (now - grown.at);
  return left < 1000 ? ", longer than expected" : `, about ${about(left)} left`;
}

/** Not finer than it can be known: whole minutes from two on. */
function about(ms: number): string {
  return ms < 120_000 ? clock(ms) : `${Math.round(ms / 60_000)} min`;
}

/** Milliseconds as "7 s" or "3 min 05 s". */
export function clock(ms: number): string {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
}
