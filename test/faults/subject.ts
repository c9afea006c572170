// The agent that a fault is tried on: its state at rest, strace on it, one case from the fault to the state after it.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lab, outcome, until } from "../helpers/lab.js";
import { cgroups, sweep } from "../soak/traces.js";
import { type Case } from "./cases.js";
import { busy, clean, Hang, limited, live, prepare } from "./pod.js";

const SETTLE_MS = 30_000;
const REST_MS = 300;
/** What a fault that stayed has interrupted goes on by its own deadline at the latest: a minute for what gets ready. */
const DEADLINE_MS = 75_000;

export type Class = "handled" | "unseen" | "died" | "hung" | "leaked" | "broken";
export interface Result { readonly one: Case; readonly ended: Class; readonly why: string }

export const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n").slice(0, 3).join(" | ").slice(0, 500);

interface Attached { trace(): string; detach(): Promise<void> }

/** strace on the running agent, until it is taken off again or the agent ends. */
export const attach = async (pid: number, words: readonly string[]): Promise<Attached> => {
  const folder = mkdtempSync(join(tmpdir(), "kata-faults-"));
  const file = join(folder, "trace");
  const child = spawn("strace", ["-p", String(pid), "-o", file, ...words], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  let trace = "";
  child.stderr.on("data", (d) => (said += String(d)));
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  await until("strace is attached", () => said.includes("attached") || child.exitCode !== null, 20_000);
  if (child.exitCode !== null) throw new Error(`strace: ${said}`);
  return {
    trace: () => trace,
    detach: async () => {
      child.kill("SIGINT");
      await ended;
      if (existsSync(file)) trace = readFileSync(file, "utf8");
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

/** The words that make a case happen. */
const injected = ({ call, at, on, errno, children }: Case): string[] => [...(children ? ["-f"] : []), "-e", `trace=${call}`, "-e", `inject=${call}:error=${errno}:when=${at}${on ? "+" : ""}`];

const alive = (lab: Lab): boolean => {
  try {
    return statSync(`/proc/${lab.agent.pid}/fd`).isDirectory() && !/^State:\s*Z/m.test(readFileSync(`/proc/${lab.agent.pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

export interface Subject { readonly lab: Lab; /** Its state when it has nothing to do. */ readonly rest: string }

/** Descriptors by what they lead to; numbers that differ each time are left out. */
const descriptors = (pid: number): string =>
  readdirSync(`/proc/${pid}/fd`).map((n) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${n}`).replace(/\d+/g, "N");
    } catch {
      return "(closed)";
    }
  }).sort().join(" ");

const stateOf = (lab: Lab): string => JSON.stringify({ ...lab.state(), mounts: undefined, places: mountsOf(lab.agent.pid), descriptors: descriptors(lab.agent.pid), deeper: lab.agent.inside("find /run/kata-containers -xdev | sort") });

/** Where something is mounted, and of which type. */
const mountsOf = (pid: number): string[] => readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n").map((line) => `${line.split(" ")[4]} ${line.split(" - ")[1]?.split(" ")[0]}`).filter((place) => place.startsWith("/run") || place.startsWith("/etc")).sort();

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

const failed = (said: ReadonlyMap<string, string>, most: number): string => [...said].filter(([, s]) => s !== "OK").map(([n, s]) => `${n}: ${s}`).join("; ").slice(0, most);

/** An agent that has had one life: what is made once and kept is there. Throws what of it did not succeed. */
export const start = async (): Promise<Subject> => {
  const lab = await Lab.start();
  try {
    prepare(lab);
    const id = lab.name();
    const bad = failed(await live(lab, id), 1000);
    if (bad !== "") throw new Error(`a life without a fault: ${bad}`);
    await clean(lab, id);
    return { lab, rest: await atRest(lab) };
  } catch (error) {
    await stop({ lab });
    throw error;
  }
};

/** Ends it, and what a container of it may have left. */
export const stop = async ({ lab }: Pick<Subject, "lab">): Promise<void> => {
  await outcome(lab.stop());
  sweep(lab.prefix);
};

const lastWords = (lab: Lab): string => lab.agent.log().split("\n").filter((l) => l.includes("fatal") || l.includes("last system")).slice(-2).join(" | ").slice(0, 800);

/** What is there and was not, and the other way round. */
const difference = (before: string, after: string): string => {
  const [a, b] = [JSON.parse(before), JSON.parse(after)] as Record<string, unknown>[];
  const words = (value: unknown): string[] => (Array.isArray(value) ? (value as string[]) : String(value).split(/[\s]+/));
  const minus = (from: string[], what: string[]): string[] => what.reduce((left, word) => (left.includes(word) ? left.filter((_, i) => i !== left.indexOf(word)) : left), from);
  return Object.keys(a ?? {}).filter((key) => JSON.stringify(a?.[key]) !== JSON.stringify(b?.[key])).map((key) => {
    const [was, is] = [words(a?.[key]), words(b?.[key])];
    return `${key}: more: ${minus(is, was).join(" ")} less: ${minus(was, is).join(" ")}`;
  }).join("; ");
};

/** A life with a fault on this agent. */
export const run = async ({ lab, rest }: Subject, one: Case): Promise<Result> => {
  const result = (ended: Class, why = ""): Result => ({ one, ended, why });
  const id = lab.name();
  const traced = await attach(lab.agent.pid, injected(one));
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
  if (!alive(lab)) return result("died", lastWords(lab));
  if (hang !== "" && !one.on) return result("hung", hang);
  try {
    await clean(lab, id, one.on ? DEADLINE_MS : undefined);
  } catch (error) {
    return result("hung", firstLine(error));
  }
  if (!traced.trace().includes("(INJECTED)")) return result("unseen");
  try {
    await until("as before", () => stateOf(lab) === rest, SETTLE_MS);
  } catch {
    return result("leaked", `${difference(rest, stateOf(lab))}; failed: ${failed(said, 600)}`);
  }
  const again = lab.name();
  const next = await live(lab, again).catch((error: unknown) => new Map([["the next life", firstLine(error)]]));
  await clean(lab, again).catch((error: unknown) => next.set("its removal", firstLine(error)));
  const bad = failed(next, 500);
  if (bad !== "") return result("broken", `the next life: ${bad}; failed before: ${failed(said, 300)}`);
  return result("handled", failed(said, 300));
};

/** A process that stays in the agent's namespaces: what they hold can be seen when the agent has ended. */
const keeper = async (lab: Lab): Promise<{ pid: number; end(): Promise<void> }> => {
  const child = spawn("nsenter", ["-t", String(lab.agent.pid), "-m", "-n", "sh", "-c", "echo there; exec sleep 1000"], { stdio: ["ignore", "pipe", "ignore"] });
  const gone = new Promise<void>((done) => child.once("close", () => done()));
  await new Promise((done) => child.stdout.once("data", done));
  return {
    pid: child.pid as number,
    end: async () => {
      child.kill("SIGKILL");
      await gone;
    },
  };
};

const END_MS = 60_000;

/** The end of a sandbox with a fault, on an agent of its own: it is answered, at the latest when it is asked for again; nothing stays, and the agent ends. `watch` traces only. */
export const runEnd = async (one: Case | undefined, watch: (trace: string) => void = () => undefined): Promise<Pick<Result, "ended" | "why">> => {
  const lab = await Lab.start();
  prepare(lab);
  const kept = await keeper(lab);
  try {
    const id = lab.name();
    const before = mountsOf(kept.pid).filter((place) => !place.startsWith("/run/kata-containers/sandbox"));
    await busy(lab, id);
    const client = await lab.another();
    const traced = await attach(lab.agent.pid, one === undefined ? ["-f"] : injected(one));
    let said = "";
    try {
      said = await limited("DestroySandbox", client.destroySandbox({}), END_MS);
      if (said === "OK") await until("the agent has ended", () => !alive(lab));
    } catch (error) {
      if (one?.on !== true) return { ended: "hung", why: firstLine(error) };
    } finally {
      await traced.detach();
      watch(traced.trace());
      client.close();
    }
    if (one !== undefined && !traced.trace().includes("(INJECTED)")) return { ended: "unseen", why: "" };
    let second = "OK";
    if (said !== "OK") second = await limited("DestroySandbox again", lab.another().then((again) => again.destroySandbox({}).finally(() => again.close())), END_MS).catch(firstLine);
    try {
      await until("the agent has ended", () => !alive(lab)); // it may do so although its first answer was lost
    } catch (error) {
      return { ended: second === "OK" ? "hung" : "broken", why: `${said}; again: ${second}; ${firstLine(error)}` };
    }
    try {
      await until("its last line", () => lab.agent.log().includes("shutdown complete"), 2000);
    } catch {
      return { ended: "died", why: lastWords(lab) || `${said}; again: ${second}` };
    }
    const left = (): string[] => {
      try {
        const folders = readdirSync(`/proc/${kept.pid}/root/run/kata-containers`).filter((name) => name.startsWith(lab.prefix));
        return [...mountsOf(kept.pid).filter((place) => !before.includes(place)), ...folders, ...cgroups(lab.prefix)];
      } catch (error) {
        return [firstLine(error)]; // a helper that the agent has left is still at work
      }
    };
    return await until("nothing is left", () => left().length === 0, SETTLE_MS).then(() => ({ ended: "handled", why: said === "OK" ? "" : said }), () => ({ ended: "leaked", why: `${left().join(" ")}; failed: ${said}` }));
  } finally {
    await kept.end();
    await stop({ lab });
  }
};
