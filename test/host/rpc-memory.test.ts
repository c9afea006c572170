// What peers can make the agent keep: half frames, input that no process reads, replies that nobody takes, calls that wait. All of it is
// bounded, is given back, and costs the peers who do it, not the host that talks to the agent meanwhile.
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { CODE } from "../../ctl/client/rpc-error.js";
import { Lab, named, outcome, until, type Json } from "../helpers/lab.js";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";
import { AGENT, encoded, frame, request } from "../unit/rpc/memory-channel.js";

const sanitised = BINARY.endsWith(".debug"); // it never gives memory back
const MB = 1024; // in kB

/** A connection whose replies are counted. */
class Raw {
  received = Buffer.alloc(0);
  closed = false;
  readonly codes: number[] = [];
  constructor(readonly socket: Socket) {
    socket.on("data", (d: Buffer) => this.take(d));
    socket.on("close", () => (this.closed = true));
    socket.on("error", () => undefined);
  }
  private take(d: Buffer): void {
    this.received = Buffer.concat([this.received, d]);
    while (this.received.length >= 10 && this.received.length >= 10 + this.received.readUInt32BE(0)) {
      const end = 10 + this.received.readUInt32BE(0);
      this.codes.push(this.received[11] === 0 ? 0 : (this.received[13] as number)); // an empty status, or its field 1
      this.received = this.received.subarray(end);
    }
  }
}

suite("peers that want memory", { needs: ["agent"] }, () => {
  let lab: Lab;
  let before: Json;
  beforeAll(async () => {
    lab = await Lab.start("", "ulimit -Sn 8192");
    before = lab.state();
  });
  afterAll(() => lab?.stop());
  const open: Raw[] = [];
  afterEach(async () => {
    for (const r of open.splice(0)) r.socket.destroy();
    await lab.settled(before);
  });
  const raw = async (): Promise<Raw> => {
    for (;;) {
      const socket = connect(join(lab.agent.dir, "a.sock"));
      const failed = await new Promise<Error | undefined>((done) => socket.once("connect", () => done(undefined)).once("error", done));
      if (failed !== undefined && "code" in failed && failed.code === "EAGAIN") continue; // connect(2): the agent has not taken the last ones yet
      if (failed !== undefined) throw failed;
      const made = new Raw(socket);
      open.push(made);
      return made;
    }
  };
  const many = async (n: number): Promise<Raw[]> => {
    const all: Raw[] = [];
    for (let i = 0; i < n; i += 50) all.push(...(await Promise.all(Array.from({ length: Math.min(50, n - i) }, raw))));
    return all;
  };
  const drop = async (all: Raw[]): Promise<void> => {
    for (const r of all) r.socket.destroy();
    await until("the agent has closed them", () => lab.fds() <= (before["descriptors"] as number) + 8);
  };
  /** Bytes that nobody has read of what was written to the sockets, are none: the agent has them. */
  const taken = (all: Raw[]): Promise<void> => until("everything has been sent", () => all.every((r) => r.closed || r.socket.writableLength === 0), 120_000);

  it.each([
    ["a header that announces the largest frame", 200, frame(1, [0x0a], 1, 0, 4194304)],
    ["three bytes", 1500, Buffer.from([0, 0, 0])],
    ["nothing", 1500, Buffer.alloc(0)],
  ])("get none for %s", async (_what, n, bytes) => {
    const use = async (): Promise<number> => {
      const start = lab.anon();
      const all = await many(n);
      if (bytes.length > 0) for (const r of all) r.socket.write(bytes);
      await taken(all);
      await lab.client.check();
      const used = lab.anon() - start;
      await drop(all);
      return used;
    };
    await use(); // what stays is used again
    const start = lab.anon();
    const used = await use();
    if (sanitised) return;
    expect(used).toBeLessThan(n * 3);
    expect(lab.anon() - start).toBeLessThan(512);
  });

  it("are closed when their half frames are too much, and the one that talks is not", async () => {
    const start = lab.anon();
    const host = await lab.another();
    await host.check();
    const all = await many(60);
    const half = Buffer.concat([frame(1, [0x0a], 1, 0, 4194304), Buffer.alloc(1 << 20)]);
    let most = 0;
    for (const r of all) {
      r.socket.write(half);
      await host.check();
      most = Math.max(most, lab.anon() - start);
    }
    await taken(all);
    await until("some of them are closed", () => all.some((r) => r.closed));
    most = Math.max(most, lab.anon() - start);
    if (!sanitised) expect(most).toBeLessThan(32 * MB);
    await host.check();
    // the largest request of the host still goes through, also when all others have been served later than it
    expect(await outcome(host.setPolicy({ policy: "x".repeat(4_000_000) }))).toMatch(/^NOT_FOUND/);
    const served = await many(40);
    for (const r of served) r.socket.write(request(1, AGENT, "Fly"));
    await until("they have been answered", () => served.every((r) => r.codes.length === 1));
    for (const r of served) r.socket.write(half);
    await taken(served);
    expect(await outcome(host.setPolicy({ policy: "x".repeat(4_000_000) }))).toMatch(/^NOT_FOUND/);
    await until("some of them are closed", () => served.some((r) => r.closed));
    await drop([...all, ...served]);
    host.close();
    await until("the memory is back", () => sanitised || lab.anon() - start < 2 * MB);
  });

  it("cannot make it keep replies that they do not take", async () => {
    const start = lab.anon();
    const all = await many(100);
    const asks = Buffer.concat(Array.from({ length: 150 }, (_, i) => request(2 * i + 1, AGENT, "Fly".repeat(2000)))); // the name is in the reply
    for (const r of all) {
      r.socket.pause();
      r.socket.write(asks);
    }
    await until("no more is taken", async () => {
      const left = all.map((r) => r.socket.writableLength).join();
      for (let i = 0; i < 20; i++) await lab.client.check();
      return left === all.map((r) => r.socket.writableLength).join();
    }, 240_000);
    if (!sanitised) expect(lab.anon() - start).toBeLessThan(32 * MB);
    await drop(all);
    await until("the memory is back", () => sanitised || lab.anon() - start < 2 * MB);
  });

  it("can have only so much input wait, and it is given back", async () => {
    const id = await lab.up();
    const start = lab.anon();
    const all = await many(4);
    const writes = (r: Raw, from: number): void => {
      for (let i = 0; i < 50; i++) r.socket.write(request(from + 2 * i, AGENT, "WriteStdin", encoded("grpc.WriteStreamRequest", { containerId: id, data: new Uint8Array(1 << 20) })));
    };
    for (const r of all) writes(r, 1);
    await until("all but a few are refused", () => all.reduce((n, r) => n + r.codes.length, 0) >= 192, 120_000);
    expect(new Set(all.flatMap((r) => r.codes))).toEqual(new Set([CODE.RESOURCE_EXHAUSTED]));
    if (!sanitised) expect(lab.anon() - start).toBeLessThan(20 * MB);
    // a process that reads is served: nothing but the bytes that wait is refused
    const reader = await lab.exec(id, "exec cat");
    expect(await lab.write(reader, "a")).toEqual({ len: 1 });
    expect(await lab.read(reader)).toBe("a");
    for (const r of all) r.socket.destroy();
    await until("the memory is back", () => sanitised || lab.anon() - start < 2 * MB);
    await lab.client.writeStdin({ ...reader, data: Buffer.alloc(1000) });
    await lab.remove(id);
  });

  it("may wait for one stream by the hundred, and each gets an answer", async () => {
    const id = await lab.up("read x; echo done");
    const clients = await Promise.all([lab.another(), lab.another()]);
    const reads = clients.flatMap((c) => Array.from({ length: 650 }, () => outcome(c.readStdout({ ...named(id), len: 10 }).then((r) => {
      if (r.data.length > 0) throw new Error(Buffer.from(r.data).toString());
    }))));
    for (const c of clients) await c.check();
    await lab.write(named(id), "\n");
    const said = await Promise.all(reads);
    expect(said.filter((s) => s.startsWith("Error: done"))).toHaveLength(1);
    expect(said.filter((s) => s === "OK")).toHaveLength(1024);
    expect(said.filter((s) => /^RESOURCE_EXHAUSTED: more than 1024 calls wait to read one stream/.test(s))).toHaveLength(1300 - 1025);
    for (const c of clients) c.close();
    await lab.remove(id);
  });

  it("may wait for one process by the thousand, and go or be told", async () => {
    const id = await lab.up("read x; exit 5");
    const clients = await Promise.all([lab.another(), lab.another()]);
    const waits = clients.map((c) => Array.from({ length: 4000 }, () => outcome(c.waitProcess(named(id)))));
    for (const c of clients) await c.check();
    clients[0]?.close();
    await lab.client.check();
    await lab.write(named(id), "\n");
    expect(new Set(await Promise.all(waits[1] ?? []))).toEqual(new Set(["OK"]));
    await Promise.all(waits[0] ?? []);
    clients[1]?.close();
    await lab.remove(id);
  });

  it("cannot fill it with processes that nobody asks for", async () => {
    const id = await lab.up();
    const counted = (): number => lab.fds();
    const start = counted();
    const client = await lab.another();
    for (let i = 0; i < 120; i++) await client.execProcess({ containerId: id, execId: `e${i}`, process: { args: ["/bin/true"], cwd: "/", user: {} } } as never);
    client.close();
    await until("the connection is closed", () => counted() <= start + 120 * 3);
    for (let i = 0; i < 70; i++) await lab.execRun(id, "true");
    await until("most are forgotten", () => counted() <= start + 64 * 3);
    expect(await outcome(lab.wait(named(id, "e0")))).toMatch(/^NOT_FOUND/);
    expect(await lab.wait(named(id, "e119"))).toBe(0);
    expect(readFileSync(`/proc/${lab.agent.pid}/status`, "utf8")).toContain("kata-agent");
    await lab.remove(id);
  });
});
