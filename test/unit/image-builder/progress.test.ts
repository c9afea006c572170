// What the moving line says: how far a step is, and how long it will still take.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { progress, remaining } from "../../../image-builder/lib/progress.js";

describe("the time that is left", () => {
  it("is what the rest takes at the pace so far, from where the step began", () => {
    expect(remaining({ at: 1000, done: 0 }, { at: 61_000, done: 100 }, 61_000, 400)).toBe(", about 3 min left");
    expect(remaining({ at: 0, done: 100 }, { at: 10_000, done: 200 }, 10_000, 400)).toBe(", about 20 s left");
  });
  it("gets less while nothing is done, and never less than nothing", () => {
    const [begun, grown] = [{ at: 0, done: 0 }, { at: 10_000, done: 50 }];
    expect(remaining(begun, grown, 14_000, 100)).toBe(", about 6 s left");
    expect(remaining(begun, grown, 25_000, 100)).toBe(", longer than expected");
  });
  it.each([["a moment", 2000, 50, 100], ["too little of it", 60_000, 1, 100], ["all of it", 60_000, 100, 100], ["more than was expected", 60_000, 120, 100]])("is not told after %s", (_, now, done, total) => {
    expect(remaining({ at: 0, done: 0 }, { at: now, done }, now, total)).toBe("");
  });
});

describe("the lines where there is no terminal", () => {
  let text: string;
  let now: number;
  const stream = { isTTY: false, write: (piece: string) => ((text += piece), true) } as unknown as NodeJS.WriteStream;
  const pass = (ms: number): void => {
    for (const end = now + ms; now < end;) {
      now += 100;
      vi.advanceTimersByTime(100);
    }
  };
  beforeEach(() => {
    [text, now] = ["", 0];
    vi.useFakeTimers();
  });
  afterEach(() => vi.useRealTimers());

  it("are few, though two steps go on at once", () => {
    const shown = progress(false, stream, () => now);
    for (let i = 1; i <= 100; i++) {
      shown.step("compiling", i, 100);
      shown.step("fetching, MB", i, 100);
      pass(100);
    }
    shown.end();
    expect(text).toBe("compiling 1/100 (1 %), 0 s\nfetching, MB 1/100 (1 %), 0 s\n");
  });

  it("come now and then while one step gives no sign", () => {
    const shown = progress(false, stream, () => now);
    shown.step("compiling", 0, 100);
    pass(10_000);
    shown.step("compiling", 20, 100);
    pass(20_000);
    shown.end();
    pass(60_000);
    expect(text).toBe("compiling 0/100 (0 %), 0 s\ncompiling 20/100 (20 %), 15 s, about 35 s left\ncompiling 20/100 (20 %), 30 s, about 20 s left\n");
  });
});
