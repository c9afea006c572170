// `make faults`: a pod's life natively, with one system call of the agent failing each time (strace -e inject). The agent must answer,
// go on, and leave nothing; afterwards a life without a fault must succeed on the same agent. Ends with 1 when one did not hold.
//   ONLY=CALL:NUMBER[+]:ERRNO[:f][:end],... these cases   FULL=1 all of them   MINUTES=10   PART=1/2 every second one   SKIP=n not the first ones
//   --docs writes docs/faults.md   --results FILE keeps what was found, --from FILE,... writes docs/faults.md from such
import { readFileSync, writeFileSync } from "node:fs";
import { whyNot } from "../helpers/private-agent.js";
import { type Case, caseOf, casesOf, counted, lastingOf, nameOf } from "./cases.js";
import { clean, live } from "./pod.js";
import { attach, firstLine, type Class, type Result, run, runEnd, start, stop, type Subject } from "./subject.js";
import { docs, table } from "./table.js";

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const FULL = process.env["FULL"] === "1";
const MINUTES = Number(process.env["MINUTES"] ?? (FULL ? "600" : "30"));

/** The most that one of these processes made each call. */
const most = (every: readonly ReadonlyMap<string, number>[]): Map<string, number> => {
  const all = new Map<string, number>();
  for (const counts of every) for (const [call, n] of counts) all.set(call, Math.max(all.get(call) ?? 0, n));
  return all;
};

/** How often the agent itself made each call, who is traced first, and the most that one of its children did. */
const bothOf = (trace: string): [own: Map<string, number>, children: Map<string, number>] => {
  const [own = new Map<string, number>(), ...others] = counted(trace).values();
  return [own, most(others)];
};

/** By turns, so that a run that is cut short has seen all kinds. */
const mixed = (lists: readonly (readonly Case[])[]): Case[] =>
  Array.from({ length: Math.max(...lists.map((list) => list.length)) }, (_, i) => lists.map((list) => list[i])).flat().filter((c): c is Case => c !== undefined);

/** All cases there are, from a life and an end that are only traced. */
const allCases = async (): Promise<Case[]> => {
  const subject = await start();
  const { lab } = subject;
  const lists: Case[][] = [];
  try {
    const id = lab.name();
    const traced = await attach(lab.agent.pid, ["-f"]);
    await live(lab, id);
    await traced.detach();
    await clean(lab, id);
    const [own, children] = bothOf(traced.trace());
    lists.push(casesOf(own, { children: false, end: false }, FULL), casesOf(children, { children: true, end: false }, FULL), lastingOf(own, { children: false, end: false }), lastingOf(children, { children: true, end: false }));
  } finally {
    await stop(subject);
  }
  await runEnd(undefined, (trace) => {
    const [own, children] = bothOf(trace);
    lists.push(casesOf(own, { children: false, end: true }, FULL), casesOf(children, { children: true, end: true }, FULL));
  });
  const [a, b, c, d, e, f] = lists.map((list) => list.length);
  say(`${a} faults of the agent itself, ${b} with its children, ${c} and ${d} that stay, ${e} and ${f} at the sandbox's end${FULL ? "" : `; ${MINUTES} minutes of them (FULL=1: all)`}`);
  return mixed(lists);
};

/** Every n-th case, without the first ones that an earlier run has had. */
const partOf = (cases: readonly Case[]): Case[] => {
  const [which = 1, of = 1] = (process.env["PART"] ?? "1/1").split("/").map(Number);
  return cases.filter((_, i) => i % of === which - 1).slice(Number(process.env["SKIP"] ?? "0"));
};

const option = (name: string): string | undefined => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};

const BAD: readonly Class[] = ["died", "hung", "leaked", "broken"];

const runAll = async (cases: readonly Case[], told: boolean, stopped: () => boolean): Promise<Result[]> => {
  const results: Result[] = [];
  const end = performance.now() + MINUTES * 60_000;
  let subject: Subject | undefined;
  try {
    for (const one of cases) {
      if (stopped() || (!told && performance.now() > end)) break;
      const unable = (error: unknown): Result => ({ one, ended: "broken", why: firstLine(error) });
      let result: Result;
      if (one.end) result = await runEnd(one).then((found): Result => ({ one, ...found }), unable);
      else {
        subject ??= await start();
        result = await run(subject, one).catch(unable);
      }
      results.push(result);
      if (BAD.includes(result.ended) || told) say(`${result.ended}: make faults ONLY=${nameOf(one)}: ${result.why}`);
      else if (results.length % 50 === 0) say(`${results.length} of ${cases.length}`);
      if (BAD.includes(result.ended) && subject !== undefined && !one.end) {
        await stop(subject);
        subject = undefined;
      }
    }
  } finally {
    if (subject !== undefined) await stop(subject);
  }
  return results;
};

const main = async (): Promise<number> => {
  const from = option("--from");
  if (from !== undefined) {
    const all = new Map(from.split(",").flatMap((file) => JSON.parse(readFileSync(file, "utf8")) as Result[]).map((result) => [nameOf(result.one), result])); // the last word on each
    writeFileSync("docs/faults.md", docs([...all.values()]));
    return 0;
  }
  const why = whyNot();
  if (why !== undefined) throw new Error(why);
  const only = process.env["ONLY"];
  let stopped = false;
  process.once("SIGINT", () => (stopped = true)).once("SIGTERM", () => (stopped = true));
  const cases = only === undefined ? partOf(await allCases()) : only.split(",").map(caseOf);
  const results = await runAll(cases, only !== undefined, () => stopped);
  process.stdout.write(`${table(results)}\n`);
  const bad = results.filter(({ ended }) => BAD.includes(ended));
  say(`${results.length} of ${cases.length} cases run, ${bad.length} not handled${stopped ? " (interrupted)" : ""}`);
  const file = option("--results");
  if (file !== undefined) writeFileSync(file, JSON.stringify(results));
  if (process.argv.includes("--docs")) writeFileSync("docs/faults.md", docs(results));
  return bad.length > 0 || stopped ? 1 : 0;
};

main().then(
  (status) => (process.exitCode = status),
  (error: unknown) => {
    say(`faults: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 2;
  },
);
