// The life of containers in the real image, over real vsock; then once more with the disk image as root, and over
// virtio-serial. Root file systems come through virtio-fs, as with the Kata runtime.
import { createHash, randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Vm } from "../../ctl/vm/boot.js";
import { collectStream, readStream } from "../../ctl/client/stdio.js";
import { containerRequest, drain, execIn, finish, makeRootfs, runContainer, sandboxRequest } from "../helpers/guest.js";
import { kernelWith } from "../helpers/kernel.js";
import { suite } from "../helpers/suite.js";
import { bootSharedVm, bootVm, vmOver, type VmOptions } from "../helpers/vm.js";

const SHARE = "/run/kata-containers/shared/containers";
const MIB = 1 << 20;

suite("a VM over vsock", { needs: [vmOver("vsock")] }, () => {
  let share: string;
  let vm: Vm;
  const root = `${SHARE}/rootfs`;
  beforeAll(async () => {
    share = makeRootfs();
    vm = await bootSharedVm({ transport: "vsock", share, memory: 512, smp: 2 });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
  });
  afterAll(async () => {
    await vm?.stop({ graceMs: 0 });
    rmSync(share, { recursive: true, force: true });
  });

  it("runs a command and gives its output and status", async () => {
    const ended = await runContainer(vm.client, { id: "hello", rootPath: root, args: ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"] });
    expect(ended).toEqual({ status: 7, stdout: "out\n", stderr: "err\n" });
  });

  it("makes the command process 1 of a pid namespace of its own, in its own root", async () => {
    const ended = await runContainer(vm.client, { id: "alone", rootPath: root, args: ["/bin/sh", "-c", "echo $$; ls /; cat /proc/1/comm; ls /proc | grep -c '^[0-9]'; readlink /proc/1/exe"] });
    const lines = ended.stdout.trim().split("\n");
    expect(lines[0]).toBe("1");
    expect(lines).toContain("proc");
    expect(lines).not.toContain("init");
    expect(lines.at(-1)).toBe("/bin/busybox");
  });

  it("executes further processes with their own status", async () => {
    await vm.client.createContainer(containerRequest({ id: "execs", rootPath: root, args: ["/bin/sleep", "1000"] }) as never);
    await vm.client.startContainer({ containerId: "execs" });
    expect(await execIn(vm.client, "execs", "e1", ["/bin/sh", "-c", "echo hi; exit 3"])).toEqual({ status: 3, stdout: "hi\n", stderr: "" });
    expect((await execIn(vm.client, "execs", "e2", ["/bin/cat", "/proc/1/comm"])).stdout).toBe("sleep\n");
    await expect(execIn(vm.client, "execs", "e3", ["/bin/nonesuch"])).rejects.toThrow(/nonesuch/);
    await vm.client.signalProcess({ containerId: "execs", signal: 9 });
    expect((await vm.client.waitProcess({ containerId: "execs", execId: "execs" })).status).toBe(137);
    await vm.client.removeContainer({ containerId: "execs" });
  });

  it("has terminals that are resized", async () => {
    const id = "tty";
    await vm.client.createContainer(containerRequest({ id, rootPath: root, terminal: true, args: ["/bin/sh"] }) as never);
    await vm.client.ttyWinResize({ containerId: id, execId: id, row: 40, column: 100 });
    await vm.client.startContainer({ containerId: id });
    await vm.client.writeStdin({ containerId: id, execId: id, data: Buffer.from("stty size; tty; exit 5\n") });
    const ended = await finish(vm.client, { containerId: id, execId: id }).catch(async (e: Error) => {
      throw new Error(`${e.message}\n${vm.console()}`);
    });
    expect(ended.stdout).toContain("40 100");
    expect(ended.status).toBe(5);
    await vm.client.removeContainer({ containerId: id });
  });

  it("passes stdin on up to its end", async () => {
    const id = "stdin";
    await vm.client.createContainer(containerRequest({ id, rootPath: root, args: ["/bin/sha256sum"] }) as never);
    await vm.client.startContainer({ containerId: id });
    const data = Buffer.alloc(3 * MIB, "0123456789abcdef");
    const process = { containerId: id, execId: id };
    for (let at = 0; at < data.length; at += 32768) {
      expect((await vm.client.writeStdin({ ...process, data: data.subarray(at, at + 32768) })).len).toBe(32768);
    }
    await vm.client.closeStdin(process);
    const ended = await finish(vm.client, process);
    expect(ended.stdout.slice(0, 64)).toBe(createHash("sha256").update(data).digest("hex"));
    await vm.client.removeContainer({ containerId: id });
  });

  it("carries 200 MB through stdout unchanged", async () => {
    const id = "bulk";
    const process = { containerId: id, execId: id };
    const part = randomBytes(20_000_000);
    writeFileSync(join(share, "rootfs/tmp/part"), part);
    await vm.client.createContainer(containerRequest({ id, rootPath: root, args: ["/bin/sh", "-c", "cd /tmp; cat part part part part part part part part part part"] }) as never);
    await vm.client.startContainer({ containerId: id });
    const hash = createHash("sha256");
    expect(await drain(vm.client, process, (d) => hash.update(d))).toBe(200_000_000);
    expect((await vm.client.waitProcess(process)).status).toBe(0);
    const expected = createHash("sha256");
    for (let i = 0; i < 10; i++) expected.update(part);
    expect(hash.digest("hex")).toBe(expected.digest("hex"));
    await vm.client.removeContainer({ containerId: id });
  }, 240_000);

  it("keeps what a process wrote before it was waited for", async () => {
    const id = "early";
    const process = { containerId: id, execId: id };
    await vm.client.createContainer(containerRequest({ id, rootPath: root, args: ["/bin/echo", "kept"] }) as never);
    const waiting = vm.client.waitProcess(process);
    await vm.client.startContainer({ containerId: id });
    expect((await waiting).status).toBe(0);
    expect((await collectStream(vm.client, process, "stdout")).toString()).toBe("kept\n");
    await vm.client.removeContainer({ containerId: id });
  });

  it("ends both streams with the process although a child keeps them", async () => {
    const id = "orphan";
    const process = { containerId: id, execId: id };
    await vm.client.createContainer(containerRequest({ id, rootPath: root, args: ["/bin/sleep", "1000"] }) as never);
    await vm.client.startContainer({ containerId: id });
    const ended = await execIn(vm.client, id, "leaves", ["/bin/sh", "-c", "sleep 900 & echo done"]);
    expect(ended).toEqual({ status: 0, stdout: "done\n", stderr: "" });
    await vm.client.signalProcess({ containerId: id, signal: 9 });
    await vm.client.waitProcess(process);
    await vm.client.removeContainer({ containerId: id });
  });

  it("runs 20 containers at once", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => runContainer(vm.client, { id: `many${i}`, rootPath: root, args: ["/bin/sh", "-c", `echo ${i}; cat /proc/self/cgroup`] })));
    all.forEach((ended, i) => expect(ended.stdout.split("\n")[0]).toBe(String(i)));
  });

  it("survives the end of a container by lack of memory", async () => {
    const id = "greedy";
    const process = { containerId: id, execId: id };
    await vm.client.createContainer(containerRequest({ id, rootPath: root, memory: 16 * MIB, args: ["/bin/sh", "-c", "exec tail /dev/zero"] }) as never);
    const oom = vm.client.getOOMEvent({});
    await vm.client.startContainer({ containerId: id });
    expect((await vm.client.waitProcess(process)).status).toBe(137);
    expect((await oom).containerId).toBe(id);
    await vm.client.removeContainer({ containerId: id });
    expect((await vm.client.check({})).status).toBe("SERVING");
  });

  it("leaves nothing behind", async () => {
    // a container that shares nothing with the others looks at the guest through its own cgroup and mounts
    const ended = await runContainer(vm.client, { id: "look", rootPath: root, args: ["/bin/sh", "-c", "cat /proc/self/mountinfo | grep -c kata-containers; ls /proc/self/fd"] });
    expect(ended.stdout.trim().split("\n").slice(1)).toEqual(["0", "1", "2", "3"]); // 3 is the folder that ls reads
  });

  it("powers off when the sandbox is destroyed", async () => {
    await vm.client.destroySandbox({}).catch(() => undefined);
    const end = await vm.poweredOff;
    expect(end.code, vm.console()).toBe(0);
  });
});

const BY_COMMAND_LINE = "devices on MMIO named on the command line (QEMU microvm and Firecracker without ACPI)";
const OTHERS: [string, VmOptions, ...string[]][] = [
  ["the disk image as root", { transport: "vsock", root: "image" }],
  ["virtio-serial", { transport: "serial" }],
  ["microvm without ACPI", { transport: "serial", machine: "microvm" }, BY_COMMAND_LINE],
];
for (const [what, options, ...features] of OTHERS) suite(`with ${what}`, { needs: [vmOver(options.transport), kernelWith(...features)] }, () => {
  it("runs and executes", async () => {
    const share = makeRootfs();
    try {
      const vm = await bootVm({ ...options, share });
      await vm.client.createSandbox(sandboxRequest("pod") as never);
      const root = `${SHARE}/rootfs`;
      const id = "other";
      await vm.client.createContainer(containerRequest({ id, rootPath: root, args: ["/bin/sh", "-c", "seq 1 200000; read x; exit $x"] }) as never);
      await vm.client.startContainer({ containerId: id });
      expect((await execIn(vm.client, id, "e", ["/bin/echo", "hi"])).stdout).toBe("hi\n");
      let bytes = 0;
      const out = readStream(vm.client, { containerId: id, execId: id }, "stdout", (d) => void (bytes += d.length));
      await vm.client.writeStdin({ containerId: id, execId: id, data: Buffer.from("9\n") });
      await out;
      expect(bytes).toBe(1288895);
      expect((await vm.client.waitProcess({ containerId: id, execId: id })).status).toBe(9);
      await vm.client.removeContainer({ containerId: id });
      await vm.client.destroySandbox({}).catch(() => undefined);
      expect((await vm.poweredOff).code, vm.console()).toBe(0);
    } finally {
      rmSync(share, { recursive: true, force: true });
    }
  });
});
