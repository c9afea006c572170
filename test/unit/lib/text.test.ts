import { describe, expect, it } from "vitest";
import { decimal, keyValue, lines, parseBase, words } from "../../../agent/lib/text.js";
import { rfc3339 } from "../../../agent/lib/log.js";

describe("text", () => {
  it("splits lines and words", () => {
    expect(lines("a\nb\n")).toEqual(["a", "b"]);
    expect(lines("a\n\nb")).toEqual(["a", "", "b"]);
    expect(words(" a\tb  c\n")).toEqual(["a", "b", "c"]);
    expect(words("   ")).toEqual([]);
  });
  it.each([["0", 0], ["42", 42], ["9007199254740991", 9007199254740991], ["9007199254740992", undefined], ["", undefined], ["1x", undefined], ["-1", undefined], [" 1", undefined], ["+1", undefined], ["1e3", undefined]])("decimal(%j) is %s", (t, v) => {
    expect(decimal(t)).toBe(v);
  });
  it.each([["1f", 16, 31], ["1F", 16, 31], ["755", 8, 493], ["8", 8, undefined], ["", 16, undefined], ["0x1", 16, undefined], ["g", 16, undefined], [":", 16, undefined], ["@", 16, undefined]] as const)("parseBase(%j, %i) is %s", (t, b, v) => {
    expect(parseBase(t, b)).toBe(v);
  });
  it("splits at the first equals sign only", () => {
    expect(keyValue("a=b=c")).toEqual(["a", "b=c"]);
    expect(keyValue("a")).toEqual(["a", undefined]);
  });
});

describe("rfc3339", () => {
  it.each([0, 951782400000, 1709164800000 - 1, 1709164800000, 4102444800000 - 1, 1795228118123])("writes %i ms as Date does", (ms) => {
    expect(rfc3339(ms).slice(0, 23)).toBe(new Date(ms).toISOString().slice(0, 23));
  });
});
