// Control groups of version 2 with all their controllers, as they are in the guest: limits, figures, devices by eBPF, freezer,
// and more than one lack of memory in one container. A container looks at its own group through /sys/fs/cgroup. The command line
// runs there too, in a container that has the machine's groups.
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Vm } from "../../ctl/vm/boot.js";
import { containerRequest, type Ended, execIn, fillRootfs, finish, makeRootfs, runContainer, sandboxRequest } from "../helpers/guest.js";
import { type Config, plainConfig } from "../helpers/oci-bundle.js";
import { BINARY } from "../helpers/private-agent.js";
import { kernelWithout } from "../helpers/kernel.js";
import { bootSharedVm, vmOver } from "../helpers/vm.js";
import { readable } from "../helpers/said.js";
import { having, suite } from "../helpers/suite.js";

const ROOT = "/run/kata-containers/shared/containers/rootfs";
const MIB = 1 << 20;
type Resources = Record<string, unknown>;

suite("cgroups of version 2", { needs: [vmOver()] }, () => {
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
    const request = structuredClone(containerRequest({ id, rootPath: ROOT, args })) as { oci: { linux: { resources: Resources } } };
    request.oci.linux.resources = resources;
    await vm.client.createContainer(request as never);
    await vm.client.startContainer({ containerId: id });
    return id;
  };
  const remove = async (id: string): Promise<void> => void (await vm.client.removeContainer({ containerId: id }));
  const run = (id: string, script: string): Promise<Ended> => runContainer(vm.client, { id, rootPath: ROOT, args: ["/bin/sh", "-c", script] });
  const look = async (id: string, script: string): Promise<string> => (await execIn(vm.client, id, `look${n++}`, ["/bin/sh", "-c", script])).stdout;

  it("hold the limits of the spec, and new ones", async () => {
    const id = await create(["/bin/sleep", "1000"], { memory: { limit: 64 * MIB, swap: 64 * MIB, reservation: 8 * MIB }, cpu: { shares: 1024, quota: 50_000, period: 100_000 }, pids: { limit: 50 } });
    const files = "cd /sys/fs/cgroup; cat memory.max memory.low cpu.weight cpu.max pids.max";
    expect(await look(id, files)).toBe(`${64 * MIB}\n${8 * MIB}\n100\n50000 100000\n50\n`);
    await vm.client.updateContainer({ containerId: id, resources: { memory: { limit: 32 * MIB }, cpu: { quota: 25_000, period: 50_000 }, pids: { limit: 40 } } } as never);
    expect(await look(id, files)).toBe(`${32 * MIB}\n${8 * MIB}\n100\n25000 50000\n40\n`);
    const { cgroupStats: stats } = (await vm.client.statsContainer({ containerId: id })) as unknown as { cgroupStats: { pidsStats: object; memoryStats: { usage: { limit: number } }; cpuStats: { cpuUsage: { totalUsage: number } } } };
    expect(stats.pidsStats).toMatchObject({ current: 1, limit: 40 });
    expect(Number(stats.memoryStats.usage.limit)).toBe(32 * MIB);
    expect(Number(stats.cpuStats.cpuUsage.totalUsage)).toBeGreaterThan(100_000);
    await remove(id);
  });

  it("go with what a container has made in its own: limits of zero, frozen, deep", async () => {
    const id = `v2n${n++}`;
    const script = `cd /sys/fs/cgroup; mkdir own; for p in $(cat cgroup.procs); do echo $p > own/cgroup.procs; done; echo "+memory +pids" > cgroup.subtree_control
      mkdir own/in; i=0; while [ $i -lt 60 ]; do mkdir -p deep; cd deep; i=$((i+1)); done; cd /sys/fs/cgroup
      sleep 1000 & echo $! > own/in/cgroup.procs; echo 1 > own/in/cgroup.freeze; echo 0 > cgroup.max.depth; echo 0 > cgroup.max.descendants; echo 0 > own/pids.max; echo ready; echo 0 > own/memory.high; while :; do :; done`;
    const request = containerRequest({ id, rootPath: ROOT, args: ["/bin/sh", "-c", script] }) as { oci: { mounts: { type: string; options: string[] }[] } };
    request.oci.mounts = request.oci.mounts.map((m) => (m.type === "cgroup" ? { ...m, options: m.options.filter((o) => o !== "ro") } : m));
    await vm.client.createContainer(request as never);
    await vm.client.startContainer({ containerId: id });
    expect(Buffer.from((await vm.client.readStdout({ containerId: id, execId: id, len: 10 })).data).toString()).toBe("ready\n");
    await vm.client.statsContainer({ containerId: id });
    await remove(id);
    expect((await run(`${id}after`, "busybox stat -c %F:%t:%T /proc/keys; busybox chmod 0 /proc/keys; ls -A /sys/firmware")).stdout).toBe("character special file:1:3\n");
  });

  it("limit the number of processes", async () => {
    const id = await create(["/bin/sleep", "1000"], { pids: { limit: 3 } });
    const { stderr } = await execIn(vm.client, id, "fork", ["/bin/sh", "-c", "sleep 5 & sleep 5 & sleep 5 & wait"]);
    expect(stderr).toContain("Resource temporarily unavailable");
    await remove(id);
  });

  it("let only devices be opened that a rule names", async () => {
    const request = structuredClone(containerRequest({ id: "devices", rootPath: ROOT, args: ["/bin/sh", "-c", "cd /tmp; mknod zero c 1 5; mknod mem c 1 1; mknod ram b 1 0; head -c1 zero | wc -c; for d in mem ram; do head -c1 $d; done"] }));
    await vm.client.createContainer(request as never);
    await vm.client.startContainer({ containerId: "devices" });
    const { stdout, stderr } = await finish(vm.client, { containerId: "devices", execId: "devices" });
    expect(stdout).toBe("1\n");
    expect(stderr.match(/Operation not permitted/g)).toHaveLength(2);
    await remove("devices");
  });

  it("freeze and thaw, and end what is frozen", async () => {
    const id = await create(["/bin/sh", "-c", "while read x; do echo got $x; done"]);
    const name = { containerId: id, execId: id };
    await vm.client.pauseContainer({ containerId: id });
    await vm.client.writeStdin({ ...name, data: Buffer.from("it\n") });
    let got = false;
    const reading = vm.client.readStdout({ ...name, len: 100 }).then((r) => ((got = true), Buffer.from(r.data).toString()));
    await vm.client.check({});
    expect(got).toBe(false);
    await vm.client.resumeContainer({ containerId: id });
    expect(await reading).toBe("got it\n");
    await vm.client.pauseContainer({ containerId: id });
    await remove(id);
  });

  it("tell each lack of memory, not only the first", async () => {
    const id = await create(["/bin/sleep", "1000"], { memory: { limit: 16 * MIB } });
    for (let i = 0; i < 3; i++) {
      const event = vm.client.getOOMEvent({});
      const { status } = await execIn(vm.client, id, `greedy${i}`, ["/bin/tail", "/dev/zero"]);
      expect(status).toBe(137);
      expect((await event).containerId).toBe(id);
    }
    await remove(id);
  });

  it("take new device rules in place of the old ones", async () => {
    const fuse = { allow: true, type: "c", major: 10, minor: 229, access: "r" };
    const id = await create(["/bin/sh", "-c", "mknod /tmp/fuse c 10 229; sleep 1000"], { devices: [fuse] });
    const script = "until [ -e /tmp/fuse ]; do :; done; true < /tmp/fuse && echo open";
    expect(await look(id, script)).toBe("open\n");
    await vm.client.updateContainer({ containerId: id, resources: { devices: [{ allow: false, type: "a", access: "rwm" }] } } as never);
    expect(await look(id, script)).toBe("");
    await vm.client.updateContainer({ containerId: id, resources: { devices: [fuse] } } as never);
    expect(await look(id, script)).toBe("open\n");
    await remove(id);
  });

  it("are gone with their containers", async () => {
    const { stdout } = await runContainer(vm.client, { id: "look", rootPath: ROOT, args: ["/bin/sh", "-c", "cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c ."] });
    expect(stdout).toMatch(/^0::\/katactl\/look\n/);
  });

  describe("of the command line", () => {
    const GROUPS = "/sys/fs/cgroup";
    const CAPS = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_ADMIN NET_BIND_SERVICE SYS_CHROOT SYS_ADMIN SYS_PTRACE SYS_RESOURCE MKNOD SETFCAP BPF PERFMON".split(" ").map((c) => `CAP_${c}`);
    let before: string;
    beforeAll(async () => {
      copyFileSync(BINARY, join(share, "rootfs/bin/kata-agent"));
      chmodSync(join(share, "rootfs/bin/kata-agent"), 0o755);
      fillRootfs(join(share, "rootfs/plain"));
      const request = structuredClone(containerRequest({ id: "lab", rootPath: ROOT, args: ["/bin/sleep", "100000"] })) as { oci: { process: Record<string, unknown>; mounts: { destination: string }[]; linux: Record<string, unknown> } };
      const { oci: spec } = request;
      spec.process["capabilities"] = { bounding: CAPS, effective: CAPS, permitted: CAPS };
      spec.mounts = [...spec.mounts.filter((m) => m.destination !== GROUPS), { destination: GROUPS, type: "bind", source: GROUPS, options: ["rbind", "rw"] } as never, { destination: "/lab", type: "tmpfs", source: "tmpfs", options: [] } as never];
      Object.assign(spec.linux, { maskedPaths: [], readonlyPaths: [], resources: { devices: [{ allow: true, type: "a", access: "rwm" }] } });
      await vm.client.createContainer(request as never);
      await vm.client.startContainer({ containerId: "lab" });
      // An emulated processor is not told of what the share's daemon writes into the guest's memory, and may run what was translated
      // from the page before: programs that come and go under memory limits run from the guest's own memory.
      expect(await execIn(vm.client, "lab", "fill", ["/bin/busybox", "cp", "-a", "/plain", "/bin/kata-agent", "/lab/"])).toMatchObject({ status: 0 });
      before = await tree();
    });
    afterAll(() => vm?.client.removeContainer({ containerId: "lab" }));
    const inLab = async (script: string): Promise<Ended> => await execIn(vm.client, "lab", `in${n++}`, ["/lab/plain/bin/sh", "-c", script]);
    const tree = async (): Promise<string> => (await inLab(`find ${GROUPS} -type d`)).stdout;
    const oci = async (...args: string[]): Promise<Ended> => await execIn(vm.client, "lab", `oci${n++}`, ["/lab/kata-agent", "oci", "--root", "/run/oci", ...args]);
    /** A bundle with a group at a path; its name. */
    const bundle = (script: string, path: string, resources: object, change: (c: Config) => void = () => undefined): string => {
      const id = `cli${n++}`;
      const dir = join(share, "rootfs", id);
      mkdirSync(dir);
      const config = plainConfig(script);
      config.root["path"] = "/lab/plain";
      Object.assign(config.linux, { cgroupsPath: path, resources });
      config.linux.namespaces.push({ type: "cgroup" });
      config.mounts.push({ destination: GROUPS, type: "cgroup", source: "cgroup", options: ["ro"] });
      change(config);
      writeFileSync(join(dir, "config.json"), JSON.stringify(config));
      return id;
    };
    /** `run` of a script with a group at a path; its streams and status. */
    const run = async (script: string, path: string, resources: object, change?: (c: Config) => void): Promise<Ended> => {
      const id = bundle(script, path, resources, change);
      return await oci("run", "--bundle", `/${id}`, id);
    };

    it("hold everything that the configuration asks for, unified files last", async () => {
      const files = "memory.max memory.swap.max memory.low memory.high cpu.weight cpu.max cpu.max.burst cpuset.cpus cpuset.mems pids.max hugetlb.2MB.max hugetlb.2MB.rsvd.max cgroup.max.depth";
      const ended = await run(`cd ${GROUPS}; cat ${files}; grep ^0: /proc/self/cgroup`, "/outer/box", {
        memory: { limit: 64 * MIB, swap: 96 * MIB, reservation: 16 * MIB }, cpu: { shares: 2048, quota: 30_000, period: 60_000, burst: 10_000, cpus: "0-1", mems: "0" }, pids: { limit: 40 },
        hugepageLimits: [{ pageSize: "2MB", limit: 4 * MIB }], unified: { "memory.high": String(48 * MIB), "pids.max": "41", "cgroup.max.depth": "3" },
      });
      expect(ended).toEqual({ status: 0, stderr: "", stdout: `${64 * MIB}\n${32 * MIB}\n${16 * MIB}\n${48 * MIB}\n174\n30000 60000\n10000\n0-1\n0\n41\n${4 * MIB}\n${4 * MIB}\n3\n0::/\n` });
      expect(await tree()).toBe(before);
    });

    it("have every controller of the machine, whether it is asked for or not", async () => {
      const { stdout } = await inLab(`cat ${GROUPS}/cgroup.controllers`);
      expect(stdout).toMatch(/cpuset cpu io memory .*pids/);
      expect(await run(`cat ${GROUPS}/cgroup.controllers`, "/outer/whole", {})).toEqual({ status: 0, stdout, stderr: "" });
    });

    it("are mounted with the container's own as the root, with and without a namespace of their own", async () => {
      const script = `cat ${GROUPS}/pids.max; [ -e ${GROUPS}/outer ] || echo alone; while read -r a b c part at options rest; do [ $at = ${GROUPS} ] && echo $part $options; done < /proc/self/mountinfo; mkdir ${GROUPS}/x`;
      const without = (c: Config): void => void (c.linux.namespaces = c.linux.namespaces.filter((ns) => ns["type"] !== "cgroup"));
      const mapped = (c: Config): void => {
        c.linux.namespaces.push({ type: "user" });
        c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 100000, size: 65536 }];
      };
      const writable = (c: Config): void => void (c.mounts.find((m) => m["type"] === "cgroup") as { options: string[] }).options.splice(0, 1, "nosuid", "rw");
      const seen = async (change?: (c: Config) => void): Promise<Ended> => await run(script, "/outer/shown", { pids: { limit: 77 } }, change);
      expect(await seen()).toMatchObject({ stdout: "77\nalone\n/ ro,relatime\n", stderr: expect.stringContaining("Read-only file system") as string });
      expect(await seen(without)).toMatchObject({ stdout: expect.stringMatching(/^77\nalone\n\S*\/outer\/shown ro,nosuid,nodev,noexec,relatime\n$/) as string, stderr: expect.stringContaining("Read-only file system") as string });
      expect(await seen(mapped)).toMatchObject({ stdout: "77\nalone\n/ ro,relatime\n", stderr: expect.stringContaining("Read-only file system") as string });
      expect(await seen((c) => (mapped(c), without(c)))).toMatchObject({ stdout: expect.stringMatching(/^77\nalone\n\S*\/outer\/shown ro,nosuid,nodev,noexec,relatime\n$/) as string });
      expect(await seen(writable)).toMatchObject({ status: 0, stdout: "77\nalone\n/ rw,nosuid,relatime\n", stderr: "" });
    });

    it("are changed by another process, but not below what is in use when that is not wanted", async () => {
      const id = bundle("sleep 1000", "/other", { memory: { limit: 64 * MIB, swap: 64 * MIB } });
      expect(await inLab(`/lab/kata-agent oci --root /run/oci run --detach --bundle /${id} ${id} > /dev/null 2>&1 < /dev/null`)).toMatchObject({ status: 0 });
      const update = async (resources: object): Promise<Ended> => await inLab(`echo '${JSON.stringify(resources)}' | /lab/kata-agent oci --root /run/oci update -r - ${id}`);
      expect((await update({ memory: { limit: 1024, checkBeforeUpdate: true } })).stderr).toContain("rejecting memory limit 1024");
      expect((await update({ memory: { limit: 1024, swap: 2048, checkBeforeUpdate: true } })).stderr).toContain("rejecting memory+swap limit 2048");
      expect((await update({ cpu: { realtimeRuntime: 5 } })).stderr).toContain("linux.resources.cpu.realtimeRuntime: cgroup version 2 has nothing like it");
      expect(await update({ memory: { limit: 32 * MIB, checkBeforeUpdate: true }, pids: { limit: 9 }, unified: { "memory.high": String(16 * MIB) } })).toMatchObject({ status: 0, stderr: "" });
      expect((await inLab(`cd ${GROUPS}/other; cat memory.max memory.high pids.max`)).stdout).toBe(`${32 * MIB}\n${16 * MIB}\n9\n`);
      const { data } = JSON.parse((await oci("events", "--stats", id)).stdout) as { data: { cpu: { usage: { total: number } }; memory: { usage: { limit: number; usage: number } }; pids: object } };
      expect(data).toMatchObject({ memory: { usage: { limit: 32 * MIB } }, pids: { current: 1, limit: 9 } });
      expect(data.cpu.usage.total).toBeGreaterThan(100_000);
      expect(data.memory.usage.usage).toBeGreaterThan(4096);
      expect(await oci("delete", "--force", id)).toMatchObject({ status: 0 });
      expect(await tree()).toBe(before);
    });

    it("may be idle", async () => {
      expect(await run(`cat ${GROUPS}/cpu.idle`, "/idle", { cpu: { idle: 1, shares: 1024 } })).toEqual({ status: 0, stdout: "1\n", stderr: "" });
    });

    const REFUSED: readonly (readonly [what: string, resources: object, message: string, unless?: string])[] = [
      ["a size of pages that the kernel has not", { hugepageLimits: [{ pageSize: "3MB", limit: 1 }] }, "linux.resources.hugepageLimits: the kernel has no hugetlb.3MB.max here"],
      ["a weight that no scheduler takes", { blockIO: { weight: 100 } }, "linux.resources.blockIO: the kernel has no io.weight here", "BLK_CGROUP_IOCOST"],
      ["a device that is not there", { blockIO: { throttleReadBpsDevice: [{ major: 250, minor: 99, rate: 5 }] } }, "linux.resources.blockIO: set io.max to 250:99 rbps=5"],
      ["a file that its controller has not", { unified: { "memory.whaat": "1" } }, 'linux.resources.unified["memory.whaat"]: the kernel has no memory.whaat here'],
      ["a value that the kernel refuses", { unified: { "memory.max": "lots" } }, 'linux.resources.unified["memory.max"]: set memory.max to lots'],
      ["processors that are not there", { cpu: { cpus: "x" } }, "linux.resources.cpu: set cpuset.cpus to x"],
      ["network cards that are not there", { rdma: { card: { hcaHandles: 1 } } }, "linux.resources.rdma: the requested cgroup controller `rdma` is not available", "CGROUP_RDMA"],
      ["swap without memory", { memory: { swap: 5 } }, "linux.resources.memory.swap"],
    ];
    for (const [what, resources, message, unless] of REFUSED) {
      having(...(unless === undefined ? [] : [kernelWithout(unless)]))(`are refused with ${what}`, async () => {
        const { status, stderr } = await run("true", "/bad", resources);
        expect(readable(stderr)).toContain(message);
        expect(status).toBe(1);
        expect(await tree()).toBe(before);
      });
    }

    it("cannot have limits below a group with processes or with threads, and say so", async () => {
      const wish = { memory: { limit: 64 * MIB } };
      expect((await run("true", "/katactl/lab/box", wish)).stderr).toContain(`linux.resources.memory: cgroup ${GROUPS}/katactl/lab has processes of its own`);
      expect(await run("echo here", "/katactl/lab/box", {})).toEqual({ status: 0, stdout: "here\n", stderr: "" });
      expect((await inLab(`cat ${GROUPS}/katactl/lab/cgroup.type`)).stdout).toBe("domain\n"); // nothing was done to it
      await inLab(`mkdir -p ${GROUPS}/knots/threads; echo threaded > ${GROUPS}/knots/threads/cgroup.type`);
      expect((await run("true", "/knots/box", wish)).stderr).toContain(`linux.resources.memory: enable memory in ${GROUPS}/knots`);
      expect(await run(`cat ${GROUPS}/cgroup.type ${GROUPS}/pids.max`, "/knots/box", { pids: { limit: 7 } })).toEqual({ status: 0, stdout: "threaded\n7\n", stderr: "" });
      await inLab(`rmdir ${GROUPS}/knots/threads ${GROUPS}/knots`);
      expect(await tree()).toBe(before);
    });

    it("give only the devices that are named, whatever the list begins with", async () => {
      const { stdout, stderr } = await run("mknod /tmp/mem c 1 1; head -c1 /tmp/mem; mknod /tmp/z c 1 5; head -c1 /tmp/z | wc -c", "/devices", { devices: [{ allow: false, type: "b", major: 8, minor: 0, access: "rwm" }] }, (c) => {
        const caps = ["CAP_MKNOD", "CAP_DAC_OVERRIDE"];
        c.process["capabilities"] = { bounding: caps, effective: caps, permitted: caps };
        c.mounts.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["dev"] });
      });
      expect(stdout).toBe("1\n");
      expect(stderr).toContain("Operation not permitted");
    });
  });
});
