// The kernel and the two roots that the builder makes, booted by QEMU without the agent: a small C program is the init and tells
// what it finds. Also holds that the initrd's default is what boots in the fewest instructions.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { image } from "../../image-builder/commands/image.js";
import { initrd } from "../../image-builder/commands/initrd.js";
import type { Context } from "../../image-builder/lib/context.js";
import { cacheFolder, distFile, projectRoot } from "../../tools/places.js";
import { ourKernel } from "../helpers/kernel.js";
import { progress } from "../../image-builder/lib/progress.js";
import { suite, when, type Need } from "../helpers/suite.js";

/** A kernel and QEMU, and no agent. */
const needs: readonly Need[] = [when(existsSync(distFile("vmlinux")) && existsSync(distFile("bzImage")), "needs a kernel in dist (make kernel)"), ourKernel, "program:qemu-system-x86_64", "compiler"];
let dir = "";
const at = (name: string): string => join(dir, name);

const prepare = async (): Promise<void> => {
  if (dir !== "") return;
  dir = mkdtempSync(join(tmpdir(), "kernel-test-"));
  execFileSync("musl-gcc", ["-static", "-s", "-Os", "-idirafter", linuxHeaders(), "-o", at("probe"), join(projectRoot, "test/vm/kernel-probe.c")]);
  const context: Context = { root: dir, dist: join(dir, "dist"), cache: cacheFolder({ ...process.env, KATA_CACHE: at("cache") }), progress: progress(true), signal: new AbortController().signal };
  const common = { agent: at("probe"), rootfs: join(projectRoot, "rootfs"), arch: "x86_64" };
  for (const fs of ["erofs", "ext4"]) await image(context, { ...common, fs, output: at(`root.${fs}`) });
  await image(context, { ...common, fs: "erofs", lz4: true, output: at("root.erofs-lz4") });
  // the size of the real thing decides which compression is cheapest, so the agent's bytes come along
  const big = at("rootfs");
  execFileSync("cp", ["-r", join(projectRoot, "rootfs"), big]);
  execFileSync("cp", [existsSync(distFile("kata-agent")) ? distFile("kata-agent") : process.execPath, join(big, "overlay/payload")]);
  for (const compress of ["raw", "lz4", "zstd", "gzip"]) await initrd(context, { ...common, rootfs: big, compress, output: at(`initrd.${compress}`) });
  await initrd(context, { ...common, compress: "raw", output: at("initrd") });
  execFileSync("mkdir", [at("share")]);
  writeFileSync(at("share/file"), "from the host");
  execFileSync("mksquashfs", [at("share"), at("disk.squashfs"), "-quiet", "-no-progress", "-comp", "zstd"], { stdio: "ignore" });
};
afterAll(() => { if (dir !== "") rmSync(dir, { recursive: true, force: true }); });

/** A folder with links to the kernel's own headers only: the C library's would break musl's. */
function linuxHeaders(): string {
  const folder = at("headers");
  const multi = execFileSync("gcc", ["-print-multiarch"], { encoding: "utf8" }).trim();
  execFileSync("mkdir", [folder]);
  execFileSync("ln", ["-s", "/usr/include/linux", "/usr/include/asm-generic", `/usr/include/${multi}/asm`, folder]);
  return folder;
}

/** Boots and returns the probe's lines by name. The machine ends by itself; what the console said is in the failure. */
async function boot(machine: "q35" | "microvm", args: readonly string[], words: string): Promise<Record<string, string>> {
  const bus = machine === "q35" ? "pci" : "device";
  const board = machine === "q35" ? ["-M", "q35"] : ["-M", `microvm${args.includes("-icount") ? ",ioapic2=off" : ",acpi=off,rtc=on"}`];
  const end = machine === "q35" ? "" : " probe.restart reboot=t";
  const qemu = spawn("qemu-system-x86_64", ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-cpu", "max", "-m", "512", "-smp", "1", ...board,
    "-device", `virtio-serial-${bus}`, "-chardev", "stdio,id=console", "-device", "virtconsole,chardev=console", ...args,
    ...(args.includes("-accel") ? [] : ["-accel", "tcg"]), "-append", `console=hvc0 quiet panic=-1${end} ${words}`], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [qemu.stdout, qemu.stderr]) stream.on("data", (d: Buffer) => { said += d.toString(); });
  const deadline = setTimeout(() => qemu.kill("SIGKILL"), 120_000);
  await new Promise((done, fail) => { qemu.on("close", done).on("error", fail); }).finally(() => clearTimeout(deadline));
  const found = Object.fromEntries(said.split(/\r?\n/).flatMap((l) => { const m = /^([a-z0-9]+)=(.*)$/.exec(l); return m === null ? [] : [[m[1] as string, (m[2] as string).trim()]]; }));
  if (found["probe"] !== "done") throw new Error(`the guest did not get to its end; it said:\n${said}`);
  return found;
}

const drive = (file: string, id: string): string[] => ["-drive", `file=${at(file)},if=none,id=${id},format=raw,readonly=on`];
const list = (text: string | undefined): string[] => (text ?? "").split(/\s+/);

suite("on q35 with everything plugged in", { needs }, () => {
  beforeAll(prepare, 120_000);
  let guest: Record<string, string> = {};
  beforeAll(async () => {
    guest = await boot("q35", ["-kernel", distFile("bzImage"), "-initrd", at("initrd"), ...drive("root.ext4", "a"), "-device", "virtio-blk-pci,drive=a", ...drive("root.erofs-lz4", "b"), "-device", "virtio-blk-pci,drive=b",
      "-device", "virtio-scsi-pci", ...drive("disk.squashfs", "c"), "-device", "scsi-hd,drive=c", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci",
      "-fsdev", `local,id=f,path=${at("share")},security_model=none`, "-device", "virtio-9p-pci,fsdev=f,mount_tag=share"], "probe.full");
  });
  it("is the pinned kernel with a fixed banner", () => expect(guest["version"]).toMatch(/^Linux version 6\.12\.\d+-guest \(builder@kata-agent\) .* Thu Jan {2}1 00:00:00 UTC 1970$/));
  it("knows every file system", () => expect(list(guest["filesystems"])).toEqual(expect.arrayContaining(["proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "cpuset", "bpf", "hugetlbfs", "ext4", "erofs", "squashfs", "overlay", "fuse", "virtiofs", "9p"])));
  it.each(["ext4", "erofs", "squashfs", "9p", "overlay", "cgroup1", "cgroup2"])("mounts %s", (name) => expect(guest[name]).toBe("ok"));
  it("reads a file that the host shares by 9p", () => expect(guest["shared"]).toBe("from the host"));
  it("has the controllers of cgroup 2", () => expect(list(guest["controllers"])).toEqual(expect.arrayContaining(["cpuset", "cpu", "io", "memory", "hugetlb", "pids"])));
  it("has every namespace", () => expect(list(guest["namespaces"])).toEqual(expect.arrayContaining(["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"])));
  it("has seccomp with all actions", () => expect(list(guest["actions"])).toEqual(expect.arrayContaining(["kill_process", "trap", "errno", "user_notif", "trace", "log", "allow"])));
  it("has disks by virtio-blk and virtio-scsi, a network card, consoles and the device mapper", () => {
    expect(list(guest["block"])).toEqual(expect.arrayContaining(["vda", "vdb", "sda"]));
    expect(list(guest["net"])).toEqual(expect.arrayContaining(["lo", "eth0"]));
    expect(list(guest["dev"])).toEqual(expect.arrayContaining(["hvc0", "ttyS0", "hwrng", "fuse", "net", "mapper", "vsock", "loop-control"]));
  });
  it.each(["vsock", "nfnetlink", "rtnetlink", "inet6"])("has sockets of %s", (name) => expect(guest[name]).toBe("ok"));
  it("leaves most of 512 MiB to the guest", () => expect(Number(/MemTotal:\s+(\d+) kB/.exec(guest["meminfo"] ?? "")?.[1])).toBeGreaterThan(490_000));
});

suite("each root on each machine", { needs }, () => {
  beforeAll(prepare, 120_000);
  it.each(["q35", "microvm"] as const)("vmlinux with the initrd on %s", async (machine) => {
    const guest = await boot(machine, ["-kernel", distFile("vmlinux"), "-initrd", at("initrd")], "");
    expect([guest["root"]?.split(" ")[2], guest["resolv"]]).toEqual(["rootfs", "ok"]);
  });
  it.each([["q35", "erofs"], ["q35", "ext4"], ["microvm", "erofs"]] as const)("on %s with %s as the disk root, devtmpfs mounted by the kernel", async (machine, fs) => {
    const guest = await boot(machine, ["-kernel", distFile("vmlinux"), ...drive(`root.${fs}`, "d"), "-device", `virtio-blk-${machine === "q35" ? "pci" : "device"},drive=d`], `root=/dev/vda rootfstype=${fs} ro`);
    expect(guest["root"]).toContain(`/dev/root / ${fs} ro`);
    expect(guest["resolv"]).toBe("ok");
  });
});

suite("the initrd's default compression", { needs }, () => {
  beforeAll(prepare, 120_000);
  it("boots in the fewest instructions, and repeats to 0.1 %", async () => {
    const count = async (compress: string): Promise<number> => Number((await boot("microvm", ["-icount", "shift=0,sleep=off", "-accel", "tcg", "-kernel", distFile("vmlinux"), "-initrd", at(`initrd.${compress}`)], ""))["instructions"]);
    const raw = await count("raw");
    for (const other of ["lz4", "zstd", "gzip"]) expect([other, await count(other)]).toSatisfy(([, n]: [string, number]) => n > raw);
    expect(Math.abs((await count("raw")) - raw) / raw).toBeLessThan(0.001);
  });
});
