// Streams of a process joined to ours: what arrives, what is sent, and that a terminal is given back.
import { PassThrough, Writable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { connectAgent } from "../../../ctl/client/connect.js";
import type { AgentClient } from "../../../ctl/client/agent-client.js";
import { attach } from "../../../ctl/container/attach.js";
import { fakeAgent, type FakeAgent, type FakeAnswer, type FakeCall } from "../../helpers/fake-agent.js";

const open: (FakeAgent | AgentClient)[] = [];
afterEach(async () => {
  for (const item of open.splice(0).reverse()) await item.close();
});

const NAME = { containerId: "c", execId: "e" };

interface Script {
  stdout?: string[];
  stderr?: string[];
  status?: number;
  /** Answers of single calls in place of the usual ones. */
  answer?: (call: FakeCall) => FakeAnswer | Promise<FakeAnswer>;
}

/** A process that says what the script holds; the calls it got are in `calls`. */
const scripted = async (script: Script): Promise<{ client: AgentClient; calls: string[]; input: string[] }> => {
  const calls: string[] = [];
  const input: string[] = [];
  const agent = await fakeAgent((call) => {
    const own = script.answer?.(call);
    if (own !== undefined) return own;
    if (call.method === "Check") return { status: "SERVING" };
    calls.push(call.method === "TtyWinResize" ? `resize ${String(call.request["column"])}x${String(call.request["row"])}` : call.method);
    if (call.method === "ReadStdout") return { data: Buffer.from(script.stdout?.shift() ?? "") };
    if (call.method === "ReadStderr") return { data: Buffer.from(script.stderr?.shift() ?? "") };
    if (call.method === "WriteStdin") input.push(Buffer.from(call.request["data"] as Uint8Array).toString());
    return call.method === "WaitProcess" ? { status: script.status ?? 0 } : {};
  });
  open.push(agent);
  const client = await connectAgent(`unix://${agent.path}`);
  open.push(client);
  return { client, calls, input };
};

const sinks = (): { stdin: PassThrough; stdout: PassThrough; stderr: PassThrough } => ({ stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() });

describe("attach", () => {
  it("carries both outputs apart and gives the exit status, asked for only after their ends", async () => {
    const { client, calls } = await scripted({ stdout: ["out ", "more"], stderr: ["err"], status: 7 });
    const io = sinks();
    expect(await attach(client, NAME, { terminal: false, interactive: false, ...io })).toBe(7);
    expect(io.stdout.read()?.toString()).toBe("out more");
    expect(io.stderr.read()?.toString()).toBe("err");
    expect(calls.filter((call) => call === "WaitProcess")).toHaveLength(1);
    expect(calls.at(-1)).toBe("WaitProcess");
    expect(calls).toContain("CloseStdin");
  });

  it("sends input to its end and then closes it", async () => {
    let closed: () => void = () => undefined;
    const end = new Promise<void>((resolve) => (closed = resolve));
    const { client, input } = await scripted({
      answer: (call) => {
        if (call.method === "CloseStdin") closed();
        return call.method === "ReadStdout" ? end.then(() => ({ data: new Uint8Array() })) : undefined;
      },
    });
    const io = sinks();
    io.stdin.end("typed");
    expect(await attach(client, NAME, { terminal: false, interactive: true, ...io })).toBe(0);
    expect(input).toEqual(["typed"]);
  });

  it("ends although input never ends", async () => {
    const { client } = await scripted({ status: 3 });
    const io = sinks();
    expect(await attach(client, NAME, { terminal: false, interactive: true, ...io })).toBe(3);
    expect(io.stdin.destroyed).toBe(true);
  });

  it("reads on when our own reader has gone, so that the process can end", async () => {
    const { client, calls } = await scripted({ stdout: ["a", "b", "c"], status: 0 });
    const gone = new Writable({ write: (_data, _encoding, done) => done(Object.assign(new Error("EPIPE"), { code: "EPIPE" })) });
    expect(await attach(client, NAME, { terminal: false, interactive: false, ...sinks(), stdout: gone })).toBe(0);
    expect(calls.filter((call) => call === "ReadStdout")).toHaveLength(4);
  });

  it("puts a terminal in raw mode, follows its size, reads one stream, and gives the mode back", async () => {
    const { client, calls } = await scripted({ stdout: ["$ "] });
    const modes: boolean[] = [];
    const io = sinks();
    const stdin = Object.assign(io.stdin, { isTTY: true });
    const makeRaw = (): (() => void) => (modes.push(true), () => void modes.push(false));
    const stdout = Object.assign(io.stdout, { columns: 80, rows: 24 });
    await attach(client, NAME, { terminal: true, interactive: true, ...io, stdin, stdout, makeRaw });
    expect(modes).toEqual([true, false]);
    expect(calls[0]).toBe("resize 80x24");
    expect(calls).not.toContain("ReadStderr");
    expect(stdout.listenerCount("resize")).toBe(0);
  });

  it("gives the terminal back when the connection is lost", async () => {
    const { client } = await scripted({ answer: (call) => (call.method === "ReadStdout" ? (call.socket.destroy(), undefined) : undefined) });
    const modes: boolean[] = [];
    const io = sinks();
    const stdin = Object.assign(io.stdin, { isTTY: true });
    const makeRaw = (): (() => void) => (modes.push(true), () => void modes.push(false));
    await expect(attach(client, NAME, { terminal: true, interactive: true, ...io, stdin, makeRaw })).rejects.toThrow(/connection (closed|lost)/);
    expect(modes).toEqual([true, false]);
  });

  it("drops what a reader that rests does not take once our user wants to leave and the process has ended, and not before", async () => {
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const { client, calls } = await scripted({ stdout: ["a", "b", "c"], answer: (call) => (call.method === "WaitProcess" ? ended.then(() => ({ status: 4 })) : undefined) });
    const leave = new AbortController();
    const taken: string[] = [];
    const resting = new Writable({ write: (data: Buffer) => void (taken.push(data.toString()), leave.abort(), setImmediate(end)) }); // it never says that it is done
    expect(await attach(client, NAME, { terminal: false, interactive: false, ...sinks(), stdout: resting, leave: leave.signal })).toBe(4);
    expect(taken).toEqual(["a"]);
    expect(calls.filter((call) => call === "ReadStdout")).toHaveLength(4); // to its end, for the guest
  });

  it("drops it at once where the process has a terminal, whose end may wait for that", async () => {
    const { client } = await scripted({ stdout: ["a", "b"], status: 9 });
    const resting = new Writable({ write: () => undefined });
    expect(await attach(client, NAME, { terminal: true, interactive: false, ...sinks(), stdout: resting, leave: AbortSignal.abort() })).toBe(9);
  });

  it("gives all to a reader that takes it, also when our user wants to leave", async () => {
    const { client } = await scripted({ stdout: ["a", "b", "c"] });
    const io = sinks();
    await attach(client, NAME, { terminal: false, interactive: false, ...io, leave: AbortSignal.abort() });
    expect(io.stdout.read()?.toString()).toBe("abc");
  });

  it("ends the process's input when ours is torn off, as a terminal that is hung up", async () => {
    let closed: () => void = () => undefined;
    const end = new Promise<void>((resolve) => (closed = resolve));
    const { client } = await scripted({ answer: (call) => (call.method === "CloseStdin" ? closed() : undefined, call.method === "ReadStdout" ? end.then(() => ({ data: new Uint8Array() })) : undefined) });
    const io = sinks();
    const attached = attach(client, NAME, { terminal: false, interactive: true, ...io });
    io.stdin.destroy(Object.assign(new Error("read EIO"), { code: "EIO" }));
    expect(await attached).toBe(0);
  });

  it("lets no terminal of ours wait for its reader", async () => {
    const { client } = await scripted({});
    const waits: boolean[] = [];
    const io = sinks();
    const stdout = Object.assign(io.stdout, { _handle: { setBlocking: (on: boolean) => void waits.push(on) } });
    await attach(client, NAME, { terminal: true, interactive: false, ...io, stdout });
    expect(waits).toEqual([false]);
  });
});
