// One ttRPC connection from the client's side: gives each call a stream id, matches answers to calls in any order, keeps
// deadlines, and fails every open call when the stream is lost. It knows envelopes and bytes, no message of the agent.
// It never connects again by itself. Source: containerd/ttrpc PROTOCOL.md.
import type { Duplex } from "node:stream";
import { encodeFrame, FRAME_REQUEST, FRAME_RESPONSE, FrameReader, type Frame } from "./frame.js";
import { CODE, RpcError } from "./rpc-error.js";
import { RequestEnvelope, ResponseEnvelope, type ResponseFields } from "./schema.js";

export interface CallOptions {
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED; also told to the server. 0 or absent: no limit. */
  timeoutMs?: number;
  /** The time is kept by the server alone: whoever wants to know that it has forgotten the call waits for its answer. */
  serverKeepsTime?: boolean;
  /** Ends the wait with CANCELLED; the server is not told (ttRPC has no such message). */
  signal?: AbortSignal;
  /** Key-value pairs that travel with the request. */
  metadata?: Record<string, string>;
}

interface Pending {
  method: string;
  resolve: (payload: Uint8Array) => void;
  reject: (error: RpcError) => void;
}

export class Connection {
  #stream: Duplex;
  #reader = new FrameReader();
  #pending = new Map<number, Pending>();
  #nextId: number;
  #lost: RpcError | undefined;
  #onLost: ((reason: RpcError) => void)[] = [];

  /** `firstId` must be odd; a stream that outlives its clients (virtio-serial) needs a different one each time. */
  constructor(stream: Duplex, firstId = 1) {
    this.#stream = stream;
    this.#nextId = firstId;
    stream.on("data", (piece: Buffer) => this.#onData(piece));
    stream.on("error", (error: Error) => this.#lose(`connection lost: ${error.message}`, error));
    stream.on("end", () => this.#lose("connection closed by the agent"));
    stream.on("close", () => this.#lose("connection closed"));
    // A handshake leaves the stream paused, so that no byte is lost before this listener is there.
    stream.resume();
  }

  /** True until the stream is lost or closed. */
  get open(): boolean {
    return this.#lost === undefined;
  }

  /** Calls that wait for their answer. */
  get openCalls(): number {
    return this.#pending.size;
  }

  /** Run `callback` once when the connection ends, at once if it already has. */
  onLost(callback: (reason: RpcError) => void): void {
    if (this.#lost === undefined) this.#onLost.push(callback);
    else callback(this.#lost);
  }

  /**
   * Send one request and wait for its answer's payload.
   * Rejects with RpcError: the server's status, UNAVAILABLE when the connection is lost, DEADLINE_EXCEEDED, CANCELLED,
   * RESOURCE_EXHAUSTED when the request does not fit a frame.
   */
  call(service: string, method: string, payload: Uint8Array, options: CallOptions = {}): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) return reject(new RpcError(this.#lost.code, this.#lost.message, method));
      if (options.signal?.aborted === true) return reject(new RpcError(CODE.CANCELLED, "call was cancelled", method));
      const streamId = this.#nextId;
      let frame: Buffer;
      try {
        frame = encodeFrame({ streamId, type: FRAME_REQUEST, flags: 0, data: requestBytes(service, method, payload, options) });
      } catch (error) {
        return reject(new RpcError(CODE.RESOURCE_EXHAUSTED, (error as Error).message, method, { cause: error }));
      }
      this.#nextId = streamId >= 0xfffffffd ? 1 : streamId + 2;
      const release = this.#limits(streamId, method, options);
      this.#pending.set(streamId, {
        method,
        resolve: (answer) => { release(); resolve(answer); },
        reject: (error) => { release(); reject(error); },
      });
      this.#stream.write(frame);
    });
  }

  /** End the connection; open calls fail with CANCELLED. */
  close(): void {
    this.#fail(new RpcError(CODE.CANCELLED, "connection closed by the client"));
    this.#stream.end();
    this.#stream.destroy();
  }

  // Timer and abort listener of one call; the returned function takes both away.
  #limits(streamId: number, method: string, options: CallOptions): () => void {
    const give = (code: number, text: string): void => {
      const pending = this.#pending.get(streamId);
      this.#pending.delete(streamId);
      pending?.reject(new RpcError(code, text, method));
    };
    const timeoutMs = options.timeoutMs ?? 0;
    const timer = timeoutMs > 0 && options.serverKeepsTime !== true ? setTimeout(() => give(CODE.DEADLINE_EXCEEDED, `no answer within ${timeoutMs} ms`), timeoutMs) : undefined;
    const onAbort = (): void => give(CODE.CANCELLED, "call was cancelled");
    options.signal?.addEventListener("abort", onAbort, { once: true });
    return () => {
      if (timer !== undefined) clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
    };
  }

  #onData(piece: Buffer): void {
    if (this.#lost !== undefined) return;
    let frames: Frame[];
    try {
      frames = this.#reader.push(piece);
    } catch (error) {
      this.#lose(`not a ttRPC stream: ${(error as Error).message}`, error as Error);
      return;
    }
    for (const frame of frames) this.#onFrame(frame);
  }

  #onFrame(frame: Frame): void {
    const pending = this.#pending.get(frame.streamId);
    // An answer that comes after its deadline, or a frame of a kind we never ask for, belongs to nobody.
    if (pending === undefined || frame.type !== FRAME_RESPONSE) return;
    this.#pending.delete(frame.streamId);
    let response: ResponseFields;
    try {
      response = ResponseEnvelope.decode(frame.data) as unknown as ResponseFields;
    } catch (error) {
      pending.reject(new RpcError(CODE.INTERNAL, `answer cannot be decoded: ${(error as Error).message}`, pending.method, { cause: error }));
      return;
    }
    const status = response.status;
    if (status && status.code !== 0) pending.reject(new RpcError(status.code, status.message, pending.method));
    else pending.resolve(response.payload);
  }

  #lose(text: string, cause?: Error): void {
    if (this.#lost !== undefined) return;
    const cut = this.#reader.pending > 0 ? " in the middle of a frame" : "";
    this.#fail(new RpcError(CODE.UNAVAILABLE, text + cut, "", { cause }));
    this.#stream.destroy();
  }

  #fail(reason: RpcError): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of pending) call.reject(new RpcError(reason.code, reason.message, call.method, { cause: reason.cause }));
    for (const callback of this.#onLost.splice(0)) callback(reason);
  }
}

const requestBytes = (service: string, method: string, payload: Uint8Array, options: CallOptions): Uint8Array => {
  const metadata = Object.entries(options.metadata ?? {}).map(([key, value]) => ({ key, value }));
  const timeoutNano = Math.round((options.timeoutMs ?? 0) * 1e6);
  return RequestEnvelope.encode({ service, method, payload, timeoutNano, metadata }).finish();
};
