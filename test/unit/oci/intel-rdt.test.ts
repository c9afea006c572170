import { describe, expect, it } from "vitest";
import { checkIntelRdt, differs, schemataOf } from "../../../agent/oci/intel-rdt.js";

describe("intelRdt", () => {
  it("writes cache lines, then memory bandwidth, then the rest", () => {
    expect(schemataOf({ l3CacheSchema: "L3:0=f\nMB:0=10\n", memBwSchema: "MB:0=20", schemata: ["L2:0=1"] })).toEqual(["L3:0=f", "MB:0=20", "L2:0=1"]);
    expect(schemataOf({ l3CacheSchema: "MB:0=10" })).toEqual(["MB:0=10"]);
    expect(schemataOf({ closID: "x" })).toEqual([]);
  });
  it.each(["", ".", "..", "a/b", "info", "mon_groups", "a\nb", "a\0", "x".repeat(256)])("the group %j is refused", (closID) => {
    expect(() => checkIntelRdt({ closID })).toThrow("linux.intelRdt.closID");
  });
  it("names the line that is none", () => {
    expect(() => checkIntelRdt({ closID: "/", memBwSchema: "MB:0=1", l3CacheSchema: "L3:0=1\nL3DATA:0=2", schemata: ["L3:0=f"] })).not.toThrow();
    expect(() => checkIntelRdt({ memBwSchema: "L3:0=1" })).toThrow("linux.intelRdt.memBwSchema");
    expect(() => checkIntelRdt({ memBwSchema: "MB:0=1\nL3:0=1" })).toThrow("linux.intelRdt.memBwSchema");
    for (const line of ["", "x", ":0=1", "L3:0=1\nMB:0=1"]) expect(() => checkIntelRdt({ schemata: ["L3:0=1", line] })).toThrow("linux.intelRdt.schemata[1]");
  });
  it("finds what a group does not hold", () => {
    const file = "    L3:0=0fff;1=fff\n    MB:0=100;1=100\n";
    expect(differs(["L3:0=fff;1=0FFF", "MB:1=100"], file)).toBeUndefined();
    expect(differs(["MB:1=100", "L3:0=ff"], file)).toBe("L3:0=ff");
    expect(differs(["L2:0=f"], file)).toBe("L2:0=f");
    expect(differs(["L3:2=fff"], file)).toBe("L3:2=fff");
  });
});
