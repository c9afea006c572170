// Hostile input for the ttRPC server and the codec: whatever comes, nothing is thrown, nothing hangs, every request frame that is whole gets
// one answer on its own stream, and the next good request is served.
import "../helpers/fake-native.js";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import protobuf from "protobufjs";
import { expect, test, vi } from "vitest";
import type { Messages } from "../../agent/rpc/gen/messages.js";
import { loadNamed } from "../../protos/load.js";
import { AGENT, HEALTH, MemoryChannel, encoded, frame, request } from "../unit/rpc/memory-channel.js";

vi.mock("../../agent/lib/loop.js", () => ({ after: () => ({ cancel: () => undefined }), watch: () => undefined, turnIsOver: () => false }));
vi.mock("../../agent/lib/log.js", () => ({ log: () => undefined, logs: () => false, Level: {} }));

const { Server } = await import("../../agent/rpc/server.js");
const { serve } = await import("../../agent/rpc/methods.js");
const { DecodeError, decode } = await import("../../agent/rpc/wire/decode.js");

serve({
  Check: () => ({ status: 1 }),
  CreateContainer: () => undefined,
  WriteStdin: (r) => ({ len: r.data.length }),
  CopyFile: () => undefined,
});

const RUN = { interruptAfterTimeLimit: 1500, numRuns: 4000, markInterruptAsFailure: false };
const server = new Server();
const connect = (endless = false): MemoryChannel => {
  const channel = new MemoryChannel(endless);
  channel.owner = server.attach(channel);
  return channel;
};

/** Bytes with a few places overwritten, cut out or doubled. */
const mutated = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .array(fc.tuple(fc.nat(Math.max(0, bytes.length - 1)), fc.nat(255), fc.constantFrom("set", "cut", "double")), { maxLength: 4 })
    .map((changes) => {
      const list = [...bytes];
      for (const [at, value, how] of changes) {
        if (how === "set" && at < list.length) list[at] = value;
        else if (how === "cut") list.splice(at, 1 + (value % 8));
        else list.splice(at, 0, ...list.slice(at, at + 1 + (value % 8)));
      }
      return Uint8Array.from(list);
    });

const create = encoded("grpc.CreateContainerRequest", {
  containerId: "c1",
  oci: { ociVersion: "1.0.2", process: { args: ["sh"], env: ["A=b"], user: { uid: 1, additionalGids: [1, 300] } }, annotations: { a: "b" }, linux: { namespaces: [{ type: "mount" }] } },
});
const envelopes = [
  encoded("ttrpc.Request", { service: AGENT, method: "CreateContainer", payload: create, timeoutNano: 5e9, metadata: [{ key: "k", value: "v" }] }),
  encoded("ttrpc.Request", { service: AGENT, method: "WriteStdin", payload: encoded("grpc.WriteStreamRequest", { containerId: "c", data: new Uint8Array(200) }) }),
  encoded("ttrpc.Request", { service: HEALTH, method: "Check" }),
];

const item = fc.oneof(
  fc.constantFrom(...envelopes).chain((e) => mutated(e)).map((data) => ({ data, good: false })),
  fc.uint8Array({ maxLength: 60 }).map((data) => ({ data, good: false })),
  fc.constantFrom(...envelopes).map((data) => ({ data, good: true })),
);

test("every whole request frame gets exactly one answer, in order, and good ones succeed", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(item, fc.nat(50)), { minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 400 }), (items, gives) => {
      const channel = connect();
      channel.gives = gives;
      channel.send(...items.map(([i, stream]) => frame(i.good ? 2 * stream + 1 : stream, i.data)));
      const replies = channel.replies();
      expect(replies.map((r) => [r.stream, r.type])).toEqual(items.map(([i, stream]) => [i.good ? 2 * stream + 1 : stream, 2]));
      items.forEach(([i], n) => i.good && expect(replies[n]?.code).toBe(0));
      expect(channel.closed).toBe(false);
    }),
    RUN,
  );
});

test("any bytes at all: no exception, and what is answered is whole frames", () => {
  const stream = fc.array(fc.oneof(fc.constantFrom(...envelopes).map((e) => frame(1, e)), fc.uint8Array({ maxLength: 40 })), { maxLength: 6 }).chain((parts) => mutated(Uint8Array.from(parts.flatMap((p) => [...p]))));
  fc.assert(
    fc.property(stream, fc.integer({ min: 1, max: 100 }), fc.boolean(), (bytes, gives, endless) => {
      const channel = connect(endless);
      channel.gives = gives;
      channel.send(bytes);
      channel.replies();
      channel.end();
      expect(channel.closed).toBe(!endless);
      if (!endless) return;
      channel.ended = false;
      channel.send(request(7, HEALTH, "Check"));
      expect(channel.replies()).toMatchObject([{ stream: 7, code: 0 }]);
    }),
    RUN,
  );
});

test("a message with damaged bytes decodes or fails with DecodeError", () => {
  const root = loadNamed(join(fileURLToPath(import.meta.url), "../../../protos"));
  const types = ["grpc", "types", "ttrpc"].flatMap((pkg) => (root.lookup(pkg) as protobuf.Namespace).nestedArray.filter((o) => o instanceof protobuf.Type));
  fc.assert(
    fc.property(fc.constantFrom(...types), fc.oneof(mutated(create), fc.uint8Array({ maxLength: 80 })), (type, bytes) => {
      try {
        decode(type.name as keyof Messages, bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }),
    { ...RUN, numRuns: 20000 },
  );
});
