// The agent lets its own program take its place (SIGUSR2 in the build with sanitizers): its containers, streams, connections and calls
// go on, and no client notices. The record itself is tested in test/unit/sandbox/record.test.ts.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Lab, named, outcome, until, type Change, type Json } from "../helpers/lab.js";
import { SANITISED } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";
import { AGENT, HEALTH, request } from "../unit/rpc/memory-channel.js";

const sha = (data: Uint8Array | string): string => createHash("sha256").update(data).digest("hex");
const withTerminal: Change = (spec) => (spec.process["terminal"] = true);

/** The lines in the log of the agent that begin so. */
const told = (lab: Lab, text: string): number => lab.agent.log().split(`"msg":"${text}`).length - 1;

/** A handover from the signal to its end. `meanwhile` is done when it has been asked for. */
async function handOver(lab: Lab, meanwhile: () => unknown = () => undefined, ends = "handover: done"): Promise<void> {
  const before = told(lab, ends);
  process.kill(lab.agent.pid, "SIGUSR2");
  await meanwhile();
  await until(`"${ends}" is told`, () => told(lab, ends) > before).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${lab.agent.log().split("\n").slice(-12).join("\n")}`);
  });
}

/** A fifo in the root that all containers share: a process waits there until the test opens it. */
class Latch {
  readonly path: string;
  constructor(lab: Lab, readonly name: string) {
    this.path = join(lab.root, name);
    const made = spawnSync("mkfifo", [this.path]);
    if (made.status !== 0) throw new Error(String(made.stderr));
  }
  /** What the shell of a container waits with. */
  get wait(): string {
    return `cat /${this.name} > /dev/null`;
  }
  open(): void {
    closeSync(openSync(this.path, "w"));
  }
}

suite("a handover", { needs: ["sanitised agent", "program:pgrep"] }, () => {
  let lab: Lab;
  let before: Json;
  beforeAll(async () => {
    lab = await Lab.start("", ":", SANITISED);
    const id = await lab.up("cat", withTerminal);
    await lab.remove(id);
    before = lab.state();
  });
  afterAll(() => lab?.stop());
  afterEach(() => lab.settled(before));

  it("loses and doubles no byte of a container that writes all the time, however often", async () => {
    const id = await lab.up("exec seq 1 200000");
    const p = named(id);
    const parts: Buffer[] = [];
    for (let i = 0; ; i++) {
      if (i % 10 === 3 && i < 40) void handOver(lab).catch(() => undefined);
      const { data } = await lab.client.readStdout({ ...p, len: 16384 });
      if (data.length === 0) break;
      parts.push(Buffer.from(data));
    }
    expect(sha(Buffer.concat(parts))).toBe(sha(Array.from({ length: 200000 }, (_, i) => `${i + 1}\n`).join("")));
    expect(await lab.wait(p)).toBe(0);
    await lab.remove(id);
    await handOver(lab);
  });

  it("goes on with three containers, and with every call that waits in them, twice", async () => {
    const { client } = lab;
    const latches = ["exit", "speak", "eat"].map((name) => new Latch(lab, `${name}-${lab.name()}`));
    const [exit, speak, eat] = latches as [Latch, Latch, Latch];
    const [one, two] = [await lab.up(), await lab.up("exec cat", withTerminal)];
    const third = await lab.create(["/bin/sh", "-c", "echo started; exit 3"]); // not started yet: it waits at its startChannel
    const leaving = await lab.exec(one, `${exit.wait}; exit 7`);
    const silent = await lab.exec(one, `${speak.wait}; echo spoken; sleep 1000`);
    const eating = await lab.exec(one, `${eat.wait}; exec sha256sum`);
    const input = randomBytes(1 << 20);
    const waits = {
      left: lab.wait(leaving), again: lab.wait(leaving), killed: lab.wait(silent),
      words: lab.read(silent), more: lab.read(silent), errors: lab.read(silent, 100, "stderr"), typed: lab.read(named(two)),
      written: client.writeStdin({ ...eating, data: input }), behind: client.writeStdin({ ...eating, data: Buffer.from("behind") }),
      late: outcome(client.waitProcess(silent, { timeoutMs: 60_000 })), oom: client.getOOMEvent({}),
    };
    const settled: string[] = [];
    for (const [name, wait] of Object.entries(waits)) (wait as Promise<unknown>).then(() => settled.push(name), () => settled.push(`${name} failed`));
    expect(await outcome(client.closeStdin(eating))).toBe("OK"); // the end comes behind what waits
    const half = request(1, HEALTH, "Check");
    const peer = connect(join(lab.agent.dir, "a.sock"));
    let answer = Buffer.alloc(0);
    peer.on("data", (d: Buffer) => (answer = Buffer.concat([answer, d])));
    peer.write(half.subarray(0, 13));
    for (let i = 0; i < 2; i++) {
      await client.check({}); // what was sent before it is with the agent
      await handOver(lab, () => client.check({}));
      expect(settled).toEqual([]);
    }
    peer.write(half.subarray(13));
    await until("the half frame is answered", () => answer.length >= 16);
    expect(answer.toString("hex")).toBe("00000006000000010200" + "0a0012020801");
    peer.destroy();

    speak.open();
    expect(await waits.words).toBe("spoken\n");
    eat.open();
    expect([await waits.written, await waits.behind]).toEqual([{ len: input.length }, { len: 6 }]);
    expect(await lab.readAll(eating)).toBe(`${sha(Buffer.concat([input, Buffer.from("behind")]))}  -\n`);
    expect(await lab.wait(eating)).toBe(0);
    exit.open();
    expect(await waits.left).toBe(7);
    expect(await outcome(waits.again)).toBe("OK");
    expect(await outcome(lab.wait(leaving))).toMatch(/^NOT_FOUND/);
    await lab.write(named(two), "hello\n");
    expect(await waits.typed).toMatch(/^(hello\r\n){1,2}$/); // the echo, and what cat writes if it was quick
    await client.ttyWinResize({ ...named(two), row: 33, column: 44 });
    expect((await lab.execRun(two, "stty size < /proc/1/fd/0")).stdout).toBe("33 44\n");
    await client.startContainer({ containerId: third });
    expect(await lab.readAll(named(third))).toBe("started\n");
    expect(await lab.wait(named(third))).toBe(3);
    await client.signalProcess({ ...silent, signal: 15 });
    expect([await waits.killed, await waits.late, await waits.more, await waits.errors]).toEqual([143, "OK", "", ""]);
    const hungry = await lab.up("x=$(yes | head -c 200000000)", (spec) => (spec.linux.resources["memory"] = { limit: 16 << 20, swap: 16 << 20 }));
    expect(await waits.oom).toEqual({ containerId: hungry });
    for (const id of [one, two, third, hungry]) await lab.remove(id);
    for (const { path } of latches) rmSync(path);
    expect((await lab.run("echo and further ones")).stdout).toBe("and further ones\n");
  });

  it("hears of every process that ends meanwhile", async () => {
    const id = await lab.up();
    for (let round = 0; round < 5; round++) {
      const some = await Promise.all(Array.from({ length: 8 }, () => lab.exec(id, "exec sleep 1000")));
      const ends = some.map((p) => lab.wait(p));
      const pids = spawnSync("pgrep", ["-P", String(lab.agent.pid), "-x", "sleep"], { encoding: "utf8" }).stdout.trim().split("\n");
      expect(pids.length).toBeGreaterThanOrEqual(8);
      process.kill(lab.agent.pid, "SIGUSR2");
      for (const pid of pids.slice(-8)) process.kill(Number(pid), "SIGTERM");
      expect(await Promise.all(ends)).toEqual(some.map(() => 143));
    }
    await lab.remove(id);
    await handOver(lab);
  });

  it("keeps replies that a client has not taken yet", async () => {
    const id = await lab.up("exec seq 1 300000");
    const peer = connect(join(lab.agent.dir, "a.sock"));
    const [field, text] = [(tag: number, body: Buffer) => Buffer.concat([Buffer.from([tag, body.length]), body]), (tag: number) => field(tag, Buffer.from(id))];
    const read = Buffer.concat([text(0x0a), text(0x12), Buffer.from([0x18, 0x80, 0x80, 0x01])]); // len: 16384
    peer.pause();
    for (let i = 0; i < 40; i++) peer.write(request(2 * i + 1, "grpc.AgentService", "ReadStdout", read));
    await lab.client.check({});
    await handOver(lab);
    await handOver(lab);
    let come = Buffer.alloc(0);
    const replies: Buffer[] = [];
    peer.on("data", (d: Buffer) => {
      come = Buffer.concat([come, d]);
      for (; come.length >= 10 && come.length >= 10 + come.readUInt32BE(0); come = come.subarray(10 + come.readUInt32BE(0))) replies.push(come.subarray(0, 10 + come.readUInt32BE(0)));
    });
    peer.resume();
    await until("all replies have come", () => replies.length === 40);
    expect(replies.map((r) => r.readUInt32BE(4))).toEqual(Array.from({ length: 40 }, (_, i) => 2 * i + 1));
    const data = Buffer.concat(replies.map(dataOf)).toString();
    const all = Array.from({ length: 300000 }, (_, i) => `${i + 1}\n`).join("");
    expect(data.length).toBeGreaterThan(300000);
    expect(data).toBe(all.slice(0, data.length));
    peer.destroy();
    await lab.remove(id);
  });

  it("keeps what the sandbox has: storages with their users, watched folders, routes, shared namespaces", async () => {
    const { client, agent } = lab;
    const base = "/run/kata-containers/shared/containers";
    const work = mkdtempSync(join(tmpdir(), "kata-handover-"));
    writeFileSync(join(work, "key"), "one");
    const shared = { driver: "bind", source: work, fstype: "bind", options: [], mountPoint: `${base}/handover` };
    const watched = { driver: "watchable-bind", source: work, fstype: "bind", options: [], mountPoint: `${base}/watchable/handover` };
    const ids = [lab.name(), lab.name()];
    const mounted = (): string => agent.inside(`grep -c ' ${base}/handover ' /proc/self/mountinfo || true`);
    try {
      agent.inside("ip link add h0 type veth peer name h1 && ip address add 10.77.0.1/24 dev h0 && ip link set h1 up && ip link set h0 up");
      await client.createContainer({ ...(lab.request(ids[0] as string, ["/bin/sleep", "1000"]) as object), storages: [shared, watched] } as never);
      await client.createContainer({ ...(lab.request(ids[1] as string, ["/bin/sleep", "1000"]) as object), storages: [shared] } as never);
      await client.updateRoutes({ routes: { routes: [{ dest: "10.78.0.0/16", device: "h0" }] } } as never);
      const limit = await hookLimit(lab, work);
      await handOver(lab);
      expect(await hookLimit(lab, work), "the limit of descriptors that the agent itself was started with").toBe(limit);
      expect(await outcome(client.updateRoutes({ routes: { routes: [] } } as never))).toBe("OK");
      expect(agent.inside("ip route show 10.78.0.0/16")).toBe("");
      await client.removeContainer({ containerId: ids[1] as string });
      expect(mounted()).toBe("1");
      writeFileSync(join(work, "key"), "another");
      await until("the change is followed", () => agent.inside(`cat ${base}/watchable/handover/key`) === "another");
      await handOver(lab);
      const names = (): string[] => ["-n", "-o"].map((which) => agent.inside(`readlink /proc/$(pgrep -P ${agent.pid} ${which})/ns/uts`));
      await client.startContainer({ containerId: ids[0] as string });
      const late = await lab.up();
      expect(new Set(names()).size, "the newest and the oldest are in the same").toBe(1);
      await lab.remove(late);
      await client.removeContainer({ containerId: ids[0] as string });
      expect(mounted()).toBe("0");
      expect(agent.inside(`ls -d ${base}/watchable/handover 2>/dev/null || echo gone`)).toBe("gone");
    } finally {
      for (const id of ids) await outcome(client.removeContainer({ containerId: id }));
      agent.inside(`ip link delete h0; umount ${base}/watchable; rm -r /run/kata-containers/shared`);
      rmSync(work, { recursive: true });
    }
  });

  it("waits for what is being done, and is given up when that takes long: nothing has happened then", async () => {
    const { client } = lab;
    const latch = new Latch(lab, `hook-${lab.name()}`);
    const id = lab.name();
    const slow = outcome(client.createContainer(lab.request(id, ["/bin/sleep", "1000"], (spec) => {
      spec["hooks"] = { prestart: [{ path: "/bin/sh", args: ["sh", "-c", `cat ${latch.path}`] }] };
    })));
    await client.check({});
    let checked: Promise<string> | undefined;
    await handOver(lab, () => (checked = outcome(client.check({}))), "handover: given up, the agent goes on as before: CreateContainer is being answered for more than 2000 ms");
    expect(await checked).toBe("OK");
    latch.open();
    expect(await slow).toBe("OK");
    await handOver(lab);
    await client.removeContainer({ containerId: id });
    rmSync(latch.path);
  });
});

/** The limit of descriptors that a hook has. */
async function hookLimit(lab: Lab, work: string): Promise<string> {
  const id = lab.name();
  await lab.client.createContainer(lab.request(id, ["/bin/true"], (spec) => (spec["hooks"] = { prestart: [{ path: "/bin/sh", args: ["sh", "-c", `ulimit -n > ${work}/limit`] }] })));
  await lab.client.removeContainer({ containerId: id });
  return readFileSync(join(work, "limit"), "utf8");
}

/** Descriptors of the agent that stay open over execve(2). */
function inheritable(lab: Lab): string[] {
  const dir = `/proc/${lab.agent.pid}/fdinfo`;
  return readdirSync(dir).filter((n) => (parseInt(/flags:\s+(\d+)/.exec(readFileSync(join(dir, n), "utf8"))?.[1] ?? "", 8) & 0o2000000) === 0);
}

/** The data of a ReadStreamResponse in a response frame: both lengths are varints of up to three bytes. */
function dataOf(frame: Buffer): Buffer {
  let at = 12; // the header, and a status that says nothing
  let length = 0;
  for (let level = 0; level < 2; level++) {
    length = 0;
    at++;
    for (let unit = 1; ; unit *= 128) {
      const byte = frame[at++] as number;
      length += (byte & 127) * unit;
      if (byte < 128) break;
    }
  }
  return frame.subarray(at, at + length);
}

suite("a handover over a serial port", { needs: ["sanitised agent", "program:socat"] }, () => {
  it("answers what was asked before, at its time, and goes on", async () => {
    const dir = mkdtempSync(join(tmpdir(), "kata-handover-"));
    writeFileSync(join(dir, "agent.toml"), `server_addr = "serial://${dir}/port"\n`);
    const wire = spawn("socat", [`PTY,link=${dir}/port,raw,echo=0`, `UNIX-LISTEN:${dir}/wire`], { stdio: "ignore" });
    let agent: ChildProcess | undefined;
    let peer: Socket | undefined;
    let log = "";
    let come = Buffer.alloc(0);
    try {
      await until("socat listens", () => existsSync(join(dir, "wire")) && existsSync(join(dir, "port")));
      peer = connect(join(dir, "wire"));
      peer.on("data", (d: Buffer) => (come = Buffer.concat([come, d])));
      agent = spawn(SANITISED, ["--config", join(dir, "agent.toml")], { stdio: ["ignore", "pipe", "ignore"] });
      agent.stdout?.on("data", (d: Buffer) => (log += d.toString()));
      await until("the agent serves", () => log.includes('"msg":"listening"'));
      peer.write(Buffer.concat([request(1, AGENT, "GetOOMEvent", new Uint8Array(0), 3e9), request(3, AGENT, "GetOOMEvent"), request(5, HEALTH, "Check")]));
      await until("Check is answered", () => come.includes(Buffer.from("00000006000000050200", "hex")));
      process.kill(agent.pid as number, "SIGUSR2");
      await until("the handover is done", () => log.includes('"msg":"handover: done, with 0 containers, 1 connections and 2 calls"'));
      await until("the call's time has passed", () => come.includes("timeout"));
      peer.write(request(7, HEALTH, "Check"));
      await until("Check is answered", () => come.includes(Buffer.from("00000006000000070200", "hex")));
      expect(come.includes(Buffer.from("0000000302", "hex"))).toBe(false); // the other one waits
    } finally {
      peer?.destroy();
      for (const child of [agent, wire]) {
        if (child === undefined) continue;
        const gone = once(child, "exit");
        child.kill("SIGKILL");
        await gone;
      }
      rmSync(dir, { recursive: true });
    }
  });
});

suite("a handover that fails", { needs: ["sanitised agent"] }, () => {
  it("before the new program has begun changes nothing, and may be asked for again", async () => {
    const dir = mkdtempSync(join(tmpdir(), "kata-handover-"));
    const binary = join(dir, "kata-agent.debug");
    copyFileSync(SANITISED, binary);
    const lab = await Lab.start("", ":", binary);
    try {
      const id = await lab.up();
      const p = await lab.exec(id, "exec cat");
      const [word, end] = [lab.read(p), lab.wait(p)];
      await lab.client.check({});
      const before = [lab.state(), inheritable(lab)];
      chmodSync(binary, 0o600);
      await handOver(lab, undefined, "handover: given up, the agent goes on as before: execve /proc/self/exe: EACCES");
      expect([lab.state(), inheritable(lab)]).toEqual(before);
      chmodSync(binary, 0o755);
      await handOver(lab);
      await lab.write(p, "word\n");
      expect(await word).toBe("word\n");
      await lab.client.closeStdin(p);
      expect(await end).toBe(0);
      await lab.remove(id);
    } finally {
      await lab.stop();
      rmSync(dir, { recursive: true });
    }
  });

  it.each([
    ["another version", '{"sandbox":{"version":99}}', "the record has version 99, and this agent knows version 1"],
    ["no record", "not JSON", "unexpected token"],
    ["no sandbox", "{}", "the record has version undefined"],
    ["a descriptor that is not open", JSON.stringify({ sandbox: { version: 1 }, config: {}, descriptors: [77] }), "descriptor 77 of the record is not open"],
  ])("for want of a record that can be taken up says so and ends: %s", (_, text, words) => {
    const dir = mkdtempSync(join(tmpdir(), "kata-handover-"));
    try {
      writeFileSync(join(dir, "record"), text);
      writeFileSync(join(dir, "agent.toml"), `server_addr = "unix://${join(dir, "a.sock")}"\n`);
      const fd = openSync(join(dir, "record"), "r");
      const { status, stderr } = spawnSync(SANITISED, ["--config", join(dir, "agent.toml")], { encoding: "utf8", env: { KATA_AGENT_RECORD: "3" }, stdio: ["ignore", "pipe", "pipe", fd] });
      closeSync(fd);
      expect([status, stderr]).toEqual([1, expect.stringContaining("kata-agent: fatal: cannot start: take up the record of the program before: ")]);
      expect(stderr).toContain(words);
      expect(existsSync(join(dir, "a.sock"))).toBe(false);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
