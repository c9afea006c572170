// `run`: an image in, the container's output and exit status out. It owns the order of the run (image to disk, boot, sandbox,
// container, streams, and all of it back) and the work folder. Only the container writes to stdout.
import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { formatAddress } from "../client/address.js";
import { sizeOf } from "../container/attach.js";
import { planContainer, type ContainerPlan } from "../container/plan.js";
import { makeDisk } from "../image/make-disk.js";
import { openImage } from "../image/open-image.js";
import { lostIn } from "../image/write-tar.js";
import { now, removeAtEnd } from "../lifetime.js";
import { bootVm, type Vm } from "../vm/boot.js";
import { stateFolder } from "../vm/places.js";
import { claimName, register } from "../vm/registry.js";
import { detach, isUp } from "./detach.js";
import { errorText, EXIT_INTERRUPTED } from "./exit.js";
import { attend } from "./forward.js";
import { armInterrupt, type Interrupt } from "./interrupt.js";
import { bootOptions, type VmOptions } from "./options.js";

export interface RunOptions extends VmOptions {
  interactive?: boolean;
  tty?: boolean;
  env: string[];
  workdir?: string;
  user?: string;
  memory?: number;
  cpus?: number;
  name?: string;
  ref: string;
  keep?: boolean;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  detach?: boolean;
}

const KIB = 1024;
/** Memory that the guest itself needs beside a container with a limit. */
const GUEST_MIB = 128;

const fitVm = (options: RunOptions): RunOptions => ({
  ...options,
  vmMemory: Math.max(options.vmMemory, options.memory === undefined ? 0 : options.memory + GUEST_MIB * KIB * KIB),
  ...(options.vmCpus === undefined && options.cpus !== undefined ? { vmCpus: Math.ceil(options.cpus) } : {}),
});

const runContainer = async (vm: Vm, plan: ContainerPlan, id: string, options: RunOptions, interrupt: Interrupt, talk: Talk): Promise<number> => {
  const client = vm.client;
  const cancel = { signal: interrupt.signal };
  await client.createSandbox(plan.sandbox, cancel);
  const { oci } = plan.container;
  await client.createContainer(options.tty === true ? { ...plan.container, oci: { ...oci, process: { ...oci?.process, ...sizeOf() } } } : plan.container, cancel);
  await client.startContainer({ containerId: id }, cancel);
  talk.clear();
  isUp(id);
  return attend(client, { containerId: id, execId: id }, options, interrupt, true);
};

const farewell = async (vm: Vm, id: string): Promise<void> => {
  // The machine goes away with all that is in it; the calls are only made so that the guest can end in order.
  await vm.client.removeContainer({ containerId: id }, { timeoutMs: 5_000 }).catch(() => undefined);
  await vm.client.destroySandbox({}, { timeoutMs: 5_000 }).catch(() => undefined);
};

const tell = (line: string): void => void process.stderr.write(`katactl: ${line}\n`);

/** What is said while it runs: everything at once with --verbose; else only what went wrong, and the rest when the run fails. */
class Talk {
  readonly #kept: string[] = [];
  readonly #loud: boolean;
  readonly #silent: boolean;
  #line = false;
  constructor(options: RunOptions) {
    this.#silent = options.quiet === true || options.json === true;
    this.#loud = options.verbose === true && !this.#silent;
  }
  /** Of interest to who asks. */
  readonly say = (line: string): void => {
    if (this.#loud) tell(line);
    else this.#kept.push(line);
  };
  /** Something that was asked for will not be. */
  readonly warn = (line: string): void => {
    this.clear();
    if (!this.#silent) tell(line);
  };
  /** What goes on from here; on a terminal a line that goes away. */
  doing(what: string): void {
    now(what);
    if (this.#silent || this.#loud || !process.stderr.isTTY) return;
    process.stderr.write(`\r\x1b[K${what} ...`);
    this.#line = true;
  }
  clear(): void {
    if (this.#line) process.stderr.write("\r\x1b[K");
    this.#line = false;
  }
  /** The run has failed: everything is told. */
  failed(): void {
    this.clear();
    if (!this.#silent) this.#kept.splice(0).forEach(tell);
  }
}

interface Times {
  imageMs: number;
  vmm_to_first_rpc_ms: number;
  totalMs: number;
}

const report = (options: RunOptions, id: string, vm: Vm, status: number, times: Times, say: (line: string) => void): void => {
  if (options.json === true) {
    process.stderr.write(`${JSON.stringify({ id, status, accel: vm.accel.accel, machine: vm.machine, transport: vm.transport, image_ms: Math.round(times.imageMs), vmm_to_first_rpc_ms: Math.round(times.vmm_to_first_rpc_ms), ...(vm.kernelMs === undefined ? {} : { kernel_to_first_rpc_ms: Math.round(vm.kernelMs) }), total_ms: Math.round(times.totalMs) })}\n`);
    return;
  }
  say(`image ${times.imageMs.toFixed(0)} ms; start of the VMM to first RPC ${times.vmm_to_first_rpc_ms.toFixed(0)} ms${vm.kernelMs === undefined ? "" : `, start of the kernel to first RPC ${vm.kernelMs.toFixed(0)} ms`}; all ${times.totalMs.toFixed(0)} ms; exit status ${status}`);
};

// What is under way when the signal comes ends with our process: nobody waits for it.
const unlessInterrupted = <T>(work: Promise<T>, interrupt: Interrupt): Promise<T> =>
  Promise.race([work, interrupt.first.then(() => Promise.reject(new Error("interrupted")))]);

/** The image as a disk for the VM, in `work`, and what to ask of the agent. */
const prepare = async (image: string, command: string[], options: RunOptions, id: string, work: string, talk: Talk): Promise<{ plan: ContainerPlan; disk: string }> => {
  talk.doing(`reading the image ${image}`);
  const opened = await openImage(resolve(image), work, options.ref);
  const disk = join(work, "container.img");
  // Asked for before the disk is made: wrong users and missing commands need no boot to be told.
  const guestDisk = options.image === undefined ? "/dev/vda" : "/dev/vdb";
  const plan = planContainer(opened, id, guestDisk, {
    command, env: options.env, workdir: options.workdir, user: options.user, terminal: options.tty === true, memory: options.memory, cpus: options.cpus,
  });
  for (const path of plan.ignored) talk.warn(`config.json: ${path} is not known to the protocol and left out`);
  for (const note of [...(opened.notes ?? []), ...lostIn(opened.tree)]) talk.warn(note);
  talk.doing("making the container's disk");
  await makeDisk(opened.tree, disk);
  return { plan, disk };
};

const inVm = async (image: string, command: string[], options: RunOptions, work: string, interrupt: Interrupt, talk: Talk): Promise<number> => {
  const { say } = talk;
  const id = options.name === undefined ? randomBytes(6).toString("hex") : claimName(options.name);
  const begin = performance.now();
  const { plan, disk } = await unlessInterrupted(prepare(image, command, options, id, work, talk), interrupt);
  const imageMs = performance.now() - begin;
  talk.doing("booting the VM");
  const vm = await bootVm({ ...bootOptions(fitVm(options)), disks: [{ file: disk, readOnly: true }], say, signal: interrupt.signal });
  let unregister = (): void => undefined;
  let good = false;
  try {
    unregister = register({
      name: id, qemuPid: vm.qemuPid, address: formatAddress(vm.address), transport: vm.transport, accel: vm.accel.accel, machine: vm.machine, console: vm.consolePath, container: id,
    });
    talk.doing(`running container ${id}`);
    const status = await runContainer(vm, plan, id, options, interrupt, talk).catch((error: unknown) => {
      throw vm.tooSmall === undefined || interrupt.signal.aborted ? error : new Error(`${vm.tooSmall}: ${errorText(error)}`, { cause: error });
    });
    good = true;
    await farewell(vm, id);
    report(options, id, vm, status, { imageMs, vmm_to_first_rpc_ms: vm.readyMs, totalMs: performance.now() - begin }, say);
    return status;
  } finally {
    unregister();
    const keepLogs = options.keep === true || !(good || interrupt.signal.aborted);
    await vm.stop({ graceMs: good ? 3_000 : 0, keepLogs });
    if (keepLogs) tell(`logs: ${vm.folder}`);
  }
};

const inBackground = (options: RunOptions): Promise<number> => {
  if (options.interactive === true || options.tty === true) throw new Error("--detach leaves nobody to talk to: not with -i or -t (katactl exec -it reaches it later)");
  const name = options.name === undefined ? randomBytes(6).toString("hex") : claimName(options.name);
  const output = join(stateFolder(), `${name}.log`);
  if (options.quiet !== true) tell(`its output goes to ${output}`);
  return detach(name, output);
};

/** Run one container; resolves with the exit status for our own process. Nothing is left behind. */
export const runCommand = async (image: string, words: string[], options: RunOptions): Promise<number> => {
  const command = words[0] === "--" ? words.slice(1) : words; // commander keeps it when options are passed through
  if (options.detach === true) return inBackground(options);
  const talk = new Talk(options);
  const interrupt = armInterrupt();
  const work = mkdtempSync(join(tmpdir(), "katactl-image-"));
  const remove = removeAtEnd(work);
  try {
    return await inVm(image, command, options, work, interrupt, talk);
  } catch (error) {
    talk.clear();
    if (interrupt.signal.aborted) return EXIT_INTERRUPTED;
    talk.failed();
    throw error;
  } finally {
    interrupt.disarm();
    remove();
  }
};
