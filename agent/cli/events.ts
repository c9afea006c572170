// events: what a container uses, at once or again and again, and a line for each process that ended for want of memory; until
// the container's end.
import { unblockSignals } from "../sys/poll.js";
import { AppError } from "../lib/errors.js";
import { after, type Timer } from "../lib/loop.js";
import type { Container } from "../engine/container.js";
import { whenEnded } from "../engine/process.js";
import { type Command, type Context, idOf, invalid, print } from "./context.js";
import { statsEvent } from "./events-data.js";
import { known, revive } from "./load.js";
import type { Options } from "./options.js";

const UNITS: { readonly [unit: string]: number } = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DEFAULT_MS = 5000;
const LONGEST_MS = 2 ** 31;

/** "1m30s", "1.5s", "100ms" in milliseconds, as Go writes durations; undefined for anything else. */
export function durationMs(text: string): number | undefined {
  let total = 0;
  let at = 0;
  while (at < text.length) {
    const from = at;
    while (at < text.length && (text[at] === "." || ((text[at] as string) >= "0" && (text[at] as string) <= "9"))) at++;
    const unitAt = at;
    while (at < text.length && (text[at] as string) >= "a") at++;
    const unit = text.slice(unitAt, at);
    const number = Number(text.slice(from, unitAt) || "x");
    if (!Object.hasOwn(UNITS, unit) || Number.isNaN(number)) return undefined;
    total += number * (UNITS[unit] as number);
  }
  return text === "" ? undefined : total;
}

function intervalOf(options: Options): number {
  const text = options.get("interval");
  const ms = text === undefined ? DEFAULT_MS : (durationMs(text) ?? invalid(`--interval: "${text}" is not a duration (5s, 100ms)`));
  if (ms <= 0) invalid("--interval: duration interval must be greater than 0");
  return Math.max(1, Math.min(ms, LONGEST_MS));
}

const tell = ({ id, cgroup }: Container): void => print(1, statsEvent(id, cgroup.stats(true), cgroup.version));

/** Tells until the end of the container's first process. */
function follow(container: Container, interval: number): Promise<void> {
  const { cgroup, id, init } = container;
  let timer: Timer;
  const again = (): void => {
    tell(container);
    timer = after(interval, again);
  };
  const oom = cgroup.watchOom(() => print(1, `${JSON.stringify({ type: "oom", id })}\n`));
  timer = after(interval, again);
  return new Promise((done) =>
    whenEnded(init, () => {
      timer.cancel();
      oom.stop();
      done();
    }));
}

async function events(context: Context, options: Options): Promise<number> {
  const interval = intervalOf(options);
  const it = known(context, idOf(options), false);
  if (it.status === "stopped" || it.status === "creating") throw new AppError("precondition", `container not running: ${it.saved.id}`);
  const container = revive(it);
  unblockSignals(); // TERM, INT and a reader's end (PIPE) end this command, as they should
  if (options.has("stats")) tell(container);
  else await follow(container, interval);
  return 0;
}

export const commands = {
  events: {
    about: "print figures and out-of-memory events of a container", usage: "ID", least: 1, most: 1, run: events,
    options: { interval: ["value", "time between two figures (default 5s)"], stats: ["switch", "figures once, then leave"] },
  },
} as const satisfies { readonly [name: string]: Command };
