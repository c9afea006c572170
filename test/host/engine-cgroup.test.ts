// Control groups as the machine has them: version 1's limits and figures where its controllers are mounted, and what both
// versions must do. Version 2's limits are tested in the VM, which has its controllers.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box, ONLY_V2 } from "../helpers/engine-box.js";
import { finish } from "../helpers/guest.js";
import { failure } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

const MIB = 1 << 20;

suite("cgroups of version 1", { needs: ["agent", "cgroup v1"] }, () => {
  let box: Box;
  let before: string[];
  const file = (controller: string, id: string, name: string): string => readFileSync(`/sys/fs/cgroup/${controller}/katactl/${id}/${name}`, "utf8").trim();
  beforeAll(async () => {
    box = await Box.start();
    before = box.state();
  });
  afterAll(() => box?.stop());

  it("hold the limits of the spec, and new ones", async () => {
    const id = await box.sleeper((s) => {
      s.linux["resources"] = { memory: { limit: 64 * MIB, swap: 64 * MIB }, cpu: { shares: 512, quota: 50_000, period: 100_000 }, pids: { limit: 50 } };
    });
    expect([file("memory", id, "memory.limit_in_bytes"), file("cpu", id, "cpu.shares"), file("cpu", id, "cpu.cfs_quota_us"), file("pids", id, "pids.max")]).toEqual([String(64 * MIB), "512", "50000", "50"]);
    await box.agent.client.updateContainer({ containerId: id, resources: { memory: { limit: 128 * MIB, swap: 128 * MIB }, cpu: { quota: 25_000, period: 50_000 }, pids: { limit: 60 } } } as never);
    expect([file("memory", id, "memory.limit_in_bytes"), file("cpu", id, "cpu.cfs_quota_us"), file("cpu", id, "cpu.cfs_period_us"), file("pids", id, "pids.max")]).toEqual([String(128 * MIB), "25000", "50000", "60"]);
    await box.remove(id);
  });

  it("take a container into every hierarchy, for limits that come later", async () => {
    const id = await box.sleeper();
    expect(file("cpu", id, "cpu.shares")).toBe("1024");
    await box.agent.client.updateContainer({ containerId: id, resources: { cpu: { shares: 256 } } } as never);
    expect(file("cpu", id, "cpu.shares")).toBe("256");
    expect(file("cpu", id, "cgroup.procs")).toMatch(/^\d+$/);
    await box.remove(id);
  });

  it("tell what is used in the right units", async () => {
    const id = await box.sleeper((s) => (s.linux["resources"] = { memory: { limit: 64 * MIB }, pids: { limit: 50 } }));
    const { cgroupStats } = (await box.agent.client.statsContainer({ containerId: id })) as unknown as { cgroupStats: { pidsStats: object; memoryStats: { usage: { limit: number; usage: number } }; cpuStats: { cpuUsage: { totalUsage: number } } } };
    expect(cgroupStats.pidsStats).toMatchObject({ current: 1, limit: 50 });
    expect(Number(cgroupStats.memoryStats.usage.limit)).toBe(64 * MIB);
    expect(Number(cgroupStats.memoryStats.usage.usage)).toBeGreaterThan(0);
    expect(Number(cgroupStats.cpuStats.cpuUsage.totalUsage)).toBeGreaterThan(100_000);
    await box.remove(id);
  });

  it("end a container that uses too much memory, which is told", async () => {
    const { client } = box.agent;
    const id = await box.create(["/bin/sh", "-c", "x=$(yes | head -c 200000000); echo survived"], (s) => {
      s.linux["resources"] = { memory: { limit: 16 * MIB, swap: 16 * MIB } };
    });
    const event = client.getOOMEvent({});
    await box.start(id);
    const { status, stdout } = await finish(client, { containerId: id, execId: id });
    expect(stdout).toBe("");
    expect(status).toBe(137);
    expect((await event).containerId).toBe(id);
    await box.remove(id);
  });

  it("refuse to open a device without a rule, and let one with a rule be opened", async () => {
    const script = "mknod /tmp/zero c 1 5; mknod /tmp/mem c 1 1; head -c1 /tmp/zero | wc -c; head -c1 /tmp/mem";
    const { stdout, stderr } = await box.run(script);
    expect(stdout).toBe("1\n");
    expect(stderr).toContain("Operation not permitted");
  });

  it("take new device rules without a moment in which others are allowed", async () => {
    const id = await box.sleeper((s) => (s.linux["resources"] = { devices: [{ allow: true, type: "b", major: 8, minor: 16, access: "rw" }] }));
    const list = (): string[] => file("devices", id, "devices.list").split("\n").sort();
    const first = list();
    expect(first).toContain("b 8:16 rw");
    expect(first).not.toContain("a *:* rwm");
    await box.agent.client.updateContainer({ containerId: id, resources: { devices: [{ allow: false, type: "a", access: "rwm" }, { allow: true, type: "b", major: 8, minor: 16, access: "r" }, { allow: true, type: "c", major: 1, minor: 1, access: "r" }] } } as never);
    expect(list()).toEqual([...first.filter((line) => line !== "b 8:16 rw"), "b 8:16 r", "c 1:1 r"].sort());
    await box.remove(id);
  });

  it("are gone when their containers are", () => {
    expect(box.state()).toEqual(before);
  });
});

for (const [version, prepare] of [["1", ":"], ["2", ONLY_V2]] as const) suite(`with cgroup version ${version} a container`, { needs: version === "1" ? ["agent", "cgroup v1"] : ["agent"] }, () => {
  let box: Box;
  let before: string[];
  beforeAll(async () => {
    box = await Box.start(prepare);
    before = box.state();
  });
  afterAll(() => box?.stop());

  it("stops while it is paused and goes on afterwards", async () => {
    const { client } = box.agent;
    const id = await box.create(["/bin/sh", "-c", "while read x; do echo got $x; done"]);
    const name = { containerId: id, execId: id };
    await box.start(id);
    await client.pauseContainer({ containerId: id });
    expect(await failure(client.pauseContainer({ containerId: id }))).toContain("current status is: paused");
    await client.writeStdin({ ...name, data: Buffer.from("it\n") });
    let got = false;
    const reading = client.readStdout({ ...name, len: 100 }).then((r) => ((got = true), Buffer.from(r.data).toString()));
    await client.check({});
    const pid = readFileSync(`/proc/${box.agent.pid}/task/${box.agent.pid}/children`, "utf8").trim();
    expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(id);
    expect(got).toBe(false);
    await client.resumeContainer({ containerId: id });
    expect(await reading).toBe("got it\n");
    await box.remove(id);
    expect(box.state()).toEqual(before);
  });

  it("takes every process with it, also those that left their session", async () => {
    const id = await box.create(["/bin/sh", "-c", "for i in 1 2 3 4 5; do setsid sleep 1000 & done; echo up; sleep 1000"]);
    await box.start(id);
    await box.agent.client.readStdout({ containerId: id, execId: id, len: 10 });
    await box.remove(id);
    expect(box.state()).toEqual(before);
  });

  it("is removed while its processes fork as fast as they can", async () => {
    const id = await box.create(["/bin/sh", "-c", "f() { while :; do sleep 0 & sleep 0; done; }; f & f & echo up; f"], (s) => (s.process["noNewPrivileges"] = true));
    await box.start(id);
    await box.agent.client.readStdout({ containerId: id, execId: id, len: 10 });
    await box.remove(id);
    expect(box.state()).toEqual(before);
  });
});
