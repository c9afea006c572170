// Options that several commands share, and how their words become numbers. Pure; errors are for the user.
import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { InvalidArgumentError, type Command } from "commander";
import type { BootOptions } from "../vm/boot.js";
import type { MachineType } from "../vm/machine.js";
import { saysDefault } from "./help.js";
import { WIRE_CHOICES, type WireChoice } from "../vm/wire.js";

const UNITS: Readonly<Record<string, number>> = { "": 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** `128m`, `1g`, `65536` as bytes. Throws InvalidArgumentError. */
export const parseBytes = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)\s*([bkmgt]?)i?b?$/i.exec(text);
  const bytes = match ? Math.round(Number(match[1]) * (UNITS[(match[2] ?? "").toLowerCase()] ?? 1)) : 0;
  if (!(bytes > 0) || !Number.isSafeInteger(bytes)) throw new InvalidArgumentError("a size like 128m or 1g is wanted.");
  return bytes;
};

/** The other way round: 268435456 as "256M". */
export const sizeText = (bytes: number): string => {
  const [letter, unit] = Object.entries(UNITS).reverse().find(([, n]) => bytes >= n && bytes % n === 0 && n > 1) ?? ["", 1];
  return `${bytes / unit}${letter.toUpperCase()}`;
};

/** A positive number, fractions allowed. */
export const parsePositive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError("a number above 0 is wanted.");
  return value;
};

/** Seconds as milliseconds. */
export const parseSeconds = (text: string): number => Math.round(parsePositive(text) * 1000);

/** The other way round: 60000 as "60 s". */
export const timeText = (ms: number): string => `${ms / 1000} s`;

/** The entry of our own environment with this name as it was given to us; empty when it was set later. */
const ownEnvironment = (name: string): Buffer => {
  const entries = readFileSync("/proc/self/environ").toString("latin1").split("\0");
  return Buffer.from(entries.find((entry) => entry.startsWith(`${Buffer.from(name).toString("latin1")}=`)) ?? "", "latin1");
};

/** One NAME=value, or NAME taken from our own environment, added to the list so far. */
export const parseEnv = (text: string, so_far: string[]): string[] => {
  const name = text.split("=", 1)[0] ?? "";
  if (name === "") throw new InvalidArgumentError("NAME=value is wanted.");
  if (text.includes("=")) return [...so_far, text];
  const own = process.env[name];
  // Node has made text of it already.
  if (own?.includes("\ufffd") === true && !isUtf8(ownEnvironment(name))) throw new InvalidArgumentError(`the value of ${name} is not UTF-8 text.`);
  return own === undefined ? so_far : [...so_far, `${name}=${own}`];
};

const oneOf = <T extends string>(words: readonly T[]) => (text: string): T => {
  const found = words.find((word) => word === text);
  if (found === undefined) throw new InvalidArgumentError(`one of ${words.join(", ")} is wanted.`);
  return found;
};

export interface VmOptions {
  transport: WireChoice;
  machine?: MachineType;
  kernel?: string;
  initrd?: string;
  image?: string;
  fstype: string;
  vmMemory: number;
  vmCpus?: number;
  append: string[];
  timeout: number;
}

const VM_MEMORY = 256 * 1024 ** 2;
const VM_TIMEOUT_MS = 60_000;

/** The options that say how a VM is made, for help. */
export const MACHINE_OPTIONS = ["--transport", "--machine", "--kernel", "--initrd", "--image", "--fstype", "--vm-memory", "--vm-cpus", "--append", "--timeout"];

/** Give a command the options that say how its VM is made. `initrd`/`image` carry the prefix `--vm-` where an image is an argument. */
export const withVmOptions = (command: Command): Command => {
  command
    .option("--transport <how>", `how to reach the agent: ${WIRE_CHOICES.join(", ")}`, oneOf(WIRE_CHOICES), "auto")
    .option("--machine <type>", "machine of QEMU: microvm (boots fastest) or q35 (PCI, ACPI, hot plug); default: the first that the kernel can drive", oneOf(["microvm", "q35"] as const))
    .option("--kernel <file>", "kernel to boot (default: dist/vmlinux, else dist/bzImage)")
    .option("--initrd <file>", "initrd to boot from (default: dist/initrd.img)")
    .option("--image <file>", "disk image to boot from instead of an initrd (dist/rootfs.img), or through the one that --initrd names")
    .option("--fstype <type>", "file system of that disk image", "erofs")
    .option("--vm-memory <size>", "memory of the VM", parseBytes, VM_MEMORY)
    .option("--vm-cpus <n>", "processors of the VM (default: 1, or as many as --cpus needs)", parsePositive)
    .option("--append <words>", "further words for the kernel command line", (text: string, so_far: string[]) => [...so_far, ...text.split(/\s+/)], [] as string[])
    .option("--timeout <seconds>", "time the VM gets to come up", parseSeconds, VM_TIMEOUT_MS);
  saysDefault(command, "--vm-memory", sizeText(VM_MEMORY));
  return saysDefault(command, "--timeout", timeText(VM_TIMEOUT_MS));
};

/** The part of a boot that these options decide. */
export const bootOptions = (options: VmOptions): BootOptions => ({
  transport: options.transport, machine: options.machine ?? "fit", kernel: options.kernel,
  ...(options.image !== undefined ? { root: { image: options.image, fstype: options.fstype, ...(options.initrd === undefined ? {} : { initrd: options.initrd }) } } : options.initrd !== undefined ? { root: { initrd: options.initrd } } : {}),
  memoryMiB: Math.ceil(options.vmMemory / 1024 ** 2),
  ...(options.vmCpus === undefined ? {} : { cpus: Math.ceil(options.vmCpus) }),
  append: options.append, timeoutMs: options.timeout,
});
