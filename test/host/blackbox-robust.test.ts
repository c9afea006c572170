// What hosts, machines and containers do to an agent on bad days: clients that die in the middle, no time, no descriptors, a log
// that nobody reads, many at once, the agent's own death (agent-api 24, 25.T12, 26). Nothing wedges and nothing leaks.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { BINARY, SANITISED } from "../helpers/private-agent.js";
import { Lab, labs,  named, outcome, until, type Json } from "../helpers/lab.js";
import { suite } from "../helpers/suite.js";

const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((done) => setImmediate(done));
};
const sanitised = BINARY.endsWith(".debug"); // it never gives memory back
const NANOSECOND = 1e-6; // in milliseconds
const alive = (pid: string): boolean => existsSync(`/proc/${pid}/exe`) && !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));

suite("the agent", { needs: ["agent"], fixture: labs() }, (use) => {
  let lab: Lab;
  beforeAll(() => {
    lab = use();
  });
  const children = (): string => readFileSync(`/proc/${lab.agent.pid}/task/${lab.agent.pid}/children`, "utf8").trim();

  it("survives clients that die while a container is made, and another can take it over", async () => {
    for (let i = 0; i < 24; i++) {
      const client = await lab.another();
      const id = lab.name();
      const dying = outcome(client.createContainer(lab.request(id, ["/bin/sleep", "1000"])));
      await turns(i % 12);
      client.close();
      await dying;
      // it was made, is being made, or was never asked for
      const started = await outcome(lab.client.startContainer({ containerId: id }));
      expect(started).toMatch(/^(OK|INTERNAL: .*Invalid container id)/);
      expect(await outcome(lab.remove(id))).toMatch(/^(OK|INTERNAL: .*Invalid container id)/);
    }
  });

  it("survives clients that die in every other call", async () => {
    const id = await lab.up("exec cat");
    for (let i = 0; i < 12; i++) {
      const client = await lab.another();
      const exec = named(id, lab.name());
      const all = [
        client.execProcess({ ...exec, process: { args: ["/bin/true"], cwd: "/" } }), client.waitProcess(named(id)), client.readStdout({ ...named(id), len: 100 }), client.readStderr({ ...named(id), len: 100 }),
        client.writeStdin({ ...named(id), data: Buffer.alloc(1 << 20) }), client.statsContainer({ containerId: id }), client.getOOMEvent(), client.pauseContainer({ containerId: id }), client.resumeContainer({ containerId: id }),
      ].map(outcome);
      await turns(i);
      client.close();
      await Promise.all(all);
      await outcome(lab.client.resumeContainer({ containerId: id }));
    }
    expect((await lab.execRun(id, "echo alive")).stdout).toBe("alive\n");
    await lab.remove(id);
  });

  it("keeps a container in order whatever call had a nanosecond only", async () => {
    const id = lab.name();
    const short = { timeoutMs: NANOSECOND };
    const { client } = lab;
    const tried = /^(OK|DEADLINE_EXCEEDED|NOT_FOUND|INTERNAL|FAILED_PRECONDITION|ALREADY_EXISTS|INVALID_ARGUMENT)/;
    expect(await outcome(client.createContainer(lab.request(id, ["/bin/sleep", "1000"]), short))).toMatch(tried);
    await outcome(client.createContainer(lab.request(id, ["/bin/sleep", "1000"]))); // in case the first was not sent
    expect(await outcome(client.startContainer({ containerId: id }, short))).toMatch(tried);
    await outcome(client.startContainer({ containerId: id }));
    const exec = named(id, "e");
    expect(await outcome(client.execProcess({ ...exec, process: { args: ["/bin/sleep", "1000"], cwd: "/" } }, short))).toMatch(tried);
    for (const call of [
      client.waitProcess(named(id), short), client.readStdout({ ...named(id), len: 10 }, short), client.statsContainer({ containerId: id }, short), client.signalProcess({ ...named(id), signal: 0 }, short),
      client.getOOMEvent({}, short), client.check({}, short), client.updateContainer({ containerId: id, resources: {} }, short), client.getVolumeStats({ volumeGuestPath: "/" }, short),
    ]) expect(await outcome(call)).toMatch(tried);
    expect((await lab.execRun(id, "echo in order")).stdout).toBe("in order\n");
    expect(await outcome(client.removeContainer({ containerId: id }, short))).toMatch(tried);
    expect(await outcome(lab.remove(id))).toMatch(/^(OK|INTERNAL: .*Invalid container id)/);
  });

  it("keeps 50 containers at once, each with its own output and status", async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, (_, i) => lab.up(`echo ${i}; read x; exit ${i}`)));
    await Promise.all(ids.map(async (id, i) => {
      await lab.expectText(named(id), `${i}\n`);
      const waiting = lab.wait(named(id));
      await lab.write(named(id), "\n");
      expect(await waiting).toBe(i);
      await lab.remove(id);
    }));
  });

  it("starts 40 processes in one container at once", async () => {
    const id = await lab.up();
    const all = await Promise.all(Array.from({ length: 40 }, (_, i) => lab.execRun(id, `echo ${i}; exit ${i}`)));
    expect(all).toEqual(all.map((_, i) => ({ status: i, stdout: `${i}\n`, stderr: "" })));
    await lab.remove(id);
  });

  it("does not grow by 200 containers that come and go", async () => {
    for (let i = 0; i < 20; i++) await lab.run("true");
    const [fds, anon] = [lab.fds(), lab.anon()];
    for (let i = 0; i < 180; i++) {
      const id = await lab.up("exit 3");
      if (i % 3 === 0) await lab.execRun(id, "true").catch(() => undefined); // it may have ended
      expect(await lab.wait(named(id))).toBe(3);
      await lab.remove(id);
    }
    expect(lab.fds()).toBe(fds);
    if (!sanitised) expect(lab.anon() - anon).toBeLessThan(1500); // 8 kB each would be seen; less is the garbage that waits for its collection
  });

  it("does not grow by creations and execs that fail", async () => {
    const id = await lab.up();
    const fail = async (): Promise<void> => {
      expect(await outcome(lab.create(["/bin/nonesuch"]))).toMatch(/not found/);
      expect(await outcome(lab.create(["/bin/true"], (s) => s.mounts.push({ destination: "/x", type: "nofs", source: "x" })))).toMatch(/ENODEV/);
      expect(await outcome(lab.exec(id, "true", { args: ["/bin/nonesuch"] }))).toMatch(/not found/);
      expect(await outcome(lab.exec(id, "true", { args: ["/bin/nonesuch"], terminal: true }))).toMatch(/not found/);
    };
    for (let i = 0; i < 5; i++) await fail();
    const [fds, anon] = [lab.fds(), lab.anon()];
    for (let i = 0; i < 25; i++) await fail();
    expect(lab.fds()).toBe(fds);
    if (!sanitised) expect(lab.anon() - anon).toBeLessThan(1500); // 8 kB each would be seen; less is the garbage that waits for its collection
    await lab.remove(id);
  });

  it("removes what resists: a fork storm, deaf processes, a stopped one, and what is being made or executed", async () => {
    const storm = await lab.up("echo up; f() { f & f; }; f", (s) => (s.linux.resources["pids"] = { limit: 60 }));
    await lab.expectText(named(storm), "up");
    const deaf = await lab.up("trap '' TERM INT HUP QUIT USR1; echo up; while :; do sleep 1000; done");
    await lab.expectText(named(deaf), "up");
    const stopped = await lab.up();
    await lab.client.signalProcess({ containerId: stopped, signal: 19 });
    const busy = await lab.up();
    const execs = Array.from({ length: 8 }, () => outcome(lab.execRun(busy, "sleep 1000")));
    const made = lab.name();
    const making = outcome(lab.client.createContainer(lab.request(made, ["/bin/true"])));
    const removing = outcome(lab.remove(made));
    await Promise.all([storm, deaf, stopped, busy].map((id) => lab.remove(id)));
    await Promise.all(execs);
    expect(await making).toBe("OK");
    expect(await removing).toBe("OK");
    expect(children()).toBe("");
  });

  it("tells of each end for lack of memory exactly once", async () => {
    const limit = (s: { linux: { resources: Json } }): unknown => (s.linux.resources["memory"] = { limit: 8 << 20 });
    for (let i = 0; i < 3; i++) {
      const polls = [lab.client.getOOMEvent(), lab.client.getOOMEvent()].map((p) => p.then((r) => r.containerId));
      const ids: string[] = [];
      for (let k = 0; k < 2; k++) {
        const id = await lab.up("exec tail /dev/zero", limit as never);
        ids.push(id);
        expect(await lab.wait(named(id))).toBe(137);
        await lab.remove(id);
      }
      expect((await Promise.all(polls)).sort()).toEqual(ids.sort());
    }
    expect(await outcome(lab.client.getOOMEvent({}, { timeoutMs: 20 }))).toMatch(/^DEADLINE_EXCEEDED/);
  });

  it("does not mix up who asks: streams of 100 connections", async () => {
    const id = await lab.up("exec cat");
    const clients = await Promise.all(Array.from({ length: 100 }, () => lab.another()));
    const reads = clients.map((c) => outcome(c.readStdout({ ...named(id), len: 10 })));
    await Promise.all(clients.map((c) => c.check()));
    for (const c of clients) c.close();
    await Promise.all(reads);
    await lab.write(named(id), "still here");
    expect(await lab.read(named(id))).toBe("still here");
    await lab.remove(id);
  });
});

suite("an agent of its own", { needs: ["agent"] }, () => {
  it.each([
    ["is full", (f: string) => `mkfifo ${f} && exec 5<>${f} >${f} 2>&1`],
    ["has lost its reader", (f: string) => `mkfifo ${f} && exec 5<>${f} >${f} 2>&1 5>&-`],
    ["is closed", () => "exec >&- 2>&-"],
  ])("goes on when its log %s", async (_what, before) => {
    const lab = await Lab.start('log_level = "debug"', before(`/run/log`));
    try {
      for (let i = 0; i < 1500; i++) await lab.client.listRoutes();
      expect((await lab.run("echo works; exit 4"))).toMatchObject({ stdout: "works\n", status: 4 });
    } finally {
      await lab.stop();
    }
  });

  it("refuses what it has no descriptors for, leaves nothing, and goes on", async () => {
    const lab = await Lab.start("", "ulimit -Sn 64");
    try {
      const state = lab.state();
      const ids: string[] = [];
      let said = "OK";
      while (said === "OK" && ids.length < 60) {
        const id = lab.name();
        said = await outcome(lab.client.createContainer(lab.request(id, ["/bin/sleep", "1000"])));
        if (said === "OK") ids.push(id);
      }
      expect(said).toMatch(/EMFILE/);
      expect(ids.length).toBeGreaterThan(2);
      for (const id of ids.slice(0, 2)) await lab.client.startContainer({ containerId: id });
      for (let i = 0; i < 10; i++) expect(await outcome(lab.exec(ids[0] as string, "true"))).toMatch(/EMFILE|^OK/);
      expect(await outcome(lab.create(["/bin/true"]))).toMatch(/EMFILE/);
      for (const id of ids) await lab.remove(id);
      expect((await lab.run("echo again")).stdout).toBe("again\n");
      await lab.settled(state);
    } finally {
      await lab.stop();
    }
  });

  it("takes its containers with it in good order when the sandbox is destroyed", async () => {
    const lab = await Lab.start();
    const gone = until("the agent has ended", () => !alive(String(lab.agent.pid)), 120_000);
    await lab.up();
    await lab.create(["/bin/sleep", "1000"]);
    const waiting = outcome(lab.wait(named(await lab.up("exec sleep 1000"))));
    expect(await outcome(lab.client.destroySandbox())).toBe("OK");
    await waiting;
    await gone;
    await until("its last words have come", () => lab.agent.log().includes("kata-agent shutdown complete"));
    expect(existsSync(join(lab.agent.dir, "a.sock"))).toBe(false);
    expect(execFileSync("sh", ["-c", `find /sys/fs/cgroup -name '${lab.prefix}*' 2>/dev/null || true`], { encoding: "utf8" })).toBe("");
    await lab.stop();
  });

  it("leaves its containers running when it is killed, and those that were not started do not wait for ever", async () => {
    const lab = await Lab.start();
    const id = await lab.up();
    const kids = (): string[] => readFileSync(`/proc/${lab.agent.pid}/task/${lab.agent.pid}/children`, "utf8").trim().split(" ");
    const [running = ""] = kids();
    await lab.create(["/bin/sleep", "1000"]);
    const created = kids().find((pid) => pid !== running) ?? "";
    process.kill(lab.agent.pid, "SIGKILL");
    await until("the one that was not started ends", () => !alive(created));
    expect(alive(running)).toBe(true);
    // a new agent is not disturbed by them, and does not take over what it does not know
    const next = await Lab.start();
    try {
      const taken = await outcome(next.client.createContainer(next.request(next.name(), ["/bin/true"], (s) => (s.linux["cgroupsPath"] = `/katactl/${id}`))));
      expect(taken).toMatch(/^ALREADY_EXISTS: .*has processes in it/);
      expect((await next.run("echo new")).stdout).toBe("new\n");
    } finally {
      await next.stop();
      process.kill(Number(running), "SIGKILL");
      await until("it has ended", () => !alive(running));
      for (const root of readdirSync("/sys/fs/cgroup")) {
        const parent = `/sys/fs/cgroup/${root}/katactl`;
        if (!existsSync(parent)) continue;
        for (const name of readdirSync(parent)) {
          if (!name.startsWith(lab.prefix)) continue;
          await until(`${parent}/${name} can be removed`, () => {
            try {
              rmdirSync(`${parent}/${name}`);
              return true;
            } catch {
              return false;
            }
          });
        }
      }
      await lab.stop();
    }
  });
});

suite("the sanitised twin", { needs: ["sanitised agent"] }, () => {
  it("finds no fault in a container's life, its streams, its failures and its end", async () => {
    const lab = await Lab.start("", ":", SANITISED);
    try {
      const before = lab.state();
      for (const [call] of [["CreateContainer"], ["WaitProcess"], ["WriteStdin"], ["GetDiagnosticData"], ["UpdateInterface"], ["CopyFile"], ["SetPolicy"]] as const) expect(await outcome(lab.client.call(call))).not.toBe("OK");
      const id = await lab.up("exec cat", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO" }] }));
      const data = Buffer.alloc(1 << 20, "x");
      const writing = lab.client.writeStdin({ ...named(id), data }).then(() => lab.client.closeStdin(named(id)));
      expect((await lab.readAll(named(id))).length).toBe(data.length);
      await writing;
      expect(await lab.wait(named(id))).toBe(0);
      await lab.remove(id);
      const tty = await lab.up("stty -echo; echo up; cat", (s) => (s.process["terminal"] = true));
      await lab.expectText(named(tty), "up");
      await lab.client.ttyWinResize({ ...named(tty), row: 5, column: 6 });
      expect(await Promise.all(Array.from({ length: 10 }, (_, i) => lab.execRun(tty, `exit ${i}`)))).toHaveLength(10);
      expect(await outcome(lab.exec(tty, "true", { args: ["/bin/nonesuch"], terminal: true }))).toMatch(/not found/);
      expect(await outcome(lab.create(["/bin/true"], (s) => (s.root["path"] = "/nonesuch")))).toMatch(/ENOENT/);
      await lab.client.statsContainer({ containerId: tty });
      await lab.client.pauseContainer({ containerId: tty });
      await lab.remove(tty);
      await lab.settled(before);
    } finally {
      await lab.stop();
    }
  });
});
