// The ttRPC server of the real binary, over a unix socket: what peers do wrong costs them, not the agent. Needs dist/kata-agent
// (make agent); runs as any user.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AGENT, HEALTH, encoded, frame, request } from "../unit/rpc/memory-channel.js";
import { suite, when } from "../helpers/suite.js";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
/** The binary as shipped and its twin with ASAN and UBSAN (skipped where it has not been built). */
const BINARIES = ["kata-agent", "kata-agent.debug"];

const HEADER = 10;

interface Agent { readonly process: ChildProcess; readonly path: string; readonly log: () => string; stop(): Promise<void> }

const until = async (what: string, good: () => boolean | Promise<boolean>, ms = 120_000): Promise<void> => {
  const end = Date.now() + ms;
  while (!(await good())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setImmediate(done));
  }
};

const startAgent = async (binary: string, descriptors = 1024): Promise<Agent> => {
  const home = mkdtempSync(join(tmpdir(), "kata-rpc-"));
  const path = join(home, "agent.sock");
  writeFileSync(join(home, "agent.toml"), `server_addr = "unix://${path}"\nlog_level = "critical"\n`);
  let log = "";
  const child = spawn("sh", ["-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", join(dist, binary), "--config", join(home, "agent.toml")], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout?.on("data", (d: Buffer) => (log += d.toString()));
  child.stderr?.on("data", (d: Buffer) => (log += d.toString()));
  await until("the agent listens", () => {
    if (child.exitCode !== null) throw new Error(`the agent ended: ${log}`);
    // the file is there a moment before anybody listens: proc_net(5), flag __SO_ACCEPTCON
    return readFileSync("/proc/net/unix", "utf8").split("\n").some((line) => line.endsWith(` ${path}`) && line.includes(" 00010000 "));
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await until("the agent is gone", () => child.exitCode !== null || child.signalCode !== null);
    rmSync(home, { recursive: true, force: true });
  };
  return { process: child, path, log: () => log, stop };
};

class Peer {
  received = Buffer.alloc(0);
  closed = false;
  constructor(readonly socket: Socket) {
    socket.on("data", (d: Buffer) => (this.received = Buffer.concat([this.received, d])));
    socket.on("close", () => (this.closed = true));
    socket.on("error", () => undefined);
  }
  static async to(path: string): Promise<Peer> {
    const socket = connect(path);
    const peer = new Peer(socket);
    await new Promise<void>((done, fail) => socket.once("connect", () => done()).once("error", fail));
    return peer;
  }
  /** Waits for one reply frame and takes it. */
  async reply(): Promise<Buffer> {
    await until("a reply comes", () => {
      if (this.closed) throw new Error("the agent closed the connection");
      return this.received.length >= 10 && this.received.length >= 10 + this.received.readUInt32BE(0);
    });
    const end = 10 + this.received.readUInt32BE(0);
    const whole = this.received.subarray(0, end);
    this.received = this.received.subarray(end);
    return whole;
  }
  async serves(stream = 1): Promise<void> {
    this.socket.write(request(stream, HEALTH, "Check"));
    expect((await this.reply()).toString("hex")).toBe(`00000006${stream.toString(16).padStart(8, "0")}02000a0012020801`);
  }
}

for (const binary of BINARIES) suite(`the server in dist/${binary}`, { needs: [when(existsSync(join(dist, binary)), `needs dist/${binary}`)] }, () => {
  let agent: Agent;
  const descriptors = (): number => readdirSync(`/proc/${agent.process.pid}/fd`).length;
  const memory = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${agent.process.pid}/status`, "utf8"))?.[1]);

  beforeAll(async () => {
    agent = await startAgent(binary);
  });
  afterAll(() => agent?.stop());

  it("answers Check, and UNIMPLEMENTED or INVALID_ARGUMENT for what it does not know", async () => {
    const peer = await Peer.to(agent.path);
    await peer.serves();
    for (const [service, method, code] of [[HEALTH, "Fly", 12], [AGENT, "Fly", 12], ["grpc.Nobody", "Check", 3]] as const) {
      peer.socket.write(request(3, service, method));
      const reply = await peer.reply();
      expect([reply.readUInt32BE(4), reply[8], reply[12], reply[13]], method).toEqual([3, 2, 8, code]);
    }
    peer.socket.destroy();
  });

  it("passes over a frame above the limit and takes the largest one", async () => {
    const peer = await Peer.to(agent.path);
    peer.socket.write(frame(5, new Uint8Array(6_000_000)));
    expect((await peer.reply()).toString("latin1")).toContain("message length 6000000 exceed maximum message size of 4194304");
    const largest = request(7, HEALTH, "Check", encoded("grpc.CheckRequest", { service: "x".repeat(4194304 - 30) }));
    expect(largest.length).toBe(4194304 + HEADER);
    peer.socket.write(largest);
    expect((await peer.reply()).toString("hex")).toBe("000000060000000702000a0012020801");
    await peer.serves(9);
    peer.socket.destroy();
    const small = await Peer.to(agent.path);
    await small.serves();
    small.socket.destroy();
  });

  it("gives descriptors back, however a connection ends", async () => {
    await until("the earlier ones are gone", () => descriptors() < 20);
    const before = descriptors();
    for (let round = 0; round < 5; round++) {
      const peers = await Promise.all(Array.from({ length: 40 }, () => Peer.to(agent.path)));
      peers.forEach((peer, i) => {
        if (i % 4 === 0) peer.socket.write(frame(1, [1, 2, 3], 1, 0, 500)); // half a frame
        if (i % 4 === 1) peer.socket.write(request(1, HEALTH, "Check").subarray(0, 7)); // half a header
        if (i % 4 === 2) peer.socket.write(Buffer.alloc(3000, 0xff)); // garbage: a frame that never ends
        if (i % 4 === 3) peer.socket.write(request(1, HEALTH, "Check"));
      });
      await (peers[3] as Peer).reply();
      for (const peer of peers) peer.socket.destroy();
    }
    await until("all are closed", () => descriptors() <= before); // some of the earlier tests' may have been open still
  });

  it("does not grow for a peer that sends and never reads, and serves the others meanwhile", async () => {
    const start = memory("RssAnon");
    const greedy = connect(agent.path);
    greedy.on("error", () => undefined);
    greedy.pause();
    const many = Buffer.concat(Array.from({ length: 1000 }, (_v, i) => request(2 * i + 1, AGENT, "Fly".repeat(30))));
    let stuck = false;
    for (let i = 0; i < 400 && !stuck; i++) {
      greedy.write(many);
      await new Promise((done) => setImmediate(done));
      stuck = greedy.writableLength > 20_000_000;
    }
    const other = await Peer.to(agent.path);
    await other.serves();
    expect(greedy.writableLength).toBeGreaterThan(0);
    if (!binary.endsWith(".debug")) expect(memory("RssAnon") - start).toBeLessThan(2048); // the twin quarantines what is freed
    greedy.destroy();
    await other.serves(3);
    other.socket.destroy();
  });

  it("lives on when connections use its descriptors up, and takes new ones when some are free again", async () => {
    const poor = await startAgent(binary, 24);
    try {
      const peers = await Promise.all(Array.from({ length: 40 }, () => Peer.to(poor.path)));
      await (peers[0] as Peer).serves();
      for (const peer of peers.slice(1)) peer.socket.destroy();
      const late = await Peer.to(poor.path);
      await late.serves();
      expect(poor.process.exitCode).toBe(null);
    } finally {
      await poor.stop();
    }
  });
});
