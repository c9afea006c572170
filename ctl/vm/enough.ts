// How much memory a VM needs at least, from what has to be in it. An estimate: the kernel as it lies in memory, what it keeps for itself,
// and an initrd twice (as it was handed over, and unpacked). Measured with our own kernel of 20.4 MiB: a container ran in 44 MiB.
import { readFileSync, statSync } from "node:fs";

const MIB = 1024 ** 2;
/** What the kernel and the agent take beside the kernel's image: hash tables, slabs, a container's first pages. */
const BESIDE_MIB = 21;
/** A compressed kernel (bzImage) unpacks to about that much of its size. */
const UNPACKED = 3.8;

const isElf = (file: string): boolean => readFileSync(file).subarray(0, 4).toString("latin1") === "\x7fELF";

/** MiB, about. Files that are not there count as nothing. */
export const memoryNeed = (kernel: string, initrd: string | undefined): number => {
  const size = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const image = size(kernel) * (size(kernel) > 0 && !isElf(kernel) ? UNPACKED : 1);
  return Math.ceil((image + 2 * (initrd === undefined ? 0 : size(initrd))) / MIB + BESIDE_MIB);
};

/** A sentence for the user when the VM has less than it needs. */
export const tooSmall = (memoryMiB: number, need: number): string | undefined =>
  memoryMiB < need ? `the VM has too little memory: ${memoryMiB} MiB, this kernel needs about ${need} (--vm-memory)` : undefined;
