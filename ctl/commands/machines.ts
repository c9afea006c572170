// `boot`, `ps` and `stop`: VMs without a container of ours. A booted VM is kept by one process, in the foreground or, with
// --detach, by a copy of this program; ending that process ends the VM.
import { randomBytes } from "node:crypto";
import { formatAddress } from "../client/address.js";
import { bootVm } from "../vm/boot.js";
import { now } from "../lifetime.js";
import { SHARE_TAG } from "../vm/share.js";
import { claimName, findVm, listVms, register, startTime } from "../vm/registry.js";
import { detach, isUp } from "./detach.js";
import { armInterrupt } from "./interrupt.js";
import { bootOptions, type VmOptions } from "./options.js";

export interface BootCommandOptions extends VmOptions {
  name?: string;
  detach?: boolean;
  disk: string[];
  share?: string;
  ninep?: string;
  quiet?: boolean;
  json?: boolean;
}

/** Boot a VM and keep it until a signal or its own end. With `detach` a process of its own keeps it. */
export const bootCommand = async (options: BootCommandOptions): Promise<number> => {
  const name = options.name === undefined ? randomBytes(6).toString("hex") : claimName(options.name);
  if (options.detach === true) return detach(name);
  const say = (line: string): void => void (options.quiet === true || process.stderr.write(`katactl: ${line}\n`));
  const interrupt = armInterrupt();
  now("booting the VM");
  const share = options.share !== undefined ? { folder: options.share, by: "virtiofs" as const } : options.ninep !== undefined ? { folder: options.ninep, by: "9p" as const } : undefined;
  const vm = await bootVm({ ...bootOptions(options), disks: options.disk.map((file) => ({ file, readOnly: false })), share, say, signal: interrupt.signal });
  if (share !== undefined) say(`${share.folder} is shared under the tag ${SHARE_TAG}`);
  const address = formatAddress(vm.address);
  const unregister = register({ name, qemuPid: vm.qemuPid, address, transport: vm.transport, accel: vm.accel.accel, machine: vm.machine, console: vm.consolePath, container: "" });
  // Other clients come by the address; a serial port has room for one, so ours goes away.
  vm.client.close();
  const line = options.json === true ? JSON.stringify({ name, address, ready_ms: Math.round(vm.readyMs), console: vm.consolePath }) : `${name} ${address}`;
  process.stdout.write(`${line}\n`);
  isUp(line);
  await Promise.race([interrupt.first, vm.poweredOff]);
  unregister();
  await vm.stop({ graceMs: 0 });
  interrupt.disarm();
  return 0;
};

/** Print the running VMs. */
export const psCommand = (options: { json?: boolean }): number => {
  const all = listVms();
  if (options.json === true) process.stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
  else {
    const rows = [["NAME", "PID", "CONTAINER", "MACHINE", "ACCEL", "ADDRESS"], ...all.map((vm) => [vm.name, String(vm.pid), vm.container || "-", vm.machine, vm.accel, vm.address])];
    const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    for (const row of rows) process.stdout.write(`${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()}\n`);
  }
  return 0;
};

const POLL_MS = 20;

/** End a VM by its name; resolves when its keeper is gone. */
export const stopCommand = async (name: string, options: { timeout: number }): Promise<number> => {
  const vm = findVm(name);
  process.kill(vm.pid, "SIGTERM");
  for (const end = performance.now() + options.timeout; performance.now() < end; ) {
    if (startTime(vm.pid) !== vm.started) return 0;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`VM '${name}' did not end within ${options.timeout} ms`);
};
