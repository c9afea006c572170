// `make fallbacks`: each way that only another kernel, file system or caller leads to is forced by a fault, and the host tests that it
// touches must pass. Ends with 1 when one does not.   ONLY=NAME,... these   --docs writes docs/fallbacks.md
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../tools/places.js";
import { FALLBACKS, NEEDED, type Fallback } from "./list.js";
import { run, type Outcome } from "./run.js";

type Row = readonly [Fallback, Outcome | undefined];

const cell = (text: string): string => text.replaceAll("|", "\\|");

const verdict = (outcome: Outcome | undefined): string => {
  if (outcome === undefined) return "not run";
  const { passed, failed } = outcome;
  if (passed + failed.length === 0) return "**none ran**";
  return failed.length === 0 ? `${passed} pass` : `**${failed.length} fail**, ${passed} pass`;
};

const row = ([{ faults, where, instead, file, tests, without }, outcome]: Row): string =>
  `| \`${cell(faults)}\` | ${where} | ${instead} (${file}) | ${tests.map((t) => t.replace(/\.test$/, "")).join(", ")}${without === undefined ? "" : `; without \`${cell(without.titles)}\`: ${without.because}`} | ${verdict(outcome)} |`;

const page = (rows: readonly Row[]): string => `# Fallbacks

What the agent does otherwise where a kernel, a file system or a caller's filter has not what it asks for first. \`make fallbacks\` forces each
by faults from outside and runs the host tests that it touches (\`ONLY=NAME\` one of them, by its name in \`test/fallbacks/list.ts\`); three of them
are part of \`make test\`. \`make host FAULTS=...\` runs all host tests with any faults.

Faults are known to the build with sanitizers alone (\`make debug\`); the binary that is shipped has nothing of them. \`KATA_FAULTS\` in the
environment is a list with commas of

    NAME:ERRNO                 every call of that name is answered by the errno, and not made
    NAME[TEXT]:ERRNO           those that have TEXT in one of their texts (a path, a type)
    NAME[=TEXT]:ERRNO          those that have it as one of their texts
    NAME[ARGUMENT&BITS]:ERRNO  those whose argument, counted from 0, has all these bits; of a structure its first number
    ...@N, ...@N+              the N-th of these calls alone, or from the N-th on

A wrong word ends the program with status 2 and says which. A child goes on with the faults and the counts that its parent had when it was
cloned; a program that is executed reads the environment again. What the stub does (agent/native/stub.c) is not reached, nor what libseccomp
and the interpreter's heap do. When the agent tells of a fault of its own, the last system calls are told by their names in this build.

| faults | where one meets it | what is done instead | host tests | last run |
|---|---|---|---|---|
${rows.map(row).join("\n")}

What there is no other way for. Without it a call fails with its name, and nothing of the agent's is within a container's reach all the same:

| call | there since Linux |
|---|---|
${NEEDED.map(([call, since]) => `| ${call} | ${since} |`).join("\n")}

The interpreter's heap asks for its first pages at once (\`MADV_POPULATE_WRITE\`, Linux 5.14); where that is refused they come one by one.
`;

const only = process.env["ONLY"]?.split(",");
const chosen = FALLBACKS.filter(({ name }) => only === undefined || only.includes(name));
const outcomes = new Map<Fallback, Outcome>();
for (const fallback of chosen) {
  const outcome = run(fallback, false);
  outcomes.set(fallback, outcome);
  process.stderr.write(`${fallback.name}: ${outcome.passed} pass, ${outcome.failed.length} fail\n${outcome.failed.map((line) => `  ${line}\n`).join("")}`);
  // after each: a run that is cut short has told what it has seen
  if (process.argv.includes("--docs") && only === undefined) writeFileSync(join(projectRoot, "docs/fallbacks.md"), page(FALLBACKS.map((one) => [one, outcomes.get(one)])));
}
if (chosen.length === 0) process.stderr.write(`there is none of these names; there are: ${FALLBACKS.map(({ name }) => name).join(", ")}\n`);
process.exitCode = chosen.length === 0 || [...outcomes.values()].some(({ passed, failed }) => failed.length > 0 || passed === 0) ? 1 : 0;
