// Control groups of the command line on a machine that has version 2 only (here with few controllers; all of them are tested in the VM),
// and for a caller who may make none.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { gone, groupsIn, occupant, TOP } from "../helpers/machine-groups.js";
import { Bundles, type Config } from "../helpers/oci-bundle.js";
import { skip, suite, when } from "../helpers/suite.js";

const MIB = 1 << 20;
const groups = (): string[] => groupsIn("/sys/fs/cgroup");

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
    expect(groupsIn(UNIFIED)).toEqual([]);
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
    expect(groupsIn(UNIFIED)).toEqual([]);
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
