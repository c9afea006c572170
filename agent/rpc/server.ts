// The server: takes connections from listeners and serial ports and ends them all at once. It holds the list of connections and no other
// state; who may connect is decided by the listener (lib/listen.ts).
import type { FdChannel } from "../lib/channel.js";
import { type Listening, listen } from "../lib/listen.js";
import { type Channel, Connection, type Owner } from "./connection.js";
import { dispatch } from "./dispatch.js";

/** The host's CID; only the host may talk to the agent (vsock(7), VMADDR_CID_HOST). */
export const HOST_CID = 2;

export class Server {
  private readonly connections = new Set<Connection>();
  /** By address. */
  private readonly listeners = new Map<string, Listening>();
  private readonly owner: Owner = { request: dispatch, closed: (connection) => void this.connections.delete(connection) };
  private open = true;

  /** Number of open connections. */
  get size(): number {
    return this.connections.size;
  }

  /** Serves at an address of lib/listen.ts. Throws its errors; `late` is told when a serial port does not appear. `peer` is the only CID let in on vsock. */
  listen(address: string, late?: (error: unknown) => void, peer = HOST_CID): void {
    this.listeners.set(address, listen(address, peer, (channel) => this.take(channel), late));
  }

  private take(channel: FdChannel): void {
    const connection = this.attach(channel);
    try {
      if (!connection.closed) channel.start(connection);
    } catch (error) {
      connection.close(); // the peer sees its end instead of waiting for ever
      throw error;
    }
  }

  /** Serves one more channel until its peer goes; after `close` it is closed at once. Tell the result what the channel is ready for. */
  attach(channel: Channel): Connection {
    const connection = new Connection(channel, this.owner);
    if (this.open) this.connections.add(connection);
    else connection.close();
    return connection;
  }

  /** Stops listening and closes all connections: calls that are pending are cancelled without an answer. */
  close(): void {
    this.open = false;
    for (const listening of this.listeners.values()) listening.close();
    for (const connection of [...this.connections]) connection.close();
  }
}
