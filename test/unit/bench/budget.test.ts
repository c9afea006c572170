// What budgets.json may say, and how numbers are held against it.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { judge, readBudgets } from "../../../bench/budget.js";
import { groupsOf, KEYS } from "../../../bench/keys.js";
import { median } from "../../../bench/stats.js";
import { shown, table } from "../../../bench/table.js";

describe("budgets", () => {
  it("holds a number against a fixed limit, at the limit included", () => {
    const budgets = readBudgets({ agent_binary_bytes: [{ most: 1000 }], stdin_mb_per_s: [{ least: 5 }] });
    expect(judge({ agent_binary_bytes: 1000, stdin_mb_per_s: 5 }, budgets).map((v) => v.state)).toEqual(["met", "met"]);
    expect(judge({ agent_binary_bytes: 1001, stdin_mb_per_s: 4.9 }, budgets).map((v) => v.state)).toEqual(["missed", "missed"]);
  });

  it("holds a number against a factor on another number of the same run", () => {
    const budgets = readBudgets({ run_ms: [{ most: 0.6, of: "run_ms_crun" }, { most: 3, of: "run_ms_floor" }] });
    const verdicts = judge({ run_ms: 6.1, run_ms_crun: 10, run_ms_floor: 2.5 }, budgets);
    expect(verdicts.map((v) => [v.state, v.bound])).toEqual([["missed", 6], ["met", 7.5]]);
  });

  it("leaves a limit open when one of its numbers was not measured", () => {
    const budgets = readBudgets({ run_ms: [{ most: 0.6, of: "run_ms_crun" }] });
    expect(judge({ run_ms: 1 }, budgets)[0]?.state).toBe("open");
    expect(judge({ run_ms_crun: 1 }, budgets)[0]?.state).toBe("open");
  });

  it.each([
    ["an unknown key", { speed: [{ most: 1 }] }],
    ["an unknown base", { run_ms: [{ most: 1, of: "speed" }] }],
    ["neither most nor least", { run_ms: [{ of: "run_ms_crun" }] }],
    ["both", { run_ms: [{ most: 1, least: 1 }] }],
    ["a misspelt word", { run_ms: [{ most: 1, off: "run_ms_crun" }] }],
    ["a text for a number", { run_ms: [{ most: "1" }] }],
    ["no list", { run_ms: { most: 1 } }],
  ])("refuses %s", (_what, json) => {
    expect(() => readBudgets(json)).toThrow(/budgets: "/);
  });

  it("holds every limit that the project has promised", () => {
    const budgets = readBudgets(JSON.parse(readFileSync(new URL("../../../bench/budgets.json", import.meta.url), "utf8")));
    expect(budgets).toEqual({
      agent_binary_bytes: [{ most: 1e6 }], agent_rss_bytes: [{ most: 1.5e6 }], initrd_bytes: [{ most: 1.3e6 }], initrd_zstd_bytes: [{ most: 0.8e6 }], first_run_initrd_bytes: [{ most: 14e6 }],
      bzimage_bytes: [{ most: 7e6 }], container_anon_bytes: [{ most: 24 * 1024 }],
      run_ms: [{ most: 0.6, of: "run_ms_crun" }, { most: 3, of: "run_ms_floor" }], exec_ms: [{ most: 0.4, of: "run_ms_crun" }],
      start_ms: [{ most: 0.6, of: "run_ms_crun" }], check_us: [{ most: 5, of: "check_floor_us" }],
      stdout_mb_per_s: [{ least: 0.3, of: "stdout_floor_mb_per_s" }], stdin_mb_per_s: [{ least: 0.3, of: "stdin_floor_mb_per_s" }],
      boot_minstr: [{ most: 1.25, of: "boot_floor_minstr" }],
      oci_run_ms: [{ most: 1, of: "run_ms_crun" }, { most: 0.3, of: "run_ms_runc" }], oci_exec_ms: [{ most: 1, of: "oci_exec_ms_crun" }, { most: 0.3, of: "oci_exec_ms_runc" }],
      create_500_ratio: [{ most: 1.5 }], oci_create_500_ratio: [{ most: 1.5 }],
    });
  });
});

describe("keys", () => {
  it("are exactly those that readers of the result file know", () => {
    expect(Object.keys(KEYS).sort()).toEqual([
      "agent_anon_bytes", "agent_binary_bytes", "agent_rss_bytes", "boot_floor_minstr", "boot_minstr", "bzimage_bytes", "check_floor_us", "check_us",
      "container_anon_bytes", "create_500_ratio", "exec_ms", "first_run_again_s", "first_run_initrd_bytes", "initrd_bytes", "initrd_zstd_bytes", "oci_create_500_ratio", "oci_exec_ms", "oci_exec_ms_crun", "oci_exec_ms_runc",
      "oci_run_ms", "run_ms", "run_ms_crun", "run_ms_floor", "run_ms_runc", "start_ms",
      "stdin_floor_mb_per_s", "stdin_mb_per_s", "stdout_floor_mb_per_s", "stdout_mb_per_s", "vm_floor_ms", "vm_ready_debian_ms", "vm_ready_ms", "vmlinux_bytes",
    ]);
  });

  it("are chosen by group or by key, and nothing else is", () => {
    expect([...groupsOf("sizes,run_ms_crun")]).toEqual(["sizes", "run"]);
    expect(groupsOf(undefined).size).toBeGreaterThan(8);
    expect(() => groupsOf("sizes,speed")).toThrow(/"speed"|speed/);
  });
});

describe("the table", () => {
  it("shows value, unit and what the limits say", () => {
    const budgets = readBudgets({ run_ms: [{ most: 0.6, of: "run_ms_crun" }] });
    const results = { run_ms: 6.5, run_ms_crun: 10 };
    const text = table(results, judge(results, budgets), { run_ms_runc: "runc is not installed" }).join("\n");
    expect(text).toMatch(/run_ms +6\.50 ms/);
    expect(text).toContain("<= 0.6 x run_ms_crun (6 ms) MISSED");
    expect(text).toMatch(/run_ms_runc +- ms .*\n +skipped: runc is not installed/);
    expect(text).not.toContain("exec_ms");
  });

  it("gives numbers digits by their size", () => {
    expect([812345, 45.123, 0.71349, 123.456, 23456.7].map(shown)).toEqual(["812345", "45.12", "0.713", "123.5", "23457"]);
  });
});

describe("the median", () => {
  it("is the middle, or the mean of the two middle ones", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
    expect(() => median([])).toThrow(RangeError);
  });
});
