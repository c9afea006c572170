// The calls that an unmodified Kata runtime makes for `run --rm IMAGE ID echo hello`, in its order and with its field values,
// over virtio-fs and one connection; then its exec, its terminal and its end of a container. The order is what is tested:
// each call stands where the runtime makes it, with a poll that never ends beside it.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { RpcError } from "../../ctl/client/rpc-error.js";
import { defaultSpec, SHM_PATH } from "../../ctl/container/default-spec.js";
import type { Vm } from "../../ctl/vm/boot.js";
import { fillRootfs } from "../helpers/guest.js";
import { bootSharedVm, vmMissing } from "../helpers/vm.js";

const missing = vmMissing("vsock");
const SHARED = "/run/kata-containers/shared/containers/";
const ID = "runtime-0123456789ab";
const MAC = "02:00:ca:fe:00:01";
const METADATA = { metadata: { "containerd-namespace-ttrpc": "default" } };
const LIMIT = { ...METADATA, timeoutMs: 60_000 };

/** One read after the other until empty data, or until an error, which the runtime takes for the end as well. */
const readAll = async (client: AgentClient, which: "readStdout" | "readStderr", exec_id: string): Promise<string> => {
  const pieces: Buffer[] = [];
  for (;;) {
    const { data } = await client[which]({ container_id: ID, exec_id, len: 32768 }, METADATA).catch(() => ({ data: new Uint8Array() }));
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
    Process: { ...base.Process, NoNewPrivileges: true, Rlimits: [{ Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024 }] },
    Linux: { ...base.Linux, CgroupsPath: `/default/${ID}`, Resources: { Memory: { Limit: 64 << 20 }, CPU: { Shares: 1024, Quota: 100_000, Period: 100_000 } } },
  };
};

describe.skipIf(missing !== undefined)(`the calls of the Kata runtime${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
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
    const wanted = { device: "eth0", name: "eth0", IPAddresses: [{ address: "10.88.0.5", mask: "24" }], mtu: 1400, hwAddr: MAC, type: "virtual" };
    expect(await client.updateInterface({ interface: wanted }, LIMIT)).toMatchObject({ name: "eth0", hwAddr: MAC, mtu: 1400 });
    const { Routes } = await client.updateRoutes({ routes: { Routes: [{ dest: "0.0.0.0/0", gateway: "10.88.0.1", device: "eth0" }] } }, LIMIT);
    expect(Routes).toEqual(expect.arrayContaining([expect.objectContaining({ gateway: "10.88.0.1", device: "eth0" })]));
    await client.addARPNeighbors({ neighbors: { ARPNeighbors: [{ toIPAddress: { address: "10.88.0.1" }, device: "eth0", lladdr: "02:00:ca:fe:00:02", state: 128 }] } }, LIMIT);
  });

  it("3: CreateSandbox with the shared folder and shared memory", async () => {
    await client.createSandbox({
      sandbox_id: ID,
      storages: [
        { driver: "virtio-fs", source: "kataShared", fstype: "virtiofs", options: ["nodev"], mount_point: SHARED },
        { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"], mount_point: SHM_PATH },
      ],
    }, LIMIT);
  });

  it("4: GetGuestDetails", async () => {
    const details = await client.getGuestDetails({ mem_block_size: true, mem_hotplug_probe: true }, LIMIT);
    expect(details.agent_details?.supports_seccomp).toBe(true);
    expect(details.mem_block_size_bytes).toBe(134217728);
    expect(details.support_mem_hotplug_probe).toBe(false);
  });

  it("5 to 8: CreateContainer, OnlineCPUMem, UpdateEphemeralMounts, StartContainer", async () => {
    await client.createContainer({ container_id: ID, exec_id: ID, OCI: spec(["echo", "hello"], false) }, LIMIT);
    await client.onlineCPUMem({ nb_cpus: 2, cpu_only: true }, LIMIT);
    await client.onlineCPUMem({}, LIMIT);
    await client.updateEphemeralMounts({}, LIMIT);
    await client.startContainer({ container_id: ID }, LIMIT);
  });

  it("9 and 10: the poll for OOM and both streams at once; WaitProcess when both have ended", async () => {
    oom = client.getOOMEvent({}, METADATA).catch((error: unknown) => error);
    const [stdout, stderr] = await Promise.all([readAll(client, "readStdout", ID), readAll(client, "readStderr", ID)]);
    expect([stdout, stderr]).toEqual(["hello\n", ""]);
    expect((await client.waitProcess({ container_id: ID, exec_id: ID }, METADATA)).status).toBe(0);
  });

  it("11: SignalProcess and WaitProcess for the ended container do not fail badly", async () => {
    const code = (error: unknown): string => (error instanceof RpcError ? error.codeName : String(error));
    expect(["OK", "NOT_FOUND"]).toContain(await client.signalProcess({ container_id: ID, signal: 9 }, LIMIT).then(() => "OK", code));
    expect(["OK", "NOT_FOUND"]).toContain(await client.waitProcess({ container_id: ID, exec_id: ID }, LIMIT).then(() => "OK", code));
  });

  it("12: RemoveContainer, RemoveStaleVirtiofsShareMounts; the same id can be made again", async () => {
    await client.removeContainer({ container_id: ID }, LIMIT);
    await client.removeStaleVirtiofsShareMounts({}, LIMIT);
  });

  it("execs into a container with a terminal, stops it with a signal and cleans up", async () => {
    await client.createContainer({ container_id: ID, exec_id: ID, OCI: spec(["sleep", "1000"], false) }, LIMIT);
    await client.onlineCPUMem({}, LIMIT);
    await client.updateEphemeralMounts({}, LIMIT);
    await client.startContainer({ container_id: ID }, LIMIT);
    const streams = Promise.all([readAll(client, "readStdout", ID), readAll(client, "readStderr", ID)]);

    const exec_id = randomUUID();
    await client.execProcess({ container_id: ID, exec_id, process: { Terminal: true, User: { UID: 0 }, Args: ["sh"], Env: ["PATH=/bin"], Cwd: "/" } }, LIMIT);
    await client.ttyWinResize({ container_id: ID, exec_id, row: 50, column: 132 }, LIMIT);
    const screen = readAll(client, "readStdout", exec_id);
    const typed = Buffer.from("stty size; exit 6\n");
    expect((await client.writeStdin({ container_id: ID, exec_id, data: typed }, METADATA)).len).toBe(typed.length);
    expect(await screen).toContain("50 132");
    expect((await client.waitProcess({ container_id: ID, exec_id }, METADATA)).status).toBe(6);
    await expect(client.execProcess({ container_id: ID, exec_id: randomUUID(), process: { User: {}, Args: ["no-such-program"], Env: ["PATH=/bin"], Cwd: "/" } }, LIMIT)).rejects.toThrow(/no-such-program/);

    const stats = await client.statsContainer({ container_id: ID }, LIMIT);
    expect(stats.cgroup_stats?.memory_stats?.usage?.limit).toBe(64 << 20);
    expect(stats.cgroup_stats?.pids_stats?.current).toBe(1);
    await client.signalProcess({ container_id: ID, signal: 15 }, LIMIT);
    expect(await streams).toEqual(["", ""]);
    expect((await client.waitProcess({ container_id: ID, exec_id: ID }, METADATA)).status).toBe(137);
    await client.removeContainer({ container_id: ID }, LIMIT);
  });

  it("refuses a command that does not exist with its name", async () => {
    const error = await client.createContainer({ container_id: ID, exec_id: ID, OCI: spec(["no-such-command"], false) }, LIMIT)
      .then(() => client.startContainer({ container_id: ID }, LIMIT)).then(() => undefined, (e: unknown) => e);
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
