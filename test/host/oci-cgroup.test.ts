// Control groups of the command line on version 1, and on a machine that has version 2 only (here with few controllers; all of
// them are tested in the VM): what a configuration asks for stands in the files, what cannot be had is refused by its field's
// name, and every command is a process of its own that finds the group again.
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { Bundles, type Config } from "../helpers/oci-bundle.js";
import { skip, suite, when } from "../helpers/suite.js";

const MIB = 1 << 20;
const TOP = `/kata-test-${process.pid}`;
/** Ours alone, by names with our number: others' come and go meanwhile, which find(1) complains about. */
const all = (...paths: string[]): string[] => spawnSync("find", [...paths, "-type", "d"], { encoding: "utf8", maxBuffer: 1 << 28 }).stdout.split("\n")
  .filter((dir) => dir.includes(TOP) || dir.includes(`/oci${process.pid}n`));
const groups = (): string[] => all("/sys/fs/cgroup");
/** Something that lives in a group of the machine. */
function occupant(...files: string[]): ChildProcess {
  const child = spawn("sleep", ["1000"], { stdio: "ignore" });
  for (const file of files) writeFileSync(file, String(child.pid));
  return child;
}
async function gone(child: ChildProcess): Promise<void> {
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await ended;
}

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

/** Only version 2, in a mount namespace of the command's own; the groups are the machine's, so another mount shows them. */
const ONLY_V2 = ["unshare", "-m", "sh", "-c", "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"", "sh"];
const UNIFIED = existsSync("/sys/fs/cgroup/unified/cgroup.controllers") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
const unified = existsSync(`${UNIFIED}/cgroup.controllers`);

suite("cgroups of version 2 of a bundle", { needs: ["agent", when(unified, "needs cgroup version 2 in /sys/fs/cgroup/unified")] }, () => {
  let box: Bundles;
  const dir = `${UNIFIED}${TOP}`;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => {
    for (const id of made) box.quiet(["delete", "--force", id], ONLY_V2);
    box?.stop();
    expect(all(UNIFIED)).toEqual([]);
  });
  const made: string[] = [];
  const at = (path: string, resources?: object) => (c: Config): void => {
    c.linux["cgroupsPath"] = path;
    if (resources !== undefined) c.linux["resources"] = resources;
  };
  const sleeper = (change: (c: Config) => void): string => {
    const id = box.sleeper(change, ONLY_V2);
    made.push(id);
    return id;
  };
  const remove = (id: string): void => expect(box.command(["delete", "--force", id], ONLY_V2)).toMatchObject({ status: 0, stderr: "" });

  it.each([
    ["kernel memory", { memory: { kernel: MIB } }, "linux.resources.memory.kernel"],
    ["swappiness", { memory: { swappiness: 0 } }, "linux.resources.memory.swappiness"],
    ["no killing", { memory: { disableOOMKiller: true } }, "linux.resources.memory.disableOOMKiller"],
    ["no hierarchy", { memory: { useHierarchy: false } }, "linux.resources.memory.useHierarchy"],
    ["real time", { cpu: { realtimeRuntime: 1 } }, "linux.resources.cpu.realtimeRuntime"],
    ["leaf weights", { blockIO: { weightDevice: [{ major: 8, minor: 0, leafWeight: 10 }] } }, "linux.resources.blockIO.weightDevice[0].leafWeight"],
    ["network classes", { network: { classID: 1 } }, "linux.resources.network.classID"],
    ["network priorities", { network: { priorities: [{ name: "lo", priority: 1 }] } }, "linux.resources.network.priorities"],
    ["a controller that no kernel has", { unified: { "whaat.max": "1" } }, 'linux.resources.unified["whaat.max"]: the requested cgroup controller `whaat` is not available'],
    ["a path for a file", { unified: { "../x.max": "1" } }, 'linux.resources.unified["../x.max"]'],
  ])("refuse %s, which version 2 has not", (_, resources, message) => {
    const { status, stderr } = box.run("true", at(`${TOP}/bad`, resources), ONLY_V2);
    expect(stderr).toContain(message);
    expect(status).toBe(1);
    expect(all(UNIFIED)).toEqual([]);
  });

  it("lie beside the caller's own when the path is relative", () => {
    mkdirSync(`${dir}/caller`, { recursive: true });
    const [unshare = "", ...rest] = ONLY_V2;
    const id = box.sleeper(at("rel/box"), ["sh", "-c", `echo $$ > ${dir}/caller/cgroup.procs; exec "$@"`, "sh", unshare, ...rest]);
    made.push(id);
    expect(readFileSync(`${dir}/rel/box/cgroup.procs`, "utf8")).toMatch(/^\d+\n$/);
    remove(id);
    expect(readdirSync(dir, { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name)).toEqual(["caller"]);
    rmdirSync(`${dir}/caller`);
    rmdirSync(dir);
  });

  it("freeze, thaw and tell it, and are not taken while they are frozen", () => {
    const id = sleeper(at(`${TOP}/ice`));
    const state = (): unknown => (JSON.parse(box.command(["state", id], ONLY_V2).stdout) as { status: unknown }).status;
    expect(box.command(["pause", id], ONLY_V2).status).toBe(0);
    expect([state(), readFileSync(`${dir}/ice/cgroup.events`, "utf8")]).toEqual(["paused", expect.stringContaining("frozen 1")]);
    expect(box.command(["resume", id], ONLY_V2).status).toBe(0);
    expect(state()).toBe("running");
    expect(box.run("true", at(`${TOP}/ice`), ONLY_V2).stderr).toContain("container's cgroup is not empty");
    remove(id);
    mkdirSync(`${dir}/ice`, { recursive: true });
    writeFileSync(`${dir}/ice/cgroup.freeze`, "1");
    const answers = ["ice", "ice/below"].map((path) => box.run("true", at(`${TOP}/${path}`), ONLY_V2).stderr);
    writeFileSync(`${dir}/ice/cgroup.freeze`, "0");
    for (const answer of answers) expect(answer).toContain("container's cgroup unexpectedly frozen");
    rmdirSync(`${dir}/ice`);
    rmdirSync(dir);
  });

  it("let a further process join a group below them, or the one that the first process has moved to", (context) => {
    const id = sleeper(at(`${TOP}/moved`));
    const whole = `${dir}/moved`;
    mkdirSync(`${whole}/inner`);
    const where = (...cgroup: string[]): { status: number | null; stdout: string; stderr: string } => box.command(["exec", ...cgroup, id, "/bin/grep", "^0:", "/proc/self/cgroup"], ONLY_V2);
    expect(where("--cgroup", "inner").stdout).toBe(`0::${TOP}/moved/inner\n`);
    expect(where("--cgroup", "/nowhere").stderr).toMatch(/ adding pid .*\/nowhere\/cgroup.procs: no such file /);
    const pid = readFileSync(`${whole}/cgroup.procs`, "utf8").trim();
    writeFileSync(`${whole}/inner/cgroup.procs`, pid);
    expect(where().stdout).toBe(`0::${TOP}/moved\n`); // it can still be entered
    const controllers = readFileSync(`${UNIFIED}/cgroup.controllers`, "utf8").trim().split(" ").filter((c) => c !== "");
    const one = controllers[0];
    if (one === undefined) return skip(context, "version 2 has no controller here");
    const was = readFileSync(`${UNIFIED}/cgroup.subtree_control`, "utf8");
    for (const parent of [UNIFIED, dir, whole]) writeFileSync(`${parent}/cgroup.subtree_control`, `+${one}`);
    expect(where().stdout).toBe(`0::${TOP}/moved/inner\n`);
    expect(where("--cgroup", "/").stderr).toMatch(/ adding pid .* to cgroups.*\/cgroup.procs: device or resource busy/);
    remove(id);
    if (!was.includes(one)) writeFileSync(`${UNIFIED}/cgroup.subtree_control`, `-${one}`);
  });

  it("cannot have limits below a group with processes, and say so", async (context) => {
    if (!readFileSync(`${UNIFIED}/cgroup.controllers`, "utf8").includes("hugetlb") || !existsSync("/sys/kernel/mm/hugepages/hugepages-2048kB")) skip(context, "version 2 has no hugetlb controller here");
    mkdirSync(dir);
    const limits = (pageSize: string) => at(`${TOP}/box`, { hugepageLimits: [{ pageSize, limit: 4 * MIB }] });
    const other = occupant(`${dir}/cgroup.procs`);
    expect(box.run("true", limits("2MB"), ONLY_V2).stderr).toContain(`linux.resources.hugepageLimits: cgroup /sys/fs/cgroup${TOP} has processes of its own`);
    await gone(other);
    const id = sleeper(limits("2MB"));
    expect(readFileSync(`${dir}/box/hugetlb.2MB.max`, "utf8").trim()).toBe(String(4 * MIB));
    remove(id);
    expect(box.run("true", limits("3MB"), ONLY_V2).stderr).toContain("linux.resources.hugepageLimits: the kernel has no hugetlb.3MB.max here");
    rmdirSync(dir);
  });

  it("are threaded below a threaded group", () => {
    mkdirSync(`${dir}/threads`, { recursive: true });
    writeFileSync(`${dir}/threads/cgroup.type`, "threaded");
    const { stdout, stderr } = box.run("grep ^0: /proc/self/cgroup", at(`${TOP}/box`), ONLY_V2);
    expect({ stdout, stderr }).toEqual({ stdout: `0::${TOP}/box\n`, stderr: "" });
    rmdirSync(`${dir}/threads`);
    rmdirSync(dir);
  });

  const owners = (id: string, path: string): string => execFileSync("stat", ["-c", "%u %n", ".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "cgroup.max.depth", "cgroup.freeze"], { cwd: `${dir}${path}`, encoding: "utf8" }).replaceAll(id, "ID");
  const mounted = (option: "rw" | "ro", uid: number) => (c: Config): void => {
    c.linux["cgroupsPath"] = `${TOP}/owned`;
    c.linux.namespaces.push({ type: "cgroup" }, { type: "user" });
    c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 100_000, size: 2000 }];
    c.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", option] });
    c.process["user"] = { uid, gid: 0 };
  };
  it("belong to the container's user when he may write to them, and then he can make groups", () => {
    chmodSync(box.folder, 0o755); // for the mapped root
    for (const uid of [0, 1000]) {
      const id = sleeper(mounted("rw", uid));
      expect(owners(id, "/owned")).toBe([`${100_000 + uid} .`, `${100_000 + uid} cgroup.procs`, `${100_000 + uid} cgroup.subtree_control`, `${100_000 + uid} cgroup.threads`, "0 cgroup.max.depth", "0 cgroup.freeze", ""].join("\n"));
      expect(box.command(["exec", id, "/bin/mkdir", "/sys/fs/cgroup/mine"], ONLY_V2)).toMatchObject({ status: 0, stderr: "" });
      remove(id);
    }
    const id = sleeper(mounted("ro", 0));
    expect(owners(id, "/owned")).toMatch(/^0 \.\n0 cgroup.procs\n/);
    remove(id);
  });
});

suite("who may make no cgroups", { needs: ["agent"] }, () => {
  const caps = "+sys_admin,+net_admin,+setuid,+setgid,+setpcap,+sys_chroot";
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", `--inh-caps=${caps}`, `--ambient-caps=${caps}`];
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
    chmodSync(box.folder, 0o777);
  });
  afterAll(() => box?.stop());
  const plain = (c: Config): void => {
    c.process["user"] = { uid: 65534, gid: 65534 };
    delete c.process["capabilities"];
    c.mounts = [];
  };

  it("goes without, but not when limits are asked for", () => {
    const change = (resources: object) => (c: Config): void => (plain(c), void (c.linux["resources"] = resources));
    const before = groups();
    expect(box.run("echo here", change({ devices: [{ allow: false, access: "rwm" }] }), nobody)).toEqual({ status: 0, stdout: "here\n", stderr: "" });
    expect(box.run("echo here", change({ pids: { limit: 5 } }), nobody).stderr).toContain("linux.resources: no limits without the right to make a cgroup");
    expect(groups()).toEqual(before);
  });

  /** Pids of processes with this word in their command line, by the machine's own /proc. */
  const named = (word: string): number[] => readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(word) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
    } catch {
      return false;
    }
  }).sort((a, b) => a - b);

  const rootless = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const mapped = (c: Config): void => {
    plain(c);
    c.process["user"] = { uid: 0, gid: 0 };
    c.linux.namespaces = [...c.linux.namespaces.filter((ns) => ns["type"] !== "network"), { type: "user" }];
    c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 65534, size: 1 }];
  };

  /** Commands in the background of a shell read from /dev/null: without mounts it is a file. */
  const asNull = (bundle: string): void => (mkdirSync(join(bundle, "rootfs/dev"), { recursive: true }), writeFileSync(join(bundle, "rootfs/dev/null"), "", { mode: 0o666 }));

  // What belongs to the container is found by its namespaces and its descent: its first process's children, those of exec, those below a further pid namespace.
  it.each<[string, readonly string[]]>([["of its own", []], ["that it shares", ["pid"]], ["that it shares, and the mount namespace too", ["pid", "mount"]]])("sees and ends all processes of a container in a pid namespace %s", async (_of, shared) => {
    const word = `${(1 + shared.length) * 10_000_000 + process.pid}`; // seconds: told from others' by it
    const id = box.id();
    const bundle = box.make(`sleep ${word} & (sleep ${word} &); trap '' TERM; exec sleep 100000`, (c) => {
      mapped(c);
      c.linux.namespaces = c.linux.namespaces.filter((ns) => !shared.includes(ns["type"] as string));
    });
    asNull(bundle);
    const good = (...args: readonly string[]): void => expect({ args, ...box.quiet(args, rootless) }).toEqual({ args, status: 0, stdout: "", stderr: "" });
    const seen = (): number[] => JSON.parse(box.command(["ps", "--format", "json", id], rootless).stdout) as number[];
    good("create", "--bundle", bundle, id);
    const { pid } = JSON.parse(box.command(["state", id], rootless).stdout) as { pid: number };
    expect(seen()).toEqual([pid]);
    good("start", id);
    for (let i = 0; i < 2; i++) good("exec", "--detach", id, "/bin/sleep", word);
    if (shared.length === 0) good("exec", "--detach", id, "/bin/busybox", "unshare", "-U", "-p", "-f", "sleep", word); // itself, and one in a namespace below
    const many = shared.length === 0 ? 6 : 4;
    await until("all have begun", () => named(word).length === many);
    const allSeen = (): Promise<void> => until("those are seen that there are", () => JSON.stringify(seen()) === JSON.stringify([pid, ...named(word)].sort((a, b) => a - b)));
    await allSeen();
    const table = box.command(["ps", id], rootless).stdout;
    expect(table.split("\n").filter((line) => line.endsWith(`sleep ${word}`))).toHaveLength(many);
    expect(table).toMatch(/^UID +PID/);
    good("kill", "--all", id, "TERM");
    const first = shared.length === 0 ? 1 : 0; // process 1 of the namespace below, to which TERM does nothing
    await until("those who handle no TERM have ended", () => named(word).length === first);
    await allSeen();
    good("exec", "--detach", id, "/bin/sh", "-c", `sleep ${word}; true`);
    await until("it has begun", () => named(word).length === first + 1);
    good("kill", "--all", id, "KILL");
    await until("all have ended", () => named(word).length === 0 && seen().length === 0);
    good("delete", id);
    expect(groups()).toEqual([]);
  });

  it("deletes what runs without leaving anybody, also in a pid namespace that others share", async () => {
    const word = `${40_000_000 + process.pid}`;
    const id = box.id();
    const bundle = box.make(`(sleep ${word} &); exec sleep ${word}`, (c) => {
      mapped(c);
      c.linux.namespaces = c.linux.namespaces.filter((ns) => ns["type"] !== "pid");
    });
    asNull(bundle);
    expect(box.quiet(["run", "--detach", "--bundle", bundle, id], rootless)).toMatchObject({ status: 0, stderr: "" });
    expect(box.quiet(["exec", "--detach", id, "/bin/sleep", word], rootless)).toMatchObject({ status: 0 });
    await until("all have begun", () => named(word).length === 3);
    expect(box.quiet(["delete", "--force", id], rootless)).toMatchObject({ status: 0, stderr: "" });
    await until("all have ended", () => named(word).length === 0);
  });
});
