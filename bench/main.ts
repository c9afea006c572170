// The bench's command line: what to measure, against what, and what to say about it. Prints a table, writes dist/bench.json (one
// flat object of numbers) and ends with 1 when a budget is missed. It measures nothing itself.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { wholeProcess } from "../ctl/lifetime.js";
import { distFile, distFolder, projectRoot } from "../tools/places.js";
import { judge, readBudgets } from "./budget.js";
import { measureFirstRun } from "./first-run.js";
import { EXEC_KEY, RUN_KEY } from "./command-lines.js";
import { groupsOf, KEYS, type Group, type Key, type Results } from "./keys.js";
import { measureNative } from "./native-run.js";
import { nativeTools } from "./native-tools.js";
import { measureSizes } from "./sizes.js";
import { table } from "./table.js";
import { measureVm } from "./vm-run.js";

interface Options {
  readonly only?: string;
  readonly rounds: string;
  readonly budget: boolean;
  readonly dist: string;
  readonly agent?: string;
  readonly output?: string;
}

const call = promisify(execFile);
const NATIVE: readonly Group[] = ["start", "run", "exec", "check", "stdout", "stdin", "memory", "crowd"];
const VM: readonly Group[] = ["vm-memory", "vm", "instructions"];

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** The peers that are installed, and a line about each. */
const peers = async (failed: (keys: readonly Key[], why: string) => void): Promise<Partial<Record<"crun" | "runc", string>>> => {
  const found: Partial<Record<"crun" | "runc", string>> = {};
  for (const name of ["crun", "runc"] as const) {
    try {
      const path = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"].map((dir) => join(dir, name)).find((file) => existsSync(file));
      if (path === undefined) throw new Error(`${name} is not installed: apt-get install ${name}`);
      say(`peer: ${(await call(path, ["--version"])).stdout.split("\n")[0] ?? ""} (${path})`);
      found[name] = path;
    } catch (error) {
      failed([RUN_KEY[name], EXEC_KEY[name]], error instanceof Error ? error.message : String(error));
    }
  }
  return found;
};

const bench = async (options: Options): Promise<number> => {
  const groups = groupsOf(options.only);
  const budgets = readBudgets(JSON.parse(readFileSync(join(projectRoot, "bench/budgets.json"), "utf8")));
  const rounds = Number(options.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError(`--rounds "${options.rounds}": a whole number from 1`);
  const dist = resolve(options.dist);
  const agent = resolve(options.agent ?? join(dist, "kata-agent"));
  const why: Partial<Record<Key, string>> = {};
  const failed = (keys: readonly Key[], text: string): void => {
    for (const key of keys) if (groups.has(KEYS[key].group)) why[key] ??= text;
  };
  const keysOf = (some: readonly Group[]): Key[] => (Object.keys(KEYS) as Key[]).filter((key) => some.includes(KEYS[key].group));
  const results: Results = {};
  const tools = await nativeTools();
  if (groups.has("sizes")) Object.assign(results, await measureSizes(dist, failed));
  const progress = (text: string): void => say(`measuring: ${text}`);
  if (NATIVE.some((g) => groups.has(g))) {
    if (process.getuid?.() !== 0) failed(keysOf(NATIVE), "needs root");
    else if (!existsSync(agent)) failed(keysOf(NATIVE), `${agent} is not there: make agent`);
    else Object.assign(results, await measureNative({ agent, tools, groups, rounds, progress, failed, runtimes: { oci: agent, ...(await peers(failed)) } }));
  }
  if (VM.some((g) => groups.has(g))) Object.assign(results, await measureVm({ dist, tools, groups, progress, failed }));
  if (groups.has("first-run")) Object.assign(results, await measureFirstRun(dist, progress, failed));
  for (const key of Object.keys(results) as Key[]) {
    delete why[key];
    if (!groups.has(KEYS[key].group)) delete results[key];
  }
  const verdicts = judge(results, budgets).filter((v) => groups.has(KEYS[v.key].group));
  const output = resolve(options.output ?? distFile("bench.json"));
  mkdirSync(dirname(output), { recursive: true });
  const ordered = Object.fromEntries((Object.keys(KEYS) as Key[]).filter((key) => results[key] !== undefined).map((key) => [key, results[key]]));
  writeFileSync(output, `${JSON.stringify(ordered, null, 2)}\n`);
  process.stdout.write(`${table(results, verdicts, why).join("\n")}\n`);
  const missed = verdicts.filter((v) => v.state === "missed");
  const open = verdicts.filter((v) => v.state === "open");
  say(`${verdicts.length - missed.length - open.length} of ${verdicts.length} budgets met, ${missed.length} missed, ${open.length} open; results in ${output}`);
  return options.budget && missed.length > 0 ? 1 : 0;
};

let status = 0;
const command = new Command("bench")
  .description("measure the agent, its peers and their floors; hold the numbers against bench/budgets.json")
  .option("--only <names>", "groups or keys, parted by commas")
  .option("--rounds <count>", "samples of each kind", "60")
  .option("--no-budget", "end with 0 even when a budget is missed")
  .option("--dist <folder>", "where agent, kernel and initrd are", distFolder)
  .option("--agent <file>", "another agent binary for the native measurements")
  .option("--output <file>", "where to write the results (default dist/bench.json)")
  .action(async (options: Options) => {
    status = await bench(options);
  });

wholeProcess(() => command.parseAsync().then(() => status), { failed: 2, say, text: (error) => `bench: ${error instanceof Error ? error.message : String(error)}` });
