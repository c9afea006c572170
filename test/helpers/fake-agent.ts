// A small ttRPC server on a unix socket that answers as the test says: for tests of the client, never a model of the agent.
// It owns its socket folder; close() removes it. It can also misbehave on purpose.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeMessage } from "../../ctl/client/agent-client.js";
import { encodeFrame, FRAME_RESPONSE, FrameReader } from "../../ctl/client/frame.js";
import { RequestEnvelope, ResponseEnvelope, schema } from "../../ctl/client/schema.js";

export interface FakeCall {
  service: string;
  method: string;
  /** The decoded request message, with the names of TypeScript. */
  request: Record<string, unknown>;
  timeoutNano: number;
  metadata: { key: string; value: string }[];
  streamId: number;
  socket: Socket;
}

/** An answer is the response message, a status, or `undefined` for no answer at all. */
export type FakeAnswer = object | { status: { code: number; message: string } } | undefined;
export type FakeHandler = (call: FakeCall) => FakeAnswer | Promise<FakeAnswer>;

export interface FakeAgent {
  path: string;
  sockets: Set<Socket>;
  close(): Promise<void>;
}

/** Bytes of a response frame. */
export const responseFrame = (streamId: number, method: string, answer: object): Buffer => {
  const type = schema().methods.get(method)?.response;
  const fields = "status" in answer && typeof answer.status === "object"
    ? { status: answer.status }
    : { status: { code: 0 }, payload: type === undefined ? new Uint8Array() : encodeMessage(type, answer) };
  return encodeFrame({ streamId, type: FRAME_RESPONSE, flags: 0, data: ResponseEnvelope.encode(fields as { [k: string]: unknown }).finish() });
};

const serve = (socket: Socket, handler: FakeHandler): void => {
  const reader = new FrameReader();
  socket.on("error", () => undefined);
  socket.on("data", (piece: Buffer) => {
    for (const frame of reader.push(piece)) {
      const envelope = RequestEnvelope.toObject(RequestEnvelope.decode(frame.data), { defaults: true, arrays: true, longs: Number }) as {
        service: string; method: string; payload: Uint8Array; timeoutNano: number; metadata: { key: string; value: string }[];
      };
      const type = schema().methods.get(envelope.method)?.request;
      const request = type ? type.toObject(type.decode(envelope.payload), { longs: String }) : {};
      const call = { service: envelope.service, method: envelope.method, request, timeoutNano: envelope.timeoutNano, metadata: envelope.metadata, streamId: frame.streamId, socket };
      void Promise.resolve(handler(call)).then((answer) => {
        if (answer !== undefined) socket.write(responseFrame(frame.streamId, envelope.method, answer));
      });
    }
  });
};

/** Start a server; `prelude`, when given, takes the raw socket first (a CONNECT handshake) and calls `go` with it. */
export const fakeAgent = (handler: FakeHandler, prelude?: (socket: Socket, go: () => void) => void): Promise<FakeAgent> => {
  const folder = mkdtempSync(join(tmpdir(), "fake-agent-"));
  const path = join(folder, "agent.sock");
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    if (prelude === undefined) serve(socket, handler);
    else {
      socket.on("error", () => undefined);
      prelude(socket, () => serve(socket, handler));
    }
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => {
        rmSync(folder, { recursive: true, force: true });
        resolve();
      });
    });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve({ path, sockets, close }));
  });
};
