// What the moving line says of the time that is left.
import { describe, expect, it } from "vitest";
import { remaining } from "../../../image-builder/lib/progress.js";

describe("the time that is left", () => {
  it("is what the rest takes at the pace so far, from where the step began", () => {
    expect(remaining({ at: 1000, done: 0 }, 61_000, 100, 400)).toBe(", about 3 min 00 s left");
    expect(remaining({ at: 0, done: 100 }, 10_000, 200, 400)).toBe(", about 20 s left");
  });
  it.each([["a moment", 2000, 50, 100], ["too little of it", 60_000, 1, 100], ["all of it", 60_000, 100, 100], ["more than was expected", 60_000, 120, 100]])("is not told after %s", (_, now, done, total) => {
    expect(remaining({ at: 0, done: 0 }, now, done, total)).toBe("");
  });
});
