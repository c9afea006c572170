// What differs between architectures is in two files of the same names: the build takes one or the other.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

/** The names in a const enum of the agent/abi file. */
function names(file: string): string[] {
  const text = readFileSync(join(import.meta.dirname, "../../agent/abi", file), "utf8").replace(/\/\/.*$/gm, "");
  const found = [...text.slice(text.indexOf("{")).matchAll(/(\w+) = \d+/g)].map((m) => m[1] as string);
  expect(found.length, file).toBeGreaterThan(100);
  expect(new Set(found).size, `${file} has a name twice`).toBe(found.length);
  return found.sort();
}

it("both architectures name the same system calls", () => {
  expect(names("nr-aarch64.ts")).toEqual(names("nr.ts"));
});
