// The client against a server that answers, is slow, talks garbage or goes away.
import { afterEach, describe, expect, it } from "vitest";
import { connectAgent } from "../../../ctl/client/connect.js";
import { RpcError } from "../../../ctl/client/rpc-error.js";
import { collectStream, writeStream } from "../../../ctl/client/stdio.js";
import { schema } from "../../../ctl/client/schema.js";
import type { AgentClient } from "../../../ctl/client/agent-client.js";
import { fakeAgent, responseFrame, type FakeAgent, type FakeCall, type FakeHandler } from "../../helpers/fake-agent.js";

const open: (FakeAgent | AgentClient)[] = [];
afterEach(async () => {
  for (const item of open.splice(0).reverse()) await item.close();
});

const pair = async (handler: FakeHandler): Promise<{ agent: FakeAgent; client: AgentClient }> => {
  const agent = await fakeAgent((call) => (call.method === "Check" ? { status: "SERVING" } : handler(call)));
  open.push(agent);
  const client = await connectAgent(`unix://${agent.path}`);
  open.push(client);
  return { agent, client };
};

const failure = async (promise: Promise<unknown>): Promise<RpcError> => {
  const error = await promise.then(() => new Error("it did not fail"), (e: unknown) => e);
  expect(error).toBeInstanceOf(RpcError);
  return error as RpcError;
};

describe("agent client", () => {
  it("has a function for each of the 44 calls", async () => {
    const { client } = await pair(() => undefined);
    const names = [...schema().methods.keys()];
    expect(names).toHaveLength(44);
    for (const name of names) expect(typeof (client as unknown as Record<string, unknown>)[name.charAt(0).toLowerCase() + name.slice(1)]).toBe("function");
  });

  it("sends the service, method and fields, and gives plain objects back", async () => {
    const seen: FakeCall[] = [];
    const { client } = await pair((call) => {
      seen.push(call);
      return { cgroupStats: { memoryStats: { usage: { usage: "9007199254740991" } } } };
    });
    const stats = await client.statsContainer({ containerId: "c1" }, { metadata: { namespace: "default" }, timeoutMs: 5_000 });
    expect(stats.cgroupStats?.memoryStats?.usage?.usage).toBe(9007199254740991);
    expect(stats.cgroupStats?.cpuStats).toBeUndefined();
    expect(stats.networkStats).toEqual([]);
    expect(seen[0]).toMatchObject({ service: "grpc.AgentService", method: "StatsContainer", request: { containerId: "c1" }, timeoutNano: 5e9, metadata: [{ key: "namespace", value: "default" }] });
  });

  it("refuses a name that is no field, at any depth, instead of leaving it out", async () => {
    const { client } = await pair(() => ({}));
    const wrong = [{ container_id: "c" }, { oci: { Process: {} } }, { oci: { mounts: [{ destination: "/", from: "x" }] } }, { storages: [{ __proto__: null, constructor: "x" }] }];
    const names = await Promise.all(wrong.map(async (request) => (await failure(client.createContainer(request as never))).message));
    expect(names).toEqual(["CreateContainerRequest has no field container_id", "Spec has no field Process", "Mount has no field from", "Storage has no field constructor"].map((text) => `request cannot be encoded: ${text}`));
    await expect(client.createContainer({ containerId: "c", oci: { annotations: { "any name": "x" } } })).resolves.toEqual({});
  });

  it("carries 64-bit limits exactly when they come as bigint", async () => {
    let request: Record<string, unknown> = {};
    const { client } = await pair((call) => ((request = call.request), {}));
    await client.execProcess({ containerId: "c", execId: "e", process: { rlimits: [{ type: "RLIMIT_NOFILE", hard: 0xffffffffffffffffn, soft: 1024 }] } });
    expect(request).toMatchObject({ process: { rlimits: [{ hard: "18446744073709551615", soft: "1024" }] } });
  });

  it("matches answers that come in the opposite order", async () => {
    const held: FakeCall[] = [];
    const { client } = await pair((call) => {
      held.push(call);
      if (held.length === 3) for (const c of [...held].reverse()) c.socket.write(responseFrame(c.streamId, "WaitProcess", { status: Number(c.request["execId"]) }));
      return undefined;
    });
    const waits = ["1", "2", "3"].map((execId) => client.waitProcess({ containerId: "c", execId }));
    expect((await Promise.all(waits)).map((w) => w.status)).toEqual([1, 2, 3]);
    expect(held.map((c) => c.streamId % 2)).toEqual([1, 1, 1]);
  });

  it("answers a thousand calls at once", async () => {
    const { client } = await pair((call) => ({ status: Number(call.request["execId"] ?? 0) }));
    const calls = Array.from({ length: 1000 }, (_, i) => client.waitProcess({ containerId: "c", execId: String(i) }));
    expect((await Promise.all(calls)).map((r) => r.status)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(client.connection.openCalls).toBe(0);
  });

  it("turns a status into an error with code, name, method and text", async () => {
    const { client } = await pair(() => ({ status: { code: 5, message: "no such container: c1" } }));
    const error = await failure(client.startContainer({ containerId: "c1" }));
    expect(error).toMatchObject({ code: 5, codeName: "NOT_FOUND", method: "StartContainer", message: "no such container: c1" });
    expect(String(error)).toBe("StartContainer: NOT_FOUND: no such container: c1");
    await expect(client.check()).resolves.toEqual({ status: "SERVING" });
  });

  it("gives up at the deadline and ignores the late answer", async () => {
    let late: FakeCall | undefined;
    const { client } = await pair((call) => ((late = call), undefined));
    const error = await failure(client.startContainer({ containerId: "c" }, { timeoutMs: 30 }));
    expect(error.codeName).toBe("DEADLINE_EXCEEDED");
    if (late === undefined) throw new Error("the server saw no call");
    late.socket.write(responseFrame(late.streamId, "StartContainer", {}));
    await expect(client.check()).resolves.toEqual({ status: "SERVING" });
  });

  it("puts no limit on long polls and one on the others", async () => {
    const limits = new Map<string, number>();
    const { client } = await pair((call) => (limits.set(call.method, call.timeoutNano), {}));
    await Promise.all([client.waitProcess(), client.getOOMEvent(), client.readStdout(), client.startContainer()]);
    expect(Object.fromEntries(limits)).toEqual({ WaitProcess: 0, GetOOMEvent: 0, ReadStdout: 0, StartContainer: 60e9 });
  });

  it("can be cancelled by a signal", async () => {
    const { client } = await pair(() => undefined);
    const stop = new AbortController();
    const wait = failure(client.waitProcess({}, { signal: stop.signal }));
    stop.abort();
    expect((await wait).codeName).toBe("CANCELLED");
    expect((await failure(client.waitProcess({}, { signal: stop.signal }))).codeName).toBe("CANCELLED");
  });

  it("fails every open call and every later one when the connection is lost", async () => {
    const { agent, client } = await pair((call) => {
      if (call.request["execId"] === "last") for (const socket of agent.sockets) socket.destroy();
      return undefined;
    });
    const errors = await Promise.all(["first", "last"].map((execId) => failure(client.waitProcess({ execId }))));
    expect(errors.map((e) => [e.codeName, e.method])).toEqual([["UNAVAILABLE", "WaitProcess"], ["UNAVAILABLE", "WaitProcess"]]);
    expect((await failure(client.check())).codeName).toBe("UNAVAILABLE");
    expect(client.connection.open).toBe(false);
  });

  it("says when the connection was cut in the middle of a frame", async () => {
    const { client } = await pair((call) => {
      call.socket.end(responseFrame(call.streamId, "WaitProcess", { status: 1 }).subarray(0, 12));
      return undefined;
    });
    expect((await failure(client.waitProcess())).message).toMatch(/in the middle of a frame/);
  });

  it("drops the connection when the server talks garbage", async () => {
    const { client } = await pair((call) => (call.socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"), undefined));
    const error = await failure(client.waitProcess());
    expect(error.codeName).toBe("UNAVAILABLE");
    expect(error.message).toMatch(/not a ttRPC stream/);
  });

  it("blames one call when its answer is malformed", async () => {
    const { client } = await pair((call) => {
      call.socket.write(Buffer.concat([Buffer.from([0, 0, 0, 2, 0, 0, 0, call.streamId, 2, 0]), Buffer.from([0x12, 0x7f])]));
      return undefined;
    });
    expect((await failure(client.waitProcess())).message).toMatch(/cannot be decoded/);
    await expect(client.check()).resolves.toEqual({ status: "SERVING" });
  });

  it("refuses a request that does not fit a frame, without harm to the connection", async () => {
    const { client } = await pair(() => ({ len: 1 }));
    const error = await failure(client.writeStdin({ data: new Uint8Array(4 * 1024 * 1024) }));
    expect(error.codeName).toBe("RESOURCE_EXHAUSTED");
    await expect(client.check()).resolves.toEqual({ status: "SERVING" });
  });

  it("reads a stream to its end and writes one to its close", async () => {
    const pieces = ["hello ", "world", ""];
    const written: string[] = [];
    const { client } = await pair((call) => {
      if (call.method === "ReadStdout") return { data: Buffer.from(pieces.shift() ?? "") };
      written.push(call.method === "WriteStdin" ? Buffer.from(call.request["data"] as Uint8Array).toString() : call.method);
      return {};
    });
    const name = { containerId: "c", execId: "c" };
    expect((await collectStream(client, name, "stdout")).toString()).toBe("hello world");
    await writeStream(client, name, (async function* () { yield Buffer.alloc(40_000, "x"); })());
    expect(written.map((w) => w.length)).toEqual([32768, 7232, "CloseStdin".length]);
  });
});
