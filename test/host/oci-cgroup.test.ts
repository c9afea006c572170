// Control groups of the command line on version 1: what a configuration asks for stands in the files, what cannot be had is refused by
// its field's name, and every command is a process of its own that finds the group again.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { gone, groupsIn, occupant, TOP } from "../helpers/machine-groups.js";
import { Bundles, type Config } from "../helpers/oci-bundle.js";
import { skip, suite } from "../helpers/suite.js";

const MIB = 1 << 20;
const groups = (): string[] => groupsIn("/sys/fs/cgroup");

suite("cgroups of version 1 of a bundle", { needs: ["agent", "cgroup v1"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => {
    box?.stop();
    expect(groups()).toEqual([]);
  });
  const file = (controller: string, path: string, name: string): string => readFileSync(`/sys/fs/cgroup/${controller}${path}/${name}`, "utf8").trim();
  const within = (path: string, resources: object) => (c: Config): void => {
    c.linux["cgroupsPath"] = path;
    c.linux["resources"] = resources;
  };

  it("hold everything that the configuration asks for", () => {
    const path = `${TOP}/whole`;
    const disk = readdirSync("/sys/block").map((name) => readFileSync(`/sys/block/${name}/dev`, "utf8").trim().split(":").map(Number))[0] ?? [0, 0];
    const [major, minor] = disk;
    const id = box.sleeper(within(path, {
      memory: { limit: 64 * MIB, swap: 96 * MIB, reservation: 32 * MIB, kernel: 40 * MIB, kernelTCP: 16 * MIB, swappiness: 7, disableOOMKiller: true, useHierarchy: true },
      cpu: { shares: 512, quota: 40_000, period: 50_000, burst: 20_000, cpus: "0", mems: "0" }, pids: { limit: 33 },
      blockIO: { weight: 300, throttleReadBpsDevice: [{ major, minor, rate: 1000 }], throttleWriteIOPSDevice: [{ major, minor, rate: 20 }] },
    }));
    const read = (controller: string, ...names: string[]): string[] => names.map((name) => file(controller, path, `${controller}.${name}`));
    expect(read("memory", "limit_in_bytes", "memsw.limit_in_bytes", "soft_limit_in_bytes", "kmem.tcp.limit_in_bytes", "swappiness")).toEqual([64, 96, 32, 16].map((n) => String(n * MIB)).concat("7"));
    expect(file("memory", path, "memory.oom_control")).toContain("oom_kill_disable 1");
    expect(read("cpu", "shares", "cfs_quota_us", "cfs_period_us", "cfs_burst_us")).toEqual(["512", "40000", "50000", "20000"]);
    expect(read("cpuset", "cpus", "mems")).toEqual(["0", "0"]);
    expect(file("pids", path, "pids.max")).toBe("33");
    expect(read("blkio", existsSync(`/sys/fs/cgroup/blkio${path}/blkio.bfq.weight`) ? "bfq.weight" : "weight", "throttle.read_bps_device", "throttle.write_iops_device")).toEqual(["300", `${major}:${minor} 1000`, `${major}:${minor} 20`]);
    expect(box.command(["delete", "--force", id]).status).toBe(0);
    expect(groups()).toEqual([]); // the parent was made for it
  });

  it("give only the devices that are named, whatever the list begins with", () => {
    const id = box.sleeper(within(`${TOP}/devices`, { devices: [{ allow: true, type: "b", major: 8, minor: 0, access: "r" }, { allow: true, type: "c", major: 10, minor: -1, access: "rw" }, { allow: true, type: "c", major: 4, access: "r" }] }));
    const list = file("devices", `${TOP}/devices`, "devices.list").split("\n");
    expect(list).not.toContain("a *:* rwm");
    expect(list).toEqual(expect.arrayContaining(["b 8:0 r", "c 10:* rw", "c 4:* r", "c 1:3 rwm", "c *:* m"]));
    const other = box.run("mknod /tmp/mem c 1 1; head -c1 /tmp/mem; mknod /tmp/z c 1 5; head -c1 /tmp/z | wc -c", (c) => {
      c.linux["resources"] = { devices: [{ allow: false, type: "b", major: 8, minor: 0, access: "rwm" }] };
      const caps = ["CAP_MKNOD", "CAP_DAC_OVERRIDE"];
      c.process["capabilities"] = { bounding: caps, effective: caps, permitted: caps };
    });
    expect(other).toMatchObject({ stdout: "1\n", stderr: expect.stringContaining("Operation not permitted") });
    expect(box.command(["delete", "--force", id]).status).toBe(0);
  });

  it.each([
    ["unified", { unified: { "memory.high": "1" } }, "linux.resources.unified: invalid configuration: needs cgroup version 2"],
    ["shares that the kernel would change", { cpu: { shares: 1 } }, "linux.resources.cpu.shares: 1 is not between 2 and 262144"],
    ["a swappiness", { memory: { swappiness: 101 } }, "linux.resources.memory.swappiness: 101"],
    ["a memory limit above its sum with swap", { memory: { limit: 64 * MIB, swap: MIB } }, "linux.resources.memory.swap"],
    ["a burst above the quota", { cpu: { quota: 10_000, period: 10_000, burst: 20_000 } }, "linux.resources.cpu: set cpu.cfs_burst_us to 20000"],
    ["processors that are not there", { cpu: { cpus: "4000" } }, "linux.resources.cpu: set cpuset.cpus to 4000"],
    ["a controller that is not mounted", { rdma: { mlx5: { hcaHandles: 1 } } }, "linux.resources.rdma: the rdma controller is not mounted"],
    ["leaf weights, which are gone", { blockIO: { leafWeight: 500 } }, "linux.resources.blockIO: the kernel has no blkio"],
    ["a hole in a rule for many devices", { devices: [{ allow: true, type: "b", major: 8, access: "rw" }, { allow: false, type: "b", major: 8, minor: 1, access: "w" }] }, "linux.resources.devices: cgroup version 1 cannot take b 8:1 out of b 8:*"],
    ["an unknown size of pages", { hugepageLimits: [{ pageSize: "2mb", limit: 1 }] }, "linux.resources.hugepageLimits[0].pageSize"],
  ])("are refused with %s, and nothing stays", (_, resources, message) => {
    const { status, stderr } = box.run("true", within(`${TOP}/bad`, resources));
    expect(stderr).toContain(message);
    expect(status).toBe(1);
    expect(groups()).toEqual([]);
  });

  it("lie below the caller's own when the path is relative", () => {
    const base = `${TOP}-caller`;
    for (const controller of ["memory", "pids"]) mkdirSync(`/sys/fs/cgroup/${controller}${base}`);
    const join = ["sh", "-c", `for c in memory pids; do echo $$ > /sys/fs/cgroup/$c${base}/cgroup.procs; done; exec "$@"`, "sh"];
    const id = box.sleeper(within("some/where", { pids: { limit: 9 } }), join);
    expect(file("pids", `${base}/some/where`, "pids.max")).toBe("9");
    expect(file("memory", `${base}/some/where`, "cgroup.procs")).toMatch(/^\d+$/);
    expect(existsSync("/sys/fs/cgroup/freezer/some/where")).toBe(true);
    expect(box.command(["pause", id]).status).toBe(0); // another process, from another place
    expect(JSON.parse(box.command(["state", id]).stdout)).toMatchObject({ status: "paused" });
    expect(box.command(["delete", "--force", id]).status).toBe(0);
    expect(existsSync("/sys/fs/cgroup/freezer/some")).toBe(false);
    for (const controller of ["memory", "pids"]) rmdirSync(`/sys/fs/cgroup/${controller}${base}`); // empty again
  });

  /** Words before a command: it and what it starts see the cgroup hierarchies as this script leaves them. */
  const elsewhere = (script: string): string[] => ["unshare", "--mount", "--propagation", "private", "sh", "-ec", `${script}; exec "$@"`, "sh"];

  it("are in every hierarchy that is mounted, those with a name only among them, and gone from all", () => {
    const path = `${TOP}/every`;
    const name = `kata-test-${process.pid}`;
    const named = elsewhere(`mkdir /sys/fs/cgroup/${name}; trap 'umount /sys/fs/cgroup/${name}; rmdir /sys/fs/cgroup/${name}' EXIT; mount -t cgroup -o none,name=${name} ${name} /sys/fs/cgroup/${name}`).map((word) => word.replace("; exec ", "; "));
    const { status, stdout } = box.run("cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/systemd/tasks | head -1; stat -c %a /sys/fs/cgroup", (c) => {
      c.linux["cgroupsPath"] = path;
      c.linux.namespaces.push({ type: "cgroup" });
      c.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev"] });
    }, named);
    const lines = stdout.trim().split("\n");
    const own = lines.filter((line) => /^\d+:.+:/.test(line)).map((line) => line.split(":"));
    expect(own.map(([, controllers]) => controllers)).toEqual(expect.arrayContaining(["cpu", "cpuset", "blkio", "memory", "name=systemd", `name=${name}`]));
    expect(own.map(([, , at]) => at)).toEqual(own.map(() => "/")); // its own group is the root of its namespace
    expect(lines).toEqual(expect.arrayContaining(["systemd", name, "cpuset"]));
    expect([status, lines.at(-2), lines.at(-1)]).toEqual([0, "1", "555"]);
    expect(groups()).toEqual([]);
  });

  it("have their parents' processors where nothing is said, and their weights against others", () => {
    const id = box.sleeper(within(`${TOP}/a/b`, { cpu: { shares: 300 } }));
    expect(file("cpuset", `${TOP}/a/b`, "cpuset.cpus")).toBe(file("cpuset", "", "cpuset.cpus"));
    expect(file("cpuset", `${TOP}/a`, "cpuset.mems")).toBe(file("cpuset", "", "cpuset.mems"));
    mkdirSync(`/sys/fs/cgroup/systemd${TOP}/a/b/inner`);
    expect(box.command(["exec", "--cgroup", "name=systemd:inner", id, "/bin/grep", "systemd", "/proc/self/cgroup"]).stdout).toContain(`${TOP}/a/b/inner`);
    mkdirSync(`/sys/fs/cgroup/cpu${TOP}/a/b/weak`);
    expect(box.command(["exec", "--cgroup", "cpu:weak", id, "/bin/grep", ":cpu:\\|:blkio:", "/proc/self/cgroup"]).stdout).toMatch(/:blkio:.*\/b\n[^]*:cpu:.*\/weak\n/);
    expect(box.command(["delete", "--force", id]).status).toBe(0);
    expect(groups()).toEqual([]);
  });

  it("leave out a hierarchy that cannot be written to, unless a limit or the engine needs it", () => {
    const closed = (controller: string): string[] => elsewhere(`mount --bind /sys/fs/cgroup/${controller} /sys/fs/cgroup/${controller}; mount -o remount,bind,ro /sys/fs/cgroup/${controller}`);
    const answer = (controller: string, resources: object): { status: number | null; stderr: string } => box.run("true", within(`${TOP}/closed`, resources), closed(controller));
    expect(answer("blkio", {})).toMatchObject({ status: 0, stderr: "" });
    expect(answer("blkio", { blockIO: { weight: 200 } }).stderr).toContain("Read-only file system");
    expect(answer("pids", {}).stderr).toContain("Read-only file system");
    expect(groups()).toEqual([]);
  });

  it("are refused with a path that leads upwards", () => {
    expect(box.run("true", within("/a/../../b", {})).stderr).toContain("linux.cgroupsPath");
  });

  it("are not shared with others, and not taken while they are frozen", async () => {
    const dir = `/sys/fs/cgroup/freezer${TOP}`;
    mkdirSync(`${dir}/below`, { recursive: true });
    const other = occupant(`${dir}/below/cgroup.procs`);
    expect(box.run("true", within(TOP, {})).stderr).toContain("container's cgroup is not empty");
    await gone(other);
    rmdirSync(`${dir}/below`);
    writeFileSync(`${dir}/freezer.state`, "FROZEN");
    const answers = [TOP, `${TOP}/below`].map((path) => box.run("true", within(path, {})).stderr);
    writeFileSync(`${dir}/freezer.state`, "THAWED");
    for (const answer of answers) expect(answer).toContain("container's cgroup unexpectedly frozen");
    expect(groups()).toEqual([dir]);
    rmdirSync(dir);
  });

  it("are left by all processes, frozen or not, when they are killed or deleted", () => {
    const id = box.sleeper((c) => (c.linux["cgroupsPath"] = `${TOP}/all`));
    expect(box.quiet(["exec", "--detach", id, "/bin/setsid", "/bin/sleep", "1000"]).status).toBe(0);
    expect(file("pids", `${TOP}/all`, "cgroup.procs").split("\n")).toHaveLength(2);
    expect(box.command(["pause", id]).status).toBe(0);
    expect(file("freezer", `${TOP}/all`, "freezer.state")).toBe("FROZEN");
    expect(box.command(["kill", "--all", id, "KILL"]).status).toBe(0);
    expect(box.command(["delete", "--force", id]).status).toBe(0);
    expect(groups()).toEqual([]);
  });

  it("let a further process join a group below them, and say which is not there", () => {
    const id = box.sleeper((c) => (c.linux["cgroupsPath"] = `${TOP}/sub`));
    mkdirSync(`/sys/fs/cgroup/pids${TOP}/sub/inner`);
    const inside = (...cgroup: string[]): { status: number | null; stdout: string; stderr: string } => box.command(["exec", ...cgroup, id, "/bin/grep", ":pids:\\|:memory:", "/proc/self/cgroup"]);
    expect(inside("--cgroup", "pids:inner").stdout).toMatch(new RegExp(`pids:${TOP}/sub/inner\n[^]*memory:${TOP}/sub\n|memory:${TOP}/sub\n[^]*pids:${TOP}/sub/inner\n`));
    expect(inside("--cgroup", "/").stdout).not.toContain("inner");
    expect(inside("--cgroup", "inner")).toMatchObject({ status: 255, stderr: expect.stringMatching(/ adding pid .*\/inner\/cgroup.procs: no such file /) });
    expect(inside("--cgroup", "whaat:/").stderr).toContain("unknown controller whaat");
    expect(inside("--cgroup", "pids:../..").stderr).toContain("--cgroup");
    expect(box.command(["delete", "--force", id]).status).toBe(0);
    expect(groups()).toEqual([]);
  });

  it("carry network classes and priorities where those controllers are mounted", (context) => {
    const mounts = "mkdir -p /sys/fs/cgroup/net && mount -t cgroup -o net_cls,net_prio none /sys/fs/cgroup/net";
    const private1 = ["unshare", "-m", "sh", "-c", `umount -R /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup && ${mounts} && exec "$@"`, "sh"];
    const possible = spawnSync("unshare", ["-m", "sh", "-c", `umount -R /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup && ${mounts}`], { encoding: "utf8" });
    if (possible.status !== 0) skip(context, `no net_cls on version 1: ${possible.stderr}`);
    const look = `mkdir /tmp/c; cat /sys/fs/cgroup/net/net_cls.classid; grep lo /sys/fs/cgroup/net/net_prio.ifpriomap`;
    const { stdout, stderr } = box.run(look, (c) => {
      c.linux["resources"] = { network: { classID: 0x100001, priorities: [{ name: "lo", priority: 3 }] } };
      c.linux["cgroupsPath"] = `${TOP}/net`;
      c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] !== "network");
      c.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] });
    }, private1);
    expect({ stdout, stderr }).toEqual({ stdout: "1048577\nlo 3\n", stderr: "" });
  });
});
