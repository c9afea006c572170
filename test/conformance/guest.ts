// The suite on cgroup v2: our own kernel in QEMU with a disk that holds busybox, the engines and the built suite; its first
// process runs the same loop as on the host and writes what the programs printed onto a second disk.
import { execFileSync } from "node:child_process";
import { cpSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chooseAccel } from "../../ctl/vm/accel.js";
import { kernelFile } from "../../ctl/vm/boot.js";
import { qemuArgs, type Machine } from "../../ctl/vm/machine.js";
import { findProgram, lastLines, startProgram } from "../../ctl/vm/program.js";
import type { Engine } from "./engines.js";
import { LOOP } from "./host.js";
import { readOutcomes, type Run } from "./results.js";
import type { Suite } from "./suite.js";

const INIT = fileURLToPath(new URL("guest-init.sh", import.meta.url));
const MIB = 1 << 20;

/** Seconds for one program: emulated processors are some ten times slower. */
const LIMIT = { kvm: 90, tcg: 300 };

/** Why the run on cgroup v2 cannot be, or undefined. */
export const v2Missing = (): string | undefined => {
  if (findProgram("qemu-system-x86_64") === undefined) return "QEMU is not installed";
  if (findProgram("busybox") === undefined) return "busybox is not installed (Debian package busybox-static)";
  try {
    kernelFile(undefined);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};

const put = (root: string, path: string, content: string, mode = 0o644): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content, { mode });
};

/** The root file system of the guest in folder `root`. */
const stage = (root: string, suite: Suite, engines: readonly Engine[], programs: readonly string[], limit: number): void => {
  for (const dir of ["bin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "var/tmp"]) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync(findProgram("busybox") as string, join(root, "bin/busybox"));
  for (const applet of execFileSync(join(root, "bin/busybox"), ["--list"], { encoding: "utf8" }).split("\n").filter((a) => a !== "" && a !== "busybox")) symlinkSync("busybox", join(root, "bin", applet));
  put(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  put(root, "etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
  for (const name of programs) cpSync(join(suite.folder, "validation", name), join(root, "suite/validation", name), { recursive: true });
  for (const file of ["runtimetest", "rootfs-amd64.tar.gz"]) copyFileSync(join(suite.folder, file), join(root, "suite", file));
  for (const engine of engines) for (const path of [engine.path, ...engine.needs]) cpSync(path, join(root, path), { recursive: true, verbatimSymlinks: true });
  copyFileSync(LOOP, join(root, "loop.sh"));
  copyFileSync(INIT, join(root, "init"));
  put(root, "conformance.sh", `cd /suite\n${engines.map((e) => `echo "conformance: ${e.name}"\n/loop.sh ${e.path} /tmp/out/${e.name} ${limit} ${programs.join(" ")}\n`).join("")}`);
};

/** A disk with the folder's files and some room; no journal, as it lives for one run. */
const makeDisk = (folder: string, file: string): void => {
  const kib = Number(execFileSync("du", ["-sk", "--apparent-size", folder], { encoding: "utf8" }).split("\t")[0]);
  execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", folder, file, `${Math.ceil(kib * 1.2) + 65536}k`]);
};

/** Boots the VM, runs `programs` with each engine, and gives what came out. Throws Error when the VM does not come to its end. */
export const runInGuest = async (suite: Suite, engines: readonly Engine[], programs: readonly string[], say: (line: string) => void, keep?: string): Promise<Run[]> => {
  const work = mkdtempSync(join(tmpdir(), "conformance-"));
  try {
    const qemu = findProgram("qemu-system-x86_64") as string;
    const kernel = kernelFile(undefined);
    const accel = await chooseAccel(qemu, kernel);
    stage(join(work, "root"), suite, engines, programs, LIMIT[accel.accel]);
    makeDisk(join(work, "root"), join(work, "root.img"));
    rmSync(join(work, "root"), { recursive: true });
    const results = join(work, "results.img");
    writeFileSync(results, "");
    truncateSync(results, 64 * MIB);
    const machine: Machine = {
      type: "q35", accel: accel.accel, memoryMiB: 1536, cpus: 2, kernel, wire: { kind: "serial", socket: join(work, "serial") },
      disks: [{ file: join(work, "root.img"), readOnly: false }, { file: results, readOnly: false }],
      append: ["console=ttyS0", "quiet", "panic=-1", "reboot=k", "tsc=reliable", "no_timer_check", "cgroup_no_v1=all", "root=/dev/vda", "rootfstype=ext4", "rw", "rootwait", "init=/init"], extra: [],
    };
    say(`booting a VM with ${accel.accel} (${accel.why}): ${engines.map((e) => e.name).join(", ")}, ${programs.length} programs each`);
    const vm = await startProgram(qemu, qemuArgs(machine), { log: join(work, "qemu.log"), stdout: "pipe" });
    let console = "";
    vm.process.stdout?.on("data", (chunk: Buffer) => {
      console += chunk.toString();
      process.stderr.write(chunk);
    });
    await vm.ended;
    if (!console.includes("conformance: done")) throw new Error(`the VM ended before its work was done: ${console.split("\n").slice(-15).join("\n")}${lastLines(join(work, "qemu.log"), 5)}`);
    const out = keep ?? join(work, "out");
    mkdirSync(out, { recursive: true });
    execFileSync("tar", ["-xf", results, "-C", out], { stdio: ["ignore", "ignore", "ignore"] });
    return engines.map((e) => ({ engine: e.name, version: e.version, ours: e.ours, cgroups: "v2" as const, outcomes: readOutcomes(join(out, e.name), programs) }));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
