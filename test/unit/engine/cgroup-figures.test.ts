import { describe, expect, it } from "vitest";
import "../../helpers/fake-epoll.js";
import { blkioV1, ioStat, keyed, pressures } from "../../../agent/engine/cgroup/stats.js";
import { oomKills } from "../../../agent/engine/cgroup/oom.js";
import { ownGroups } from "../../../agent/engine/cgroup/strict.js";
import { eventsData, statsEvent } from "../../../agent/cli/events-data.js";

describe("figures of a cgroup", () => {
  it("come from lines of a key and a number, with max as no limit", () => {
    expect(keyed("nr_periods 3\nthrottled_usec 12\nmax max\n")).toEqual({ nr_periods: 3, throttled_usec: 12, max: 18446744073709551615 });
    expect(keyed(undefined)).toEqual({});
  });
  it("part bytes and counts of version 2's io.stat", () => {
    const { bytes, counts } = ioStat("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n8:16\n");
    expect(bytes).toEqual([{ major: 8, minor: 0, op: "read", value: 1 }, { major: 8, minor: 0, op: "write", value: 2 }, { major: 8, minor: 0, op: "discard", value: 5 }]);
    expect(counts.map((c) => c.value)).toEqual([3, 4, 6]);
  });
  it("leave out version 1's total without a device", () => {
    expect(blkioV1("254:0 Read 4096\n254:0 Total 4096\nTotal 4096\n")).toEqual([{ major: 254, minor: 0, op: "read", value: 4096 }, { major: 254, minor: 0, op: "total", value: 4096 }]);
  });
  it("count the kills of either version", () => {
    expect(oomKills("low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n")).toBe(1);
    expect(oomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")).toBe(3);
    expect(oomKills("oom_kill_disable 0\nunder_oom 0\n")).toBeUndefined();
    expect(oomKills(undefined)).toBeUndefined();
  });
});

describe("the groups of the caller", () => {
  it("are told by controller, whatever their names are made of", () => {
    const own = ownGroups("4:cpu,cpuacct:/a:b\n1:name=systemd:/user.slice\n0::/x\n");
    expect([...own]).toEqual([["cpu", "/a:b"], ["cpuacct", "/a:b"], ["name=systemd", "/user.slice"], ["", "/x"]]);
  });
});

describe("the figures of events", () => {
  const NO_LIMIT = 18446744073709551615;
  const memory = (usage: number, limit: number): { usage: number; maxUsage: number; failcnt: number; limit: number } => ({ usage, maxUsage: usage + 1, failcnt: 2, limit });
  const stats = {
    cpuStats: { cpuUsage: { totalUsage: 30, percpuUsage: [10, 20], usageInKernelmode: 12, usageInUsermode: 18 }, throttlingData: { periods: 1, throttledPeriods: 2, throttledTime: 3 } },
    memoryStats: { cache: 5, useHierarchy: true, stats: { anon: 6 }, usage: memory(100, 1000), swapUsage: memory(7, NO_LIMIT), kernelUsage: memory(8, NO_LIMIT) },
    pidsStats: { current: 2, limit: 9 }, hugetlbStats: { "2MB": { usage: 1, maxUsage: 2, failcnt: 3 } },
    blkioStats: { ioServiceBytesRecursive: [{ major: 8, minor: 0, op: "read", value: 4096 }], ioServicedRecursive: [], ioQueuedRecursive: [], ioServiceTimeRecursive: [], ioWaitTimeRecursive: [], ioMergedRecursive: [], ioTimeRecursive: [], sectorsRecursive: [] },
  };
  it("have the names that readers of runc's expect", () => {
    expect(eventsData(stats, 1)).toMatchObject({
      cpu: { usage: { total: 30, percpu: [10, 20], kernel: 12, user: 18 }, throttling: { periods: 1, throttledPeriods: 2, throttledTime: 3 } },
      memory: { cache: 5, usage: { limit: 1000, usage: 100, max: 101, failcnt: 2 }, swap: { usage: 7 }, kernel: { usage: 8 }, raw: { anon: 6 } },
      pids: { current: 2, limit: 9 }, blkio: { ioServiceBytesRecursive: [{ major: 8, minor: 0, op: "Read", value: 4096 }] }, hugetlb: { "2MB": { usage: 1, max: 2, failcnt: 3 } },
    });
  });
  it("tell swap together with memory, as version 1 does", () => {
    expect(eventsData(stats, 2)).toMatchObject({ memory: { swap: { usage: 107, limit: NO_LIMIT } } });
  });
  it("tell how long was waited, where the kernel counts that", () => {
    const cpu = pressures("some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
    expect(pressures(undefined)).toBeUndefined();
    expect(eventsData({ ...stats, pressure: { cpu } as never }, 2)).toMatchObject({ cpu: { psi: { some: { avg10: 1.5, avg60: 0.25, avg300: 0, total: 123 }, full: { total: 7 } } } });
    expect(JSON.stringify(eventsData(stats, 2))).not.toContain("psi");
  });
  it("are a line whose numbers fit into 64 bits", () => {
    const line = statsEvent("box", stats, 2);
    expect(line).toMatch(/^\{"type":"stats","id":"box","data":\{.*\}\}\n$/);
    for (const [digits] of line.matchAll(/\d{17,}/g)) expect(BigInt(digits) < 1n << 64n).toBe(true);
    expect(line).toContain('"limit":18446744073709551615');
    expect(statsEvent("none", { hugetlbStats: {} }, 2)).toContain('"memory":{}');
  });
});
