// The calls that an unmodified Kata runtime makes for `run --rm IMAGE ID echo hello`, in its order and with its field values,
// over virtio-fs and one connection; then its exec, its terminal and its end of a container. The order is what is tested:
// each call stands where the runtime makes it, with a poll that never ends beside it.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { RpcError } from "../../ctl/client/rpc-error.js";
import { defaultSpec, SHM_PATH } from "../../ctl/container/default-spec.js";
import type { Vm } from "../../ctl/vm/boot.js";
import { fillRootfs } from "../helpers/guest.js";
import { suite } from "../helpers/suite.js";
import { bootSharedVm, vmOver } from "../helpers/vm.js";

const SHARED = "/run/kata-containers/shared/containers/";
const ID = "runtime-0123456789ab";
const MAC = "02:00:ca:fe:00:01";
const METADATA = { metadata: { "containerd-namespace-ttrpc": "default" } };
const LIMIT = { ...METADATA, timeoutMs: 60_000 };

/** One read after the other until empty data, or until an error, which the runtime takes for the end as well. */
const readAll = async (client: AgentClient, which: "readStdout" | "readStderr", execId: string): Promise<string> => {
  const pieces: Buffer[] = [];
  for (;;) {
    const { data } = await client[which]({ containerId: ID, execId, len: 32768 }, METADATA).catch(() => ({ data: new Uint8Array() }));
    if (data.length === 0) return Buffer.concat(pieces).toString();
    pieces.push(Buffer.from(data));
  }
};

const spec = (args: string[], terminal: boolean): ReturnType<typeof defaultSpec> => {
  const base = defaultSpec({
    id: ID, rootPath: `${SHARED}${ID}/rootfs`, args, env: ["PATH=/bin", "TERM=xterm"], workdir: "/", user: { uid: 0, gid: 0, additionalGids: [] }, terminal, hostname: "", cpus: 1, memory: 64 << 20,
  });
  return {
    ...base,
    process: { ...base.process, noNewPrivileges: true, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }] },
    linux: { ...base.linux, cgroupsPath: `/default/${ID}`, resources: { memory: { limit: 64 << 20 }, cpu: { shares: 1024, quota: 100_000, period: 100_000 } } },
  };
};

suite("the calls of the Kata runtime", { needs: [vmOver("vsock")] }, () => {
  let folder: string;
  let vm: Vm;
  let client: AgentClient;
  let oom: Promise<unknown>;
  let checks: NodeJS.Timeout;
  const answers: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "kata-runtime-"));
    mkdirSync(join(folder, ID));
    fillRootfs(join(folder, ID, "rootfs"));
    vm = await bootSharedVm({ transport: "vsock", share: folder, smp: 2, extra: ["-netdev", "hubport,id=net0,hubid=0", "-device", `virtio-net-pci,netdev=net0,mac=${MAC}`] });
    client = vm.client;
  });
  afterAll(async () => {
    clearInterval(checks);
    await vm?.stop({ graceMs: 0 });
    rmSync(folder, { recursive: true, force: true });
  });

  it("1: Check, again every five seconds", async () => {
    expect(await client.check({}, { ...METADATA, timeoutMs: 30_000 })).toEqual({ status: "SERVING" });
    checks = setInterval(() => void client.check({}, { ...METADATA, timeoutMs: 30_000 }).then(({ status }) => answers.push(status), (error: unknown) => answers.push(String(error))), 5_000);
  });

  it("2: UpdateInterface, UpdateRoutes, AddARPNeighbors before there is a sandbox", async () => {
    const wanted = { device: "eth0", name: "eth0", ipAddresses: [{ address: "10.88.0.5", mask: "24" }], mtu: 1400, hwAddr: MAC, type: "virtual" };
    expect(await client.updateInterface({ interface: wanted }, LIMIT)).toMatchObject({ name: "eth0", hwAddr: MAC, mtu: 1400 });
    const { routes } = await client.updateRoutes({ routes: { routes: [{ dest: "0.0.0.0/0", gateway: "10.88.0.1", device: "eth0" }] } }, LIMIT);
    expect(routes).toEqual(expect.arrayContaining([expect.objectContaining({ gateway: "10.88.0.1", device: "eth0" })]));
    await client.addARPNeighbors({ neighbors: { arpNeighbors: [{ toIPAddress: { address: "10.88.0.1" }, device: "eth0", lladdr: "02:00:ca:fe:00:02", state: 128 }] } }, LIMIT);
  });

  it("3: CreateSandbox with the shared folder and shared memory", async () => {
    await client.createSandbox({
      sandboxId: ID,
      storages: [
        { driver: "virtio-fs", source: "kataShared", fstype: "virtiofs", options: ["nodev"], mountPoint: SHARED },
        { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"], mountPoint: SHM_PATH },
      ],
    }, LIMIT);
  });

  it("4: GetGuestDetails", async () => {
    const details = await client.getGuestDetails({ memBlockSize: true, memHotplugProbe: true }, LIMIT);
    expect(details.agentDetails?.supportsSeccomp).toBe(true);
    expect(details.memBlockSizeBytes).toBe(134217728);
    expect(details.supportMemHotplugProbe).toBe(false);
  });

  it("5 to 8: CreateContainer, OnlineCPUMem, UpdateEphemeralMounts, StartContainer", async () => {
    await client.createContainer({ containerId: ID, execId: ID, oci: spec(["echo", "hello"], false) }, LIMIT);
    await client.onlineCPUMem({ nbCpus: 2, cpuOnly: true }, LIMIT);
    await client.onlineCPUMem({}, LIMIT);
    await client.updateEphemeralMounts({}, LIMIT);
    await client.startContainer({ containerId: ID }, LIMIT);
  });

  it("9 and 10: the poll for OOM and both streams at once; WaitProcess when both have ended", async () => {
    oom = client.getOOMEvent({}, METADATA).catch((error: unknown) => error);
    const [stdout, stderr] = await Promise.all([readAll(client, "readStdout", ID), readAll(client, "readStderr", ID)]);
    expect([stdout, stderr]).toEqual(["hello\n", ""]);
    expect((await client.waitProcess({ containerId: ID, execId: ID }, METADATA)).status).toBe(0);
  });

  it("11: SignalProcess and WaitProcess for the ended container do not fail badly", async () => {
    const code = (error: unknown): string => (error instanceof RpcError ? error.codeName : String(error));
    expect(["OK", "NOT_FOUND"]).toContain(await client.signalProcess({ containerId: ID, signal: 9 }, LIMIT).then(() => "OK", code));
    expect(["OK", "NOT_FOUND"]).toContain(await client.waitProcess({ containerId: ID, execId: ID }, LIMIT).then(() => "OK", code));
  });

  it("12: RemoveContainer, RemoveStaleVirtiofsShareMounts; the same id can be made again", async () => {
    await client.removeContainer({ containerId: ID }, LIMIT);
    await client.removeStaleVirtiofsShareMounts({}, LIMIT);
  });

  it("execs into a container with a terminal, stops it with a signal and cleans up", async () => {
    await client.createContainer({ containerId: ID, execId: ID, oci: spec(["sleep", "1000"], false) }, LIMIT);
    await client.onlineCPUMem({}, LIMIT);
    await client.updateEphemeralMounts({}, LIMIT);
    await client.startContainer({ containerId: ID }, LIMIT);
    const streams = Promise.all([readAll(client, "readStdout", ID), readAll(client, "readStderr", ID)]);

    const execId = randomUUID();
    await client.execProcess({ containerId: ID, execId, process: { terminal: true, user: { uid: 0 }, args: ["sh"], env: ["PATH=/bin"], cwd: "/" } }, LIMIT);
    await client.ttyWinResize({ containerId: ID, execId, row: 50, column: 132 }, LIMIT);
    const screen = readAll(client, "readStdout", execId);
    const typed = Buffer.from("stty size; exit 6\n");
    expect((await client.writeStdin({ containerId: ID, execId, data: typed }, METADATA)).len).toBe(typed.length);
    expect(await screen).toContain("50 132");
    expect((await client.waitProcess({ containerId: ID, execId }, METADATA)).status).toBe(6);
    await expect(client.execProcess({ containerId: ID, execId: randomUUID(), process: { user: {}, args: ["no-such-program"], env: ["PATH=/bin"], cwd: "/" } }, LIMIT)).rejects.toThrow(/no-such-program/);

    const stats = await client.statsContainer({ containerId: ID }, LIMIT);
    expect(stats.cgroupStats?.memoryStats?.usage?.limit).toBe(64 << 20);
    expect(stats.cgroupStats?.pidsStats?.current).toBe(1);
    await client.signalProcess({ containerId: ID, signal: 15 }, LIMIT);
    expect(await streams).toEqual(["", ""]);
    expect((await client.waitProcess({ containerId: ID, execId: ID }, METADATA)).status).toBe(137);
    await client.removeContainer({ containerId: ID }, LIMIT);
  });

  it("refuses a command that does not exist with its name", async () => {
    const error = await client.createContainer({ containerId: ID, execId: ID, oci: spec(["no-such-command"], false) }, LIMIT)
      .then(() => client.startContainer({ containerId: ID }, LIMIT)).then(() => undefined, (e: unknown) => e);
    expect(error).toBeInstanceOf(RpcError);
    expect((error as RpcError).message).toMatch(/no-such-command/);
  });

  it("ends: every Check was answered, DestroySandbox, the poll is cut off and the machine is off", async () => {
    clearInterval(checks);
    expect(answers.filter((status) => status !== "SERVING")).toEqual([]);
    await client.destroySandbox({}, LIMIT).catch((error: unknown) => expect(error).toMatchObject({ codeName: "UNAVAILABLE" }));
    expect((await vm.poweredOff).code, vm.console()).toBe(0);
    expect(await oom).toBeInstanceOf(RpcError);
  });
});
