import { describe, expect, it } from "vitest";
import { checkProcess } from "../../../agent/oci/check-process.js";
import { affinityOf, bitList, traitsOf } from "../../../agent/oci/schedule.js";
import type { Linux, Process, Scheduler } from "../../../agent/oci/spec.js";

const process: Process = { args: ["x"], cwd: "/", user: { uid: 0, gid: 0 } };
const scheduler = (from: Scheduler): unknown => traitsOf({ scheduler: from }, {}).scheduler?.attr;
const memory = (memoryPolicy: NonNullable<Linux["memoryPolicy"]>): unknown => traitsOf({}, { memoryPolicy }).memoryPolicy;

describe("scheduler", () => {
  it("becomes numbers, what is absent 0", () => {
    expect(scheduler({ policy: "SCHED_BATCH", nice: -20 })).toEqual({ policy: 3, flags: 0, nice: -20, priority: 0, runtime: 0, deadline: 0, period: 0 });
    expect(scheduler({ policy: "SCHED_RR", priority: 99, flags: ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"] })).toMatchObject({ policy: 2, priority: 99, flags: 0x41 });
    expect(scheduler({ policy: "SCHED_DEADLINE", runtime: 1024n, deadline: 2000, period: 18446744073709551615n })).toMatchObject({ policy: 6, runtime: 1024n, deadline: 2000, period: 18446744073709551615n });
    expect(["SCHED_OTHER", "SCHED_ISO", "SCHED_IDLE"].map((policy) => (scheduler({ policy }) as { policy: number }).policy)).toEqual([0, 4, 5]);
  });
  it("may leave the period of a deadline to the kernel", () => {
    expect(scheduler({ policy: "SCHED_DEADLINE", runtime: 10_000_000, deadline: 20_000_000 })).toMatchObject({ runtime: 10_000_000, deadline: 20_000_000, period: 0 });
  });
  it.each<[Scheduler, string]>([
    [{ policy: "SCHED_FAST" }, 'scheduler.policy: invalid policy "SCHED_FAST"'],
    [{ policy: "toString" }, "scheduler.policy"],
    [{ policy: "" }, "scheduler.policy"],
    [{ policy: "SCHED_OTHER", nice: 20 }, "scheduler.nice: 20 is not between -20 and 19"],
    [{ policy: "SCHED_OTHER", nice: -21 }, "scheduler.nice"],
    [{ policy: "SCHED_OTHER", priority: 1 }, "scheduler.priority: only SCHED_FIFO and SCHED_RR"],
    [{ policy: "SCHED_FIFO" }, "scheduler.priority: 0 is not between 1 and 99"],
    [{ policy: "SCHED_FIFO", priority: 100 }, "scheduler.priority"],
    [{ policy: "SCHED_OTHER", runtime: 1 }, "scheduler.runtime: only SCHED_DEADLINE"],
    [{ policy: "SCHED_RR", priority: 1, period: 1 }, "scheduler.period"],
    [{ policy: "SCHED_DEADLINE", deadline: 20, period: 20 }, "scheduler.runtime: sched_setattr: `SCHED_DEADLINE` requires `runtime`"],
    [{ policy: "SCHED_DEADLINE", runtime: 2000, period: 20 }, "scheduler.deadline: sched_setattr: `SCHED_DEADLINE` requires `deadline`"],
    [{ policy: "SCHED_DEADLINE", runtime: 0, deadline: 20 }, "scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0"],
    [{ policy: "SCHED_DEADLINE", runtime: 1023, deadline: 2000 }, "scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime 1023 must be between 1024 and"],
    [{ policy: "SCHED_DEADLINE", runtime: 9223372036854775808, deadline: 9223372036854775809 }, "scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime 9223372036854775808 must be between"],
    [{ policy: "SCHED_DEADLINE", runtime: 3000, deadline: 2000, period: 4000 }, "scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime 3000 must be <= deadline 2000"],
    [{ policy: "SCHED_DEADLINE", runtime: 1024, deadline: 3000, period: 2000 }, "scheduler.deadline: sched_setattr: `SCHED_DEADLINE` deadline 3000 must be <= period 2000"],
    [{ policy: "SCHED_OTHER", flags: ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_ALL"] }, 'scheduler.flags[1]: invalid flag "SCHED_FLAG_ALL"'],
  ])("%j is refused", (from, message) => {
    expect(() => checkProcess({ ...process, scheduler: from })).toThrow(`process.${message}`);
    expect(() => checkProcess({ ...process, scheduler: from }, "p")).toThrow(`p.${message}`);
  });
});

describe("ioPriority", () => {
  it("is class and level in one number", () => {
    const of = (name: string, priority: number): unknown => traitsOf({ ioPriority: { class: name, priority } }, {}).ioPriority;
    expect([of("IOPRIO_CLASS_RT", 0), of("IOPRIO_CLASS_BE", 7), of("IOPRIO_CLASS_IDLE", 3)]).toEqual([0x2000, 0x4007, 0x6003]);
  });
  it.each([["IOPRIO_CLASS_NONE", 0, "class"], ["IOPRIO_CLASS_BE", 8, "priority"], ["IOPRIO_CLASS_BE", -1, "priority"]])("%s %i is refused", (name, priority, field) => {
    expect(() => checkProcess({ ...process, ioPriority: { class: name, priority } })).toThrow(`process.ioPriority.${field}:`);
  });
});

describe("personality", () => {
  it("is LINUX or LINUX32, without flags", () => {
    expect([traitsOf({}, { personality: { domain: "LINUX" } }).personality, traitsOf({}, { personality: { domain: "LINUX32", flags: [] } }).personality]).toEqual([0, 8]);
    expect(() => traitsOf({}, { personality: { domain: "BSD" } })).toThrow('linux.personality.domain: invalid domain "BSD"');
    expect(() => traitsOf({}, { personality: { domain: "LINUX", flags: ["X"] } })).toThrow("linux.personality.flags");
  });
});

describe("memoryPolicy", () => {
  it("is a mode with its flags, and a mask of nodes", () => {
    expect(memory({ mode: "MPOL_BIND", nodes: "0-1,9", flags: ["MPOL_F_STATIC_NODES"] })).toEqual({ name: "MPOL_BIND", mode: 0x8002, nodes: new Uint8Array([3, 2, 0, 0, 0, 0, 0, 0]) });
    expect(memory({ mode: "MPOL_DEFAULT" })).toEqual({ name: "MPOL_DEFAULT", mode: 0, nodes: new Uint8Array(0) });
    expect(memory({ mode: "MPOL_PREFERRED", nodes: "" })).toMatchObject({ mode: 1, nodes: new Uint8Array(0) });
    expect(memory({ mode: "MPOL_WEIGHTED_INTERLEAVE", nodes: "0" })).toMatchObject({ mode: 6 });
  });
  it.each<[NonNullable<Linux["memoryPolicy"]>, string]>([
    [{ mode: "BIND", nodes: "0" }, "mode: invalid memory policy mode"],
    [{ nodes: "0" }, 'mode: invalid memory policy mode ""'],
    [{ mode: "MPOL_BIND" }, "nodes: MPOL_BIND needs some"],
    [{ mode: "MPOL_PREFERRED_MANY", nodes: "" }, "nodes: MPOL_PREFERRED_MANY needs some"],
    [{ mode: "MPOL_LOCAL", nodes: "0" }, "nodes: MPOL_LOCAL takes none"],
    [{ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }, "flags: MPOL_F_STATIC_NODES and"],
    [{ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_BAD"] }, "flags[0]: invalid memory policy flag"],
    [{ mode: "MPOL_BIND", nodes: "a" }, "nodes: invalid memory policy nodes"],
  ])("%j is refused", (from, message) => {
    expect(() => memory(from)).toThrow(`linux.memoryPolicy.${message}`);
  });
});

describe("lists of CPUs", () => {
  const set = (list: string): number[] => [...bitList("f", list)].flatMap((byte, i) => [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => ((byte >> bit) & 1) === 1).map((bit) => i * 8 + bit));
  it.each<[string, number[]]>([["0", [0]], ["0-3,7", [0, 1, 2, 3, 7]], [" 5 , 2-2", [2, 5]], ["63,64", [63, 64]], ["", []], ["1024,8191", [1024, 8191]]])("%j", (list, bits) => {
    expect(set(list)).toEqual(bits);
    expect(bitList("f", list).length % 8).toBe(0);
  });
  it.each(["x", "1-", "-1", "3-1", "1-2-3", ",", "1,,2", "0x1", "8192", "0-8191,0"])("%j is refused", (list) => {
    expect(() => affinityOf({ final: list })).toThrow("process.execCPUAffinity.final:");
    expect(() => checkProcess({ ...process, execCPUAffinity: { initial: list } })).toThrow("process.execCPUAffinity.initial:");
  });
  it("that are empty ask for nothing", () => {
    expect(affinityOf({ initial: "", final: "1" })).toEqual({ initial: undefined, final: new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0]) });
  });
});
