// Owns the measurements that need a VM: memory of process 1, time and guest instructions from the start of the VMM to the first
// answered RPC, and the same two for an init that only ends the machine. Same kernel, same machine, same command line for both.
// Instructions are counted by QEMU itself (-icount, rr=record), so that the guest need not take part; serial stands in for vsock.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeFrame, FRAME_REQUEST } from "../ctl/client/frame.js";
import { bootVm, type Vm } from "../ctl/vm/boot.js";
import { kernelWords, qemuArgs, SERIAL_PORT_NAME, type Machine, type Wire } from "../ctl/vm/machine.js";
import { findProgram } from "../ctl/vm/program.js";
import { newc, type Content, type Node } from "../image-builder/formats/cpio.js";
import { requestData } from "./bundle.js";
import { debianDist } from "./first-run.js";
import type { Group, Key, Results } from "./keys.js";
import type { Tools } from "./native-tools.js";
import { Qemu } from "./qemu.js";
import { median, rounded } from "./stats.js";

export interface VmOptions {
  readonly dist: string;
  readonly tools: Tools;
  readonly groups: ReadonlySet<Group>;
  readonly progress: (text: string) => void;
  readonly failed: (keys: readonly Key[], why: string) => void;
}

interface Place extends VmOptions {
  readonly program: string;
  readonly folder: string;
}

const VM_ROUNDS = 5;
const COUNT_ROUNDS = 3;
/** Found on the second port by bench/native/watch-init.c. */
const WATCH_PORT = "bench.watch";

const check = (): Buffer => encodeFrame({ streamId: 1, type: FRAME_REQUEST, flags: 0, data: requestData("Check", {}) });

const fileContent = (path: string): Content => {
  const bytes = readFileSync(path);
  return { size: bytes.length, chunks: () => [bytes] };
};

const file = (path: string, from: string): Node => ({ kind: "file", path, mode: 0o755, uid: 0, gid: 0, content: fileContent(from) });

const archive = (nodes: readonly Node[]): Buffer => Buffer.concat([...newc(nodes, 0)]);

const floorInitrd = (p: Place): string => {
  const path = join(p.folder, "floor.cpio");
  writeFileSync(path, archive([file("init", p.tools["poweroff-init"])]));
  return path;
};

/** The initrd as shipped, with the watcher beside it. */
const watchedInitrd = (p: Place): string => {
  const path = join(p.folder, "watched.cpio");
  const own = readFileSync(join(p.dist, "initrd.img"));
  const pad = Buffer.alloc((512 - (own.length % 512)) % 512);
  const dir: Node = { kind: "dir", path: "bench", mode: 0o755, uid: 0, gid: 0 };
  writeFileSync(path, Buffer.concat([own, pad, archive([dir, file("bench/init", p.tools["watch-init"])])]));
  return path;
};

const LEAN_MACHINE = "microvm,ioapic2=off";

/**
 * The leanest machine: the one where an agent's share of the boot weighs most. It has ACPI, as without it the kernel waits for
 * the timer chip, which would hide the agent behind 130 million instructions; under -icount that machine starts reliably.
 */
const leanArgs = (p: Place, initrd: string, words: readonly string[]): string[] => [
  "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", LEAN_MACHINE, "-cpu", "max", "-m", "256M", "-smp", "1",
  "-icount", `shift=0,sleep=off,rr=record,rrfile=${join(p.folder, "record")}`, "-serial", "stdio",
  "-kernel", join(p.dist, "vmlinux"), "-initrd", initrd,
  "-append", [...kernelWords({ type: "microvm", wire: { kind: "serial", socket: "" }, append: [] }), ...words].join(" "),
];

const startLean = (p: Place, args: readonly string[], ports: readonly string[]): Promise<Qemu> =>
  Qemu.start({ program: p.program, args, folder: p.folder, ports, serialDevice: "virtio-serial-device" });

const countToAnswer = async (p: Place, initrd: string): Promise<number> => {
  const vm = await startLean(p, leanArgs(p, initrd, []), [SERIAL_PORT_NAME]);
  try {
    const answer = vm.ask(0, check());
    await vm.command("cont");
    await answer;
    await vm.command("stop");
    return await vm.instructions();
  } finally {
    await vm.kill();
  }
};

const countToEnd = async (p: Place, initrd: string): Promise<number> => {
  const vm = await startLean(p, leanArgs(p, initrd, []), [SERIAL_PORT_NAME]);
  try {
    const end = vm.event("SHUTDOWN");
    await vm.command("cont");
    await end;
    return await vm.instructions();
  } finally {
    await vm.kill();
  }
};

const instructions = async (p: Place): Promise<Results> => {
  const floor: number[] = [];
  const agent: number[] = [];
  for (let round = 0; round < COUNT_ROUNDS; round++) {
    floor.push(await countToEnd(p, floorInitrd(p)));
    agent.push(await countToAnswer(p, join(p.dist, "initrd.img")));
  }
  return { boot_minstr: rounded(median(agent) / 1e6, 2), boot_floor_minstr: rounded(median(floor) / 1e6, 2) };
};

/** The machine that `bootVm` makes, with another initrd; a serial port stands where its vsock device may be. */
const floorArgs = (p: Place, vm: Vm): string[] => {
  const wire: Wire = { kind: "serial", socket: join(p.folder, "floor.sock") };
  const machine: Machine = {
    type: vm.machine, accel: vm.accel.accel, memoryMiB: 256, cpus: 1, kernel: join(p.dist, "vmlinux"), initrd: floorInitrd(p), disks: [], wire,
    append: kernelWords({ type: vm.machine, wire, append: [] }), extra: [],
  };
  return qemuArgs(machine);
};

const timeToEnd = async (p: Place, args: readonly string[]): Promise<number> => {
  const begin = performance.now();
  const child = spawn(p.program, args, { stdio: ["ignore", "ignore", "ignore"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const code = await new Promise<number | null>((resolve, reject) => child.on("close", resolve).on("error", reject));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`the floor's VM ended with ${code ?? "a signal"}`);
  return performance.now() - begin;
};

const times = async (p: Place): Promise<Results> => {
  const ready: number[] = [];
  const floor: number[] = [];
  const debian: number[] = [];
  const other = join(p.folder, "debian");
  const there = await debianDist(p.dist, other).then(() => true, (error: unknown) => {
    p.failed(["vm_ready_debian_ms"], error instanceof Error ? error.message.replaceAll("\n", "; ").slice(0, 600) : String(error));
    return false;
  });
  const boot = async (dist: string, into: number[], say: boolean): Promise<Vm> => {
    const vm = await bootVm({ kernel: join(dist, "vmlinux"), root: { initrd: join(dist, "initrd.img") }, ...(say ? { say: p.progress } : {}) });
    into.push(vm.readyMs);
    await vm.stop({ graceMs: 0 });
    return vm;
  };
  for (let round = 0; round < VM_ROUNDS; round++) {
    const vm = await boot(p.dist, ready, round === 0);
    floor.push(await timeToEnd(p, floorArgs(p, vm)));
    if (there) await boot(other, debian, round === 0);
  }
  return { vm_ready_ms: rounded(median(ready), 1), vm_floor_ms: rounded(median(floor), 1), ...(there ? { vm_ready_debian_ms: rounded(median(debian), 1) } : {}) };
};

const field = (status: string, name: string): number => {
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1];
  if (kib === undefined) throw new Error(`no ${name} in the status of process 1`);
  return Number(kib) * 1024;
};

/** Asks until two looks are alike: start-up work is over then. */
const memory = async (p: Place): Promise<Results> => {
  const counted = leanArgs(p, watchedInitrd(p), ["rdinit=/bench/init"]);
  const args = counted.filter((word, i) => word !== "-icount" && counted[i - 1] !== "-icount").map((w) => (w === LEAN_MACHINE ? "microvm,acpi=off,rtc=on" : w));
  const vm = await startLean(p, args, [SERIAL_PORT_NAME, WATCH_PORT]);
  try {
    const answer = vm.ask(0, check());
    await vm.command("cont");
    await answer;
    for (let last = ""; ; ) {
      const status = (await vm.ask(1, Buffer.from("?"))).toString();
      const seen = `${field(status, "VmRSS")} ${field(status, "RssAnon")}`;
      if (seen === last) return { agent_rss_bytes: field(status, "VmRSS"), agent_anon_bytes: field(status, "RssAnon") };
      last = seen;
      await sleep(500);
    }
  } finally {
    await vm.kill();
  }
};

const STAGES: readonly (readonly [Group, readonly Key[], string, (p: Place) => Promise<Results>])[] = [
  ["vm-memory", ["agent_rss_bytes", "agent_anon_bytes"], "memory of process 1 in a VM", memory],
  ["vm", ["vm_ready_ms", "vm_ready_debian_ms", "vm_floor_ms"], `${VM_ROUNDS} boots`, times],
  ["instructions", ["boot_minstr", "boot_floor_minstr"], `${COUNT_ROUNDS} boots by instruction count`, instructions],
];

/** Takes the VM measurements that `groups` asks for; what cannot be had goes to `failed`. */
export const measureVm = async (o: VmOptions): Promise<Results> => {
  const results: Results = {};
  const program = findProgram("qemu-system-x86_64");
  const missing = ["vmlinux", "initrd.img"].filter((name) => !existsSync(join(o.dist, name)));
  const folder = mkdtempSync(join(tmpdir(), "kata-bench-"));
  try {
    for (const [group, keys, text, work] of STAGES) {
      if (!o.groups.has(group)) continue;
      if (program === undefined) o.failed(keys, "QEMU is not installed: apt-get install qemu-system-x86");
      else if (missing.length > 0) o.failed(keys, `not in dist/: ${missing.join(", ")}`);
      else {
        o.progress(text);
        try {
          Object.assign(results, await work({ ...o, program, folder }));
        } catch (error) {
          o.failed(keys, error instanceof Error ? error.message.replaceAll("\n", "; ").slice(0, 600) : String(error));
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return results;
};
