import { describe, expect, it } from "vitest";
import { cgroupPath, cleanGroup, fieldOf } from "../../../agent/oci/cgroup.js";
import { ioWeight, limitsV1, limitsV2, swapAlone, weightOfShares } from "../../../agent/oci/cgroup-limits.js";
import { checkResources } from "../../../agent/oci/check-resources.js";
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
  it("makes clean paths between groups", () => {
    expect(["/", "", "a//b/.", "./x:y"].map((path) => cleanGroup(path, "f"))).toEqual(["", "", "/a/b", "/x:y"]);
    for (const bad of ["../x", "a/..", "a\nb", "a\0"]) expect(() => cleanGroup(bad, "--cgroup")).toThrow("--cgroup");
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
    expect([v1({ pids: {} as never }), v2({ pids: {} as never })]).toEqual([[], []]);
    expect([-1, 0, 7].map((limit) => v2({ pids: { limit } })[0])).toEqual(["pids.max=max", "pids.max=1", "pids.max=7"]);
  });
  it("falls back from bfq to io.weight", () => {
    expect(limitsV2({ blockIO: { weight: 500 } })[0]).toMatchObject({ file: "io.bfq.weight", value: "500", otherwise: { file: "io.weight", value: "4950" } });
    expect(v2({ blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 7 }], throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 0 }] } })).toEqual(["io.max=8:0 rbps=7", "io.max=8:0 wiops=max"]);
  });
  it("limits huge pages by the size's name", () => {
    // As numbers come from JSON and from the wire: rounded to the next double, which may not fit any more.
    expect(v2({ hugepageLimits: [{ pageSize: "2MB", limit: 2 ** 64 }] })).toEqual(["hugetlb.2MB.max=18446744073709551615", "hugetlb.2MB.rsvd.max=18446744073709551615"]);
    expect(v2({ memory: { limit: 9223372036854771712 } })).toEqual(["memory.max=9223372036854771712"]);
    expect(v2({ blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 2 ** 64 }] } })).toEqual(["io.max=8:0 rbps=18446744073709551615"]);
    expect(v2({ hugepageLimits: [{ pageSize: "2MB", limit: 4096 }] })).toEqual(["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"]);
    expect(() => v2({ hugepageLimits: [{ pageSize: "../2MB", limit: 1 }] })).toThrow("hugepageLimits[0].pageSize");
  });
  it("keeps a burst of 0, which takes an older one back, after the quota's line", () => {
    expect(v2({ cpu: { burst: 0 } })).toEqual(["cpu.max.burst=0"]);
    expect(v2({ cpu: { burst: 5000, quota: 10000 } })).toEqual(["cpu.max=10000 100000", "cpu.max.burst=5000"]);
  });
  it("limits only those things of a network card that are named", () => {
    expect(v2({ rdma: { mlx5_0: { hcaHandles: 2 }, mlx5_1: { hcaHandles: 3, hcaObjects: 4 }, mlx5_2: {} } })).toEqual(["rdma.max=mlx5_0 hca_handle=2", "rdma.max=mlx5_1 hca_handle=3 hca_object=4"]);
  });
  it("passes over what it has no counterpart for: hosts of sandboxes send it", () => {
    expect(v2({ memory: { kernel: 5, kernelTCP: 5, swappiness: 60, disableOOMKiller: true, useHierarchy: false }, cpu: { realtimeRuntime: 5, realtimePeriod: 6 }, network: { classID: 1, priorities: [{ name: "lo", priority: 1 }] }, blockIO: { leafWeight: 5 } })).toEqual([]);
  });
  it("tells the field that each limit comes from", () => {
    const all = limitsV2({ memory: { limit: 5 }, cpu: { cpus: "0", shares: 5 }, pids: { limit: 1 }, blockIO: { weight: 10 }, hugepageLimits: [{ pageSize: "2MB", limit: 1 }], unified: { "memory.high": "1" } }).map(fieldOf);
    expect(all).toEqual(["pids", "memory", "blockIO", "cpu", "cpu", "hugepageLimits", "hugepageLimits", 'unified["memory.high"]'].map((name) => `linux.resources.${name}`));
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
  it("write every row that version 1 knows", () => {
    expect(v1({
      memory: { limit: 20, swap: 30, kernel: 4, kernelTCP: 5, useHierarchy: true, disableOOMKiller: true }, cpu: { quota: 10, burst: 0, realtimePeriod: 7, realtimeRuntime: 6, cpus: "0", mems: "0" },
      blockIO: { weight: 10, leafWeight: 11, weightDevice: [{ major: 8, minor: 0, weight: 12, leafWeight: 13 }], throttleWriteBpsDevice: [{ major: 8, minor: 1, rate: 14 }] },
      network: { classID: 15, priorities: [{ name: "eth0", priority: 16 }] }, hugepageLimits: [{ pageSize: "1GB", limit: 17 }], rdma: { card: { hcaObjects: 18 } },
    })).toEqual([
      "memory/memory.limit_in_bytes=20", "memory/memory.memsw.limit_in_bytes=30", "memory/memory.kmem.limit_in_bytes=4", "memory/memory.kmem.tcp.limit_in_bytes=5", "memory/memory.use_hierarchy=1", "memory/memory.oom_control=1",
      "cpu/cpu.cfs_quota_us=10", "cpu/cpu.cfs_burst_us=0", "cpu/cpu.rt_period_us=7", "cpu/cpu.rt_runtime_us=6", "cpuset/cpuset.cpus=0", "cpuset/cpuset.mems=0",
      "blkio/blkio.weight=10", "blkio/blkio.leaf_weight=11", "blkio/blkio.weight_device=8:0 12", "blkio/blkio.leaf_weight_device=8:0 13", "blkio/blkio.throttle.write_bps_device=8:1 14",
      "hugetlb/hugetlb.1GB.limit_in_bytes=17", "hugetlb/hugetlb.1GB.rsvd.limit_in_bytes=17", "net_cls/net_cls.classid=15", "net_prio/net_prio.ifpriomap=eth0 16", "rdma/rdma.max=card hca_object=18",
    ]);
  });
  it("have no unified files", () => {
    expect(() => v1({ unified: { "memory.high": "1" } })).toThrow("needs cgroup version 2");
  });
});

describe("what a command line may ask for", () => {
  const refused = (version: 1 | 2, r: Resources): string => {
    try {
      checkResources(r, version);
      return "";
    } catch (error) {
      return (error as Error).message.split(":")[0] ?? "";
    }
  };
  it("has a counterpart in version 2, or is refused by its name", () => {
    const table: [Resources, string][] = [
      [{ memory: { kernel: 1 } }, "memory.kernel"], [{ memory: { kernelTCP: 1 } }, "memory.kernelTCP"], [{ memory: { swappiness: 0 } }, "memory.swappiness"], [{ memory: { disableOOMKiller: true } }, "memory.disableOOMKiller"],
      [{ memory: { useHierarchy: false } }, "memory.useHierarchy"], [{ cpu: { realtimePeriod: 1 } }, "cpu.realtimePeriod"], [{ cpu: { realtimeRuntime: -1 } }, "cpu.realtimeRuntime"], [{ blockIO: { leafWeight: 10 } }, "blockIO.leafWeight"],
      [{ blockIO: { weightDevice: [{ major: 1, minor: 1 }, { major: 1, minor: 1, leafWeight: 10 }] } }, "blockIO.weightDevice[1].leafWeight"], [{ network: { classID: 1 } }, "network.classID"], [{ network: { priorities: [{ name: "lo", priority: 0 }] } }, "network.priorities"],
    ];
    for (const [resources, name] of table) expect([refused(2, resources), refused(1, resources)]).toEqual([`linux.resources.${name}`, ""]);
  });
  it("may be nothing at all", () => {
    const nothing: Resources = { memory: { kernel: 0, kernelTCP: -1, disableOOMKiller: false, useHierarchy: true }, cpu: { realtimePeriod: 0, realtimeRuntime: 0, shares: 0, idle: 0 }, blockIO: { weight: 0, leafWeight: 0 }, network: { classID: 0, priorities: [] } };
    expect([refused(1, nothing), refused(2, nothing), refused(1, {}), refused(2, {})]).toEqual(["", "", "", ""]);
  });
  it("is not changed in silence", () => {
    for (const shares of [1, 262145]) expect([refused(1, { cpu: { shares } }), refused(2, { cpu: { shares } })]).toEqual(["linux.resources.cpu.shares", ""]);
    for (const version of [1, 2] as const) {
      expect(refused(version, { cpu: { idle: 2 } })).toBe("linux.resources.cpu.idle");
      expect(refused(version, { blockIO: { weight: 9 } })).toBe("linux.resources.blockIO.weight");
      expect(refused(version, { blockIO: { weightDevice: [{ major: 1, minor: 1, weight: 1001 }] } })).toBe("linux.resources.blockIO.weightDevice[0].weight");
      expect(refused(version, { memory: { swappiness: 101 } })).toBe("linux.resources.memory.swappiness");
    }
  });
});
