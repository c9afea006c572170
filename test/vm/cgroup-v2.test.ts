// Control groups of version 2 with all their controllers, as they are in the guest: limits, figures, devices by eBPF, freezer,
// and more than one lack of memory in one container. A container looks at its own group through /sys/fs/cgroup.
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Vm } from "../../ctl/vm/boot.js";
import { containerRequest, execIn, finish, makeRootfs, runContainer, sandboxRequest } from "../helpers/guest.js";
import { bootSharedVm, vmMissing } from "../helpers/vm.js";

const missing = vmMissing();
const ROOT = "/run/kata-containers/shared/containers/rootfs";
const MIB = 1 << 20;
type Resources = Record<string, unknown>;

describe.skipIf(missing !== undefined)(`cgroups of version 2${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  let share: string;
  let vm: Vm;
  let n = 0;
  beforeAll(async () => {
    share = makeRootfs();
    vm = await bootSharedVm({ share, memory: 384, smp: 2 });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
  });
  afterAll(async () => {
    await vm?.stop({ graceMs: 0 });
    rmSync(share, { recursive: true, force: true });
  });

  const create = async (args: string[], resources: Resources = {}): Promise<string> => {
    const id = `v2n${n++}`;
    const request = structuredClone(containerRequest({ id, rootPath: ROOT, args })) as { OCI: { Linux: { Resources: Resources } } };
    request.OCI.Linux.Resources = resources;
    await vm.client.createContainer(request as never);
    await vm.client.startContainer({ container_id: id });
    return id;
  };
  const remove = async (id: string): Promise<void> => void (await vm.client.removeContainer({ container_id: id }));
  const look = async (id: string, script: string): Promise<string> => (await execIn(vm.client, id, `look${n++}`, ["/bin/sh", "-c", script])).stdout;

  it("hold the limits of the spec, and new ones", async () => {
    const id = await create(["/bin/sleep", "1000"], { Memory: { Limit: 64 * MIB, Swap: 64 * MIB, Reservation: 8 * MIB }, CPU: { Shares: 1024, Quota: 50_000, Period: 100_000 }, Pids: { Limit: 50 } });
    const files = "cd /sys/fs/cgroup; cat memory.max memory.low cpu.weight cpu.max pids.max";
    expect(await look(id, files)).toBe(`${64 * MIB}\n${8 * MIB}\n100\n50000 100000\n50\n`);
    await vm.client.updateContainer({ container_id: id, resources: { Memory: { Limit: 32 * MIB }, CPU: { Quota: 25_000, Period: 50_000 }, Pids: { Limit: 40 } } } as never);
    expect(await look(id, files)).toBe(`${32 * MIB}\n${8 * MIB}\n100\n25000 50000\n40\n`);
    const { cgroup_stats: stats } = (await vm.client.statsContainer({ container_id: id })) as unknown as { cgroup_stats: { pids_stats: object; memory_stats: { usage: { limit: number } }; cpu_stats: { cpu_usage: { total_usage: number } } } };
    expect(stats.pids_stats).toMatchObject({ current: 1, limit: 40 });
    expect(Number(stats.memory_stats.usage.limit)).toBe(32 * MIB);
    expect(Number(stats.cpu_stats.cpu_usage.total_usage)).toBeGreaterThan(100_000);
    await remove(id);
  });

  it("limit the number of processes", async () => {
    const id = await create(["/bin/sleep", "1000"], { Pids: { Limit: 3 } });
    const { stderr } = await execIn(vm.client, id, "fork", ["/bin/sh", "-c", "sleep 5 & sleep 5 & sleep 5 & wait"]);
    expect(stderr).toContain("Resource temporarily unavailable");
    await remove(id);
  });

  it("let only devices be opened that a rule names", async () => {
    const request = structuredClone(containerRequest({ id: "devices", rootPath: ROOT, args: ["/bin/sh", "-c", "cd /tmp; mknod zero c 1 5; mknod mem c 1 1; mknod ram b 1 0; head -c1 zero | wc -c; for d in mem ram; do head -c1 $d; done"] }));
    await vm.client.createContainer(request as never);
    await vm.client.startContainer({ container_id: "devices" });
    const { stdout, stderr } = await finish(vm.client, { container_id: "devices", exec_id: "devices" });
    expect(stdout).toBe("1\n");
    expect(stderr.match(/Operation not permitted/g)).toHaveLength(2);
    await remove("devices");
  });

  it("freeze and thaw, and end what is frozen", async () => {
    const id = await create(["/bin/sh", "-c", "while read x; do echo got $x; done"]);
    const name = { container_id: id, exec_id: id };
    await vm.client.pauseContainer({ container_id: id });
    await vm.client.writeStdin({ ...name, data: Buffer.from("it\n") });
    let got = false;
    const reading = vm.client.readStdout({ ...name, len: 100 }).then((r) => ((got = true), Buffer.from(r.data).toString()));
    await vm.client.check({});
    expect(got).toBe(false);
    await vm.client.resumeContainer({ container_id: id });
    expect(await reading).toBe("got it\n");
    await vm.client.pauseContainer({ container_id: id });
    await remove(id);
  });

  it("tell each lack of memory, not only the first", async () => {
    const id = await create(["/bin/sleep", "1000"], { Memory: { Limit: 16 * MIB } });
    for (let i = 0; i < 3; i++) {
      const event = vm.client.getOOMEvent({});
      const { status } = await execIn(vm.client, id, `greedy${i}`, ["/bin/tail", "/dev/zero"]);
      expect(status).toBe(137);
      expect((await event).container_id).toBe(id);
    }
    await remove(id);
  });

  it("are gone with their containers", async () => {
    const { stdout } = await runContainer(vm.client, { id: "look", rootPath: ROOT, args: ["/bin/sh", "-c", "cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c ."] });
    expect(stdout).toMatch(/^0::\/katactl\/look\n/);
  });
});
