// The one call most users need: from an address to a client that has been answered once.
// It owns the waiting for an agent that is still starting. Once connected it never reconnects.
import { setTimeout as sleep } from "node:timers/promises";
import { formatAddress, parseAddress, type Address } from "./address.js";
import { agentClient, type AgentClient, type ClientOptions } from "./agent-client.js";
import { Connection } from "./connection.js";
import { CODE, RpcError } from "./rpc-error.js";
import { ConnectError, openStream } from "./transport.js";

export interface ConnectOptions extends ClientOptions {
  /** Milliseconds to keep trying while nobody listens. Default 0: one try. */
  waitMs?: number;
  /** Ends the waiting; the promise rejects with CANCELLED. */
  signal?: AbortSignal;
}

const RETRY_MS = 20;

// A virtio-serial port is one endless stream for all its clients: ids that no earlier client used keep their late answers apart.
const firstIdFor = (address: Address): number => (address.kind === "serial" ? ((Date.now() & 0x1fffffff) << 1) | 1 : 1);

const tryOnce = async (address: Address, options: ConnectOptions, leftMs: number): Promise<AgentClient> => {
  const connection = new Connection(await openStream(address, Math.max(leftMs, 1_000)), firstIdFor(address));
  const client = agentClient(connection, options);
  try {
    await client.check({}, { timeoutMs: Math.max(leftMs, 5_000), ...(options.signal ? { signal: options.signal } : {}) });
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
};

const worthRetry = (error: unknown): boolean =>
  (error instanceof ConnectError && error.retry) || (error instanceof RpcError && error.code === CODE.UNAVAILABLE);

/**
 * Connect and wait for the first answered Check. Rejects with ConnectError (nobody there), RpcError (there, but Check
 * failed) or Error (bad address); after `waitMs` with the last of these.
 */
export const connectAgent = async (to: Address | string, options: ConnectOptions = {}): Promise<AgentClient> => {
  const address = typeof to === "string" ? parseAddress(to) : to;
  const end = performance.now() + (options.waitMs ?? 0);
  for (;;) {
    if (options.signal?.aborted === true) throw new RpcError(CODE.CANCELLED, `gave up on ${formatAddress(address)}`);
    const left = end - performance.now();
    try {
      return await tryOnce(address, options, left);
    } catch (error) {
      if (!worthRetry(error) || end - performance.now() <= RETRY_MS) throw error;
    }
    await sleep(RETRY_MS);
  }
};
