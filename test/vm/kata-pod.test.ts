// What an unmodified Kata runtime asks for after the first run (kata-runtime.test.ts has that one, in order): a further container
// of the pod with an exec, stdin, statistics, an update and a pause; a terminal; the network calls; the end.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { collectStream } from "../../ctl/client/stdio.js";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import type { Vm } from "../../ctl/vm/boot.js";
import { fillRootfs, makeRootfs } from "../helpers/guest.js";
import { suite } from "../helpers/suite.js";
import { bootSharedVm, vmOver } from "../helpers/vm.js";

const SHARED = "/run/kata-containers/shared/containers";
const ID = "a6c1f0e4f5d94c0cbf9c1b8f9b5c9a11";
const CAPS = ["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"].map((c) => `CAP_${c}`);

function oci(id: string, args: string[], terminal = false): object {
  return {
    ociVersion: "1.1.0",
    process: {
      terminal: terminal, user: { uid: 0, gid: 0, additionalGids: [0, 10] }, args, env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...(terminal ? ["TERM=xterm"] : [])], cwd: "/",
      capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS }, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }], noNewPrivileges: true,
    },
    root: { path: `${SHARED}/${id}/rootfs`, readonly: false },
    mounts: [
      { destination: "/proc", source: "proc", type: "proc", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/dev", source: "tmpfs", type: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
      { destination: "/dev/pts", source: "devpts", type: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
      { destination: "/dev/shm", source: "/run/kata-containers/sandbox/shm", type: "bind", options: ["rbind"] },
      { destination: "/dev/mqueue", source: "mqueue", type: "mqueue", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/sys", source: "sysfs", type: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      { destination: "/run", source: "tmpfs", type: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
      { destination: "/etc/resolv.conf", source: `${SHARED}/${id}-4e7b7f5a1c2d3e4f-resolv.conf`, type: "bind", options: ["rbind", "ro"] },
    ],
    annotations: { "io.katacontainers.pkg.oci.bundle_path": `/run/containerd/io.containerd.runtime.v2.task/default/${id}`, "io.katacontainers.pkg.oci.container_type": "pod_sandbox" },
    linux: {
      resources: { cpu: { shares: 1024, quota: 200000, period: 100000 }, memory: { limit: 128 << 20 } },
      cgroupsPath: `/default/${id}`, namespaces: [{ type: "ipc" }, { type: "uts" }, { type: "mount" }],
      maskedPaths: ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
}

suite("further calls of the Kata runtime", { needs: [vmOver("vsock")] }, () => {
  let share: string;
  let vm: Vm;
  let client: AgentClient;
  beforeAll(async () => {
    share = makeRootfs();
    for (const id of [ID, "second"]) {
      mkdirSync(join(share, id), { recursive: true });
      fillRootfs(join(share, id, "rootfs"));
      writeFileSync(join(share, `${id}-4e7b7f5a1c2d3e4f-resolv.conf`), "nameserver 10.0.0.1\n");
    }
    vm = await bootSharedVm({ transport: "vsock", share, memory: 384, smp: 2, extra: ["-netdev", "hubport,id=n0,hubid=0", "-device", "virtio-net-pci,netdev=n0,mac=02:00:ca:fe:00:01"] });
    client = vm.client;
    await client.createSandbox({
      sandboxId: ID, sandboxPidns: false,
      storages: [
        { driver: "virtio-fs", source: "kataShared", fstype: "virtiofs", mountPoint: `${SHARED}/` },
        { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"], mountPoint: "/run/kata-containers/sandbox/shm" },
      ],
    } as never);
  });
  afterAll(async () => {
    await vm?.stop({ graceMs: 0 });
    rmSync(share, { recursive: true, force: true });
  });

  it("sets the network up and tells about the guest", async () => {
    expect((await client.check({})).status).toBe("SERVING");
    const wanted = { device: "eth0", name: "eth0", ipAddresses: [{ address: "10.88.0.7", mask: "24" }], mtu: 1400, hwAddr: "02:00:ca:fe:00:01", type: "virtual" };
    expect(await client.updateInterface({ interface: wanted } as never)).toMatchObject({ name: "eth0", hwAddr: "02:00:ca:fe:00:01" });
    const routes = await client.updateRoutes({ routes: { routes: [{ dest: "0.0.0.0/0", gateway: "10.88.0.1", device: "eth0" }] } } as never);
    expect(JSON.stringify(routes)).toContain("10.88.0.1");
    await client.addARPNeighbors({ neighbors: { arpNeighbors: [{ toIPAddress: { address: "10.88.0.1" }, device: "eth0", lladdr: "02:00:ca:fe:00:02", state: 128 }] } } as never);
    const details = await client.getGuestDetails({ memBlockSize: true, memHotplugProbe: true });
    expect(details.memBlockSizeBytes).toBe(134217728);
    expect(details.agentDetails?.supportsSeccomp).toBe(true);
    expect(details.supportMemHotplugProbe).toBe(false);
  });

  it("a second container of the pod: exec without capabilities, statistics, update, pause", async () => {
    const id = "second";
    await client.createContainer({ containerId: id, execId: id, oci: oci(id, ["sleep", "1000"]) } as never);
    await client.onlineCPUMem({});
    await client.updateEphemeralMounts({});
    await client.startContainer({ containerId: id });
    const exec = "0d9b5d4e-4a0e-4b1c-9f4c-7a5f0f7a4a51";
    await client.execProcess({ containerId: id, execId: exec, process: { terminal: false, user: { uid: 0, gid: 0 }, args: ["sh", "-c", "cat; echo $0 >&2; grep CapEff /proc/self/status; cat /etc/resolv.conf; mount | grep ' /dev/shm '"], env: ["PATH=/bin"], cwd: "/" } } as never);
    const process = { containerId: id, execId: exec };
    expect((await client.writeStdin({ ...process, data: Buffer.alloc(32768, "x") })).len).toBe(32768);
    await client.closeStdin(process);
    const [out, err] = await Promise.all([collectStream(client, process, "stdout"), collectStream(client, process, "stderr")]);
    expect(out.toString().slice(0, 32768)).toBe("x".repeat(32768));
    expect(out.toString()).toContain("00000000a80425fb");
    expect(out.toString()).toContain("nameserver 10.0.0.1");
    expect(out.toString()).toContain("tmpfs");
    expect(err.toString()).toBe("sh\n");
    expect((await client.waitProcess(process)).status).toBe(0);
    const stats = await client.statsContainer({ containerId: id });
    expect(stats.cgroupStats?.memoryStats?.usage?.limit).toBe(128 << 20);
    expect(Number(stats.cgroupStats?.pidsStats?.current)).toBe(1);
    await client.updateContainer({ containerId: id, resources: { memory: { limit: 256 << 20 }, cpu: { quota: 100000, period: 100000 } } } as never);
    expect((await client.statsContainer({ containerId: id })).cgroupStats?.memoryStats?.usage?.limit).toBe(256 << 20);
    await client.pauseContainer({ containerId: id });
    await client.resumeContainer({ containerId: id });
    await expect(client.execProcess({ containerId: id, execId: "none", process: { args: ["nonesuch"], env: ["PATH=/bin"], cwd: "/", user: {} } } as never)).rejects.toThrow(/nonesuch/);
    await client.signalProcess({ containerId: id, signal: 15 });
    expect((await client.waitProcess({ containerId: id, execId: id })).status).toBe(137); // sleep as process 1 handles no SIGTERM
    await client.removeContainer({ containerId: id });
  });

  it("a terminal: resize first, then only its output is read", async () => {
    const id = "second";
    await client.createContainer({ containerId: id, execId: id, oci: oci(id, ["sh", "-c", "stty size; echo tty"], true) } as never);
    await client.ttyWinResize({ containerId: id, execId: id, row: 33, column: 99 });
    await client.startContainer({ containerId: id });
    const process = { containerId: id, execId: id };
    expect((await collectStream(client, process, "stdout")).toString()).toBe("33 99\r\ntty\r\n");
    expect((await client.waitProcess(process)).status).toBe(0);
    await client.removeContainer({ containerId: id });
  });

  it("ends with DestroySandbox, and the guest powers off", async () => {
    await client.removeStaleVirtiofsShareMounts({});
    await client.destroySandbox({}).catch(() => undefined);
    expect((await vm.poweredOff).code, vm.console()).toBe(0);
  });
});
