// What a run of the validation suite gave: points of TAP (Test Anything Protocol) per program, their sums, and the table.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Outcome {
  program: string;
  ok: number;
  /** Part of `ok`: points that say they were skipped. */
  skipped: number;
  /** Text of each point that is not ok. */
  bad: string[];
  /** Exit code of the program; 124 when the time limit ended it. */
  code: number;
  seconds: number;
}

export interface Run {
  engine: string;
  version: string;
  ours: boolean;
  cgroups: "v1" | "v2";
  outcomes: Outcome[];
}

export interface Explanation {
  program: string;
  engine: string;
  cgroups?: "v1" | "v2";
  /** Beginning of the point's text; without it all of the program's failures are meant. */
  point?: string;
  reason: string;
}

const EXPLAINED = JSON.parse(readFileSync(new URL("explained.json", import.meta.url), "utf8")) as Explanation[];

/** Reads what loop.sh wrote into `folder`. A program without a line there did not run: exit code -1. */
export const readOutcomes = (folder: string, programs: readonly string[]): Outcome[] => {
  const times = new Map((existsSync(join(folder, "times")) ? readFileSync(join(folder, "times"), "utf8") : "").split("\n").map((line) => line.split(" ")).map(([name = "", code = "", seconds = ""]) => [name, { code: Number(code), seconds: Number(seconds) }]));
  return programs.map((program) => {
    const file = join(folder, `${program}.tap`);
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
    const ok = lines.filter((line) => /^ok\b/.test(line));
    return {
      program, ok: ok.length, skipped: ok.filter((line) => /# SKIP/i.test(line)).length,
      bad: lines.filter((line) => line.startsWith("not ok")).map((line) => line.replace(/^not ok \d*( - )?/, "")),
      code: times.get(program)?.code ?? -1, seconds: times.get(program)?.seconds ?? 0,
    };
  });
};

export const failed = (o: Outcome): boolean => o.bad.length > 0 || o.code !== 0;

/** The reasons that explain an outcome's failures, and what no reason covers. */
export const explain = (run: Run, o: Outcome): { reasons: string[]; unexplained: string[] } => {
  const known = EXPLAINED.filter((e) => e.program === o.program && (e.engine === run.engine || e.engine === "*") && (e.cgroups === undefined || e.cgroups === run.cgroups));
  const reasons = new Set<string>();
  const unexplained: string[] = [];
  const all = [...o.bad, ...(o.code !== 0 ? [o.code === 124 ? "ended by the time limit" : `exit code ${o.code}`] : [])];
  for (const text of all) {
    const why = known.find((e) => e.point === undefined || text.startsWith(e.point));
    if (why === undefined) unexplained.push(text);
    else reasons.add(why.reason);
  }
  return { reasons: [...reasons], unexplained };
};

export interface Sum { ok: number; skipped: number; bad: number; aborted: number; passed: number; seconds: number }

export const sum = (outcomes: readonly Outcome[]): Sum => ({
  ok: outcomes.reduce((n, o) => n + o.ok, 0), skipped: outcomes.reduce((n, o) => n + o.skipped, 0), bad: outcomes.reduce((n, o) => n + o.bad.length, 0),
  aborted: outcomes.filter((o) => o.code !== 0).length, passed: outcomes.filter((o) => !failed(o)).length, seconds: outcomes.reduce((n, o) => n + o.seconds, 0),
});

const cell = (o: Outcome | undefined): string =>
  o === undefined ? "–" : [o.ok > 0 || !failed(o) ? `${o.ok}` : "0", ...(o.bad.length > 0 ? [`${o.bad.length} not ok`] : []), ...(o.code === 124 ? ["time limit"] : o.code !== 0 ? [`exit ${o.code}`] : [])].join(", ");

/** All runs beside each other, in Markdown: a line of sums for each, then one line for each program that did not pass everywhere. */
export const table = (runs: readonly Run[]): string => {
  const head = runs.map((r) => `${r.engine} ${r.version}, cgroup ${r.cgroups}`);
  const out = ["| run | programs passed | points ok | of them skipped | not ok | programs aborting | seconds |", "|---|---|---|---|---|---|---|"];
  for (const [i, r] of runs.entries()) {
    const s = sum(r.outcomes);
    out.push(`| ${head[i]} | ${s.passed} of ${r.outcomes.length} | ${s.ok} | ${s.skipped} | ${s.bad} | ${s.aborted} | ${s.seconds} |`);
  }
  const programs = [...new Set(runs.flatMap((r) => r.outcomes.map((o) => o.program)))].sort();
  const of = (r: Run, program: string): Outcome | undefined => r.outcomes.find((o) => o.program === program);
  const differ = (program: string): boolean => runs.some((r) => { const o = of(r, program); return o !== undefined && failed(o); }) || new Set(runs.map((r) => of(r, program)?.ok)).size > 1;
  out.push("", `Points ok of the programs in which the runs differ or something failed; the other ${programs.filter((p) => !differ(p)).length} passed everywhere with the same points:`, "");
  out.push(`| program | ${head.join(" | ")} |`, `|---|${head.map(() => "---").join("|")}|`);
  for (const program of programs.filter(differ)) out.push(`| ${program} | ${runs.map((r) => cell(of(r, program))).join(" | ")} |`);
  return out.join("\n");
};

/** Why programs failed, in Markdown, and the failures of `ours` that nobody has explained. */
export const explanations = (runs: readonly Run[]): { text: string; unexplained: string[] } => {
  const lines = new Map<string, Set<string>>();
  const unexplained: string[] = [];
  for (const run of runs) {
    for (const o of run.outcomes.filter(failed)) {
      const { reasons, unexplained: rest } = explain(run, o);
      for (const reason of reasons) {
        const key = `${o.program}\u0000${reason}`;
        lines.set(key, (lines.get(key) ?? new Set()).add(`${run.engine} ${run.cgroups}`));
      }
      if (run.ours) for (const text of rest) unexplained.push(`${o.program} (${run.cgroups}): ${text}`);
    }
  }
  return { text: [...lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, who]) => `* \`${key.split("\u0000")[0]}\` (${[...who].join(", ")}): ${key.split("\u0000")[1]}`).join("\n"), unexplained };
};

/** Where ours has fewer points than the reference engine on the same kind of cgroups. */
export const behind = (runs: readonly Run[], reference: string): string[] =>
  runs.filter((r) => r.ours).flatMap((ours) => {
    const other = runs.find((r) => r.engine === reference && r.cgroups === ours.cgroups);
    if (other === undefined || sum(ours.outcomes).ok >= sum(other.outcomes).ok) return [];
    const where = ours.outcomes.filter((o) => o.ok < (other.outcomes.find((x) => x.program === o.program)?.ok ?? 0)).map((o) => `${o.program} ${o.ok}/${other.outcomes.find((x) => x.program === o.program)?.ok ?? 0}`);
    return [`cgroup ${ours.cgroups}: ${sum(ours.outcomes).ok} points ok, ${reference} has ${sum(other.outcomes).ok} (fewer in ${where.join(", ")})`];
  });
