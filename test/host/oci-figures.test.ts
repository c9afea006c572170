// ps, events and update of the command line: who runs in a container, what it uses, and other limits for it while it runs.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, type Outcome } from "../helpers/oci-bundle.js";
import { having, suite, when } from "../helpers/suite.js";

const v1 = when(existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes") && existsSync("/sys/fs/cgroup/pids") && existsSync("/sys/fs/cgroup/cpu/cpu.shares"), "the files that are looked at are those of cgroup version 1");

suite("ps, events and update", { needs: ["agent"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());
  const works = (...args: readonly string[]): string => {
    const { status, stdout, stderr } = box.command(args);
    expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: "" });
    return stdout;
  };
  const refused = (args: readonly string[], text: string): void => expect(box.command(args)).toMatchObject({ status: 1, stderr: expect.stringContaining(text) });
  const withInput = (input: string, args: readonly string[]): Outcome => {
    const [program = "", ...words] = box.words(args);
    const { status, stdout, stderr } = spawnSync(program, words, { encoding: "utf8", input, timeout: 120_000 });
    return { status, stdout, stderr };
  };

  it("lists the processes as numbers and as lines of ps", () => {
    const id = box.sleeper((c) => (c.process["args"] = ["/bin/sh", "-c", "sleep 777 & sleep 778; true"]));
    expect(box.quiet(["exec", "--detach", id, "sleep", "779"]).status).toBe(0);
    const pids = JSON.parse(works("ps", "--format", "json", id)) as number[];
    expect(pids).toHaveLength(4);
    const lines = works("ps", id).trimEnd().split("\n");
    expect(lines[0]).toMatch(/^UID +PID +PPID .*CMD$/);
    expect(lines.slice(1).map((line) => Number(line.trim().split(/ +/)[1])).sort((a, b) => a - b)).toEqual(pids);
    expect(lines.slice(1).map((line) => line.replace(/^.* \d\d:\d\d:\d\d /, "")).sort()).toEqual(["/bin/sh -c sleep 777 & sleep 778; true", "sleep 777", "sleep 778", "sleep 779"]);
    expect(works("ps", id, "-e", "-o", "comm,pid").trimEnd().split("\n")).toHaveLength(5);
    refused(["ps", id, "-o", "comm"], "couldn't find PID field");
    refused(["ps", id, "--nosuch"], "ps --nosuch: exit status");
  });

  it("tells what a container uses", () => {
    const id = box.sleeper((c) => (c.linux["resources"] = { memory: { limit: 64 << 20 }, pids: { limit: 9 } }));
    const event = JSON.parse(works("events", "--stats", id)) as Record<string, Record<string, never>>;
    expect(event).toMatchObject({ type: "stats", id, data: { pids: { current: 1, limit: 9 }, memory: { usage: { limit: 64 << 20 } }, cpu: { usage: {}, throttling: {} } } });
    expect(event["data"]?.["memory"]?.["usage"]?.["usage"]).toBeGreaterThan(0);
    for (const interval of ["0s", "5", "x", "-1s", ""]) refused(["events", `--interval=${interval}`, id], "interval");
  });

  it("tells it again and again, and who ended for want of memory, until the container's end", async () => {
    const id = box.sleeper((c) => {
      c.linux["resources"] = { memory: { limit: 16 << 20, swap: 16 << 20 } };
      c.process["args"] = ["/bin/sh", "-c", "sleep 1000"];
    });
    const [program = "", ...words] = box.words(["events", "--interval", "20ms", id]);
    const child = spawn(program, words, { stdio: ["ignore", "pipe", "inherit"] });
    const end = once(child, "exit");
    let figures = 0;
    let kills = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const { type } = JSON.parse(line) as { type: string };
      if (type === "stats" && ++figures === 3) box.quiet(["exec", id, "sh", "-c", "tail /dev/zero"]);
      if (type === "oom" && ++kills === 1) {
        expect(line).toBe(`{"type":"oom","id":"${id}"}`);
        box.quiet(["kill", id, "KILL"]);
      }
    }
    expect(await end).toEqual([0, null]);
    expect([figures >= 3, kills]).toEqual([true, 1]);
  }, 240_000);

  it("is ended by a signal, as its callers end it", async () => {
    const id = box.sleeper();
    const [program = "", ...words] = box.words(["events", "--interval", "10ms", id]);
    const child = spawn(program, words, { stdio: ["ignore", "pipe", "inherit"] });
    const end = once(child, "exit");
    await once(child.stdout, "data");
    child.kill("SIGTERM");
    expect(await end).toEqual([null, "SIGTERM"]);
  });

  const fileOf = (id: string, controller: string, name: string): string => readFileSync(`/sys/fs/cgroup/${controller}/${id}/${controller}.${name}`, "utf8").trim();
  const limits = (id: string): object => ({
    memory: fileOf(id, "memory", "limit_in_bytes"), quota: fileOf(id, "cpu", "cfs_quota_us"), period: fileOf(id, "cpu", "cfs_period_us"), shares: fileOf(id, "cpu", "shares"), pids: fileOf(id, "pids", "max"),
  });
  const FIRST = { memory: String(64 << 20), quota: "50000", period: "100000", shares: "512", pids: "20" };
  const limited = (): string =>
    box.sleeper((c) => {
      c.linux["resources"] = { memory: { limit: 64 << 20 }, cpu: { quota: 50000, period: 100000, shares: 512 }, pids: { limit: 20 } };
      c.linux["cgroupsPath"] = undefined;
    });

  having(v1)("changes limits by options, and only those", () => {
    const id = limited();
    expect(limits(id)).toEqual(FIRST);
    works("update", id, "--memory", "32m", "--pids-limit=30");
    expect(limits(id)).toEqual({ ...FIRST, memory: String(32 << 20), pids: "30" });
    works("update", "--cpu-quota", "20000", "--cpu-share", "256", id);
    works("update", "--cpu-period", "50000", id);
    expect(limits(id)).toEqual({ memory: String(32 << 20), quota: "20000", period: "50000", shares: "256", pids: "30" });
    works("update", "--pids-limit", "-1", "--cpu-quota", "-1", "--memory", "1.5g", id);
    expect(limits(id)).toMatchObject({ pids: "max", quota: "-1", memory: String(1536 << 20) });
    works("update", id);
    works("update", "--pids-limit", "0", id); // as at create: a limit that the kernel can hold only as 1
    expect(limits(id)).toMatchObject({ pids: "1", quota: "-1" });
  });

  having(v1)("changes limits by JSON, from a file and from standard input", () => {
    const id = limited();
    const file = join(box.folder, "resources.json");
    writeFileSync(file, JSON.stringify({ memory: { limit: 48 << 20, swap: 0 }, cpu: { shares: 0, quota: 0, cpus: "" }, pids: { limit: 25 }, blockIO: { weight: 0 } }));
    works("update", "--resources", file, id);
    expect(limits(id)).toEqual({ ...FIRST, memory: String(48 << 20), pids: "25" }); // 0 is how callers say nothing
    expect(withInput('{"cpu":{"shares":700}}', ["update", "-r", "-", id])).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(limits(id)).toEqual({ ...FIRST, memory: String(48 << 20), pids: "25", shares: "700" });
    expect(withInput('{"cpu":{"shares":"many"}}', ["update", "-r", "-", id])).toMatchObject({ status: 1, stderr: expect.stringContaining("cpu.shares") });
    expect(withInput("{", ["update", "-r", "-", id]).status).toBe(1);
    refused(["update", "-r", join(box.folder, "absent"), id], "--resources");
  });

  having(v1)("takes everything back when one limit is refused", () => {
    const id = limited();
    refused(["update", "--memory", "32m", "--cpu-share", "300", "--pids-limit", "7", "--cpu-quota", "3", id], "linux.resources.cpu: set cpu.cfs_quota_us to 3");
    expect(limits(id)).toEqual(FIRST);
    const plain = box.sleeper((c) => (c.linux["resources"] = { cpu: { shares: 1024 } })); // so it has a group of that controller
    const before = limits(plain);
    refused(["update", "--memory", "32m", "--cpu-quota", "3", "--pids-limit", "7", plain], "cfs_quota_us");
    expect(limits(plain)).toEqual(before); // no limit is a value, too
    works("update", "--pids-limit", "8", id);
    expect(limits(id)).toEqual({ ...FIRST, pids: "8" }); // what was refused is not remembered
  });

  it("refuses what it does not understand", () => {
    const id = box.sleeper();
    refused(["update", "--memory", "3x", id], 'invalid value for memory: "3x"');
    refused(["update", "--pids-limit", "1.5", id], "invalid value for pids-limit");
    refused(["update", "--cpu-share", "-5", id], "cpu.shares");
    refused(["update", "--cpu-idle", "2", id], "cpu.idle");
    refused(["update", "--l3-cache-schema", "L3:0=f", id], "linux.intelRdt");
    refused(["update", "--memory-swap", "10m", "--memory", "20m", id], "memory.swap");
  });
});
