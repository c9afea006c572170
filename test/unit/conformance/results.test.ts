// Reading what the validation suite printed, and when its run counts as failed.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { behind, explanations, readOutcomes, sum, table, type Outcome, type Run } from "../../conformance/results.js";

const folder = mkdtempSync(join(tmpdir(), "results-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const outcome = (program: string, ok: number, bad: string[] = [], code = 0): Outcome => ({ program, ok, skipped: 0, bad, code, seconds: 1 });
const run = (engine: string, outcomes: Outcome[]): Run => ({ engine, version: "1", ours: engine === "kata-oci", cgroups: "v1", outcomes });

describe("results of the validation suite", () => {
  it("are read from the programs' points and exit codes", () => {
    writeFileSync(join(folder, "state.tap"), 'TAP version 13\nok 1 - a\n  ---\n  {"x": "not ok"}\n  ...\nnot ok 2 - is wrong\nok 3 - b # SKIP no such thing here\nokay\n1..3\n');
    writeFileSync(join(folder, "times"), "state 0 2\nhung 124 90\n");
    expect(readOutcomes(folder, ["state", "hung", "never"])).toEqual([
      { program: "state", ok: 2, skipped: 1, bad: ["is wrong"], code: 0, seconds: 2 },
      { program: "hung", ok: 0, skipped: 0, bad: [], code: 124, seconds: 90 },
      { program: "never", ok: 0, skipped: 0, bad: [], code: -1, seconds: 0 },
    ]);
  });

  it("are summed, and a program passes only without a failed point and with exit code 0", () => {
    expect(sum([outcome("a", 3), outcome("b", 2, ["x"]), outcome("c", 1, [], 1)])).toEqual({ ok: 6, skipped: 0, bad: 1, aborted: 1, passed: 1, seconds: 3 });
  });

  it("have each failure of ours explained or named; others' failures fail nothing", () => {
    const { text, unexplained } = explanations([
      run("kata-oci", [outcome("misc_props", 2, ["implementations that ..."]), outcome("delete", 3, ["attempting to `delete` a container that is not `stopped` MUST", "something new"]), outcome("state", 0, [], 1)]),
      run("crun", [outcome("create", 0, ["broken"])]),
    ]);
    expect(text).toMatch(/^\* `delete` \(kata-oci v1\): .+\n\* `misc_props` \(kata-oci v1\): .+$/);
    expect(unexplained).toEqual(["delete (v1): something new", "state (v1): exit code 1"]);
  });

  it("say where ours has fewer points than the other", () => {
    expect(behind([run("kata-oci", [outcome("a", 3)]), run("crun", [outcome("a", 3)])], "crun")).toEqual([]);
    expect(behind([run("kata-oci", [outcome("a", 2), outcome("b", 3)]), run("crun", [outcome("a", 4), outcome("b", 2)])], "crun")).toEqual(["cgroup v1: 5 points ok, crun has 6 (fewer in a 2/4)"]);
  });

  it("are one table, in which programs that passed everywhere are only counted", () => {
    const text = table([run("kata-oci", [outcome("a", 2, ["x"]), outcome("b", 3)]), run("crun", [outcome("a", 3), outcome("b", 3)])]);
    expect(text).toContain("| kata-oci 1, cgroup v1 | 1 of 2 | 5 | 0 | 1 | 0 | 2 |");
    expect(text).toContain("the other 1 passed everywhere");
    expect(text).toContain("| a | 2, 1 not ok | 3 |");
    expect(text).not.toContain("| b |");
  });
});
