// The agent on a kernel that is not ours: Debian's, whose drivers are modules in the initrd. Each transport and root, devices that are there
// from the start or come later, and what is told when a module is missing, refused, or asked for by the host.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Vm } from "../../ctl/vm/boot.js";
import { chooseWire } from "../../ctl/vm/wire.js";
import { agentMissing, distribution, type Distribution } from "../helpers/distribution.js";
import { containerRequest, fillRootfs, finish, runContainer, sandboxRequest } from "../helpers/guest.js";
import { failure } from "../helpers/private-agent.js";
import { qmp } from "../helpers/qmp.js";
import { suite } from "../helpers/suite.js";
import { bootVm } from "../helpers/vm.js";

const BASE = "/run/kata-containers/sandbox";
const SHARED = "/run/kata-containers/shared/containers";
const BOOT_MS = 120_000;

const MAGIC = "~Module signature appended~\n";

/** A module without the signature behind it, which would tell of any change first. Source: include/linux/module_signature.h. */
const unsigned = (bytes: Buffer): Buffer => {
  const end = bytes.length - MAGIC.length;
  return bytes.subarray(end).toString("latin1") === MAGIC ? bytes.subarray(0, end - 12 - bytes.readUInt32BE(end - 4)) : bytes;
};

suite("the distribution's kernel", { needs: [agentMissing, "program:qemu-system-x86_64"] }, () => {
  let debian: Distribution;
  let plain: string;
  const at = (name: string): string => join(debian.folder, name);
  const drive = (id: string, file: string): string[] => ["-drive", `file=${file},if=none,id=${id},format=raw,readonly=on`];
  const disk = (name: string, ...make: string[]): string => {
    if (make[0] === "mkfs.ext4") writeFileSync(at(name), Buffer.alloc(16 << 20));
    execFileSync(make[0] as string, make[0] === "mkfs.ext4" ? [...make.slice(1), "-q", "-d", at("tree"), at(name)] : [...make.slice(1), at(name), at("tree")], { stdio: "pipe" });
    return at(name);
  };
  const start = (initrd: string, options: Parameters<typeof bootVm>[0] = {}): Promise<Vm> => bootVm({ kernel: { vmlinux: debian.vmlinux, initrd }, timeoutMs: BOOT_MS, ...options });
  const run = async (vm: Vm, id: string, rootPath: string, storages: object[], script: string): Promise<string> => {
    await vm.client.createContainer({ ...containerRequest({ id, rootPath, args: ["/bin/sh", "-c", script] }), storages } as never);
    await vm.client.startContainer({ containerId: id });
    const ended = await finish(vm.client, { containerId: id, execId: id });
    await vm.client.removeContainer({ containerId: id });
    return ended.stdout + ended.stderr;
  };

  beforeAll(async () => {
    debian = await distribution();
    mkdirSync(at("tree"));
    fillRootfs(at("tree/rootfs"));
    writeFileSync(at("tree/rootfs/marker"), "found\n");
    plain = await debian.initrd("plain.img");
  });
  afterAll(() => debian?.remove());

  it("gives the same initrd and disk image from the same modules", async () => {
    const again = await distribution();
    try {
      expect(readFileSync(await again.initrd("again.img")).equals(readFileSync(plain))).toBe(true);
      expect(readFileSync(await again.image("again.erofs")).equals(readFileSync(await debian.image("first.erofs")))).toBe(true);
    } finally {
      again.remove();
    }
  });

  it.each(["vsock", "serial"] as const)("boots from the initrd, is reached over %s, and runs a container from virtio-fs", async (transport) => {
    try {
      chooseWire(transport);
    } catch {
      return; // no vsock here
    }
    const vm = await start(plain, { transport, share: at("tree") });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
    const ended = await runContainer(vm.client, { id: "one", rootPath: `${SHARED}/rootfs`, args: ["/bin/sh", "-c", "cat /marker; uname -r"] });
    expect(ended.stdout).toBe(`found\n${debian.release}\n`);
    expect(vm.console()).not.toMatch(/kernel module|refuses the module/);
    // a program of an unknown form has the kernel ask for binfmt-XXXX: no module answers, nothing is told, and init is what it was
    const asking = "printf '\\177\\1\\2\\3' > /odd; busybox chmod 755 /odd; i=0; while [ $i -lt 100 ]; do /odd 2>/dev/null; i=$((i+1)); done; cat /marker";
    const before = vm.console();
    expect((await runContainer(vm.client, { id: "two", rootPath: `${SHARED}/rootfs`, args: ["/bin/sh", "-c", asking] })).stdout).toBe("found\n");
    expect(vm.console().slice(before.length)).not.toMatch(/module|modprobe|kata-agent: /);
    await vm.client.check({});
  });

  it("goes on in a disk image that it entered through the initrd", async () => {
    const vm = await start(plain, { transport: "serial", root: "image", kernel: { vmlinux: debian.vmlinux, initrd: plain, image: await debian.image("root.erofs") }, share: at("tree") });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
    const ended = await runContainer(vm.client, { id: "one", rootPath: `${SHARED}/rootfs`, args: ["/bin/cat", "/marker"] });
    expect(ended.stdout).toBe("found\n");
  });

  it("says why a root on a disk cannot be entered, and ends the machine", async () => {
    const error = await start(plain, { transport: "serial", append: ["root=/dev/vdz", "rootfstype=erofs"] }).then(() => undefined, (e: unknown) => e as Error);
    expect(error?.message).toMatch(/kata-agent: fatal: cannot start: prepare the machine: enter root=\/dev\/vdz: the device did not appear within 10 s/);
  });

  it("drives disks by virtio-blk and SCSI, overlays, and an interface that is plugged in later", async () => {
    const port = (id: string, slot: number): string[] => ["-device", `pcie-root-port,id=${id},bus=pcie.0,addr=0x${slot.toString(16)},chassis=${slot},slot=${slot}`];
    const vm = await start(plain, {
      transport: "serial", memory: 384, append: ["agent.hotplug_timeout=60"],
      extra: [
        "-qmp", `unix:${at("qmp")},server=on,wait=off`,
        ...port("rp1", 0x10), ...drive("b1", disk("a.erofs", "mkfs.erofs")), "-device", "virtio-blk-pci,drive=b1,bus=rp1",
        "-device", "virtio-scsi-pci,id=scsi0", ...drive("s1", disk("b.ext4", "mkfs.ext4")), "-device", "scsi-hd,drive=s1,bus=scsi0.0,scsi-id=1,lun=2",
        ...port("rp2", 0x11), "-netdev", "user,id=n0,restrict=on",
      ],
    });
    await vm.client.createSandbox(sandboxRequest("s", false) as never);
    const overlay = [
      { driver: "blk", source: "10/00", fstype: "erofs", options: ["ro"], mountPoint: `${BASE}/layer` },
      { driver: "overlayfs", source: "none", fstype: "overlay", options: ["io.katacontainers.fs-opt.overlay-rw", `lowerdir=${BASE}/layer/rootfs`], mountPoint: "/run/kata-containers/cold/rootfs" },
    ];
    expect(await run(vm, "cold", "/run/kata-containers/cold/rootfs", overlay, "cat /marker; echo more >> /marker; cat /marker")).toBe("found\nfound\nmore\n");
    const scsi = { driver: "scsi", source: "1:2", fstype: "ext4", options: ["ro"], mountPoint: `${BASE}/scsi` };
    expect(await run(vm, "scsi", `${BASE}/scsi/rootfs`, [scsi], "cat /marker")).toBe("found\n");
    const update = vm.client.updateInterface({ interface: { name: "net7", hwAddr: "02:00:00:00:00:01", devicePath: "11/00", mtu: 1400, ipAddresses: [{ address: "10.0.2.15", mask: "24" }] } } as never);
    await vm.client.check({});
    await qmp(at("qmp"), "device_add", { driver: "virtio-net-pci", netdev: "n0", mac: "02:00:00:00:00:01", bus: "rp2", id: "nic0" });
    await update;
    const { interfaces } = (await vm.client.listInterfaces({})) as unknown as { interfaces: { name: string }[] };
    expect(interfaces.map((i) => i.name)).toContain("net7");
  });

  it("loads what CreateSandbox names, with parameters, and refuses what it does not have", async () => {
    const vm = await start(plain, { transport: "serial" });
    const sandbox = (name: string, ...parameters: string[]): Promise<unknown> => vm.client.createSandbox({ ...sandboxRequest("pod", false), kernelModules: [{ name, parameters }] } as never);
    expect(await failure(sandbox("no-such-module"))).toMatch(/there is no kernel module no-such-module in the image/);
    expect(await failure(sandbox("dummy", "numdummies=many"))).toMatch(/the kernel refuses the module dummy with "numdummies=many": .*Invalid argument/);
    await sandbox("ext4"); // built in
    await vm.client.destroySandbox({}).catch(() => undefined);
  });

  it("has the links that a parameter of a module asks for", async () => {
    const vm = await start(plain, { transport: "serial" });
    await vm.client.createSandbox({ ...sandboxRequest("pod", false), kernelModules: [{ name: "dummy", parameters: ["numdummies=3"] }, { name: "br-netfilter", parameters: [] }] } as never);
    const { interfaces } = (await vm.client.listInterfaces({})) as unknown as { interfaces: { name: string }[] };
    expect(interfaces.map((i) => i.name)).toEqual(expect.arrayContaining(["dummy0", "dummy1", "dummy2"]));
  });

  it("goes on without a module that is missing, and says which file system that costs", async () => {
    const modules = debian.copy("without");
    rmSync(join(modules, "kernel/fs/squashfs"), { recursive: true });
    const vm = await start(await debian.initrd("without.img", { modules }), { transport: "serial", extra: [...drive("q", disk("q.squashfs", "sh", "-c", 'mksquashfs "$2" "$1" -quiet', "sh")), "-device", "virtio-blk-pci,drive=q,addr=0x10"] });
    const storage = { driver: "blk", source: "10", fstype: "squashfs", options: ["ro"], mountPoint: `${BASE}/q` };
    expect(await failure(vm.client.createSandbox({ ...sandboxRequest("pod", false), storages: [storage] } as never))).toMatch(/this kernel has no file system squashfs, and the image no module that loads/);
  });

  it("tells of a module that was made for another kernel in one line, at boot and later, and lives on", async () => {
    const modules = debian.copy("foreign");
    for (const path of ["kernel/drivers/char/hw_random/virtio-rng.ko", "kernel/fs/overlayfs/overlay.ko"]) {
      const bytes = unsigned(readFileSync(join(modules, path)));
      bytes.write("qreempt", bytes.indexOf("preempt mod_unload"), "latin1");
      writeFileSync(join(modules, path), bytes);
    }
    const vm = await start(await debian.initrd("foreign.img", { modules }), { transport: "serial", share: at("tree"), extra: ["-device", "virtio-rng-pci"] });
    expect(vm.console()).toMatch(/kata-agent: the kernel refuses the module virtio_rng: .*Exec format error.* \(it was not made for this kernel, 6\./);
    await vm.client.createSandbox(sandboxRequest("pod") as never);
    const overlay = { driver: "overlayfs", source: "none", fstype: "overlay", options: [`lowerdir=${SHARED}/rootfs:${SHARED}`], mountPoint: `${BASE}/o` };
    expect(await failure(run(vm, "one", `${BASE}/o`, [overlay], "true"))).toMatch(/this kernel has no file system overlay/);
    expect(vm.console()).toMatch(/kata-agent: the kernel refuses the module overlay: /);
    expect(await run(vm, "two", `${SHARED}/rootfs`, [], "cat /marker")).toBe("found\n");
  });

  it("says that all modules are for another kernel", async () => {
    const other = debian.copy("other");
    for (const path of execFileSync("find", [other, "-name", "*.ko"], { encoding: "utf8" }).trim().split("\n")) {
      const bytes = readFileSync(path);
      const where = bytes.indexOf(`vermagic=${debian.release}`);
      bytes.write("9", where + "vermagic=".length, "latin1");
      writeFileSync(path, bytes);
    }
    const error = await start(await debian.initrd("other.img", { modules: other }), { transport: "serial" }).then(() => undefined, (e: unknown) => e as Error);
    expect(error?.message).toMatch(/kata-agent: the kernel modules in the image are for 9\.[^ ]*, this kernel is 6\.[^ ]*: none can be loaded/);
  });
});
