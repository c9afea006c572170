// The suite on cgroup v2: our own kernel in QEMU with a disk that holds busybox, the engines and the built suite; its first
// process runs the same loop as on the host and writes what the programs printed onto a second disk.
import { execFileSync } from "node:child_process";
import { cpSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { chooseAccel } from "../../ctl/vm/accel.js";
import { kernelFile } from "../../ctl/vm/boot.js";
import { qemuArgs, type Accel, type Machine } from "../../ctl/vm/machine.js";
import { findProgram, lastLines, startProgram } from "../../ctl/vm/program.js";
import type { Engine } from "./engines.js";
import { LOOP } from "./host.js";
import { readOutcomes, sum, type Run } from "./results.js";
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

/** So much faster than the machine's may the guest's clock be. */
const FAST = 1.3;
const ATTEMPTS = 3;

const put = (root: string, path: string, content: string, mode = 0o644): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content, { mode });
};

const guestPath = (engine: Engine): string => `/engines/${engine.name}`;

/** The root file system of the guest in folder `root`. */
const stage = (root: string, suite: Suite, engine: Engine, programs: readonly string[], limit: number): void => {
  for (const dir of ["bin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "var/tmp"]) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync(findProgram("busybox") as string, join(root, "bin/busybox"));
  for (const applet of execFileSync(join(root, "bin/busybox"), ["--list"], { encoding: "utf8" }).split("\n").filter((a) => a !== "" && a !== "busybox")) symlinkSync("busybox", join(root, "bin", applet));
  put(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  put(root, "etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
  for (const name of programs) cpSync(join(suite.folder, "validation", name), join(root, "suite/validation", name), { recursive: true });
  copyFileSync(join(suite.folder, "runtimetest"), join(root, "suite/runtimetest"));
  // busybox's tar does not look for compression by itself: the archive goes there unpacked, under its old name
  const archive = readFileSync(join(suite.folder, "rootfs-amd64.tar.gz"));
  writeFileSync(join(root, "suite/rootfs-amd64.tar.gz"), gunzipSync(archive));
  for (const path of engine.needs) cpSync(path, join(root, path), { recursive: true, verbatimSymlinks: true });
  mkdirSync(join(root, "engines"));
  copyFileSync(engine.path, join(root, guestPath(engine)));
  put(root, "loop.sh", readFileSync(LOOP, "utf8"), 0o755);
  put(root, "init", readFileSync(INIT, "utf8"), 0o755);
  put(root, "conformance.sh", `cd /suite\n/loop.sh ${guestPath(engine)} /tmp/out ${limit} ${programs.join(" ")}\n`);
};

/** A disk with the folder's files and some room; no journal, as it lives for one run. */
const makeDisk = (folder: string, file: string): void => {
  const kib = Number(execFileSync("du", ["-sk", "--apparent-size", folder], { encoding: "utf8" }).split("\t")[0]);
  execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", folder, file, `${Math.ceil(kib * 1.2) + 65536}k`]);
};

/**
 * One VM for one engine; a text when the run is worth nothing. On a busy machine a guest without KVM may measure its processor's
 * clock wrongly at boot; every time limit comes too early then. Throws Error when the VM does not come to its end.
 */
const runOne = async (suite: Suite, engine: Engine, programs: readonly string[], accel: Accel, kernel: string, keep: string | undefined): Promise<Run | string> => {
  const work = mkdtempSync(join(tmpdir(), "conformance-"));
  try {
    stage(join(work, "root"), suite, engine, programs, LIMIT[accel]);
    makeDisk(join(work, "root"), join(work, "root.img"));
    rmSync(join(work, "root"), { recursive: true });
    const results = join(work, "results.img");
    writeFileSync(results, "");
    truncateSync(results, 64 * MIB);
    const machine: Machine = {
      // one processor: QEMU's translator may see half of what the kernel patches into its own code while another one runs it
      type: "q35", accel, memoryMiB: 1024, cpus: 1, kernel, wire: { kind: "serial", socket: join(work, "serial") },
      disks: [{ file: join(work, "root.img"), readOnly: false }, { file: results, readOnly: false }],
      append: ["console=ttyS0", "quiet", "panic=-1", "reboot=k", "tsc=reliable", "no_timer_check", "cgroup_no_v1=all", "root=/dev/vda", "rootfstype=ext4", "rw", "rootwait", "init=/init"], extra: [],
    };
    const begin = performance.now();
    const vm = await startProgram(findProgram("qemu-system-x86_64") as string, qemuArgs(machine), { log: join(work, "qemu.log"), stdout: "pipe" });
    let console = "";
    let shown = 0;
    vm.process.stdout?.on("data", (chunk: Buffer) => {
      console += chunk.toString();
      const lines = console.slice(shown, console.lastIndexOf("\n") + 1);
      shown += lines.length;
      process.stderr.write(lines.replaceAll(/^(?=.)/gm, `${engine.name}: `));
    });
    await vm.ended;
    if (!console.includes("conformance: done")) throw new Error(`the VM of ${engine.name} ended before its work was done: ${console.split("\n").slice(-15).join("\n")}${lastLines(join(work, "qemu.log"), 5)}`);
    const out = keep === undefined ? join(work, "out") : join(keep, `${engine.name}-v2`);
    mkdirSync(out, { recursive: true });
    execFileSync("tar", ["-xf", results, "-C", out], { stdio: ["ignore", "ignore", "ignore"] });
    const outcomes = readOutcomes(out, programs);
    if (sum(outcomes).seconds > FAST * ((performance.now() - begin) / 1000)) return "its clock ran fast";
    return { engine: engine.name, version: engine.version, ours: engine.ours, cgroups: "v2", outcomes };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

/** Runs `programs` with each engine in a VM of its own, all at once, and gives what came out. */
export const runInGuest = async (suite: Suite, engines: readonly Engine[], programs: readonly string[], say: (line: string) => void, keep?: string): Promise<Run[]> => {
  const kernel = kernelFile(undefined);
  const { accel, why } = await chooseAccel(findProgram("qemu-system-x86_64") as string, kernel);
  say(`cgroup v2: one VM for each engine with ${accel} (${why}): ${engines.map((e) => e.name).join(", ")}, ${programs.length} programs each`);
  return Promise.all(engines.map(async (engine) => {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const run = await runOne(suite, engine, programs, accel, kernel, keep);
      if (typeof run !== "string") return run;
      say(`the VM of ${engine.name}: ${run}; booting another`);
    }
    throw new Error(`no VM of ${engine.name} had a clock to go by in ${ATTEMPTS} attempts: is this machine too busy?`);
  }));
};
