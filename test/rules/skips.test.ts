// A test that cannot run says why in its title, and fails where everything is to run: only test/helpers/suite.ts skips.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { projectRoot } from "../../tools/places.js";
import { allowedSkips, skip } from "../helpers/suite.js";

const files = readdirSync(join(projectRoot, "test"), { recursive: true, withFileTypes: true }).filter((e) => e.isFile() && e.name.endsWith(".ts")).map((e) => relative(projectRoot, join(e.parentPath, e.name)));
const OWN = ["test/helpers/suite.ts", "test/rules/skips.test.ts"];

describe("tests", () => {
  it.each(["skipIf", "runIf", ".skip(", "({ skip })", "console.warn(", '"which"'])("do not skip by themselves: %s", (word) => {
    const wrong = files.filter((file) => file.endsWith(".test.ts") && !OWN.includes(file) && readFileSync(join(projectRoot, file), "utf8").includes(word));
    expect(wrong).toEqual([]);
  });
  it.each(files.filter((file) => /^test\/(host|vm|helpers|fallbacks)\//.test(file)))("of %s have at most 400 lines", (file) => {
    expect(readFileSync(join(projectRoot, file), "utf8").split("\n").length - 1).toBeLessThanOrEqual(400);
  });
  it("may be skipped for reasons that are told, each once", () => {
    const skips = allowedSkips();
    expect(skips.filter(({ skip: what, because, ...rest }) => what === "" || because.length < 20 || Object.keys(rest).length > 0)).toEqual([]);
    expect(new Set(skips.map(({ skip: what }) => what)).size).toBe(skips.length);
  });
});

describe("where everything is to run", () => {
  afterEach(() => vi.unstubAllEnvs());
  const context = { skip: (why: string) => { throw new Error(`skip ${why}`); } } as never;
  it("what must not be skipped fails, and what may be does not", () => {
    vi.stubEnv("KATA_TEST_STRICT", "1");
    expect(() => skip(context, "needs a pony")).toThrow("skipped: needs a pony (KATA_TEST_STRICT=1");
    expect(() => skip(context, `${allowedSkips()[0]?.skip} or so`)).toThrow(/^skip needs/);
    vi.stubEnv("KATA_TEST_STRICT", "");
    expect(() => skip(context, "needs a pony")).toThrow("skip needs a pony");
  });
});
