// A channel in memory for tests of the server: the test plays the peer. What the server writes is cut into `takes` bytes; a peer that
// does not read is one that takes 0.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodeMessage } from "../../../ctl/client/agent-client.js";
import { loadNamed } from "../../../protos/load.js";

const EAGAIN = -11;
const root = loadNamed(join(fileURLToPath(import.meta.url), "../../../../protos"));

export type Reply = { stream: number; type: number; code: number; message: string; payload: Uint8Array };

export class MemoryChannel {
  readonly endless: boolean;
  /** Bytes the peer has sent that were not read yet. */
  input: Uint8Array = new Uint8Array(0);
  output: Uint8Array = new Uint8Array(0);
  /** Bytes the peer still takes. */
  takes = Infinity;
  /** The most that one read gives. */
  gives = Infinity;
  ended = false;
  closed = false;
  reads = true;
  writes = false;
  owner: { readable(): void; writable(): void } | undefined;

  constructor(endless = false) {
    this.endless = endless;
  }
  read(bytes: Uint8Array, at: number, length: number): number {
    const n = Math.min(length, this.input.length, this.gives);
    if (n === 0) return this.ended ? 0 : EAGAIN;
    bytes.set(this.input.subarray(0, n), at);
    this.input = this.input.subarray(n);
    return n;
  }
  write(bytes: Uint8Array, at: number, length: number): number {
    const n = Math.min(length, this.takes);
    if (n === 0) return EAGAIN;
    this.takes -= n;
    const joined = new Uint8Array(this.output.length + n);
    joined.set(this.output);
    joined.set(bytes.subarray(at, at + n), this.output.length);
    this.output = joined;
    return n;
  }
  want(readable: boolean, writable: boolean): void {
    this.reads = readable;
    this.writes = writable;
  }
  close(): void {
    this.closed = true;
  }

  /** The peer sends; the server is told until it has read all it wants. */
  send(...parts: (Uint8Array | number[])[]): void {
    const all = parts.flatMap((part) => [...part]);
    this.input = Uint8Array.from([...this.input, ...all]);
    this.run();
  }
  /** The peer leaves. */
  end(): void {
    this.ended = true;
    this.owner?.readable();
  }
  run(): void {
    for (;;) {
      if (!this.closed && this.reads && this.input.length > 0) this.owner?.readable();
      else if (!this.closed && this.writes && this.takes > 0) this.owner?.writable();
      else return;
    }
  }

  /** Whole frames the server has sent so far, in order; throws if there is half a frame. */
  replies(): Reply[] {
    const replies: Reply[] = [];
    let p = 0;
    while (p < this.output.length) {
      const view = new DataView(this.output.buffer, this.output.byteOffset + p);
      const length = view.getUint32(0);
      if (this.output.length - p < 10 + length) throw new Error("half a frame");
      const message = root.lookupType("ttrpc.Response").decode(this.output.subarray(p + 10, p + 10 + length)) as unknown as { status?: { code: number; message: string }; payload?: Uint8Array };
      replies.push({ stream: view.getUint32(4), type: view.getUint8(8), code: message.status?.code ?? 0, message: message.status?.message ?? "", payload: message.payload ?? new Uint8Array(0) });
      p += 10 + length;
    }
    this.output = new Uint8Array(0);
    return replies;
  }
}

/** A frame with any header. */
export const frame = (stream: number, data: Uint8Array | number[], type = 1, flags = 0, length = data.length): Uint8Array => {
  const bytes = new Uint8Array(10 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length);
  view.setUint32(4, stream);
  bytes[8] = type;
  bytes[9] = flags;
  bytes.set(data, 10);
  return bytes;
};

/** Encodes with protobufjs; a name that is no field is refused. */
export const encoded = (type: string, value: object): Uint8Array => encodeMessage(root.lookupType(type), value);
export const decoded = (type: string, bytes: Uint8Array): Record<string, unknown> => root.lookupType(type).decode(bytes) as unknown as Record<string, unknown>;

/** A request frame. */
export const request = (stream: number, service: string, method: string, payload: Uint8Array = new Uint8Array(0), timeoutNano = 0): Uint8Array =>
  frame(stream, encoded("ttrpc.Request", { service, method, payload, timeoutNano }));

export const AGENT = "grpc.AgentService";
export const HEALTH = "grpc.Health";
