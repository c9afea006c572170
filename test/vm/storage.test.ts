// Disks, shares and interfaces on real buses: behind a PCI bridge, on a SCSI host, there from the start or plugged in while the
// agent waits. What a container reads from them proves that they were found.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Vm } from "../../ctl/vm/boot.js";
import { containerRequest, fillRootfs, finish, runContainer, sandboxRequest } from "../helpers/guest.js";
import { failure } from "../helpers/private-agent.js";
import { qmp } from "../helpers/qmp.js";
import { kernelWith } from "../helpers/kernel.js";
import { having, suite } from "../helpers/suite.js";
import { bootSharedVm, vmOver } from "../helpers/vm.js";

const BASE = "/run/kata-containers/sandbox";

suite("storages in a VM", { needs: [vmOver()] }, () => {
  let dir: string;
  let vm: Vm;
  const image = (name: string, ...make: string[]): string => {
    const file = join(dir, name);
    if (make[0] === "mkfs.ext4") writeFileSync(file, Buffer.alloc(16 << 20));
    execFileSync(make[0] as string, [...make.slice(1), ...(make[0] === "mkfs.ext4" ? ["-q", "-d", join(dir, "tree"), file] : [file, join(dir, "tree")])], { stdio: "pipe" });
    return file;
  };
  const drive = (id: string, file: string, readOnly = false): string[] => ["-drive", `file=${file},if=none,id=${id},format=raw,readonly=${readOnly ? "on" : "off"}`];
  const port = (id: string, slot: number): string[] => ["-device", `pcie-root-port,id=${id},bus=pcie.0,addr=0x${slot.toString(16)},chassis=${slot},slot=${slot}`];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "kata-vm-storage-"));
    mkdirSync(join(dir, "tree"));
    fillRootfs(join(dir, "tree/rootfs"));
    writeFileSync(join(dir, "tree/rootfs/marker"), "found\n");
    const [erofs, scsi, hot] = [image("a.erofs", "mkfs.erofs"), image("b.ext4", "mkfs.ext4"), image("c.ext4", "mkfs.ext4")];
    vm = await bootSharedVm({
      memory: 384, ninep: join(dir, "tree"), append: ["agent.hotplug_timeout=20"],
      extra: [
        "-qmp", `unix:${join(dir, "qmp")},server=on,wait=off`,
        ...port("rp1", 0x10), ...drive("b1", erofs, true), "-device", "virtio-blk-pci,drive=b1,bus=rp1",
        "-device", "virtio-scsi-pci,id=scsi0", ...drive("s1", scsi), "-device", "scsi-hd,drive=s1,bus=scsi0.0,scsi-id=1,lun=2",
        ...port("rp2", 0x11), ...drive("b2", hot),
        ...port("rp3", 0x12), "-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:01,bus=rp3,romfile=",
      ],
    });
    await vm.client.createSandbox(sandboxRequest("s", false) as never);
  });
  afterAll(async () => {
    await vm?.stop({ graceMs: 0 });
    rmSync(dir, { recursive: true, force: true });
  });

  const run = async (id: string, rootPath: string, storages: object[], script: string): Promise<string> => {
    await vm.client.createContainer({ ...containerRequest({ id, rootPath, args: ["/bin/sh", "-c", script] }), storages } as never);
    await vm.client.startContainer({ containerId: id });
    const ended = await finish(vm.client, { containerId: id, execId: id });
    await vm.client.removeContainer({ containerId: id });
    return ended.stdout + ended.stderr;
  };

  it("finds a disk behind a bridge that was there from the start, and lays a writable overlay over it", async () => {
    const root = "/run/kata-containers/cold/rootfs";
    const storages = [
      { driver: "blk", source: "10/00", fstype: "erofs", options: ["ro"], mountPoint: `${BASE}/layer` },
      { driver: "overlayfs", source: "none", fstype: "overlay", options: ["io.katacontainers.fs-opt.overlay-rw", `lowerdir=${BASE}/layer/rootfs`], mountPoint: root },
    ];
    expect(await run("cold", root, storages, "cat /marker; echo more >> /marker; cat /marker")).toBe("found\nfound\nmore\n");
    expect(await run("cold", root, storages, "cat /marker")).toBe("found\n"); // the layer went with the first container
  });

  it("finds a SCSI disk by id and LUN, and gives a container its node by the guest's numbers", async () => {
    const storage = { driver: "scsi", source: "1:2", fstype: "ext4", options: [], mountPoint: `${BASE}/scsi` };
    expect(await run("scsi", `${BASE}/scsi/rootfs`, [storage], "cat /marker")).toBe("found\n");
    const request = containerRequest({ id: "node", rootPath: `${BASE}/scsi/rootfs`, args: ["/bin/sh", "-c", "dd if=/dev/disk bs=1 skip=1080 count=2 2>/dev/null | tr '\\123\\357' Sx"] }) as { oci: { linux: { devices?: object[] } } };
    request.oci.linux.devices = [...(request.oci.linux.devices ?? []), { path: "/dev/disk", type: "b", major: 250, minor: 9, fileMode: 0o600 }];
    await vm.client.createContainer({ ...request, storages: [storage], devices: [{ id: "1:2", type: "scsi", containerPath: "/dev/disk" }] } as never);
    await vm.client.startContainer({ containerId: "node" });
    expect((await finish(vm.client, { containerId: "node", execId: "node" })).stdout).toBe("Sx"); // ext4's magic number
    await vm.client.removeContainer({ containerId: "node" });
  });

  it("waits for a disk that is plugged in", async () => {
    const storage = { driver: "blk", source: "11/00", fstype: "ext4", options: [], mountPoint: `${BASE}/hot` };
    const running = run("hot", `${BASE}/hot/rootfs`, [storage], "cat /marker");
    await vm.client.check({});
    await qmp(join(dir, "qmp"), "device_add", { driver: "virtio-blk-pci", drive: "b2", bus: "rp2", id: "hot0" });
    expect(await running).toBe("found\n");
  });

  having(kernelWith("folders of the host by 9p"))("shares a folder through 9p", async () => {
    const storage = { driver: "9p", source: "kataShared", fstype: "9p", options: ["trans=virtio,version=9p2000.L", "msize=131072"], mountPoint: `${BASE}/share` };
    expect(await run("ninep", `${BASE}/share/rootfs`, [storage], "cat /marker")).toBe("found\n");
  });

  it("sets up an interface by its PCI path", async () => {
    await vm.client.updateInterface({ interface: { name: "net7", hwAddr: "02:00:00:00:00:01", devicePath: "12/00", mtu: 1400, ipAddresses: [{ address: "10.0.2.15", mask: "24" }] } } as never);
    await vm.client.updateRoutes({ routes: { routes: [{ dest: "0.0.0.0/0", gateway: "10.0.2.2", device: "net7" }] } } as never);
    const { interfaces } = (await vm.client.listInterfaces({})) as unknown as { interfaces: { name: string; ipAddresses: { address: string }[] }[] };
    expect(interfaces.find((i) => i.name === "net7")?.ipAddresses.map((a) => a.address)).toContain("10.0.2.15");
    expect(interfaces.find((i) => i.name === "lo")?.ipAddresses.map((a) => a.address)).toContain("127.0.0.1");
    expect(await failure(vm.client.updateInterface({ interface: { name: "x", hwAddr: "02:00:00:00:00:09" } } as never))).toContain("Link not found");
  });

  it("tells what the guest can do", async () => {
    const details = await vm.client.getGuestDetails({ memBlockSize: true, memHotplugProbe: true } as never);
    expect(details.agentDetails).toMatchObject({ initDaemon: true, supportsSeccomp: true });
    await vm.client.onlineCPUMem({});
    await vm.client.setGuestDateTime({ sec: 1_800_000_000, usec: 5 } as never);
    expect(await runContainer(vm.client, { id: "date", rootPath: `${BASE}/none`, args: ["/bin/true"] }).catch((e: Error) => e.message)).toMatch(/none/);
  });
});
