// What a container uses, read from its control group: times in nanoseconds, memory in bytes, no limit as 2^64-1. A controller
// that is missing leaves its part out. The names are those of the agent protocol's CgroupStats.
// Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/{cpuacct,memory,blkio-controller,pids,hugetlb}.
import { O } from "../../abi/flags.js";
import { E } from "../../abi/errno.js";
import { isErrno } from "../../sys/call.js";
import { exists, getdents, open } from "../../sys/file.js";
import { readText } from "../../lib/fs.js";
import { lines, words } from "../../lib/text.js";

export interface CpuStats {
  readonly cpuUsage: { readonly totalUsage: number; readonly percpuUsage: number[]; readonly usageInKernelmode: number; readonly usageInUsermode: number };
  readonly throttlingData: { readonly periods: number; readonly throttledPeriods: number; readonly throttledTime: number };
}
export interface MemoryData { readonly usage: number; readonly maxUsage: number; readonly failcnt: number; readonly limit: number }
export interface MemoryStats {
  readonly cache: number; readonly usage: MemoryData; readonly swapUsage: MemoryData; readonly kernelUsage: MemoryData;
  readonly useHierarchy: boolean; readonly stats: Record<string, number>;
}
export interface BlkioEntry { readonly major: number; readonly minor: number; readonly op: string; readonly value: number }
export interface BlkioStats {
  readonly ioServiceBytesRecursive: BlkioEntry[]; readonly ioServicedRecursive: BlkioEntry[]; readonly ioQueuedRecursive: BlkioEntry[];
  readonly ioServiceTimeRecursive: BlkioEntry[]; readonly ioWaitTimeRecursive: BlkioEntry[]; readonly ioMergedRecursive: BlkioEntry[];
  readonly ioTimeRecursive: BlkioEntry[]; readonly sectorsRecursive: BlkioEntry[];
}
/** Percentages of the last 10, 60 and 300 seconds, and microseconds in all. See Documentation/accounting/psi.rst. */
export interface Pressure { readonly avg10: number; readonly avg60: number; readonly avg300: number; readonly total: number }
export interface Pressures { readonly some?: Pressure; readonly full?: Pressure }
export interface HugetlbStats { readonly usage: number; readonly maxUsage: number; readonly failcnt: number }
export interface Stats {
  cpuStats?: CpuStats; memoryStats?: MemoryStats; pidsStats?: { readonly current: number; readonly limit: number };
  blkioStats?: BlkioStats; pressure?: { readonly cpu?: Pressures; readonly memory?: Pressures; readonly io?: Pressures }; hugetlbStats: Record<string, HugetlbStats>;
}

const NO_LIMIT = 18446744073709551615;

/** A control file's text; undefined when it is not there (or its controller is not). */
function text(file: string): string | undefined {
  try {
    return readText(file);
  } catch (error) {
    if (isErrno(error, E.ENOENT, E.ENODEV, E.EOPNOTSUPP)) return undefined;
    throw error;
  }
}

/** A number, with "max" as no limit; 0 when the file is missing. */
function number(file: string): number {
  const t = text(file)?.trim();
  return t === undefined || t === "" ? 0 : t === "max" ? NO_LIMIT : Number(t);
}

/** "key value" lines. */
export function keyed(content: string | undefined): Record<string, number> {
  const table: Record<string, number> = {};
  for (const line of lines(content ?? "")) {
    const [key = "", value = ""] = words(line);
    if (key !== "") table[key] = value === "max" ? NO_LIMIT : Number(value);
  }
  return table;
}

/** One line of io.stat ("8:0 rbytes=1 wbytes=2 rios=3 ...") as entries: bytes and counts apart. */
export function ioStat(content: string): { bytes: BlkioEntry[]; counts: BlkioEntry[] } {
  const bytes: BlkioEntry[] = [];
  const counts: BlkioEntry[] = [];
  const OPS: { readonly [key: string]: readonly [BlkioEntry[], string] } = {
    rbytes: [bytes, "read"], wbytes: [bytes, "write"], dbytes: [bytes, "discard"], rios: [counts, "read"], wios: [counts, "write"], dios: [counts, "discard"],
  };
  for (const line of lines(content)) {
    const [device = "", ...fields] = words(line);
    const [major = "", minor = ""] = device.split(":");
    for (const field of fields) {
      const [key = "", value = "0"] = field.split("=");
      const op = OPS[key];
      if (op !== undefined) op[0].push({ major: Number(major), minor: Number(minor), op: op[1], value: Number(value) });
    }
  }
  return { bytes, counts };
}

function blkio(serviceBytes: BlkioEntry[], serviced: BlkioEntry[]): BlkioStats {
  return {
    ioServiceBytesRecursive: serviceBytes, ioServicedRecursive: serviced, ioQueuedRecursive: [], ioServiceTimeRecursive: [],
    ioWaitTimeRecursive: [], ioMergedRecursive: [], ioTimeRecursive: [], sectorsRecursive: [],
  };
}

const HUGE_PAGES = "/sys/kernel/mm/hugepages";
let sizes: string[] | undefined;

/** The sizes of huge pages as the files are named: 64KB, 2MB, 1GB. The machine tells them: the group's folder may hold what a container has made. */
function hugeSizes(): string[] {
  if (sizes !== undefined) return sizes;
  if (!exists(HUGE_PAGES)) return (sizes = []);
  using dir = open(HUGE_PAGES, O.RDONLY | O.DIRECTORY);
  return (sizes = getdents(dir).map(({ name }) => {
    const kib = Number(name.slice("hugepages-".length, -"kB".length));
    return kib >= 1 << 20 ? `${kib >> 20}GB` : kib >= 1024 ? `${kib >> 10}MB` : `${kib}KB`;
  }));
}

function hugetlb(dir: string, usage: string, max: string, events: (size: string) => number): Record<string, HugetlbStats> {
  const table: Record<string, HugetlbStats> = {};
  for (const size of hugeSizes()) {
    const used = text(`${dir}/hugetlb.${size}${usage}`);
    if (used !== undefined) table[size] = { usage: Number(used), maxUsage: max === "" ? 0 : number(`${dir}/hugetlb.${size}${max}`), failcnt: events(size) };
  }
  return table;
}

/** "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full ..."; undefined when the kernel does not count. */
export function pressures(content: string | undefined): Pressures | undefined {
  if (content === undefined) return undefined;
  return Object.fromEntries(lines(content).map((line) => {
    const [kind = "", ...fields] = words(line);
    return [kind, Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf("=")), Number(field.slice(field.indexOf("=") + 1))]))];
  })) as Pressures;
}

/** The figures of a version 2 group. */
export function statsV2(dir: string, pressure: boolean): Stats {
  const result: Stats = { hugetlbStats: {} };
  if (pressure) result.pressure = Object.fromEntries(["cpu", "memory", "io"].map((name) => [name, pressures(text(`${dir}/${name}.pressure`))]));
  const cpu = text(`${dir}/cpu.stat`);
  if (cpu !== undefined) {
    const s = keyed(cpu);
    const ns = (key: string): number => (s[key] ?? 0) * 1000;
    result.cpuStats = {
      cpuUsage: { totalUsage: ns("usage_usec"), percpuUsage: [], usageInKernelmode: ns("system_usec"), usageInUsermode: ns("user_usec") },
      throttlingData: { periods: s["nr_periods"] ?? 0, throttledPeriods: s["nr_throttled"] ?? 0, throttledTime: ns("throttled_usec") },
    };
  }
  const memory = text(`${dir}/memory.stat`);
  if (memory !== undefined) {
    const stats = keyed(memory);
    const events = keyed(text(`${dir}/memory.events`));
    result.memoryStats = {
      cache: stats["file"] ?? 0, useHierarchy: true, stats,
      usage: { usage: number(`${dir}/memory.current`), maxUsage: number(`${dir}/memory.peak`), failcnt: events["max"] ?? 0, limit: number(`${dir}/memory.max`) },
      swapUsage: { usage: number(`${dir}/memory.swap.current`), maxUsage: number(`${dir}/memory.swap.peak`), failcnt: keyed(text(`${dir}/memory.swap.events`))["fail"] ?? 0, limit: number(`${dir}/memory.swap.max`) },
      kernelUsage: { usage: stats["kernel"] ?? 0, maxUsage: 0, failcnt: 0, limit: NO_LIMIT },
    };
  }
  if (text(`${dir}/pids.current`) !== undefined) result.pidsStats = pids(dir);
  const io = text(`${dir}/io.stat`);
  if (io !== undefined) {
    const { bytes, counts } = ioStat(io);
    result.blkioStats = blkio(bytes, counts);
  }
  result.hugetlbStats = hugetlb(dir, ".current", "", (size) => keyed(text(`${dir}/hugetlb.${size}.events`))["max"] ?? 0);
  return result;
}

/** No limit is told as 0 here: that is what hosts expect of pids. */
function pids(dir: string): { current: number; limit: number } {
  const limit = number(`${dir}/pids.max`);
  return { current: number(`${dir}/pids.current`), limit: limit === NO_LIMIT ? 0 : limit };
}

const NS_PER_TICK = 10_000_000; // USER_HZ is 100 on every architecture we know

function cpuV1(acct: string, cpu: string | undefined): CpuStats {
  const ticks = keyed(text(`${acct}/cpuacct.stat`));
  const s = keyed(cpu === undefined ? undefined : text(`${cpu}/cpu.stat`));
  return {
    cpuUsage: {
      totalUsage: number(`${acct}/cpuacct.usage`), percpuUsage: words(text(`${acct}/cpuacct.usage_percpu`) ?? "").map(Number),
      usageInKernelmode: (ticks["system"] ?? 0) * NS_PER_TICK, usageInUsermode: (ticks["user"] ?? 0) * NS_PER_TICK,
    },
    throttlingData: { periods: s["nr_periods"] ?? 0, throttledPeriods: s["nr_throttled"] ?? 0, throttledTime: s["throttled_time"] ?? 0 },
  };
}

function memoryV1(dir: string): MemoryStats {
  const data = (prefix: string): MemoryData => ({
    usage: number(`${dir}/${prefix}.usage_in_bytes`), maxUsage: number(`${dir}/${prefix}.max_usage_in_bytes`),
    failcnt: number(`${dir}/${prefix}.failcnt`), limit: number(`${dir}/${prefix}.limit_in_bytes`),
  });
  const stats = keyed(text(`${dir}/memory.stat`));
  return {
    cache: stats["cache"] ?? 0, usage: data("memory"), swapUsage: data("memory.memsw"), kernelUsage: data("memory.kmem"),
    useHierarchy: number(`${dir}/memory.use_hierarchy`) === 1, stats,
  };
}

/** blkio files: "8:0 Read 4096" and a total line without a device. */
export function blkioV1(content: string | undefined): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of lines(content ?? "")) {
    const [device = "", op = "", value] = words(line);
    const [major = "", minor] = device.split(":");
    if (minor !== undefined && value !== undefined) entries.push({ major: Number(major), minor: Number(minor), op: op.toLowerCase(), value: Number(value) });
  }
  return entries;
}

/** The figures of version 1 groups; `dirOf` gives a controller's folder if the container is in it. */
export function statsV1(dirOf: (controller: string) => string | undefined): Stats {
  const result: Stats = { hugetlbStats: {} };
  const acct = dirOf("cpuacct");
  if (acct !== undefined) result.cpuStats = cpuV1(acct, dirOf("cpu"));
  const memory = dirOf("memory");
  if (memory !== undefined) result.memoryStats = memoryV1(memory);
  const pidsDir = dirOf("pids");
  if (pidsDir !== undefined) result.pidsStats = pids(pidsDir);
  const block = dirOf("blkio");
  if (block !== undefined) {
    const read = (name: string): BlkioEntry[] => blkioV1(text(`${block}/blkio.${name}_recursive`) ?? text(`${block}/blkio.throttle.${name}`));
    result.blkioStats = blkio(read("io_service_bytes"), read("io_serviced"));
  }
  const huge = dirOf("hugetlb");
  if (huge !== undefined) result.hugetlbStats = hugetlb(huge, ".usage_in_bytes", ".max_usage_in_bytes", (size) => number(`${huge}/hugetlb.${size}.failcnt`));
  return result;
}
