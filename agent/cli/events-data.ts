// What `events` tells of a container's use of resources, in the shape that runc's events have and readers of them expect. Pure.
// Units: nanoseconds, bytes. Source: runc's types/events (container-engine 2.6).
import type { BlkioEntry, MemoryData, Stats } from "../engine/cgroup/stats.js";

type Json = { readonly [key: string]: unknown };
interface Memory { readonly limit: number; readonly usage: number; readonly max: number; readonly failcnt: number }
const NO_LIMIT = 18446744073709551615; // 2^64-1, which a double holds as 2^64

const memory = ({ limit, usage, maxUsage, failcnt }: MemoryData): Memory => ({ limit, usage, max: maxUsage, failcnt });
const sum = (a: number, b: number): number => Math.min(a + b, NO_LIMIT);
/** Version 1 tells swap with memory in it, version 2 alone: readers expect the first. */
const both = (a: Memory, b: Memory): Memory => ({ limit: sum(a.limit, b.limit), usage: a.usage + b.usage, max: a.max + b.max, failcnt: b.failcnt });
const list = (entries: readonly BlkioEntry[]): Json[] => entries.map(({ major, minor, op, value }) => ({ major, minor, op: op.slice(0, 1).toUpperCase() + op.slice(1), value }));

/** The data of a "stats" event. `version`: of the cgroups. */
export function eventsData(stats: Stats, version: 1 | 2): Json {
  const { cpuStats: cpu, memoryStats: mem, blkioStats: block, pidsStats } = stats;
  const psi = (of: "cpu" | "memory" | "io"): Json => (stats.pressure?.[of] === undefined ? {} : { psi: stats.pressure[of] });
  const usage = mem && memory(mem.usage);
  const swap = mem && memory(mem.swapUsage);
  return {
    cpu: cpu === undefined ? { usage: { total: 0, kernel: 0, user: 0 }, throttling: {} } : {
      usage: { total: cpu.cpuUsage.totalUsage, percpu: cpu.cpuUsage.percpuUsage, kernel: cpu.cpuUsage.usageInKernelmode, user: cpu.cpuUsage.usageInUsermode },
      throttling: { periods: cpu.throttlingData.periods, throttledPeriods: cpu.throttlingData.throttledPeriods, throttledTime: cpu.throttlingData.throttledTime },
      ...psi("cpu"),
    },
    cpuset: {},
    memory: mem === undefined || usage === undefined || swap === undefined ? {} : {
      cache: mem.cache, usage, swap: version === 1 ? swap : both(usage, swap), kernel: memory(mem.kernelUsage), kernelTCP: { limit: 0 }, raw: mem.stats, ...psi("memory"),
    },
    pids: pidsStats ?? {},
    blkio: block === undefined ? {} : { ioServiceBytesRecursive: list(block.ioServiceBytesRecursive), ioServicedRecursive: list(block.ioServicedRecursive), ...psi("io") },
    hugetlb: Object.fromEntries(Object.entries(stats.hugetlbStats).map(([size, h]) => [size, { usage: h.usage, max: h.maxUsage, failcnt: h.failcnt }])),
    intel_rdt: {}, network_interfaces: null,
  };
}

/** The event as a line of JSON; "no limit" is written as the whole number that readers of 64 bits can take. */
export function statsEvent(id: string, stats: Stats, version: 1 | 2): string {
  return `${JSON.stringify({ type: "stats", id, data: eventsData(stats, version) }).split(String(NO_LIMIT)).join("18446744073709551615")}\n`;
}
