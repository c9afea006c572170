// Boots a VM and waits for its agent: daemons, QEMU, console, first answered call; and takes all of it down again.
// It owns the VM's folder: on a good end it is removed, after a failure the logs stay and their place is told.
import { createWriteStream, existsSync, readdirSync, readFileSync, rmSync, type WriteStream } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { formatAddress, type Address } from "../client/address.js";
import type { AgentClient } from "../client/agent-client.js";
import { connectAgent } from "../client/connect.js";
import { atEnd } from "../lifetime.js";
import { chooseAccel, type AccelChoice } from "./accel.js";
import { Console } from "./console.js";
import { kernelWords, qemuArgs, type Machine, type MachineType } from "./machine.js";
import { distFile } from "../../tools/places.js";
import { needed, runFolder } from "./places.js";
import { vsockDriverUp } from "./driver-up.js";
import { memoryNeed, tooSmall } from "./enough.js";
import { findProgram, lastLines, startProgram, type Program, type ProgramEnd } from "./program.js";
import { SHARE_TAG, startVirtiofsd } from "./share.js";
import { openWire, type OpenWire, type WireChoice } from "./wire.js";

export interface BootOptions {
  /** q35 when not given; "fit": what the kernel can drive (machineFor). */
  machine?: MachineType | "fit";
  transport?: WireChoice;
  memoryMiB?: number;
  cpus?: number;
  kernel?: string | undefined;
  /** Boot from an initrd (default), or from a disk image as the root file system: through an initrd when the kernel's drivers are modules. */
  root?: { initrd: string } | { image: string; fstype?: string; initrd?: string };
  disks?: { file: string; readOnly: boolean }[];
  /** Folder of the host to share under SHARE_TAG. */
  share?: { folder: string; by: "virtiofs" | "9p" } | undefined;
  /** Words for the kernel command line. */
  append?: string[];
  /** Further words for QEMU. */
  extra?: string[];
  /** Milliseconds from the start of QEMU to the first answered call. */
  timeoutMs?: number;
  /** Progress in words. */
  say?: (line: string) => void;
  /** Ends the boot. */
  signal?: AbortSignal;
}

export interface Vm {
  /** A client that has been answered once. */
  client: AgentClient;
  address: Address;
  accel: AccelChoice;
  machine: MachineType;
  transport: string;
  /** Milliseconds from the start of QEMU to the first answered call. */
  readyMs: number;
  /** Milliseconds from the start of the guest's kernel to the first answered call; undefined when the agent did not tell its time. */
  kernelMs: number | undefined;
  /** When it has less memory than a container needs: a sentence that says so. */
  tooSmall: string | undefined;
  qemuPid: number;
  folder: string;
  consolePath: string;
  /** Everything the guest has written to its console. */
  console(): string;
  /** Resolves when QEMU has ended, for whatever reason. */
  poweredOff: Promise<ProgramEnd>;
  /** Wait for the guest's own power-off, at most `graceMs`, then take everything down. With `keepLogs` the logs stay. */
  stop(options?: { graceMs?: number; keepLogs?: boolean }): Promise<void>;
}

/** A boot that failed; the message has the last console lines and where the logs are. */
export class BootError extends Error {
  override readonly name = "BootError";
}

const DEFAULT_TIMEOUT_MS = 60_000;

interface Parts {
  folder: string;
  /** Takes the folder off the list of what goes away with us. */
  forget: () => void;
  wire?: OpenWire;
  share?: Program;
  qemu?: Program;
  client?: AgentClient;
  console?: Console;
}

const takeDown = async (parts: Parts): Promise<void> => {
  parts.client?.close();
  await parts.qemu?.kill();
  await parts.console?.close();
  await parts.wire?.daemon?.stop();
  await parts.share?.stop();
};

const dropFolder = ({ folder, forget }: Parts, keepLogs: boolean): void => {
  forget();
  if (!keepLogs) return rmSync(folder, { recursive: true, force: true });
  for (const name of readdirSync(folder)) if (!name.endsWith(".log")) rmSync(join(folder, name), { recursive: true, force: true });
};

/** The kernel to boot: the one asked for, else dist/vmlinux (fewest instructions to boot), else dist/bzImage. */
export const kernelFile = (asked: string | undefined): string => {
  if (asked !== undefined) return needed(asked, "kernel", "check the path");
  return readyKernel() ?? needed(distFile("bzImage"), "kernel", "make it with `make kernel`");
};

/** The kernel in dist, in the form that is booted; undefined when there is none. */
export const readyKernel = (): string | undefined => ["vmlinux", "bzImage"].map(distFile).find((file) => existsSync(file));

/** QEMU's program, if it is on PATH. */
export const findQemu = (): string | undefined => findProgram("qemu-system-x86_64");

/**
 * The machine for a kernel when the user names none: microvm, whose devices stand on the kernel's command line, unless the
 * configuration beside the kernel (kernel.config) tells that it does not read them there.
 */
export const machineFor = (kernel: string): MachineType => {
  const config = join(dirname(kernel), "kernel.config");
  if (!existsSync(config)) return "microvm";
  return readFileSync(config, "utf8").includes("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y") ? "microvm" : "q35";
};

const rootOf = (options: BootOptions): { initrd?: string; image?: string; fstype?: string } => {
  const root = options.root ?? { initrd: distFile("initrd.img") };
  const initrd = root.initrd === undefined ? {} : { initrd: needed(root.initrd, "initrd", "make it with `make initrd`") };
  if (!("image" in root)) return initrd;
  return { ...initrd, image: needed(root.image, "disk image", "make it with `make image`"), fstype: root.fstype ?? "erofs" };
};

const buildMachine = (options: BootOptions, accel: AccelChoice, wire: OpenWire, virtiofs: string | undefined, monitor: string): Machine => {
  const root = rootOf(options);
  const type = options.machine === "fit" ? machineFor(kernelFile(options.kernel)) : options.machine ?? "q35";
  return {
    type, accel: accel.accel, memoryMiB: options.memoryMiB ?? 256, cpus: options.cpus ?? 1, kernel: kernelFile(options.kernel),
    initrd: root.initrd, wire: wire.wire, monitor: wire.wire.kind === "vhost-user-vsock" ? monitor : undefined,
    disks: [...(root.image === undefined ? [] : [{ file: root.image, readOnly: true }]), ...(options.disks ?? [])],
    virtiofs: virtiofs === undefined ? undefined : { socket: virtiofs, tag: SHARE_TAG },
    ninep: options.share?.by === "9p" ? { folder: options.share.folder, tag: SHARE_TAG } : undefined,
    append: kernelWords({ type, wire: wire.wire, rootFstype: root.fstype, append: options.append ?? [] }), extra: options.extra ?? [],
  };
};

const LAST_LINES = 12;

/** The lines that tell most: those up to a kernel panic (its register dump says nothing to a user), else the last ones. */
const tellingLines = (console: string): string => {
  const lines = console.trimEnd().split("\n");
  const panic = lines.findIndex((line) => line.includes("Kernel panic"));
  return lines.slice(0, panic < 0 ? undefined : panic + 1).slice(-LAST_LINES).join("\n");
};

const failure = (parts: Parts, what: string): string => {
  const console = tellingLines(parts.console?.text() ?? "");
  const qemu = lastLines(join(parts.folder, "qemu.log"), 5);
  return [what, ...(qemu === "" ? [] : [`QEMU said:\n${qemu}`]), ...(console === "" ? ["the console stayed empty"] : [`last lines of the console:\n${console}`]), `logs: ${parts.folder}`].join("\n");
};

const LISTENING = /"msg":"listening"[^\n]*\n/;

/** Uptime of the kernel in milliseconds when the agent began to listen, from its line on the console. */
export const listeningUptime = (console: string): number | undefined => {
  const match = /"uptime-ms":"?(\d+)/.exec(LISTENING.exec(console)?.[0] ?? "");
  return match ? Number(match[1]) : undefined;
};

/** How long the agent's line on the console is waited for when the guest's driver is up; without the line only tries can tell. */
const PATIENCE_MS = 3_000;

/** Kernel words that may keep the agent's line from the console. */
const HIDING = /^(agent\.log=(?!info$|debug$|trace$)|agent\.config_file=|console=)/;

// A CONNECT before the guest's driver is up ends the daemon of vhost-user-vsock; a serial port simply keeps our first bytes, and the
// kernel's own vsock refuses. The agent's line on the console is the best sign, but a log level or another console may hide it.
const untilReachable = async ({ console, wire, monitor }: { console: Console; wire: OpenWire; monitor: string }, hidden: boolean, signal: AbortSignal): Promise<void> => {
  if (wire.wire.kind === "serial") return;
  const enough = new AbortController();
  const stop = (): void => enough.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const driver = wire.wire.kind === "vhost-user-vsock" ? vsockDriverUp(monitor, enough.signal) : Promise.resolve();
  const patient = driver.then(() => sleep(hidden ? 0 : PATIENCE_MS, undefined, { signal: enough.signal }));
  try {
    await Promise.any([console.waitFor(LISTENING, enough.signal), patient]);
  } catch (error) {
    throw error instanceof AggregateError ? (error.errors[0] as Error) : error;
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
};

type Booting = Required<Pick<Parts, "qemu" | "console" | "wire">> & { monitor: string };

/** Wait for a sign that the agent can be reached, then for its first answer. */
const firstAnswer = async (parts: Booting, hidden: boolean, timeoutMs: number, signal: AbortSignal | undefined): Promise<AgentClient> => {
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted === true) abort();
  const ended = parts.qemu.ended.then((end) => {
    stop.abort();
    throw new Error(`the VM ended before its agent answered (QEMU ${end.signal ?? `exit code ${end.code}`})`);
  });
  const timer = setTimeout(abort, timeoutMs);
  const begin = performance.now();
  const answer = (async (): Promise<AgentClient> => {
    await untilReachable(parts, hidden, stop.signal);
    return connectAgent(parts.wire.address, { waitMs: Math.max(0, timeoutMs - (performance.now() - begin)), signal: stop.signal });
  })();
  try {
    return await Promise.race([answer, ended]);
  } catch (error) {
    answer.then((late) => late.close(), () => undefined);
    if (signal?.aborted === true) throw new Error("the boot was cancelled");
    if (stop.signal.aborted && parts.qemu.running()) throw new Error(`the agent did not answer within ${timeoutMs} ms`);
    throw error;
  } finally {
    ended.catch(() => undefined);
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
};

/**
 * Boot a VM. Throws Error for things that are missing (QEMU, kernel, images), BootError when the guest does not come up;
 * nothing is left running then.
 */
export const bootVm = async (options: BootOptions = {}): Promise<Vm> => {
  const say = options.say ?? (() => undefined);
  const qemuFile = findQemu();
  if (qemuFile === undefined) throw new Error("QEMU is not installed: qemu-system-x86_64 is not on PATH (Debian package qemu-system-x86)");
  const kernel = kernelFile(options.kernel);
  const small = tooSmall(options.memoryMiB ?? 256, memoryNeed(kernel, rootOf(options).initrd));
  for (const disk of options.disks ?? []) needed(disk.file, "disk", "check the path");
  const accel = await chooseAccel(qemuFile, kernel);
  const folder = runFolder();
  const monitor = join(folder, "qmp.sock");
  const parts: Parts = { folder, forget: atEnd(() => rmSync(folder, { recursive: true, force: true })) };
  try {
    const wire = (parts.wire = await openWire(options.transport ?? "auto", parts.folder, say));
    const virtiofs = options.share?.by === "virtiofs" ? await startVirtiofsd(options.share.folder, parts.folder) : undefined;
    if (virtiofs !== undefined) parts.share = virtiofs.program;
    const machine = buildMachine({ ...options, kernel }, accel, wire, virtiofs?.socket, monitor);
    say(`${machine.type} with ${accel.accel} (${accel.why}), ${wire.wire.kind} (${wire.why})`);
    const begin = performance.now();
    const qemu = (parts.qemu = await startProgram(qemuFile, qemuArgs(machine), { log: join(parts.folder, "qemu.log"), stdout: "pipe" }));
    const log: WriteStream = createWriteStream(join(parts.folder, "console.log"), { mode: 0o600 });
    const console = (parts.console = new Console(qemu.process.stdout, log, machine.type === "microvm" ? () => void qemu.kill() : undefined));
    let listening = Number.NaN;
    console.waitFor(LISTENING).then(() => (listening = performance.now()), () => undefined);
    parts.client = await firstAnswer({ qemu, console, wire, monitor }, (options.append ?? []).some((word) => HIDING.test(word)), options.timeoutMs ?? DEFAULT_TIMEOUT_MS, options.signal);
    const answered = performance.now();
    const readyMs = answered - begin;
    const uptime = listeningUptime(console.text());
    // An answer can overtake the console's line: then the two are the same moment.
    const kernelMs = uptime === undefined ? undefined : uptime + Math.max(0, answered - (Number.isNaN(listening) ? answered : listening));
    say(`agent answered at ${formatAddress(wire.address)} ${readyMs.toFixed(0)} ms after the start of the VMM${kernelMs === undefined ? "" : `, ${kernelMs.toFixed(0)} ms after the start of its kernel`}`);
    return vmOf(parts as Required<Parts>, { accel, machine: machine.type, readyMs, kernelMs, tooSmall: small });
  } catch (error) {
    await takeDown(parts);
    if (parts.qemu === undefined || options.signal?.aborted === true) {
      dropFolder(parts, false);
      throw error;
    }
    const text = failure(parts, small ?? (error as Error).message);
    dropFolder(parts, true);
    throw new BootError(text, { cause: error });
  }
};

const DEFAULT_GRACE_MS = 3_000;

const vmOf = (parts: Required<Parts>, facts: Pick<Vm, "accel" | "machine" | "readyMs" | "kernelMs" | "tooSmall">): Vm => {
  let stopping: Promise<void> | undefined;
  const stop = async (graceMs: number, keepLogs: boolean): Promise<void> => {
    const timer = setTimeout(() => void parts.qemu.kill(), graceMs);
    if (graceMs <= 0) await parts.qemu.kill();
    await parts.qemu.ended;
    clearTimeout(timer);
    await takeDown(parts);
    dropFolder(parts, keepLogs);
  };
  return {
    ...facts,
    client: parts.client,
    address: parts.wire.address,
    transport: parts.wire.wire.kind,
    qemuPid: parts.qemu.pid,
    folder: parts.folder,
    consolePath: join(parts.folder, "console.log"),
    console: () => parts.console.text(),
    poweredOff: parts.qemu.ended,
    stop: (options = {}) => (stopping ??= stop(options.graceMs ?? DEFAULT_GRACE_MS, options.keepLogs ?? false)),
  };
};
