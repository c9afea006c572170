// VMs for tests: boots one from dist/ in the way asked for, and takes it down after the test; when the test failed the console
// and logs stay and their place is printed. It owns nothing else; what a test does in the VM is the test's own.
import { existsSync } from "node:fs";
import { onTestFailed, onTestFinished } from "vitest";
import { bootVm as boot, type BootOptions, type Vm } from "../../ctl/vm/boot.js";
import { distFile } from "../../tools/places.js";
import { findProgram } from "../../ctl/vm/program.js";
import { chooseWire, type WireChoice } from "../../ctl/vm/wire.js";
import { hasModules } from "./kernel.js";

export interface VmOptions {
  transport?: WireChoice;
  root?: "initrd" | "image";
  /** A kernel with its roots, instead of what is in dist: a disk image is entered through the initrd. */
  kernel?: { vmlinux: string; initrd: string; image?: string };
  machine?: "q35" | "microvm";
  /** Folder of the host in the guest, tag kataShared, through virtio-fs. */
  share?: string;
  /** The same through 9p. */
  ninep?: string;
  disks?: { file: string; readOnly: boolean }[];
  memory?: number;
  smp?: number;
  append?: string[];
  timeoutMs?: number;
  extra?: string[];
}

/** Why VM tests cannot run here, or undefined when they can: the reason belongs into the skip. */
export const vmMissing = (transport: WireChoice = "auto"): string | undefined => {
  if (findProgram("qemu-system-x86_64") === undefined) return "QEMU is not installed";
  const missing = ["initrd.img", existsSync(distFile("vmlinux")) ? "vmlinux" : "bzImage"].find((name) => !existsSync(distFile(name)));
  if (missing !== undefined) return `dist/${missing} has not been built`;
  try {
    chooseWire(transport);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};

/** A need of a suite (suite.ts): VMs that are reached that way. */
export const vmOver = (transport: WireChoice = "auto") => (): string | undefined => vmMissing(transport);

const rootOf = ({ kernel, root }: VmOptions): Pick<BootOptions, "kernel" | "root"> => {
  if (kernel === undefined) return root === "image" ? { root: { image: distFile("rootfs.img"), ...(hasModules() ? { initrd: distFile("initrd.img") } : {}) } } : {};
  const { vmlinux, initrd, image } = kernel;
  return { kernel: vmlinux, root: root === "image" ? { initrd, image: image ?? "" } : { initrd } };
};

const toBoot = (options: VmOptions): BootOptions => ({
  transport: options.transport ?? "auto",
  machine: options.machine ?? "q35",
  ...rootOf(options),
  ...(options.share !== undefined ? { share: { folder: options.share, by: "virtiofs" as const } } : {}),
  ...(options.ninep !== undefined ? { share: { folder: options.ninep, by: "9p" as const } } : {}),
  ...(options.disks !== undefined ? { disks: options.disks } : {}),
  ...(options.memory !== undefined ? { memoryMiB: options.memory } : {}),
  ...(options.smp !== undefined ? { cpus: options.smp } : {}),
  append: options.append ?? [], extra: options.extra ?? [], timeoutMs: options.timeoutMs ?? 60_000,
});

/**
 * Boot a VM and keep it until `stop()`: for VMs that several tests share. Inside one test use `bootVm`.
 * Rejects with BootError, whose text has the console's last lines and the place of the logs.
 */
export const bootSharedVm = (options: VmOptions = {}): Promise<Vm> => boot(toBoot(options));

/** Boot a VM for the test that runs now; it is taken down when the test has ended. */
export const bootVm = async (options: VmOptions = {}): Promise<Vm> => {
  let failed = false;
  let vm: Vm | undefined;
  onTestFailed(() => void (failed = true));
  onTestFinished(async () => {
    if (vm === undefined) return;
    await vm.stop({ graceMs: 0, keepLogs: failed });
    if (failed) process.stderr.write(`console and logs of the VM: ${vm.folder}\n`);
  });
  vm = await boot(toBoot(options));
  return vm;
};
