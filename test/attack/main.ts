// `make attack`: every attack natively, then those that make sense in a VM with 128 MB. Ends with 1 when the agent did not hold.
import { parseArgs } from "node:util";
import { whyNot } from "../helpers/private-agent.js";
import type { Attack, Outcome, Where } from "./attack.js";
import { ATTACKS } from "./all.js";
import { baselineOf, drive, type Rules } from "./drive.js";
import { inVm, onHost, whyNoVm, type Ground } from "./ground.js";
import { Measure } from "./measure.js";

const HELP = `Usage: make attack A="[options]"

Attacks an agent from inside its containers and from the host's side: natively, then in a VM with 128 MB.

  --list        tell what attacks there are, where they run, and which are quick
  --only TEXT   those with TEXT in the name; may be repeated
  --quick       those that take seconds
  --host        natively only
  --vm          in a VM only; it needs \`make kernel initrd\` and QEMU
  --effort N    that much of everything (default 1): 0.1 for a tenth
  --lenient     of times, only standing still counts: for a machine that is busy
  --json        a line of JSON for each attack
  --help        this text

Exit codes: 0 all held, 1 the agent did not hold or Ctrl-C, 2 wrong usage, or the attacks cannot be run here.
`;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

const parse = (): ReturnType<typeof parseOptions> => {
  try {
    return parseOptions();
  } catch (error) {
    say(`attack: ${(error as Error).message}; --help tells what there is`);
    process.exit(2);
  }
};
const parseOptions = () => {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true }, vm: { type: "boolean" }, host: { type: "boolean" }, json: { type: "boolean" }, list: { type: "boolean" },
      effort: { type: "string", default: "1" }, lenient: { type: "boolean" }, quick: { type: "boolean" }, help: { type: "boolean", short: "h" },
    },
  });
  if (!(Number(values.effort) > 0)) throw new Error(`--effort ${values.effort} is no number above 0`);
  for (const text of values.only ?? []) if (!ATTACKS.some(({ name }) => name.includes(text))) throw new Error(`no attack has "${text}" in its name (--list)`);
  return values;
};
const options = parse();

const rules: Rules = { strict: options.lenient !== true, effort: Number(options.effort) };
const chosen = (where: Where): Attack[] =>
  ATTACKS.filter(({ name, needs }) => needs.where.includes(where) && (options.only === undefined || options.only.some((o) => name.includes(o))) && (options.quick !== true || needs.quick === true));
const number = (n: number): string => (Number.isNaN(n) ? "?" : n.toFixed(0));

const print = (o: Outcome): void => {
  if (options.json === true) return void process.stdout.write(`${JSON.stringify(o)}\n`);
  const did = Object.entries(o.did).map(([k, v]) => `${k} ${v}`).join(", ");
  process.stdout.write(
    `${o.faults.length === 0 ? "held" : "FAILED"} ${o.where} ${o.name}: ${did || "nothing"}; longest Check ${o.patience.longest.toFixed(1)} ms (net of waiting for a processor ${o.patience.net.toFixed(1)}) of ${o.patience.checks}; ` +
    `removed in ${number(o.removalMs)} ms; memory ${number(o.memory.before)} -> ${number(o.memory.after)} kB (peak rss ${number(o.memory.peak)}); ${(o.ms / 1000).toFixed(1)} s\n`,
  );
  for (const fault of o.faults) process.stdout.write(`    ${fault}\n`);
};

const BASELINE_SECONDS = 5;
let stopped = false;
process.once("SIGINT", () => (stopped = true)).once("SIGTERM", () => (stopped = true));
let round = 0;
const prefix = (): string => `atk${process.pid}r${round++}n`;

const broken = (attack: Attack, where: Where, error: unknown): Outcome => ({
  name: attack.name, item: attack.item, where, did: {}, patience: { checks: 0, longest: NaN, net: NaN, at: NaN, lost: true }, removalMs: NaN, memory: { before: NaN, peak: NaN, after: NaN }, ms: 0,
  faults: [`it could not be run: ${error instanceof Error ? error.message : String(error)}`],
});

const onThisMachine = async (measure: Measure, each: (o: Outcome) => void): Promise<void> => {
  for (const attack of chosen("host")) {
    if (stopped) return;
    const name = prefix();
    let ground: Ground | undefined;
    try {
      ground = await onHost(attack.needs, name);
      each(await drive(attack, ground, measure, rules, name));
    } catch (error) {
      each(broken(attack, "host", error));
    } finally {
      await ground?.stop().catch((error: unknown) => say(String(error)));
    }
  }
};

/** One VM as long as it lives and needs no words of its own. */
const inMachines = async (measure: Measure, each: (o: Outcome) => void): Promise<void> => {
  let ground: Ground | undefined;
  try {
    for (const attack of chosen("vm")) {
      if (stopped) return;
      const own = attack.needs.append !== undefined;
      if (ground !== undefined && (own || !ground.alive())) ground = void (await ground.stop());
      try {
        if (ground === undefined) {
          const vm = await inVm(attack.needs.append, say);
          const { longest, net } = await baselineOf(vm, measure, BASELINE_SECONDS, prefix());
          say(`baseline of this VM with a busy processor: longest Check ${longest.toFixed(1)} ms (net ${net.toFixed(1)})`);
          ground = { ...vm, baseline: net };
        }
        each(await drive(attack, ground, measure, rules, prefix()));
      } catch (error) {
        each(broken(attack, "vm", error));
      }
      if (own || attack.needs.ends === true) ground = void (await ground?.stop());
    }
  } finally {
    await ground?.stop();
  }
};

const main = async (): Promise<number> => {
  if (options.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.list === true) {
    for (const { name, item, needs } of ATTACKS) process.stdout.write(`${name.padEnd(28)} ${needs.where.join("+").padEnd(8)} ${needs.quick === true ? "quick" : "     "} ${item}\n`);
    return 0;
  }
  const why = whyNot();
  if (why !== undefined) throw new Error(why);
  const all: Outcome[] = [];
  const each = (o: Outcome): void => {
    all.push(o);
    print(o);
  };
  const measure = new Measure();
  try {
    if (options.vm !== true || options.host === true) await onThisMachine(measure, each);
    if (options.host !== true || options.vm === true) {
      const missing = whyNoVm();
      if (missing !== undefined) say(`no VM: ${missing}`);
      else await inMachines(measure, each);
    }
  } finally {
    measure.stop();
  }
  const failed = all.filter((o) => o.faults.length > 0);
  say(`${all.length - failed.length} of ${all.length} attacks held${failed.length > 0 ? `; not: ${failed.map((o) => `${o.where} ${o.name}`).join(", ")}` : ""}${stopped ? " (interrupted)" : ""}`);
  return failed.length > 0 || stopped ? 1 : 0;
};

main().then(
  (status) => (process.exitCode = status),
  (error: unknown) => {
    say(`attack: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 2;
  },
);
