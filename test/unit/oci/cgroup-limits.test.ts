import { describe, expect, it } from "vitest";
import { cgroupPath, ioWeight, limitsV1, limitsV2, swapAlone, weightOfShares } from "../../../agent/oci/cgroup-limits.js";
import type { Resources } from "../../../agent/oci/spec.js";

const v2 = (r: Resources): string[] => limitsV2(r).map((l) => `${l.file}=${l.value}`);
const v1 = (r: Resources): string[] => limitsV1(r).map((l) => `${l.controller}/${l.file}=${l.value}`);

describe("conversions", () => {
  it("turns shares into weights", () => {
    expect([0, 1, 2, 1024, 262144, 500000].map(weightOfShares)).toEqual([0, 1, 1, 100, 10000, 10000]);
    for (let s = 2; s < 262144; s = Math.ceil(s * 1.3)) expect(weightOfShares(s)).toBeLessThanOrEqual(weightOfShares(Math.ceil(s * 1.3)));
  });
  it("turns block weights into io weights", () => {
    expect([10, 1000].map(ioWeight)).toEqual([1, 10000]);
  });
  it("takes memory out of the sum of memory and swap", () => {
    expect(swapAlone(100, 300)).toBe(200);
    expect(swapAlone(100, 100)).toBe(0);
    expect(swapAlone(-1, 0)).toBe(-1);
    expect(swapAlone(-1, 500)).toBe(500);
    expect(swapAlone(100, -1)).toBe(-1);
    expect(swapAlone(100, undefined)).toBeUndefined();
    expect(() => swapAlone(undefined, 5)).toThrow("linux.resources.memory.swap");
    expect(() => swapAlone(100, 50)).toThrow("linux.resources.memory.swap: 50 is below");
  });
  it("makes absolute paths, with colons as folders", () => {
    expect(cgroupPath(undefined, "box")).toBe("/box");
    expect(cgroupPath("", "box")).toBe("/box");
    expect(cgroupPath("/ns/box/", "x")).toBe("/ns/box");
    expect(cgroupPath("ns/box", "x")).toBe("/ns/box");
    expect(cgroupPath("system.slice:kata:box", "x")).toBe("/system.slice/kata/box");
    expect(() => cgroupPath("/a/../../b", "x")).toThrow("linux.cgroupsPath");
  });
});

describe("limits of version 2", () => {
  it("writes swap before memory before its reservation", () => {
    expect(v2({ memory: { limit: 1000, swap: 1500, reservation: 500 } })).toEqual(["memory.swap.max=500", "memory.max=1000", "memory.low=500"]);
    expect(v2({ memory: { limit: -1 } })).toEqual(["memory.swap.max=max", "memory.max=max"]);
  });
  it("writes quota and period together", () => {
    expect(v2({ cpu: { quota: 50000 } })).toEqual(["cpu.max=50000 100000"]);
    expect(v2({ cpu: { quota: -1, period: 20000, shares: 1024, cpus: "0-1", mems: "0" } })).toEqual(["cpu.weight=100", "cpu.max=max 20000", "cpuset.cpus=0-1", "cpuset.mems=0"]);
    expect(v2({ cpu: { idle: 1, shares: 1024 } })).toEqual(["cpu.idle=1"]);
  });
  it("knows that a limit of no processes is a real limit", () => {
    expect([-1, 0, 7].map((limit) => v2({ pids: { limit } })[0])).toEqual(["pids.max=max", "pids.max=1", "pids.max=7"]);
  });
  it("falls back from bfq to io.weight", () => {
    expect(limitsV2({ blockIO: { weight: 500 } })[0]).toMatchObject({ file: "io.bfq.weight", value: "500", otherwise: { file: "io.weight", value: "4950" } });
    expect(v2({ blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 7 }], throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 0 }] } })).toEqual(["io.max=8:0 rbps=7", "io.max=8:0 wiops=max"]);
  });
  it("limits huge pages by the size's name", () => {
    expect(v2({ hugepageLimits: [{ pageSize: "2MB", limit: 4096 }] })).toEqual(["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"]);
    expect(() => v2({ hugepageLimits: [{ pageSize: "../2MB", limit: 1 }] })).toThrow("hugepageLimits[0].pageSize");
  });
  it("writes unified lines last, and refuses what is no file of a controller", () => {
    expect(v2({ pids: { limit: 3 }, unified: { "memory.high": "5", "io.max": "8:0 rbps=1\n8:16 rbps=2" } })).toEqual(["pids.max=3", "memory.high=5", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2"]);
    for (const file of ["../memory.max", "cgroup.procs", "a/b.c", "nodot"]) expect(() => v2({ unified: { [file]: "1" } })).toThrow(`unified["${file}"]`);
  });
});

describe("limits of version 1", () => {
  it("go to their controllers", () => {
    expect(v1({ memory: { limit: 10, swap: 20, reservation: 5, swappiness: 0 }, cpu: { shares: 2, period: 100, quota: -1 }, pids: { limit: 4 } })).toEqual([
      "memory/memory.limit_in_bytes=10", "memory/memory.memsw.limit_in_bytes=20", "memory/memory.soft_limit_in_bytes=5", "memory/memory.swappiness=0",
      "cpu/cpu.shares=2", "cpu/cpu.cfs_period_us=100", "cpu/cpu.cfs_quota_us=-1", "pids/pids.max=4",
    ]);
  });
  it("lift the sum's limit before the memory's", () => {
    expect(v1({ memory: { limit: -1 } })).toEqual(["memory/memory.memsw.limit_in_bytes=-1", "memory/memory.limit_in_bytes=-1"]);
  });
  it("have no unified files", () => {
    expect(() => v1({ unified: { "memory.high": "1" } })).toThrow("needs cgroup version 2");
  });
});
