// linux.resources to what is written into which file of a cgroup, version 1 and version 2, in the order of the writes. Pure.
// Sources: runtime-spec config-linux.md; kernel Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.
import type { Limit } from "./cgroup.js";
import { refusing } from "./field.js";
import type { BlockIO, Cpu, Memory, Resources, ThrottleDevice } from "./spec.js";

const refuse = refusing("linux.resources");

/** cpu.shares (2 to 262144) to cpu.weight (1 to 10000): 1024 becomes 100. 0 stays 0, which means "not given". */
export function weightOfShares(shares: number): number {
  if (shares === 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const l = Math.log2(shares);
  return Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34));
}

/** io.weight (1 to 10000) of blockIO.weight (10 to 1000). */
export function ioWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/** Version 1 counts memory and swap together, version 2 swap alone. Returns undefined when nothing is to be set. Throws "invalid". */
export function swapAlone(limit: number | undefined, swap: number | undefined): number | undefined {
  const memory = limit ?? 0;
  const both = swap ?? 0;
  if (memory === -1 && both === 0) return -1;
  if (both === 0) return undefined;
  if (both === -1 || memory === -1) return both;
  if (memory === 0) return refuse("memory.swap", "a swap limit needs a memory limit");
  if (both < memory) return refuse("memory.swap", `${both} is below memory.limit ${memory}`);
  return both - memory;
}

/** All digits of a limit: text of a double beyond 2^53 ends in zeros that are not its own, and may lie beyond what 64 bits hold. */
const whole = (n: number): string => (Math.abs(n) <= Number.MAX_SAFE_INTEGER ? String(n) : String(n >= 2 ** 64 ? 18446744073709551615n : BigInt(n)));
const orMax = (n: number): string => (n < 0 ? "max" : whole(n));
const given = (n: number | undefined): n is number => n !== undefined && n !== 0;

function memoryV2(m: Memory, out: Limit[]): void {
  const put = (file: string, value: number, optional = false): void => void out.push({ controller: "memory", file, value: orMax(value), optional });
  const swap = swapAlone(m.limit, m.swap);
  if (swap !== undefined) put("memory.swap.max", swap, swap <= 0);
  if (given(m.limit)) put("memory.max", m.limit);
  if (given(m.reservation)) put("memory.low", m.reservation);
}

function cpuV2(c: Cpu, out: Limit[]): void {
  const put = (controller: string, file: string, value: string): void => void out.push({ controller, file, value });
  if (c.idle !== undefined) put("cpu", "cpu.idle", String(c.idle));
  if (given(c.shares) && c.idle !== 1) put("cpu", "cpu.weight", String(weightOfShares(c.shares)));
  if (given(c.quota) || given(c.period)) put("cpu", "cpu.max", `${given(c.quota) && c.quota > 0 ? c.quota : "max"} ${given(c.period) ? c.period : 100000}`);
  if (c.burst !== undefined) put("cpu", "cpu.max.burst", whole(c.burst)); // above the quota (EINVAL) until that is written
  if (c.cpus) put("cpuset", "cpuset.cpus", c.cpus);
  if (c.mems) put("cpuset", "cpuset.mems", c.mems);
}

const THROTTLES = [
  ["throttleReadBpsDevice", "rbps", "read_bps_device"], ["throttleWriteBpsDevice", "wbps", "write_bps_device"],
  ["throttleReadIOPSDevice", "riops", "read_iops_device"], ["throttleWriteIOPSDevice", "wiops", "write_iops_device"],
] as const;

function blockV2(b: BlockIO, out: Limit[]): void {
  if (given(b.weight)) {
    out.push({ controller: "io", file: "io.bfq.weight", value: String(b.weight), otherwise: { controller: "io", file: "io.weight", value: String(ioWeight(b.weight)) } });
  }
  for (const d of b.weightDevice ?? []) {
    if (given(d.weight)) out.push({ controller: "io", file: "io.bfq.weight", value: `${d.major}:${d.minor} ${d.weight}`, otherwise: { controller: "io", file: "io.weight", value: `${d.major}:${d.minor} ${ioWeight(d.weight)}` } });
  }
  for (const [name, key] of THROTTLES) {
    for (const d of (b[name] ?? []) as readonly ThrottleDevice[]) out.push({ controller: "io", file: "io.max", value: `${d.major}:${d.minor} ${key}=${d.rate === 0 ? "max" : whole(d.rate)}` });
  }
}

/** "2MB", "1GB", "64KB": as the kernel names its files. */
function pageSize(text: string, i: number): string {
  const digits = text.slice(0, -2);
  if (!["KB", "MB", "GB"].includes(text.slice(-2)) || digits === "" || [...digits].some((c) => c < "0" || c > "9")) {
    refuse(`hugepageLimits[${i}].pageSize`, `"${text}" is not a size like 2MB`);
  }
  return text;
}

function unified(files: { readonly [file: string]: string }, out: Limit[]): void {
  for (const file in files) {
    const dot = file.indexOf(".");
    if (file.includes("/") || file.includes("\0")) refuse(`unified[${JSON.stringify(file)}]`, "is not the name of a cgroup file");
    if (dot <= 0) refuse(`unified[${JSON.stringify(file)}]`, `the specified key has not the form CONTROLLER.VALUE \`${file}\``);
    const controller = file.slice(0, dot);
    if (controller === "cgroup" && file !== "cgroup.max.depth" && file !== "cgroup.max.descendants") refuse(`unified[${JSON.stringify(file)}]`, "may not be set");
    for (const value of (files[file] as string).split("\n")) if (value !== "") out.push({ controller, file, value, field: `unified[${JSON.stringify(file)}]` });
  }
}

/** -1 and below mean no limit; 0 is a real limit by the spec, which the kernel can hold only as 1. */
const pidsMax = (limit: number): string => (limit < 0 ? "max" : String(limit === 0 ? 1 : limit));

/** The writes for a cgroup of version 2. Throws AppError "invalid" naming the field. */
export function limitsV2(r: Resources): Limit[] {
  const out: Limit[] = [];
  if (r.pids?.limit !== undefined) out.push({ controller: "pids", file: "pids.max", value: pidsMax(r.pids.limit) });
  if (r.memory !== undefined) memoryV2(r.memory, out);
  if (r.blockIO !== undefined) blockV2(r.blockIO, out);
  if (r.cpu !== undefined) cpuV2(r.cpu, out);
  r.hugepageLimits?.forEach(({ pageSize: size, limit }, i) => {
    const file = `hugetlb.${pageSize(size, i)}`;
    out.push({ controller: "hugetlb", file: `${file}.max`, value: whole(limit) }, { controller: "hugetlb", file: `${file}.rsvd.max`, value: whole(limit), optional: true });
  });
  rdma(r, out);
  if (r.unified !== undefined) unified(r.unified, out);
  return out;
}

function rdma({ rdma: devices = {} }: Resources, out: Limit[]): void {
  for (const device in devices) {
    const { hcaHandles, hcaObjects } = devices[device] ?? {};
    const value = `${device}${hcaHandles === undefined ? "" : ` hca_handle=${hcaHandles}`}${hcaObjects === undefined ? "" : ` hca_object=${hcaObjects}`}`;
    if (value !== device) out.push({ controller: "rdma", file: "rdma.max", value });
  }
}

function memoryV1(m: Memory, out: Limit[]): void {
  const put = (file: string, value: number | undefined, optional = false): void => {
    if (value !== undefined && value !== 0) out.push({ controller: "memory", file: `memory.${file}`, value: whole(value), optional });
  };
  if (given(m.swap) && m.swap > 0 && given(m.limit) && m.swap < m.limit) refuse("memory.swap", `${m.swap} is below memory.limit ${m.limit}`);
  if (m.limit === -1) put("memsw.limit_in_bytes", -1, true);
  put("limit_in_bytes", m.limit);
  if (m.limit !== -1 || given(m.swap)) put("memsw.limit_in_bytes", m.swap, m.swap === -1);
  put("soft_limit_in_bytes", m.reservation);
  put("kmem.limit_in_bytes", m.kernel); // since Linux 5.16 refused, since 6.7 taken without effect
  put("kmem.tcp.limit_in_bytes", m.kernelTCP);
  if (m.useHierarchy !== undefined) out.push({ controller: "memory", file: "memory.use_hierarchy", value: m.useHierarchy ? "1" : "0" });
  if (m.swappiness !== undefined) out.push({ controller: "memory", file: "memory.swappiness", value: String(m.swappiness) });
  if (m.disableOOMKiller) out.push({ controller: "memory", file: "memory.oom_control", value: "1" });
}

function cpuV1(c: Cpu, out: Limit[]): void {
  const put = (file: string, value: number | undefined, controller = "cpu"): void => {
    if (value !== undefined && value !== 0) out.push({ controller, file: `cpu.${file}`, value: whole(value) });
  };
  if (c.idle !== undefined) out.push({ controller: "cpu", file: "cpu.idle", value: String(c.idle) });
  if (c.idle !== 1) put("shares", c.shares);
  put("cfs_period_us", c.period);
  put("cfs_quota_us", c.quota);
  if (c.burst !== undefined) out.push({ controller: "cpu", file: "cpu.cfs_burst_us", value: whole(c.burst) });
  put("rt_period_us", c.realtimePeriod);
  put("rt_runtime_us", c.realtimeRuntime);
  if (c.cpus) out.push({ controller: "cpuset", file: "cpuset.cpus", value: c.cpus });
  if (c.mems) out.push({ controller: "cpuset", file: "cpuset.mems", value: c.mems });
}

function blockV1(b: BlockIO, out: Limit[]): void {
  const put = (file: string, value: string): void => void out.push({ controller: "blkio", file, value, otherwise: { controller: "blkio", file: file.replace("blkio.", "blkio.bfq."), value } });
  if (given(b.weight)) put("blkio.weight", String(b.weight));
  if (given(b.leafWeight)) put("blkio.leaf_weight", String(b.leafWeight));
  for (const d of b.weightDevice ?? []) if (given(d.weight)) put("blkio.weight_device", `${d.major}:${d.minor} ${d.weight}`);
  for (const d of b.weightDevice ?? []) if (given(d.leafWeight)) put("blkio.leaf_weight_device", `${d.major}:${d.minor} ${d.leafWeight}`);
  for (const [name, , file] of THROTTLES) {
    for (const d of (b[name] ?? []) as readonly ThrottleDevice[]) out.push({ controller: "blkio", file: `blkio.throttle.${file}`, value: `${d.major}:${d.minor} ${whole(d.rate)}` });
  }
}

/** The writes for cgroups of version 1. Throws AppError "invalid" naming the field. */
export function limitsV1(r: Resources): Limit[] {
  if (r.unified !== undefined && Object.keys(r.unified).length > 0) refuse("unified", "invalid configuration: needs cgroup version 2");
  const out: Limit[] = [];
  if (r.memory !== undefined) memoryV1(r.memory, out);
  if (r.cpu !== undefined) cpuV1(r.cpu, out);
  if (r.pids?.limit !== undefined) out.push({ controller: "pids", file: "pids.max", value: pidsMax(r.pids.limit) });
  if (r.blockIO !== undefined) blockV1(r.blockIO, out);
  r.hugepageLimits?.forEach(({ pageSize: size, limit }, i) => {
    const file = `hugetlb.${pageSize(size, i)}`;
    out.push({ controller: "hugetlb", file: `${file}.limit_in_bytes`, value: whole(limit) }, { controller: "hugetlb", file: `${file}.rsvd.limit_in_bytes`, value: whole(limit), optional: true });
  });
  if (given(r.network?.classID)) out.push({ controller: "net_cls", file: "net_cls.classid", value: String(r.network.classID) });
  for (const p of r.network?.priorities ?? []) out.push({ controller: "net_prio", file: "net_prio.ifpriomap", value: `${p.name} ${p.priority}` });
  rdma(r, out);
  return out;
}
