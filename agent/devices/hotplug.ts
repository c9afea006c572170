// CPUs and memory that the host has added: bringing them into use (agent-api 10.9, 10.11, 10.12). Writing to an `online`
// file starts a CPU or a stretch of memory and takes milliseconds, so it happens in a child.
import { exists } from "../sys/file.js";
import { AppError } from "../lib/errors.js";
import { pause } from "../lib/async.js";
import { childTask } from "../lib/child-task.js";
import { readTextIf, writeText } from "../lib/fs.js";
import { decimal, parseBase } from "../lib/text.js";
import { namesIn } from "./sysfs.js";

const CPU = "/sys/devices/system/cpu";
const MEMORY = "/sys/devices/system/memory";
const ROUNDS = 100;
const ROUND_MS = 50;
const WRITE_DEADLINE_MS = 10_000;

/** How many numbers a list like "0-3,7" holds. */
export function countList(text: string): number {
  let count = 0;
  for (const part of text.trim().split(",")) {
    const [first, last] = part.split("-").map(decimal);
    if (first !== undefined) count += (last ?? first) - first + 1;
  }
  return count;
}

const onlineCpus = (): number => countList(readTextIf(`${CPU}/online`) ?? "");

/** `online` files of numbered folders (cpu3, memory12) that hold 0. */
function offline(base: string, prefix: string): string[] {
  return namesIn(base)
    .filter((name) => name.startsWith(prefix) && decimal(name.slice(prefix.length)) !== undefined)
    .map((name) => `${base}/${name}/online`)
    .filter((file) => readTextIf(file)?.trim() === "0");
}

/** Writes 1 to each; what the kernel refuses stays off. */
function switchOn(what: string, files: readonly string[]): Promise<null> {
  return childTask(what, WRITE_DEADLINE_MS, () => {
    for (const file of files) {
      try {
        writeText(file, "1");
      } catch {
        continue; // counted again by the caller
      }
    }
    return null;
  });
}

async function bringCpus(wanted: number): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const missing = wanted - onlineCpus();
    if (missing <= 0) return;
    const files = offline(CPU, "cpu").slice(0, missing);
    if (files.length > 0) await switchOn(`bring ${files.length} CPUs online`, files);
    if (onlineCpus() < wanted) await pause(ROUND_MS);
  }
  const missing = wanted - onlineCpus();
  if (missing > 0) throw new AppError("internal", `failed to online ${missing} CPU(s) after ${ROUNDS} retries`);
}

/** Brings CPUs online until there are `nbCpus` (0: leave them), and, unless `cpuOnly`, all memory. */
export async function onlineCpuMem(nbCpus: number, cpuOnly: boolean): Promise<void> {
  if (nbCpus > 0) await bringCpus(nbCpus);
  if (cpuOnly) return;
  const files = offline(MEMORY, "memory");
  if (files.length > 0) await switchOn("bring memory online", files);
}

/** The size of the blocks in which memory comes, in bytes; 0 when the kernel has no memory hot plug. */
export function memoryBlockSize(): number {
  const text = readTextIf(`${MEMORY}/block_size_bytes`);
  if (text === undefined) return 0;
  const size = parseBase(text.trim(), 16);
  if (size === undefined) throw new AppError("internal", "Invalid block size");
  return size;
}

/** Does the guest have to be told where new memory is? */
export const hasMemoryProbe = (): boolean => exists(`${MEMORY}/probe`);

/** Tells the kernel of memory at these addresses. */
export async function probeMemory(addresses: readonly number[]): Promise<void> {
  if (addresses.length === 0) return;
  await childTask("probe memory", WRITE_DEADLINE_MS, () => {
    for (const address of addresses) writeText(`${MEMORY}/probe`, `0x${address.toString(16).toUpperCase()}`);
    return null;
  });
}
