import "../../helpers/fake-native.js";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Call } from "../../../agent/rpc/call.js";
import type { Handlers } from "../../../agent/rpc/methods.js";
import { AGENT, HEALTH, MemoryChannel, decoded, encoded, frame, request } from "./memory-channel.js";

const turn = vi.hoisted(() => ({ isOver: (): boolean => false }));
vi.mock("../../../agent/lib/loop.js", () => ({
  turnIsOver: () => turn.isOver(),
  after: (ms: number, run: () => void) => {
    const t = setTimeout(run, ms);
    return { cancel: () => clearTimeout(t) };
  },
  watch: () => ({ modify: () => undefined, close: () => undefined }),
}));
vi.mock("../../../agent/lib/log.js", () => ({ log: () => undefined, logs: () => false, Level: {} }));

const { Server } = await import("../../../agent/rpc/server.js");
const { DATA_AT, MAX_READ } = await import("../../../agent/rpc/reply.js");
const { inspect } = await import("../../../agent/rpc/dispatch.js");
const { LATER, serve, serveLazily } = await import("../../../agent/rpc/methods.js");
const { AppError } = await import("../../../agent/lib/errors.js");

const pending: { id: string; call: Call }[] = [];
const cancelled: string[] = [];
const kept: Uint8Array[] = [];
let loads = 0;
const started: string[] = [];

serve({
  Check: () => ({ status: 1 }),
  Version: () => ({ grpcVersion: "0.0.1", agentVersion: "t" }),
  StartContainer: (r) => {
    started.push(r.containerId);
  },
  WaitProcess: (r, call) => {
    started.push(r.containerId);
    pending.push({ id: r.containerId, call });
    call.onCancel = () => cancelled.push(r.containerId);
    return LATER;
  },
  GetMetrics: () => ({ metrics: "m".repeat(4194304) }),
  GetOOMEvent: async () => {
    await Promise.resolve();
    return { containerId: "oom" };
  },
  PauseContainer: async () => {
    await Promise.resolve();
    throw new AppError("not-found", "no container p");
  },
  ResumeContainer: () => {
    throw new TypeError("a bug");
  },
  ReadStdout: (r, call) => {
    call.room(r.len).fill(7, DATA_AT, DATA_AT + r.len);
    call.replyBytes(r.len);
    return LATER;
  },
  CopyFile: (r) => {
    kept.push(r.data);
  },
  WriteStdin: (r) => ({ len: r.data.length }),
  StatsContainer: () => ({ networkStats: [{ rxBytes: "x" as unknown as number }] }),
});
serveLazily("network", () => {
  loads++;
  return { ListRoutes: () => ({ routes: [{ dest: "d" }] }) } as unknown as Handlers<"network">;
});

const connect = (endless = false): MemoryChannel => {
  const channel = new MemoryChannel(endless);
  channel.owner = server.attach(channel);
  return channel;
};
let server = new Server();
const id = (containerId: string): Uint8Array => encoded("grpc.StartContainerRequest", { containerId });
const check = (stream: number): Uint8Array => request(stream, HEALTH, "Check");
/** Lets the peer go on while timers run. */
const runUntil = (channel: MemoryChannel, done: () => boolean): Promise<boolean> =>
  vi.waitUntil(() => {
    channel.run();
    return done();
  }, { interval: 1 });
const only = (channel: MemoryChannel): { code: number; message: string; stream: number; payload: Uint8Array } => {
  const replies = channel.replies();
  expect(replies.length).toBe(1);
  return replies[0] as NonNullable<(typeof replies)[0]>;
};

beforeEach(() => {
  server = new Server();
  pending.length = cancelled.length = kept.length = started.length = 0;
});

describe("calls", () => {
  test("the published vector: Health.Check", () => {
    const channel = connect();
    channel.send([0, 0, 0, 0x14, 0, 0, 0, 1, 1, 0], [0x0a, 0x0b, ...Buffer.from("grpc.Health"), 0x12, 0x05, ...Buffer.from("Check")]);
    expect([...channel.output]).toEqual([0, 0, 0, 6, 0, 0, 0, 1, 2, 0, 0x0a, 0x00, 0x12, 0x02, 0x08, 0x01]);
  });

  test("an empty response is a status alone", () => {
    const channel = connect();
    channel.send(request(3, AGENT, "StartContainer", id("c")));
    expect([...channel.output]).toEqual([0, 0, 0, 2, 0, 0, 0, 3, 2, 0, 0x0a, 0x00]);
  });

  test("frames may come in any pieces", () => {
    const bytes = [...check(1), ...request(3, AGENT, "StartContainer", id("c".repeat(300))), ...check(5)];
    for (const size of [1, 2, 3, 7, 9, 10, 11, 50, 333]) {
      const channel = connect();
      for (let i = 0; i < bytes.length; i += size) channel.send(bytes.slice(i, i + size));
      expect(channel.replies().map((r) => [r.stream, r.code])).toEqual([[1, 0], [3, 0], [5, 0]]);
    }
  });

  test("many calls are pending at once and end in any order; they start in the order in which they came", () => {
    const channel = connect();
    channel.send(request(1, AGENT, "WaitProcess", id("a")), request(3, AGENT, "WaitProcess", id("b")), check(5), request(7, AGENT, "StartContainer", id("c")));
    expect(started).toEqual(["a", "b", "c"]);
    expect(channel.replies().map((r) => r.stream)).toEqual([5, 7]);
    pending[1]?.call.reply({ status: 9 });
    pending[0]?.call.reply({ status: 137 });
    expect(channel.replies().map((r) => [r.stream, decoded("grpc.WaitProcessResponse", r.payload)["status"]])).toEqual([[3, 9], [1, 137]]);
  });

  test("a second answer to a call is dropped", () => {
    const channel = connect();
    channel.send(request(1, AGENT, "WaitProcess", id("a")));
    const call = pending[0]?.call;
    call?.reply({ status: 1 });
    call?.reply({ status: 2 });
    call?.fail(new Error("late"));
    expect(only(channel).stream).toBe(1);
  });

  test("promises are waited for, failed ones give their status", async () => {
    const channel = connect();
    channel.send(request(1, AGENT, "GetOOMEvent"), request(3, AGENT, "PauseContainer", id("p")));
    await new Promise((done) => setImmediate(done));
    const [a, b] = channel.replies();
    expect(decoded("grpc.OOMEvent", a?.payload as Uint8Array)["containerId"]).toBe("oom");
    expect([b?.stream, b?.code, b?.message]).toEqual([3, 5, "no container p"]);
  });

  test("a handler that has a bug gives INTERNAL, and so does one that returns what cannot be encoded", () => {
    const channel = connect();
    channel.send(request(1, AGENT, "ResumeContainer", id("x")), request(3, AGENT, "StatsContainer", id("x")), check(5));
    expect(channel.replies().map((r) => [r.stream, r.code])).toEqual([[1, 13], [3, 13], [5, 0]]);
  });

  test("handlers of a lazy group are loaded once, when first called", () => {
    const channel = connect();
    expect(loads).toBe(0);
    channel.send(request(1, AGENT, "ListRoutes"), request(3, AGENT, "ListRoutes"), request(5, AGENT, "ListInterfaces"));
    const [a, , c] = channel.replies();
    expect(loads).toBe(1);
    expect(decoded("grpc.Routes", a?.payload as Uint8Array)["routes"]).toMatchObject([{ dest: "d" }]);
    expect([c?.code, c?.message]).toEqual([12, "/grpc.AgentService/ListInterfaces is not supported"]);
  });

  test("an envelope in an unusual but valid form is understood", () => {
    const [service, method, payload] = [encoded("ttrpc.Request", { service: AGENT }), encoded("ttrpc.Request", { method: "StartContainer" }), encoded("ttrpc.Request", { payload: id("u") })];
    const metadata = encoded("ttrpc.Request", { metadata: [{ key: "traceparent", value: "v" }, { key: "k", value: "x".repeat(200) }] });
    const timeout = encoded("ttrpc.Request", { timeoutNano: 5 });
    const unknown = [0x32, 1, 0];
    const wrong = encoded("ttrpc.Request", { service: "nobody", method: "Nothing" });
    for (const parts of [[method, service, payload], [payload, method, service], [service, method, metadata, payload], [service, method, payload, timeout, metadata],
      [service, method, payload, unknown], [wrong, payload, service, method], [service, method, payload, method], [[0x0a, 0x91, 0x00, ...service.slice(2)], method, payload]]) {
      started.length = 0;
      const channel = connect();
      channel.send(frame(1, parts.flatMap((p) => [...p])));
      expect(only(channel).code).toBe(0);
      expect(started).toEqual(["u"]);
    }
  });

  test("bytes of a request stay what they were, although the receive buffer is used again", () => {
    const channel = connect();
    const file = (byte: number): Uint8Array => request(1, AGENT, "CopyFile", encoded("grpc.CopyFileRequest", { data: new Uint8Array(1000).fill(byte) }));
    channel.send(file(1));
    channel.send(file(2));
    expect(kept.map((k) => [k.length, k[0], k[999]])).toEqual([[1000, 1, 1], [1000, 2, 2]]);
  });

  test("stream bytes are answered from the shared buffer, at any length", () => {
    const channel = connect();
    for (const len of [0, 1, 127, 128, 16383, 16384, 32768, 65536, 2097152, MAX_READ]) {
      channel.send(request(1, AGENT, "ReadStdout", encoded("grpc.ReadStreamRequest", { len })));
      const { code, payload } = only(channel);
      const data = len === 0 ? new Uint8Array(0) : (decoded("grpc.ReadStreamResponse", payload)["data"] as Uint8Array);
      expect([code, data.length, data.every((b) => b === 7)]).toEqual([0, len, true]);
    }
  });

  test("the largest frame is taken, and a reply over the limit becomes an error that says so", async () => {
    const channel = connect();
    const overhead = request(1, AGENT, "WriteStdin", encoded("grpc.WriteStreamRequest", { data: new Uint8Array(4000000) })).length - 10 - 4000000;
    const largest = request(1, AGENT, "WriteStdin", encoded("grpc.WriteStreamRequest", { data: new Uint8Array(4194304 - overhead) }));
    expect(largest.length).toBe(4194314);
    channel.input = largest;
    await runUntil(channel, () => channel.output.length > 0);
    expect(decoded("grpc.WriteStreamResponse", only(channel).payload)["len"]).toBe(4194304 - overhead);
    channel.send(request(3, AGENT, "GetMetrics"));
    expect(only(channel)).toMatchObject({ stream: 3, code: 3, message: expect.stringMatching(/^message length 419\d+ exceed maximum message size of 4194304$/) as string });
  });
});

describe("protocol trouble, each answered while the connection lives on", () => {
  const cases: [string, () => (Uint8Array | number[])[], number, number, string | RegExp][] = [
    ["even stream", () => [check(2)], 2, 3, "stream id must be odd"],
    ["stream 0", () => [check(0)], 0, 3, "stream id must be odd"],
    ["data for a stream that is not open", () => [frame(9, [1, 2], 3)], 9, 3, "Stream is no longer active"],
    ["data with close and a body", () => [frame(9, [1, 2], 3, 1)], 9, 3, "Stream is no longer active"],
    ["unknown service", () => [request(1, "grpc.Nobody", "Check")], 1, 3, "grpc.Nobody service does not exist"],
    ["no service", () => [frame(1, [])], 1, 3, " service does not exist"],
    ["a service that is the start of another", () => [request(1, "grpc.AgentService CreateContainer", "StartContainer")], 1, 3, "grpc.AgentService CreateContainer service does not exist"],
    ["unknown method", () => [request(1, AGENT, "Fly")], 1, 12, "Fly method"],
    ["method of the other service", () => [request(1, HEALTH, "StartContainer")], 1, 12, "StartContainer method"],
    ["no method", () => [request(1, AGENT, "")], 1, 12, " method"],
    ["the start of a method", () => [request(1, AGENT, "Start")], 1, 12, "Start method"],
    ["a token of the table", () => [request(1, AGENT, "WaitProcess>WaitProcessResponse")], 1, 12, "WaitProcess>WaitProcessResponse method"],
    ["method without a handler", () => [request(1, AGENT, "AddSwap")], 1, 12, "/grpc.AgentService/AddSwap is not supported"],
    ["payload that does not decode", () => [request(1, AGENT, "StartContainer", Uint8Array.of(0x0a, 9))], 1, 2, "ttrpc err: StartContainerRequest.containerId: its length reaches past the end"],
    ["envelope that does not decode", () => [frame(1, [0x0a, 5, 1])], 1, 3, /^ttrpc err: Request\.service: /],
    ["envelope with a cut payload", () => [frame(1, [...encoded("ttrpc.Request", { service: HEALTH, method: "Check" }), 0x1a, 5, 1])], 1, 3, /^ttrpc err: Request\.payload: /],
    ["envelope with a cut timeout", () => [frame(1, [...encoded("ttrpc.Request", { service: HEALTH, method: "Check" }), 0x20, 0x80])], 1, 3, /^ttrpc err: Request\.timeoutNano: /],
    ["service name that is not UTF-8", () => [frame(1, [0x0a, 1, 0xff, 0x12, 1, 0x41])], 1, 3, /^ttrpc err: Request\.service: /],
    ["frame over the limit", () => [frame(1, new Uint8Array(4194305))], 1, 3, "message length 4194305 exceed maximum message size of 4194304"],
  ];
  test.each(cases)("%s", (_what, bytes, stream, code, message) => {
    const channel = connect();
    for (const part of bytes()) {
      channel.input = Uint8Array.from(part);
      channel.run();
    }
    const reply = only(channel);
    expect([reply.stream, reply.code]).toEqual([stream, code]);
    if (typeof message === "string") expect(reply.message).toBe(message);
    else expect(reply.message).toMatch(message);
    channel.send(check(11));
    expect(only(channel)).toMatchObject({ stream: 11, code: 0 });
  });

  test("responses and unknown types are ignored", () => {
    const channel = connect();
    channel.send(frame(1, [1, 2, 3], 2), frame(1, [1], 4), frame(2, [1], 255), frame(1, [], 0), check(3));
    expect(only(channel).stream).toBe(3);
  });

  test("a frame over the limit is passed over to its last byte, in whatever pieces it comes", () => {
    const channel = connect();
    channel.gives = 60000;
    const after = check(5);
    const all = new Uint8Array(10 + 5000000 + after.length);
    all.set(frame(3, [], 1, 0, 5000000));
    all.set(after, 10 + 5000000);
    channel.input = all;
    channel.run();
    expect(channel.replies().map((r) => [r.stream, r.code])).toEqual([[3, 3], [5, 0]]);
  });
});

describe("deadlines", () => {
  test("a call that is late is answered once, its handler is told, and its own answer is dropped", async () => {
    const channel = connect();
    channel.send(request(1, AGENT, "WaitProcess", id("late"), 1_000_000));
    await vi.waitUntil(() => channel.output.length > 0);
    expect(only(channel)).toMatchObject({ stream: 1, code: 4, message: "timeout" });
    expect(cancelled).toEqual(["late"]);
    pending[0]?.call.reply({ status: 0 });
    expect(channel.replies()).toEqual([]);
  });

  test("none and a negative one mean for ever", async () => {
    const channel = connect();
    channel.send(request(1, AGENT, "WaitProcess", id("a")), request(3, AGENT, "WaitProcess", id("b"), -5_000_000_000), request(5, AGENT, "WaitProcess", id("c"), 2_000_000));
    await vi.waitUntil(() => channel.output.length > 0);
    expect(only(channel).stream).toBe(5);
    expect(cancelled).toEqual(["c"]);
  });
});

describe("the connection", () => {
  test("its end cancels the calls that are pending on it, and only those", () => {
    const [one, other] = [connect(), connect()];
    one.send(request(1, AGENT, "WaitProcess", id("one")));
    other.send(request(1, AGENT, "WaitProcess", id("other")));
    one.end();
    expect(cancelled).toEqual(["one"]);
    expect([one.closed, other.closed, server.size]).toEqual([true, false, 1]);
    pending[0]?.call.reply({ status: 1 });
    expect(one.output.length).toBe(0);
    pending[1]?.call.reply({ status: 1 });
    expect(only(other).stream).toBe(1);
  });

  test("a peer that does not read is not read either, and costs a bounded amount of memory", () => {
    const channel = connect();
    channel.takes = 0;
    const read = request(1, AGENT, "ReadStdout", encoded("grpc.ReadStreamRequest", { len: 32768 }));
    for (let i = 0; i < 100; i++) {
      channel.input = Uint8Array.from([...channel.input, ...read]);
      if (channel.reads) channel.owner?.readable();
    }
    expect(channel.reads).toBe(false);
    expect(channel.input.length).toBeGreaterThan(0);
    channel.takes = 1000;
    channel.owner?.writable();
    expect(channel.reads).toBe(false);
    channel.takes = Infinity;
    channel.run();
    expect(channel.replies().length).toBe(100);
    expect(channel.reads).toBe(true);
  });

  test("whole frames already received wait while the peer does not take replies", () => {
    const channel = connect();
    channel.takes = 0;
    const reads = Array.from({ length: 12 }, (_v, i) => request(2 * i + 1, AGENT, "ReadStdout", encoded("grpc.ReadStreamRequest", { len: 32768 })));
    channel.send(...reads, request(99, AGENT, "StartContainer", id("last")));
    expect(started).toEqual([]);
    channel.takes = Infinity;
    channel.run();
    expect(channel.replies().map((r) => r.stream)).toEqual([...reads.map((_r, i) => 2 * i + 1), 99]);
    expect(started).toEqual(["last"]);
  });

  test("frames that take long have others' turns in between, and keep their order", async () => {
    const channel = connect();
    let pieces = 0;
    turn.isOver = () => ++pieces > 0;
    try {
      channel.send(...Array.from({ length: 10 }, (_v, i) => request(2 * i + 1, AGENT, "StartContainer", id(`c${i}`))));
      expect(started.length).toBeLessThan(10);
      expect(channel.reads).toBe(false);
      await vi.waitUntil(() => started.length === 10);
      expect(started).toEqual(Array.from({ length: 10 }, (_v, i) => `c${i}`));
      expect(pieces).toBe(2);
      expect(channel.reads).toBe(true);
    } finally {
      turn.isOver = () => false;
    }
  });

  test("a large frame has a turn of its own", async () => {
    const channel = connect();
    channel.send(request(1, AGENT, "StartContainer", id("small")), request(3, AGENT, "StartContainer", id("x".repeat(65_500))), request(5, AGENT, "StartContainer", id("behind")));
    expect(started).toEqual(["small"]);
    await runUntil(channel, () => started.length === 3);
    expect(started.map((text) => text.slice(0, 6))).toEqual(["small", "xxxxxx", "behind"]);
  });

  test("whenWritable waits until the peer takes replies again, or is gone: whoever waits must be told", () => {
    for (const gone of [false, true]) {
      pending.length = 0;
      const channel = connect();
      channel.send(request(1, AGENT, "WaitProcess", id("a")));
      channel.takes = 0;
      channel.send(request(5, AGENT, "ReadStdout", encoded("grpc.ReadStreamRequest", { len: 300000 })));
      const call = pending[0]?.call;
      const ran: (boolean | undefined)[] = [];
      expect(call?.writable).toBe(false);
      call?.whenWritable(() => ran.push(call.done));
      expect(ran).toEqual([]);
      if (gone) channel.end();
      channel.takes = Infinity;
      channel.run();
      expect(ran).toEqual([gone]);
    }
  });

  test("too many pending calls are refused, not stored", () => {
    const channel = connect();
    for (let i = 0; i < 4100; i++) channel.send(request(2 * i + 1, AGENT, "WaitProcess", id("w")));
    const replies = channel.replies();
    expect(replies.length).toBe(4);
    expect(replies[0]).toMatchObject({ stream: 8193, code: 8 });
    expect(cancelled.length).toBe(4);
  });

  test("closing the server closes every connection", () => {
    const [one, other] = [connect(), connect()];
    one.send(request(1, AGENT, "WaitProcess", id("one")));
    server.close();
    expect([one.closed, other.closed, server.size, cancelled]).toEqual([true, true, 0, ["one"]]);
    expect(connect().closed).toBe(true);
  });
});

describe("a serial port", () => {
  test("survives the peer's leaving: calls are cancelled, half frames and queued replies forgotten", () => {
    const channel = connect(true);
    channel.send(request(1, AGENT, "WaitProcess", id("s")), check(3).slice(0, 12));
    channel.takes = 0;
    channel.send();
    channel.end();
    expect([channel.closed, cancelled]).toEqual([false, ["s"]]);
    channel.ended = false;
    channel.takes = Infinity;
    channel.send(check(5));
    expect(only(channel).stream).toBe(5);
  });

  test("finds the next frame after garbage", () => {
    for (const garbage of [[0], Buffer.from("login: root\r\n"), new Uint8Array(5000), new Uint8Array(70000).fill(255), [0, 0, 0, 5, 0, 0, 0, 1, 9, 0]]) {
      const channel = connect(true);
      channel.send(Uint8Array.from(garbage), check(1), check(3));
      expect(channel.replies().map((r) => [r.stream, r.code])).toEqual([[1, 0], [3, 0]]);
    }
  });

  test("finds a new peer's request in what should have been the rest of the last one's", () => {
    const channel = connect(true);
    channel.send(check(1).slice(0, 17), check(3), check(5));
    expect(channel.replies().filter((r) => r.code === 0).map((r) => r.stream)).toEqual([3, 5]);
  });

  test("passes over a frame whose rest does not come", async () => {
    vi.useFakeTimers();
    const channel = connect(true);
    channel.send(frame(1, [1, 2, 3], 1, 0, 500), check(3));
    expect(channel.replies()).toEqual([]);
    await vi.advanceTimersByTimeAsync(3000);
    vi.useRealTimers();
    expect(channel.replies().map((r) => r.stream)).toContain(3);
  });
});

describe("who inspects requests", () => {
  test("sees each decoded one with its metadata before its handler, and may refuse it", () => {
    const seen: unknown[] = [];
    started.length = 0;
    const stop = inspect(({ method, request: asked, metadata }) => {
      seen.push([method.service, method.name, asked.containerId, metadata.map(({ key, value }) => `${key}=${value}`)]);
      if (asked.containerId === "forbidden") throw new AppError("denied", "StartContainer is blocked by policy");
    });
    const channel = connect();
    const start = (stream: number, containerId: string): Uint8Array =>
      frame(stream, encoded("ttrpc.Request", { service: AGENT, method: "StartContainer", payload: id(containerId), metadata: [{ key: "traceparent", value: "00-1-2-01" }] }));
    channel.send(start(1, "a"), start(3, "forbidden"), check(5));
    stop();
    channel.send(start(7, "forbidden"));
    expect(seen).toEqual([[AGENT, "StartContainer", "a", ["traceparent=00-1-2-01"]], [AGENT, "StartContainer", "forbidden", ["traceparent=00-1-2-01"]], [HEALTH, "Check", undefined, []]]);
    expect(channel.replies().map(({ stream, code, message }) => [stream, code, message])).toEqual([[1, 0, ""], [3, 7, "StartContainer is blocked by policy"], [5, 0, ""], [7, 0, ""]]);
    expect(started).toEqual(["a", "forbidden"]);
  });
});
