// The list with which a run of the tests ends: suites and tests that were left out, each once.
import { describe, expect, it } from "vitest";
import { leftOut } from "../../helpers/left-out.js";

describe("what was left out", () => {
  it("is a line for each suite that could not run, and for each single test", () => {
    const suite = "a VM (skipped: QEMU is not installed)";
    expect(leftOut([
      { file: "test/vm/a.test.ts", suite, name: `${suite} > one` }, { file: "test/vm/a.test.ts", suite, name: `${suite} > two` },
      { file: "test/vm/b.test.ts", suite: "b", name: "b > shares (skipped: no 9p)" },
    ])).toEqual(["test/vm/a.test.ts: a VM (skipped: QEMU is not installed): 2 tests", "test/vm/b.test.ts: b > shares (skipped: no 9p)"]);
  });
});
