// `make conformance`: other people's validation suite against our engine and the newest crun of Debian, on cgroup v1 (this
// machine) and v2 (a VM with our kernel); prints the table, explains each failure, keeps both in the docs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { wholeProcess } from "../../ctl/lifetime.js";
import { projectRoot } from "../../tools/places.js";
import { engineAt, newestCrun, ourEngine, type Engine } from "./engines.js";
import { runInGuest, v2Missing } from "./guest.js";
import { runOnHost, v1Missing } from "./host.js";
import { behind, explain, explanations, table, type Run } from "./results.js";
import { validationSuite } from "./suite.js";

const USAGE = `usage: conformance [--v1] [--v2] [--engine PATH]... [--without-crun] [--only NAME]... [--json FILE] [--keep FOLDER] [--docs]
  --v1, --v2       only this kind of cgroups (default: both)
  --engine PATH    a further engine to compare with; may be given again
  --only NAME      only this program; may be given again
  --json FILE      write all results there
  --keep FOLDER    keep what the programs printed
  --docs           write the tables into docs/conformance.md
`;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

const BEGIN = "<!-- results: written by make conformance -->";
const END = "<!-- end of results -->";

/** Puts the results between the two marks of the document. */
const writeDocs = (text: string): void => {
  const file = join(projectRoot, "docs/conformance.md");
  const old = readFileSync(file, "utf8");
  const begin = old.indexOf(BEGIN);
  const end = old.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${file}: the marks of the results are missing`);
  writeFileSync(file, `${old.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${old.slice(end)}`);
};

const main = async (): Promise<number> => {
  const { values: o } = parseArgs({
    options: {
      v1: { type: "boolean" }, v2: { type: "boolean" }, engine: { type: "string", multiple: true }, "without-crun": { type: "boolean" }, only: { type: "string", multiple: true },
      json: { type: "string" }, keep: { type: "string" }, docs: { type: "boolean" }, help: { type: "boolean" },
    },
  });
  if (o.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const both = o.v1 !== true && o.v2 !== true;
  const suite = validationSuite(say);
  const unknown = o.only?.find((name) => !suite.programs.includes(name));
  if (unknown !== undefined) throw new Error(`--only: the suite has no program ${unknown}; it has ${suite.programs.join(", ")}`);
  const programs = o.only ?? suite.programs;
  const place = mkdtempSync(join(tmpdir(), "conformance-engine-"));
  const runs: Run[] = [];
  try {
    const engines: Engine[] = [ourEngine(place), ...(o["without-crun"] === true ? [] : [newestCrun(say)]), ...(o.engine ?? []).map((path) => engineAt(resolve(path)))];
    for (const [name, wanted, missing] of [["v1", both || o.v1 === true, v1Missing()], ["v2", both || o.v2 === true, v2Missing()]] as const) {
      if (!wanted) continue;
      if (missing !== undefined) {
        say(`cgroup ${name}: left out: ${missing}`);
        continue;
      }
      const some = async (which: readonly Engine[], what: readonly string[]): Promise<Run[]> => {
        if (name === "v2") return runInGuest(suite, which, what, say, o.keep);
        return which.map((engine) => {
          say(`cgroup v1, ${engine.name} ${engine.version}`);
          return runOnHost(suite, engine, what, o.keep);
        });
      };
      for (const run of await some(engines, programs)) {
        // some programs race with the container's own start: a signal may come before its shell has set the trap
        const again = run.outcomes.filter((outcome) => explain(run, outcome).unexplained.length > 0).map(({ program }) => program);
        if (again.length > 0) say(`${run.engine}, cgroup ${name}: once more: ${again.join(", ")}`);
        const [second] = again.length > 0 ? await some(engines.filter((e) => e.name === run.engine), again) : [];
        runs.push(second === undefined ? run : { ...run, outcomes: run.outcomes.map((outcome) => second.outcomes.find((s) => s.program === outcome.program && s.ok >= outcome.ok) ?? outcome) });
      }
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
  if (o.json !== undefined) writeFileSync(o.json, `${JSON.stringify(runs, null, 1)}\n`);
  const { text, unexplained } = explanations(runs);
  const results = `${table(runs)}\n\nWhy programs fail:\n\n${text}`;
  process.stdout.write(`${results}\n`);
  if (o.docs === true) writeDocs(results);
  const less = behind(runs, "crun");
  for (const line of unexplained) say(`not explained: ${line}`);
  for (const line of less) say(`fewer than crun: ${line}`);
  return runs.length === 0 || unexplained.length > 0 || less.length > 0 ? 1 : 0;
};

wholeProcess(main, { failed: 1, say, text: (error) => `conformance: ${error instanceof Error ? error.message : String(error)}` });
