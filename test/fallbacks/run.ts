// Runs host tests with one fallback forced: the build with sanitizers, which alone knows faults, in place of the binary that is shipped.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { distFile, projectRoot } from "../../tools/places.js";
import type { Fallback } from "./list.js";

interface Report {
  readonly testResults: readonly { readonly name: string; readonly message: string; readonly assertionResults: readonly { readonly fullName: string; readonly status: string; readonly failureMessages: readonly string[] }[] }[];
}

export interface Outcome {
  readonly passed: number;
  /** Titles of tests that failed, each with the first line of why. */
  readonly failed: readonly string[];
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const firstLine = (text: string): string => (text.split("\n")[0] as string).slice(0, 300);

/** Runs a fallback's tests, or only its short one. Throws when vitest itself says nothing. */
export const run = ({ name, faults, tests, without, short }: Fallback, only: boolean): Outcome => {
  const folder = mkdtempSync(join(tmpdir(), "kata-fallbacks-"));
  const report = join(folder, "report.json");
  const files = (only ? tests.slice(0, 1) : tests).map((file) => `test/host/${file}`);
  const titles = only && short !== undefined ? ["-t", escaped(short)] : without === undefined ? [] : ["-t", `^(?!.*(?:${without.titles})).*$`];
  try {
    const { stderr } = spawnSync("node_modules/.bin/vitest", ["run", "--project", "host", ...files, ...titles, "--reporter=json", `--outputFile=${report}`], {
      cwd: projectRoot, encoding: "utf8", env: { ...process.env, KATA_AGENT: distFile("kata-agent.debug"), KATA_FAULTS: faults, KATA_TEST_STRICT: "" },
    });
    let results: Report["testResults"];
    try {
      results = (JSON.parse(readFileSync(report, "utf8")) as Report).testResults;
    } catch {
      throw new Error(`${name}: vitest has told nothing: ${stderr}`);
    }
    const all = results.flatMap(({ assertionResults }) => assertionResults);
    const whole = results.filter(({ message }) => message !== "").map((file) => `${file.name}: ${firstLine(file.message)}`);
    return {
      passed: all.filter(({ status }) => status === "passed").length,
      failed: [...whole, ...all.filter(({ status }) => status === "failed").map((test) => `${test.fullName}: ${firstLine(test.failureMessages[0] ?? "")}`)],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
