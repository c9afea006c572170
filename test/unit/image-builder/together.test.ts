// Parts of a build that go on at the same time: one failure stops the rest, and is the one that is told.
import { describe, expect, it } from "vitest";
import type { Context } from "../../../image-builder/lib/context.js";
import { progress } from "../../../image-builder/lib/progress.js";
import { together } from "../../../image-builder/lib/together.js";
import { counting } from "../../../image-builder/steps/make-kernel.js";

const contextOf = (signal: AbortSignal): Context => ({ root: "", dist: "", cache: "", progress: progress(true), signal });
/** Ends when it is told to, as a program does that gets a signal. */
const untilStopped = ({ signal }: Context): Promise<never> => new Promise((_, reject) => {
  const stop = (): void => reject(new Error("interrupted"));
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
});

describe("parts of a build", () => {
  it("give both results", async () => {
    expect(await together(contextOf(new AbortController().signal), () => Promise.resolve(1), () => Promise.resolve("two"))).toEqual([1, "two"]);
  });

  it("stop when one fails, and tell what it said", async () => {
    let stopped = false;
    const failing = (): Promise<never> => Promise.reject(new Error("no network"));
    const other = (own: Context): Promise<never> => untilStopped(own).finally(() => (stopped = true));
    const both = contextOf(new AbortController().signal);
    await expect(together(both, other, failing)).rejects.toThrow("no network");
    expect(stopped).toBe(true);
    await expect(together(both, failing, other)).rejects.toThrow("no network");
  });

  it("stop with the build they belong to", async () => {
    const build = new AbortController();
    const work = together(contextOf(build.signal), untilStopped, untilStopped);
    build.abort();
    await expect(work).rejects.toThrow("interrupted");
    await expect(together(contextOf(build.signal), untilStopped, untilStopped)).rejects.toThrow("interrupted");
  });
});

describe("how far a compile of the kernel is", () => {
  const after = (...lines: string[]): [number, number] => {
    let seen: [number, number] = [0, 0];
    const count = counting((done, total) => (seen = [done, total]));
    lines.forEach(count);
    return seen;
  };
  it("counts what has ended, not what begins", () => {
    expect(after("  CC      init/main.o")[0]).toBe(0);
    expect(after("  CC      init/main.o", "  AR      init/built-in.a", "make[1]: Entering directory", "  CALL    scripts/x.sh")[0]).toBe(1);
  });
  it("keeps a share for the end, which one processor does alone", () => {
    const objects = Array.from({ length: 2530 }, () => "  CC      a.o");
    const [done, total] = after(...objects, "  LD      vmlinux.o");
    expect(done / total).toBeLessThan(0.95);
    expect(after(...objects, "  LD      vmlinux.o", "  LD      .tmp_vmlinux1", "  LD      .tmp_vmlinux2", "  LD      vmlinux", "  ZSTD22  arch/x86/boot/compressed/vmlinux.bin.zst", "  LD      arch/x86/boot/setup.elf")).toEqual([total, total]);
  });
});
