// Tests that need something of the machine: root, the built agent, a program, a controller. What is missing stands in the title of what is
// skipped. With KATA_TEST_STRICT=1 it fails instead, apart from what test/allowed-skips.json allows with a reason. A fixture is started
// before the tests of a suite, must be after each of them what it was before them, and is stopped behind them.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, it, type TestContext } from "vitest";
import { distFile, projectRoot } from "../../tools/places.js";
import { SANITISED, whyNot } from "./private-agent.js";

/** Why something cannot run here; undefined when it can. */
type Why = string | undefined;

const known = new Map<string, boolean>();

/** Is there a program of this name? */
export const has = (program: string): boolean => {
  const there = known.get(program) ?? spawnSync("which", [program], { stdio: "ignore" }).status === 0;
  known.set(program, there);
  return there;
};

const file = (path: string, what: string) => (): Why => (existsSync(path) ? undefined : `needs ${what}`);

const NEEDS = {
  /** Root, the binary, and namespaces to run it in. */
  agent: whyNot,
  root: (): Why => (process.getuid?.() === 0 ? undefined : "needs root"),
  "sanitised agent": (): Why => whyNot() ?? (existsSync(SANITISED) ? undefined : `needs ${SANITISED} (make debug)`),
  /** musl-gcc: for programs that run in a container with nothing in it. */
  compiler: (): Why => (has("musl-gcc") ? undefined : "needs musl-gcc"),
  fuse: file("/dev/fuse", "/dev/fuse"),
  "user namespaces": file("/proc/self/ns/user", "a kernel with user namespaces"),
  "time namespaces": file("/proc/self/timens_offsets", "a kernel with time namespaces"),
  "sample image": file(distFile("sample-image/index.json"), "dist/sample-image (make sample)"),
  numa: file("/proc/self/numa_maps", "a kernel with NUMA policies"),
  "cgroup v1": file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "controllers of cgroup version 1 in /sys/fs/cgroup"),
  "two CPUs": (): Why => (has("taskset") && spawnSync("taskset", ["-c", "1", "true"]).status === 0 ? undefined : "needs taskset and CPUs 0 and 1"),
} as const satisfies Readonly<Record<string, () => Why>>;

/** The name of a need, a program as "program:strace", or what says itself why not. */
export type Need = keyof typeof NEEDS | `program:${string}` | (() => Why);

/** A need of one place: `there`, or else the reason. */
export const when = (there: boolean, reason: string): Need => () => (there ? undefined : reason);

const whyMissing = (need: Need): Why => {
  if (typeof need === "function") return need();
  if (!need.startsWith("program:")) return NEEDS[need as keyof typeof NEEDS]();
  const program = need.slice("program:".length);
  return has(program) ? undefined : `needs ${program}`;
};

/** The reason of the first that is missing. */
const missing = (needs: readonly Need[]): Why => {
  for (const need of needs) {
    const why = whyMissing(need);
    if (why !== undefined) return why;
  }
  return undefined;
};

export interface AllowedSkip {
  /** The beginning of the reason for which something is skipped. */
  readonly skip: string;
  /** Why that may be so. */
  readonly because: string;
}

/** What may be skipped though KATA_TEST_STRICT=1 asks for everything. */
export const allowedSkips = (): readonly AllowedSkip[] => JSON.parse(readFileSync(join(projectRoot, "test/allowed-skips.json"), "utf8")) as AllowedSkip[];

const mustNotSkip = (why: string): boolean => process.env["KATA_TEST_STRICT"] === "1" && !allowedSkips().some(({ skip }) => why.startsWith(skip));

const refuse = (why: string): never => {
  throw new Error(`skipped: ${why} (KATA_TEST_STRICT=1; what may be skipped is in test/allowed-skips.json)`);
};

/** Skips the test that runs, or fails it where it must not be skipped. */
export const skip = (context: TestContext, why: string): never => (mustNotSkip(why) ? refuse(why) : context.skip(why));

type Test = (title: string, body: (context: TestContext) => unknown, timeout?: number) => void;
interface Conditional extends Test {
  each<T extends readonly unknown[]>(cases: readonly T[]): (title: string, ...rest: [body: (...args: [...T]) => unknown, timeout?: number] | [options: { timeout?: number }, body: (...args: [...T]) => unknown]) => void;
  each<T>(cases: readonly T[]): (title: string, ...rest: [body: (value: T) => unknown, timeout?: number] | [options: { timeout?: number }, body: (value: T) => unknown]) => void;
}

/** `it` for a test that needs something besides what its suite needs. */
export const having = (...needs: Need[]): Conditional => {
  const why = missing(needs);
  if (why === undefined) return it as unknown as Conditional;
  const instead = (title: string): void => {
    if (mustNotSkip(why)) it(title, () => refuse(why));
    else it.skip(`${title} (skipped: ${why})`, () => undefined);
  };
  return Object.assign(instead, { each: () => instead }) as unknown as Conditional;
};

/** What the tests of a suite share. */
export interface Fixture<T> {
  start(): T | Promise<T>;
  stop(it: T): void | Promise<void>;
  /** What has to be the same after each test; called before the first one. */
  state?(it: T): unknown;
  /** Waits until the state is what it was before, or throws what is left. */
  settled?(it: T, before: unknown): void | Promise<void>;
}

export interface SuiteOptions<T> {
  readonly needs: readonly Need[];
  readonly fixture?: Fixture<T>;
}

/** A suite of tests that need something; `use` gives a test the fixture. */
export const suite = <T = undefined>(title: string, { needs, fixture }: SuiteOptions<T>, body: (use: () => T) => void): void => {
  const why = missing(needs);
  if (why !== undefined && mustNotSkip(why)) return void describe(title, () => it("has what it needs", () => refuse(why)));
  if (why !== undefined) return void describe.skip(`${title} (skipped: ${why})`, () => body(() => refuse(why)));
  describe(title, () => {
    let shared: { readonly it: T } | undefined;
    let before: unknown;
    if (fixture !== undefined) {
      beforeAll(async () => {
        shared = { it: await fixture.start() };
        before = fixture.state?.(shared.it);
      });
      afterAll(async () => {
        if (shared !== undefined) await fixture.stop(shared.it);
      });
      afterEach(async () => {
        if (shared !== undefined) await fixture.settled?.(shared.it, before);
      });
    }
    body(() => {
      if (shared === undefined) throw new Error("there is a fixture only within tests");
      return shared.it;
    });
  });
};
