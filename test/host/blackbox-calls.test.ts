// Every call with nothing in it, in the wrong order, and twice: the codes that hosts expect (agent-api 6, 8, 25.T2, 25.T4, 25.T6),
// and an agent in which nothing is left or lost.
import { beforeAll, expect, it } from "vitest";
import type { Lab} from "../helpers/lab.js";
import { labs,  named, outcome, until } from "../helpers/lab.js";
import { suite } from "../helpers/suite.js";

/** Code and, where it matters, text for an empty request. */
const EMPTY: readonly (readonly [call: string, outcome: RegExp])[] = [
  ["CreateContainer", /^INTERNAL/], ["StartContainer", /^INTERNAL: .*Invalid container id/], ["RemoveContainer", /^INTERNAL: .*Invalid container id/],
  ["ExecProcess", /^INTERNAL/], ["SignalProcess", /^INVALID_ARGUMENT: .*InvalidContainerId/], ["WaitProcess", /^INVALID_ARGUMENT: .*InvalidContainerId/],
  ["UpdateContainer", /^INVALID_ARGUMENT: "invalid container id"/], ["UpdateEphemeralMounts", /^OK/], ["StatsContainer", /^INVALID_ARGUMENT: "invalid container id"/],
  ["PauseContainer", /^INVALID_ARGUMENT: "invalid container id"/], ["ResumeContainer", /^INVALID_ARGUMENT: "invalid container id"/],
  ["RemoveStaleVirtiofsShareMounts", /^OK/], ["GetDiagnosticData", /^INVALID_ARGUMENT: "unsupported diagnostic log_type: "/],
  ["WriteStdin", /^INTERNAL: Invalid container id/], ["ReadStdout", /^INVALID_ARGUMENT: .*InvalidContainerId/], ["ReadStderr", /^INVALID_ARGUMENT: .*InvalidContainerId/],
  ["CloseStdin", /^INVALID_ARGUMENT: .*InvalidContainerId/], ["TtyWinResize", /^INVALID_ARGUMENT: .*InvalidContainerId/],
  ["UpdateInterface", /^INVALID_ARGUMENT: .*empty update interface request/], ["UpdateRoutes", /^INVALID_ARGUMENT: .*empty update routes request/],
  ["ListInterfaces", /^OK/], ["ListRoutes", /^OK/], ["AddARPNeighbors", /^INVALID_ARGUMENT: .*empty add arp neighbours request/],
  ["MemAgentMemcgSet", /^INTERNAL: mem-agent is disabled/], ["MemAgentCompactSet", /^INTERNAL: mem-agent is disabled/],
  ["OnlineCPUMem", /^OK/], ["ReseedRandomDev", /^INTERNAL: missing entropy data/], ["GetGuestDetails", /^OK/], ["MemHotplugByProbe", /^OK/],
  ["CopyFile", /^INTERNAL/], ["AddSwap", /^INTERNAL/], ["AddSwapPath", /^INTERNAL/], ["GetVolumeStats", /^INTERNAL/],
  ["ResizeVolume", /^UNIMPLEMENTED/], ["SetPolicy", /^NOT_FOUND: .*\/grpc\.AgentService\/SetPolicy is not supported/], ["Check", /^OK/], ["Version", /^OK/],
];

/** Handlers are loaded when they are first called. */
const warm = async (lab: Lab): Promise<void> => {
  for (const [call] of EMPTY) await outcome(lab.client.call(call as never));
};

suite("the calls", { needs: ["agent"], fixture: labs(warm) }, (use) => {
  let lab: Lab;
  beforeAll(() => {
    lab = use();
  });

  it.each(EMPTY)("%s says what is wrong with an empty request", async (call, expected) => {
    // once with nothing set up at all is the case of the private agents of other tests; here a sandbox is there
    expect(await outcome(lab.client.call(call as never))).toMatch(expected);
  });

  it("GetOOMEvent waits, and gives up with its connection or its time", async () => {
    const other = await lab.another();
    const poll = outcome(other.getOOMEvent({}));
    expect(await outcome(lab.client.getOOMEvent({}, { timeoutMs: 1 }))).toMatch(/^DEADLINE_EXCEEDED/);
    other.close();
    expect(await poll).not.toBe("OK");
  });

  it("refuse what is unknown by what they promise", async () => {
    const id = await lab.up();
    const ghost = named("ghost");
    const noExec = named(id, "ghost");
    const { client } = lab;
    for (const call of ["SignalProcess", "WaitProcess", "ReadStdout", "ReadStderr", "CloseStdin", "TtyWinResize"] as const) {
      expect(await outcome(client.call(call, ghost)), call).toMatch(/^INVALID_ARGUMENT: .*InvalidContainerId/);
      expect(await outcome(client.call(call, noExec)), call).toMatch(/^NOT_FOUND: .*InvalidExecId/);
    }
    expect(await outcome(lab.write(ghost, "x"))).toBe("INTERNAL: Invalid container id");
    expect(await outcome(lab.write(noExec, "x"))).toBe("INTERNAL: Process not found: invalid exec id");
    expect(await outcome(client.execProcess({ ...ghost, process: { args: ["true"], cwd: "/" } }))).toMatch(/^INTERNAL: .*Invalid container id/);
    expect(await outcome(client.signalProcess({ containerId: "ghost", signal: 9 }))).toMatch(/^INTERNAL: .*Invalid container id/);
    await lab.remove(id);
    expect(await outcome(lab.remove(id))).toMatch(/^INTERNAL: .*Invalid container id/);
    expect(await outcome(lab.wait(named(id)))).toMatch(/^INVALID_ARGUMENT/);
  });

  it("take no name that could be a path", async () => {
    for (const id of ["", "x", "..", "../x", "a/b", ".a", "-a", "a b", "a\nb", "a".repeat(2000), "a\0b", "shared", "sandbox"]) {
      expect(await outcome(lab.client.createContainer(lab.request(id, ["true"]))), JSON.stringify(id)).toMatch(/^INTERNAL: .*invalid container ID/);
    }
  });

  it("start a container once", async () => {
    const id = await lab.up();
    expect(await outcome(lab.client.startContainer({ containerId: id }))).toMatch(/^FAILED_PRECONDITION/);
    expect((await lab.execRun(id, "echo alive")).stdout).toBe("alive\n");
    const twice = await lab.create(["/bin/true"]);
    const both = await Promise.all([0, 1].map(() => outcome(lab.client.startContainer({ containerId: twice }))));
    expect(both.filter((o) => o === "OK")).toHaveLength(1);
    await Promise.all([lab.remove(id), lab.remove(twice)]);
  });

  it("make a container once, also when asked many times at once", async () => {
    const id = lab.name();
    const all = await Promise.all(Array.from({ length: 8 }, () => outcome(lab.client.createContainer(lab.request(id, ["/bin/sleep", "1000"])))));
    expect(all.filter((o) => o === "OK")).toHaveLength(1);
    expect(all.filter((o) => o.startsWith("ALREADY_EXISTS"))).toHaveLength(7);
    await lab.client.startContainer({ containerId: id });
    expect(await outcome(lab.client.createContainer(lab.request(id, ["/bin/false"])))).toMatch(/^ALREADY_EXISTS/);
    expect((await lab.execRun(id, "cat /proc/1/comm")).stdout).toBe("sleep\n");
    const removed = await Promise.all([0, 1, 2].map(() => outcome(lab.remove(id))));
    expect(removed.filter((o) => o === "OK")).toHaveLength(1);
    // the name is free again
    await lab.client.createContainer(lab.request(id, ["/bin/true"]));
    await lab.remove(id);
  });

  it("give a status to all who wait, and to nobody after them", async () => {
    const id = await lab.up("read x; exit 7");
    const p = named(id);
    const other = await lab.another();
    const waiters = [lab.wait(p), lab.wait(named(id, "")), other.waitProcess(p).then((r) => r.status)];
    expect(await outcome(lab.client.waitProcess(p, { timeoutMs: 5 }))).toMatch(/^DEADLINE_EXCEEDED/);
    await lab.write(p, "go\n");
    expect(await Promise.all(waiters)).toEqual([7, 7, 7]);
    expect(await outcome(lab.wait(p))).toMatch(/^NOT_FOUND: .*InitProcessNotFound/);
    expect(await outcome(lab.client.signalProcess({ ...p, signal: 0 }))).toMatch(/^NOT_FOUND/);
    expect(await outcome(lab.client.signalProcess({ ...p, signal: 15 }))).toMatch(/^NOT_FOUND/);
    expect(await outcome(lab.client.signalProcess({ containerId: id, signal: 9 }))).toBe("OK");
    other.close();
    await lab.remove(id);
  });

  it("tell the status by code and by signal", async () => {
    const id = await lab.up();
    for (const [script, status] of [["exit 0", 0], ["exit 1", 1], ["exit 255", 255], ["kill -9 $$", 137], ["kill -15 $$", 143], ["kill -6 $$", 134]] as const) {
      expect((await lab.execRun(id, script)).status, script).toBe(status);
    }
    await lab.remove(id);
  });

  it("keep a status until it is fetched", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "exit 3");
    expect(await lab.readAll(p)).toBe("");
    await until("it has ended", async () => (await outcome(lab.client.signalProcess({ ...p, signal: 0 }))) === "OK" && !lab.agent.inside(`cat /proc/${lab.agent.pid}/task/${lab.agent.pid}/children`).trim().includes(" "));
    expect(await outcome(lab.client.signalProcess({ ...p, signal: 9 }))).toBe("OK");
    expect(await lab.wait(p)).toBe(3);
    expect(await outcome(lab.wait(p))).toMatch(/^NOT_FOUND: .*InvalidExecId/);
    await lab.remove(id);
  });

  it("refuse an exec id until its process has been waited for", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "echo left unread", {}, "again");
    expect(await outcome(lab.exec(id, "true", {}, "again"))).toMatch(/^INTERNAL: .*already exists/);
    expect(await outcome(lab.exec(id, "true", {}, id))).toMatch(/^INTERNAL: .*already exists/);
    expect(await lab.wait(p)).toBe(0);
    const next = await lab.exec(id, "echo second; exit 4", {}, "again");
    expect(await lab.readAll(next)).toBe("second\n");
    expect(await lab.wait(next)).toBe(4);
    await lab.remove(id);
  });

  it("exec before the start, and not after the end", async () => {
    const id = await lab.create(["/bin/sh", "-c", "echo up; read x"]);
    expect((await lab.execRun(id, "exit 5")).status).toBe(5);
    await lab.client.startContainer({ containerId: id });
    await lab.expectText(named(id), "up");
    await lab.write(named(id), "\n");
    expect(await lab.wait(named(id))).toBe(0);
    expect(await outcome(lab.exec(id, "true"))).toMatch(/^FAILED_PRECONDITION/);
    expect(await outcome(lab.client.startContainer({ containerId: id }))).toMatch(/^FAILED_PRECONDITION/);
    await lab.remove(id);
  });

  it.each([["SIGTERM", 15, 137], ["SIGKILL", 9, 137]] as const)("end a container by %s before its start", async (_name, signal, status) => {
    const id = await lab.create(["/bin/sleep", "1000"]);
    await lab.client.signalProcess({ ...named(id), signal });
    expect(await lab.wait(named(id))).toBe(status);
    expect(await outcome(lab.client.startContainer({ containerId: id }))).toMatch(/^FAILED_PRECONDITION/);
    await lab.remove(id);
  });

  it("deliver signals: to who handles them, and SIGTERM to a first process that does not", async () => {
    const id = await lab.up("trap 'echo got; exit 9' TERM USR1; echo ready; while :; do sleep 1000 & wait; done");
    await lab.expectText(named(id), "ready");
    expect(await outcome(lab.client.signalProcess({ containerId: id, signal: 0 }))).toBe("OK");
    expect(await outcome(lab.client.signalProcess({ containerId: id, signal: 65 }))).toMatch(/^INTERNAL: .*EINVAL/);
    expect(await outcome(lab.client.signalProcess({ containerId: id, signal: 0xffffffff }))).toMatch(/^INTERNAL: .*EINVAL/);
    await lab.client.signalProcess({ containerId: id, signal: 15 });
    await lab.expectText(named(id), "got");
    expect(await lab.wait(named(id))).toBe(9);
    await lab.remove(id);
    const deaf = await lab.up();
    await lab.client.signalProcess({ containerId: deaf, signal: 15 });
    expect(await lab.wait(named(deaf))).toBe(137);
    await lab.remove(deaf);
  });

  it("kill a whole tree", async () => {
    const id = await lab.up("for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 1000 & sleep 1000' &); done; echo up; exec sleep 1000");
    await lab.expectText(named(id), "up");
    const p = await lab.exec(id, "sleep 1000 & sleep 1000");
    await lab.client.signalProcess({ containerId: id, signal: 9 });
    expect(await Promise.all([lab.wait(named(id)), lab.wait(p)])).toEqual([137, 137]);
    await lab.remove(id);
  });

  it("tell who waits before they remove", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "exec sleep 1000");
    const waits = [lab.wait(named(id)), lab.wait(p)];
    const reads = [lab.read(named(id)), lab.read(p), lab.read(p, 100, "stderr")];
    expect(await outcome(lab.client.pauseContainer({ containerId: id }))).toBe("OK");
    await lab.client.removeContainer({ containerId: id, timeout: 5 });
    expect(await Promise.all(waits)).toEqual([137, 137]);
    expect(await Promise.all(reads)).toEqual(["", "", ""]);
    const created = await lab.create(["/bin/true"]);
    const early = lab.wait(named(created));
    await lab.remove(created);
    expect(await early).toBe(137);
  });

  it("lend the first container's processes to those that ask for them, for as long as it is there", async () => {
    const make = async (): Promise<string> => {
      const id = lab.name();
      await lab.client.createContainer({ ...(lab.request(id, ["/bin/sh", "-c", "exec sleep 1000"]) as object), sandboxPidns: true } as never);
      await lab.client.startContainer({ containerId: id });
      return id;
    };
    for (let i = 0; i < 2; i++) {
      const [first, second] = [await make(), await make()];
      const alone = await lab.up();
      const at = async (id: string): Promise<string> => (await lab.execRun(id, "readlink /proc/self/ns/pid")).stdout;
      expect(await at(second)).toBe(await at(first));
      expect(await at(alone)).not.toBe(await at(first));
      await lab.remove(first);
      expect(await lab.wait(named(second))).toBe(137); // its process 1 is gone
      await Promise.all([second, alone].map((id) => lab.remove(id)));
    }
  });

  it("pause and resume what may be, from any state", async () => {
    const id = await lab.create(["/bin/sh", "-c", "echo on; exec sleep 1000"]);
    const { client } = lab;
    expect(await outcome(client.resumeContainer({ containerId: id }))).toMatch(/^INTERNAL: .*not paused/);
    await client.pauseContainer({ containerId: id });
    expect(await outcome(client.pauseContainer({ containerId: id }))).toMatch(/^INTERNAL: .*failed to pause container/);
    expect(await outcome(client.startContainer({ containerId: id }))).toMatch(/^FAILED_PRECONDITION/);
    await client.resumeContainer({ containerId: id });
    await client.startContainer({ containerId: id });
    await lab.expectText(named(id), "on");
    await client.pauseContainer({ containerId: id });
    expect(await outcome(lab.exec(id, "true"))).toMatch(/^FAILED_PRECONDITION/);
    await client.signalProcess({ containerId: id, signal: 9 });
    expect(await lab.wait(named(id))).toBe(137);
    expect(await outcome(client.pauseContainer({ containerId: id }))).toMatch(/^INTERNAL: .*failed to pause container/);
    await lab.remove(id);
  });

  it("pause and resume in the order in which they came", async () => {
    const id = await lab.up("while :; do true & wait; done"); // hard to bring to rest
    for (let i = 0; i < 20; i++) {
      const [pause, exec, resume] = await Promise.all([outcome(lab.client.pauseContainer({ containerId: id })), outcome(lab.execRun(id, "true")), outcome(lab.client.resumeContainer({ containerId: id }))]);
      expect([pause, resume]).toEqual(["OK", "OK"]);
      expect(exec).toMatch(/^OK|^FAILED_PRECONDITION: .*paused/); // frozen on its way, it goes on with the others
    }
    expect((await lab.execRun(id, "echo alive")).stdout).toBe("alive\n");
    await lab.remove(id);
  });

  it("refuse a second sandbox while containers run, and leave them alone", async () => {
    const id = await lab.up();
    expect(await outcome(lab.client.createSandbox({ sandboxId: "other" }))).toMatch(/^FAILED_PRECONDITION/);
    expect((await lab.execRun(id, "ls /bin/sh")).stdout).toBe("/bin/sh\n");
    await lab.remove(id);
  });
});
