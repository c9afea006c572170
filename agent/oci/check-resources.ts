// What linux.resources may ask for where every wish is to be fulfilled or refused: on a command line. Hosts of a sandbox send
// more than they mean, so there the same wishes are passed over. Pure. Sources: runtime-spec config-linux.md; the kernel's
// cgroup-v2.rst, which lists what version 2 gave up.
import { inRange, refuse } from "./field.js";
import type { BlockIO, Cpu, Memory, Resources } from "./spec.js";

const field = (name: string): string => `linux.resources.${name}`;
const asked = (n: number | undefined): boolean => n !== undefined && n !== 0;
const gone = (name: string): never => refuse(field(name), "cgroup version 2 has nothing like it");

function memoryV2(m: Memory): void {
  for (const name of ["kernel", "kernelTCP"] as const) if ((m[name] ?? 0) > 0) gone(`memory.${name}`);
  if (m.swappiness !== undefined) gone("memory.swappiness");
  if (m.disableOOMKiller === true) gone("memory.disableOOMKiller");
  if (m.useHierarchy === false) gone("memory.useHierarchy");
}

function cpuV2(c: Cpu): void {
  for (const name of ["realtimeRuntime", "realtimePeriod"] as const) if (asked(c[name])) gone(`cpu.${name}`);
}

function cpuV1(c: Cpu): void {
  if (asked(c.shares)) inRange(field("cpu.shares"), c.shares, 2, 262144); // the kernel would take the nearest without a word
}

function block(b: BlockIO, version: 1 | 2): void {
  if (asked(b.weight)) inRange(field("blockIO.weight"), b.weight, 10, 1000);
  if (version === 2 && asked(b.leafWeight)) gone("blockIO.leafWeight");
  b.weightDevice?.forEach((d, i) => {
    const name = `blockIO.weightDevice[${i}]`;
    if (asked(d.weight)) inRange(field(`${name}.weight`), d.weight, 10, 1000);
    if (version === 2 && asked(d.leafWeight)) gone(`${name}.leafWeight`);
  });
}

/** Throws AppError "invalid" naming the first field that cannot be honoured on this version of the cgroups. */
export function checkResources(r: Resources, version: 1 | 2): void {
  const { memory, cpu, blockIO, network } = r;
  if (memory !== undefined) {
    if (version === 2) memoryV2(memory);
    inRange(field("memory.swappiness"), memory.swappiness, 0, 100);
  }
  if (cpu !== undefined) (version === 2 ? cpuV2 : cpuV1)(cpu);
  if (cpu?.idle !== undefined) inRange(field("cpu.idle"), cpu.idle, 0, 1);
  if (blockIO !== undefined) block(blockIO, version);
  if (version === 2 && asked(network?.classID)) gone("network.classID");
  if (version === 2 && network?.priorities?.length) gone("network.priorities");
}
