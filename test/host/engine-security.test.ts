// Black-box checks of the mistakes that container engines have made (named by their CVE where there is one).
import { mkdirSync, readdirSync, renameSync, rmdirSync, symlinkSync, writeFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../helpers/engine-box.js";
import { failure } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

suite("a container cannot", { needs: ["agent"] }, () => {
  let box: Box;
  let before: string[];
  beforeAll(async () => {
    box = await Box.start();
    before = box.state();
  });
  afterAll(async () => {
    await box?.stop();
  });

  it("begin in a directory of the host by a descriptor (CVE-2024-21626)", async () => {
    for (let n = 3; n < 20; n++) {
      expect(await failure(box.create(["/bin/true"], (s) => (s.process["cwd"] = `/proc/self/fd/${n}`)))).not.toBe("(no error)");
    }
  });

  it("inherit a descriptor of the agent", async () => {
    const { stdout } = await box.run("ls /proc/self/fd");
    expect(stdout.trim().split(/\s+/)).toEqual(["0", "1", "2", "3"]); // 3: the listing's own
  });

  it("send /proc elsewhere by a link in its image (CVE-2019-19921, CVE-2023-27561)", async () => {
    const root = box.root();
    rmdirSync(join(root, "proc"));
    mkdirSync(join(root, "test"));
    symlinkSync("/test", join(root, "proc"));
    expect(await failure(box.create(["/bin/true"], undefined, root))).toMatch(/mount proc \(proc\) on \/proc/);
    expect(readdirSync(join(root, "test"))).toEqual([]);
    const bound = box.create(["/bin/true"], (s) => (s.mounts = s.mounts.map((m) => (m["destination"] === "/proc" ? { ...m, type: "bind", source: "/proc", options: ["rbind"] } : m))), root);
    expect(await failure(bound)).toMatch(/mount \/proc \(bind\) on \/proc/);
  });

  it("cover /proc, or anything in it, with something else (CVE-2019-16884)", async () => {
    expect(await failure(box.create(["/bin/true"], (s) => s.mounts.push({ destination: "/proc", type: "tmpfs", source: "tmpfs", options: [] })))).toContain("/proc");
    expect(await failure(box.create(["/bin/true"], (s) => s.mounts.push({ destination: "/proc/self/attr", type: "tmpfs", source: "tmpfs", options: [] })))).toContain("lies inside /proc");
  });

  it("reach the host through a link in the path of a mount (CVE-2019-18837, CVE-2024-45310)", async () => {
    const root = box.root();
    const outside = box.outside();
    const up = "../".repeat(20);
    symlinkSync(`${up}${outside.slice(1)}`, join(root, "a"));
    symlinkSync(outside, join(root, "b"));
    const id = await box.create(["/bin/true"], (s) => {
      s.mounts.push({ destination: "/a/x/y", type: "tmpfs", source: "tmpfs", options: [] }, { destination: "/b/file", type: "bind", source: "/bin/busybox", options: ["bind"] });
    }, root).catch((e: Error) => e.message);
    expect(readdirSync(outside)).toEqual([]);
    if (id.startsWith("box")) await box.remove(id);
  });

  it("have its devices made on the host by a link at /dev (CVE-2026-41579)", async () => {
    const root = box.root();
    const outside = box.outside();
    writeFileSync(join(outside, "ptmx"), "untouched");
    rmdirSync(join(root, "dev"));
    symlinkSync(`${"../".repeat(20)}${outside.slice(1)}`, join(root, "dev"));
    const id = await box.create(["/bin/true"], (s) => {
      s.mounts = s.mounts.filter((m) => !(m["destination"] as string).startsWith("/dev"));
    }, root).catch((e: Error) => e.message);
    expect(readdirSync(outside)).toEqual(["ptmx"]);
    expect(readFileSync(join(outside, "ptmx"), "utf8")).toBe("untouched");
    if (id.startsWith("box")) await box.remove(id);
  });

  it("have its root file system behind a link", async () => {
    const root = box.root();
    renameSync(root, `${root}-real`);
    symlinkSync(`${root}-real`, root);
    expect(await failure(box.create(["/bin/true"], undefined, root))).toContain("bind the root file system");
  });

  it("unmask a file by giving its own /dev/null (CVE-2025-31133)", async () => {
    const root = box.root();
    const dev = box.outside();
    symlinkSync("/proc/sys/kernel/core_pattern", join(dev, "null"));
    mkdirSync(join(dev, "pts"));
    mkdirSync(join(dev, "shm"));
    mkdirSync(join(dev, "mqueue"));
    const script = "stat -c %F:%t:%T /proc/keys /proc/timer_list";
    const { stdout } = await box.run(script, (s) => {
      const i = s.mounts.findIndex((m) => m["destination"] === "/dev");
      s.mounts[i] = { destination: "/dev", type: "bind", source: dev, options: ["rbind"] };
    }, root);
    for (const line of stdout.trim().split("\n")) expect(line).toBe("character special file:1:3");
  });

  it("see what is masked, or write to what is read-only", async () => {
    const { stdout, stderr } = await box.run("ls -A /sys/firmware | wc -l; cat /proc/keys /proc/timer_list | wc -c; touch /sys/firmware/x; echo x > /proc/sys/kernel/hostname");
    expect(stdout).toBe("0\n0\n");
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
  });

  it("set what is not its own by a sysctl (CVE-2022-0811)", async () => {
    const pattern = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
    for (const key of ["kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern"]) {
      expect(await failure(box.create(["/bin/true"], (s) => (s.linux["sysctl"] = { [key]: "|/bin/evil" })))).toContain("linux.sysctl");
    }
    const id = await box.create(["/bin/true"], (s) => (s.linux["sysctl"] = { "kernel.shm_rmid_forced": "1+kernel.core_pattern=|/x" })).catch((e: Error) => e.message);
    expect(readFileSync("/proc/sys/kernel/core_pattern", "utf8")).toBe(pattern);
    if (id.startsWith("box")) await box.remove(id);
  });

  it("keep inheritable capabilities that were not asked for (CVE-2022-29162)", async () => {
    const { stdout } = await box.run("grep Cap /proc/self/status");
    expect(stdout).toMatch(/CapInh:\s+0000000000000000/);
    expect(stdout).toMatch(/CapAmb:\s+0000000000000000/);
    expect(stdout).toMatch(/CapEff:\s+00000000a80425fb/);
  });

  it("keep any capability when none are given", async () => {
    const { stdout } = await box.run("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status", (s) => delete s.process["capabilities"]);
    expect(stdout.match(/0000000000000000/g)).toHaveLength(3);
  });

  it("find or overwrite the agent's program through an exec (CVE-2019-5736)", async () => {
    const id = await box.create(["/proc/self/exe", "--help"]).catch((e: Error) => e.message);
    if (id.startsWith("box")) {
      await box.start(id).catch(() => undefined);
      await box.remove(id);
    }
    const { stdout } = await box.run("readlink /proc/1/exe; ls /proc | grep -E '^[0-9]+$' | wc -l");
    expect(stdout.split("\n")[0]).toBe("/bin/busybox");
  });

  it("open a device that it may make, without a rule that allows it (GHSA-g54h-m393-cpwq)", async () => {
    const rules = [{ allow: false, type: "b", major: 8, minor: 0, access: "rwm" }];
    const { stdout } = await box.run("mknod /tmp/mem c 1 1; mknod /tmp/kmsg c 1 11; for d in mem kmsg; do head -c1 /tmp/$d 2>&1; done", (s) => (s.linux.resources["devices"] = rules));
    expect(stdout.match(/Operation not permitted/g)).toHaveLength(2);
  });

  it("see the cgroups of others", async () => {
    const { stdout } = await box.run("find /sys/fs/cgroup -maxdepth 2 -type d | sort; cat /proc/self/cgroup");
    expect(stdout).not.toMatch(/benchhom|process_api\/[0-9a-f]+\//);
    expect(existsSync("/sys/fs/cgroup")).toBe(true);
  });

  it("leave something behind", () => {
    expect(box.state()).toEqual(before);
  });
});
