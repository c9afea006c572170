import { describe, expect, it } from "vitest";
import { deviceLines } from "../../../agent/oci/device-lines.js";
import { deviceProgram } from "../../../agent/oci/device-rules.js";
import type { DeviceRule } from "../../../agent/oci/spec.js";
import { allows, type DeviceAccess } from "../../helpers/bpf-interpreter.js";

const c = (major: number, minor: number, access = "rw"): DeviceAccess => ({ type: "c", major, minor, access });
const b = (major: number, minor: number, access = "rw"): DeviceAccess => ({ type: "b", major, minor, access });
const program = (...rules: DeviceRule[]): Uint8Array => deviceProgram(rules) ?? new Uint8Array(0);

describe("the device program", () => {
  it("denies what no rule names, also when the list begins with no denial", () => {
    for (const p of [program(), program({ allow: false, type: "b", major: 8, minor: 0, access: "rwm" })]) {
      expect(allows(p, c(1, 1))).toBe(false);
      expect(allows(p, c(10, 237))).toBe(false);
      expect(allows(p, b(8, 0))).toBe(false);
      expect(allows(p, b(254, 0, "r"))).toBe(false);
    }
  });

  it("always lets the standard devices and terminals be used, and any node be made", () => {
    const p = program({ allow: false });
    for (const [major, minor] of [[1, 3], [1, 5], [1, 7], [1, 8], [1, 9], [5, 0], [5, 1], [5, 2], [136, 77], [10, 200]] as const) expect(allows(p, c(major, minor, "rwm"))).toBe(true);
    expect(allows(p, b(8, 0, "m"))).toBe(true);
    expect(allows(p, b(8, 0, "rm"))).toBe(false);
    expect(allows(p, b(1, 3))).toBe(false);
  });

  it("takes the newest rule that fits", () => {
    const p = program({ allow: false }, { allow: true, type: "b", major: 8, access: "rw" }, { allow: false, type: "b", major: 8, minor: 3, access: "w" });
    expect(allows(p, b(8, 1))).toBe(true);
    expect(allows(p, b(8, 3))).toBe(false);
    expect(allows(p, b(8, 3, "r"))).toBe(true);
    expect(allows(p, b(8, 3, "w"))).toBe(false);
  });

  it("allows no more than the access that a rule names", () => {
    const p = program({ allow: true, type: "c", major: 10, minor: 232, access: "r" });
    expect(allows(p, c(10, 232, "r"))).toBe(true);
    expect(allows(p, c(10, 232, "w"))).toBe(false);
    expect(allows(p, c(10, 232, "rw"))).toBe(false);
  });

  it("is not needed when everything is allowed, and keeps denials that come after", () => {
    expect(deviceProgram([{ allow: true, type: "a", access: "rwm" }])).toBeUndefined();
    const p = program({ allow: true, type: "a", access: "rwm" }, { allow: false, type: "b", major: 7, minor: 0, access: "rwm" });
    expect(allows(p, c(4, 64))).toBe(true);
    expect(allows(p, b(7, 0))).toBe(false);
  });

  it("agrees with a plain reading of the rules", () => {
    const rules: DeviceRule[] = [
      { allow: false }, { allow: true, type: "c", major: 4, access: "rwm" }, { allow: false, type: "c", major: 4, minor: 64, access: "rw" },
      { allow: true, type: "b", minor: 0, access: "r" }, { allow: true, access: "m" },
    ];
    const p = program(...rules);
    expect(allows(p, c(4, 1, "rwm"))).toBe(true);
    expect(allows(p, c(4, 64, "r"))).toBe(false);
    expect(allows(p, c(4, 64, "m"))).toBe(true);
    expect(allows(p, b(9, 0, "r"))).toBe(true);
    expect(allows(p, b(9, 1, "r"))).toBe(false);
  });
});

describe("device lines of version 1", () => {
  const OPEN = "a *:* rwm\n";
  it("begin by denying everything and end with what every container may use", () => {
    const lines = deviceLines([{ allow: true, type: "b", major: 8, minor: 16, access: "r" }], OPEN);
    expect(lines[0]).toEqual(["devices.deny", "a"]);
    expect(lines[1]).toEqual(["devices.allow", "b 8:16 r"]);
    expect(lines).toContainEqual(["devices.allow", "c *:* m"]);
    expect(lines).toContainEqual(["devices.allow", "c 136:* rwm"]);
    expect(lines.filter(([, line]) => line === "a")).toHaveLength(1);
  });
  it("drop what a rule for everything ends, and write rules for both kinds when the type is a", () => {
    expect(deviceLines([{ allow: false, type: "b", major: 1, minor: 1, access: "w" }, { allow: true, type: "a", access: "rwm" }, { allow: false, access: "m" }], OPEN)).toEqual([
      ["devices.allow", "a"], ["devices.deny", "b *:* m"], ["devices.deny", "c *:* m"],
    ]);
  });
  it("do not take a rule of type a with numbers for one about everything", () => {
    expect(deviceLines([{ allow: true, type: "a", major: 7, access: "rwm" }], OPEN).slice(0, 3)).toEqual([["devices.deny", "a"], ["devices.allow", "b 7:* rwm"], ["devices.allow", "c 7:* rwm"]]);
  });
  /** What the kernel would have after the lines. */
  const after = (list: string, lines: ReturnType<typeof deviceLines>): string[] => {
    let has = new Map(list.split("\n").filter((l) => l !== "" && l[0] !== "a").map((l) => [l.slice(0, l.lastIndexOf(" ")), new Set(l.slice(l.lastIndexOf(" ") + 1))]));
    for (const [file, line] of lines) {
      if (line === "a") has = new Map();
      else {
        const key = line.slice(0, line.lastIndexOf(" "));
        const set = has.get(key) ?? new Set();
        for (const c of line.slice(key.length + 1)) file === "devices.allow" ? set.add(c) : set.delete(c);
        has.set(key, set);
      }
    }
    return [...has].filter(([, set]) => set.size > 0).map(([key, set]) => `${key} ${[..."rwm"].filter((c) => set.has(c)).join("")}`).sort();
  };
  it("write only what differs, never the line that changes everything, when a list is replaced", () => {
    const first = after(OPEN, deviceLines([{ allow: true, type: "b", major: 8, minor: 16, access: "rw" }, { allow: true, type: "c", major: 4, access: "r" }], OPEN));
    expect(first).toContain("b 8:16 rw");
    const change = deviceLines([{ allow: false }, { allow: true, type: "b", major: 8, minor: 16, access: "r" }, { allow: true, type: "c", major: 10, minor: 0, access: "rwm" }], first.join("\n"));
    expect(change).toEqual([["devices.allow", "c 10:0 rwm"], ["devices.deny", "b 8:16 w"], ["devices.deny", "c 4:* r"]]);
    expect(deviceLines([{ allow: true, type: "b", major: 8, minor: 16, access: "rw" }, { allow: true, type: "c", major: 4, access: "r" }], first.join("\n"))).toEqual([]);
  });
  it("work out a later denial, and refuse one that version 1 cannot express", () => {
    const lines = deviceLines([{ allow: true, type: "b", major: 8, minor: 1, access: "rwm" }, { allow: false, type: "b", major: 8, access: "w" }], OPEN);
    expect(lines).toContainEqual(["devices.allow", "b 8:1 rm"]);
    expect(() => deviceLines([{ allow: true, type: "b", major: 8, access: "rw" }, { allow: false, type: "b", major: 8, minor: 3, access: "w" }], OPEN)).toThrow("linux.resources.devices: cgroup version 1 cannot take b 8:3 out of b 8:*");
  });
});
