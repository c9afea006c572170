// Some of the fallbacks of `make fallbacks`, which has them all, each with one test that must pass while it is forced.
import { expect, it } from "vitest";
import { FALLBACKS } from "../fallbacks/list.js";
import { run } from "../fallbacks/run.js";
import { suite } from "../helpers/suite.js";

suite("a way that only another kernel leads to", { needs: ["sanitised agent"] }, () => {
  it.each(FALLBACKS.filter(({ short }) => short !== undefined).map((fallback) => [fallback.name, fallback] as const))("holds: %s", (_, fallback) => {
    const { passed, failed } = run(fallback, true);
    expect(failed).toEqual([]);
    expect(passed).toBeGreaterThan(0);
  }, 300_000);
});
