// `make faults`: a pod's life natively, with one system call of the agent failing each time (strace -e inject). The agent must answer,
// go on, and leave nothing; afterwards a life without a fault must succeed on the same agent. Ends with 1 when one did not hold.
//   ONLY=CALL:NUMBER:ERRNO[:f] one case   FULL=1 all of them   MINUTES=10   --docs writes docs/faults.md
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lab, outcome, until } from "../helpers/lab.js";
import { whyNot } from "../helpers/private-agent.js";
import { sweep } from "../soak/traces.js";
import { casesOf, caseOf, counted, nameOf, type Case } from "./cases.js";
import { clean, Hang, live } from "./pod.js";

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const FULL = process.env["FULL"] === "1";
const MINUTES = Number(process.env["MINUTES"] ?? (FULL ? "600" : "10"));
const SETTLE_MS = 10_000;
const REST_MS = 300;

type Class = "handled" | "unseen" | "died" | "hung" | "leaked" | "broken";
interface Result { readonly one: Case; readonly ended: Class; readonly why: string }

const folder = mkdtempSync(join(tmpdir(), "kata-faults-"));

/** strace on the running agent; the returned function takes it off again. */
const attach = async (pid: number, words: readonly string[]): Promise<{ trace: () => string; detach: () => Promise<void> }> => {
  const file = join(folder, "trace");
  rmSync(file, { force: true });
  const child = spawn("strace", ["-p", String(pid), "-o", file, ...words], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (d) => (said += String(d)));
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  await until("strace is attached", () => said.includes("attached") || child.exitCode !== null, 20_000);
  if (child.exitCode !== null) throw new Error(`strace: ${said}`);
  return {
    trace: () => (existsSync(file) ? readFileSync(file, "utf8") : ""),
    detach: async () => {
      child.kill("SIGINT");
      await ended;
    },
  };
};

const alive = (lab: Lab): boolean => {
  try {
    return statSync(`/proc/${lab.agent.pid}/fd`).isDirectory() && !/^State:\s*Z/m.test(readFileSync(`/proc/${lab.agent.pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

interface Subject { readonly lab: Lab; /** Its state when it has nothing to do. */ readonly rest: string }

/** Descriptors by what they lead to; numbers that differ each time are left out. */
const descriptors = (pid: number): string =>
  readdirSync(`/proc/${pid}/fd`).map((n) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${n}`).replace(/\d+/g, "N");
    } catch {
      return "(closed)";
    }
  }).sort().join(" ");
const stateOf = (lab: Lab): string => JSON.stringify({ ...lab.state(), descriptors: descriptors(lab.agent.pid) });

/** The state when it has been the same for a while: closed connections and ended children are noticed a moment later. */
const atRest = async (lab: Lab): Promise<string> => {
  let [last, since] = ["", performance.now()];
  await until("the agent is at rest", () => {
    const now = stateOf(lab);
    if (now !== last) [last, since] = [now, performance.now()];
    return performance.now() - since > REST_MS;
  }, SETTLE_MS);
  return last;
};

/** An agent that has had one life: what is made once and kept is there. */
const start = async (): Promise<Subject> => {
  const lab = await Lab.start();
  const id = lab.name();
  await live(lab, id);
  await clean(lab, id);
  return { lab, rest: await atRest(lab) };
};

/** Ends it, and what a container of it may have left. */
const stop = async ({ lab }: Subject): Promise<void> => {
  await outcome(lab.stop());
  sweep(lab.prefix);
};

const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n").slice(0, 3).join(" | ").slice(0, 500);

/** One case on this agent. */
const run = async ({ lab, rest }: Subject, one: Case): Promise<Result> => {
  const result = (ended: Class, why = ""): Result => ({ one, ended, why });
  const id = lab.name();
  const traced = await attach(lab.agent.pid, [...(one.children ? ["-f"] : []), "-e", `trace=${one.call}`, "-e", `inject=${one.call}:error=${one.errno}:when=${one.at}`]);
  let said = new Map<string, string>();
  let hang = "";
  try {
    said = await live(lab, id);
  } catch (error) {
    if (!(error instanceof Hang)) throw error;
    hang = error.message;
  } finally {
    await traced.detach();
  }
  if (!alive(lab)) return result("died", lab.agent.log().split("\n").filter((l) => l.includes("fatal") || l.includes("last system")).slice(-2).join(" | ").slice(0, 800));
  if (hang !== "") return result("hung", hang);
  if (!traced.trace().includes("(INJECTED)")) return result("unseen");
  try {
    await clean(lab, id);
  } catch (error) {
    return result("hung", firstLine(error));
  }
  try {
    await until("as before", () => stateOf(lab) === rest, SETTLE_MS);
  } catch {
    return result("leaked", `${rest} before, ${stateOf(lab)} after; failed: ${[...said].filter(([, s]) => s !== "OK").map(([n, s]) => `${n}: ${s}`).join("; ").slice(0, 400)}`);
  }
  const again = lab.name();
  const next = await live(lab, again).catch((error: unknown) => new Map([["the next life", firstLine(error)]]));
  await clean(lab, again).catch(() => undefined);
  const bad = [...next].filter(([, s]) => s !== "OK");
  if (bad.length > 0) return result("broken", `the next life: ${bad.map(([n, s]) => `${n}: ${s}`).join("; ").slice(0, 500)}`);
  return result("handled", [...said].filter(([, s]) => s !== "OK").map(([n, s]) => `${n}: ${s}`).join("; ").slice(0, 300));
};

/** All cases there are, from a life that is only traced. */
const allCases = async (): Promise<Case[]> => {
  const subject = await start();
  const { lab } = subject;
  try {
    const trace = async (words: readonly string[]): Promise<string> => {
      const id = lab.name();
      const traced = await attach(lab.agent.pid, words);
      await live(lab, id);
      await traced.detach();
      await clean(lab, id);
      return traced.trace();
    };
    const own = counted(await trace([]), false).get("") ?? new Map<string, number>();
    const every = counted(await trace(["-f"]), true);
    every.delete(String(lab.agent.pid));
    const most = new Map<string, number>();
    for (const counts of every.values()) for (const [call, n] of counts) most.set(call, Math.max(most.get(call) ?? 0, n));
    const [a, b] = [casesOf(own, false, FULL), casesOf(most, true, FULL)];
    say(`${a.length} faults of the agent itself, ${b.length} with its children${FULL ? "" : `; ${MINUTES} minutes of them (FULL=1: all)`}`);
    // by turns, so that a run that is cut short has seen both
    return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [a[i], b[i]]).flat().filter((c): c is Case => c !== undefined);
  } finally {
    await stop(subject);
  }
};

/** By system call: how many runs, and how they ended. */
const table = (results: readonly Result[]): string => {
  const calls = [...new Set(results.map(({ one }) => `${one.call}${one.children ? " (children too)" : ""}`))].sort();
  const rows = calls.map((call) => {
    const own = results.filter(({ one }) => `${one.call}${one.children ? " (children too)" : ""}` === call);
    const n = (...kinds: Class[]): number => own.filter(({ ended }) => kinds.includes(ended)).length;
    return `| ${call} | ${own.length - n("unseen")} | ${n("handled")} | ${n("died")} | ${n("hung")} | ${n("leaked")} | ${n("broken")} |`;
  });
  return ["| system call | runs | handled | died | hung | leaked | next life failed |", "|---|---|---|---|---|---|---|", ...rows].join("\n");
};

const DOCS = "docs/faults.md";
const writeDocs = (results: readonly Result[]): void => {
  const good = results.filter(({ ended }) => ended === "handled").length;
  const runs = results.filter(({ ended }) => ended !== "unseen").length;
  writeFileSync(DOCS, `# Injected faults

\`make faults\` runs a pod's life by script (CopyFile, CreateContainer with a writable layer and a filter, StartContainer, streams, processes
with and without a terminal, statistics, update, pause, network, signal, RemoveContainer, a further connection) against the real agent, and
lets one system call fail each time: \`strace -e inject=CALL:error=ERRNO:when=N\`, first of the agent alone, then of its children too (each
counts for itself). A run holds when every call is answered, the agent lives, descriptors, mounts, control groups, children and folders are
what they were, and the next life, without a fault, succeeds on the same agent.

\`make faults ONLY=openat:17:EMFILE\` replays one case (\`:f\` at the end: with children), \`FULL=1\` runs all, \`MINUTES=n\` bounds the rest.
\`close\`, memory that is given back, and calls that cannot fail are left out.

The last run: ${runs} faults, ${good} handled.

${table(results)}
`);
};

const main = async (): Promise<number> => {
  const why = whyNot();
  if (why !== undefined) throw new Error(why);
  const only = process.env["ONLY"];
  const cases = only === undefined ? await allCases() : only.split(",").map(caseOf);
  const results: Result[] = [];
  const end = performance.now() + MINUTES * 60_000;
  let subject: Subject | undefined;
  let stopped = false;
  process.once("SIGINT", () => (stopped = true)).once("SIGTERM", () => (stopped = true));
  try {
    for (const one of cases) {
      if (stopped || (only === undefined && performance.now() > end)) break;
      subject ??= await start();
      const result = await run(subject, one).catch((error: unknown): Result => ({ one, ended: "broken", why: firstLine(error) }));
      results.push(result);
      const fault = !["handled", "unseen"].includes(result.ended);
      if (fault || only !== undefined) say(`${result.ended}: make faults ONLY=${nameOf(one)}: ${result.why}`);
      else if (results.length % 50 === 0) say(`${results.length} of ${cases.length}`);
      if (fault) {
        await stop(subject);
        subject = undefined;
      }
    }
  } finally {
    if (subject !== undefined) await stop(subject);
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`${table(results)}\n`);
  const bad = results.filter(({ ended }) => !["handled", "unseen"].includes(ended));
  say(`${results.length} of ${cases.length} cases run, ${bad.length} not handled${stopped ? " (interrupted)" : ""}`);
  if (process.argv.includes("--docs")) writeDocs(results);
  return bad.length > 0 || stopped ? 1 : 0;
};

main().then(
  (status) => (process.exitCode = status),
  (error: unknown) => {
    say(`faults: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 2;
  },
);
