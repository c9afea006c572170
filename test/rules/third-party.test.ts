// What the project says of others' work is what it pins, and every licence is one that it may be used with.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { projectRoot } from "../../tools/places.js";
import { files } from "../../tools/third-party.js";

/** Licences of Node packages that build and test; whatever is not here is looked at before it comes in. */
const KNOWN = new Set(["MIT", "Apache-2.0", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "BlueOak-1.0.0", "Python-2.0", "CC0-1.0", "MIT OR Apache-2.0"]);

describe("the work of others", () => {
  it.each(Object.entries(files()))("is told in %s as it is pinned (else: make gen)", (name, text) => {
    expect(readFileSync(join(projectRoot, name), "utf8")).toBe(text);
  });

  it("has licences that are known, and their texts are here", () => {
    const text = files()["THIRD-PARTY.md"] as string;
    const rows = text.slice(text.indexOf("## Node packages")).split("\n").filter((line) => /^\| [@a-z]/.test(line) && !line.startsWith("| package"));
    expect(rows.length).toBeGreaterThan(50);
    expect(rows.filter((row) => !KNOWN.has(row.split(" | ")[2]?.replace(/ \|$/, "") ?? ""))).toEqual([]);
    for (const [, path] of text.matchAll(/\((licenses\/[^)]+)\)/g)) expect(existsSync(join(projectRoot, path as string)), path).toBe(true);
  });
});
