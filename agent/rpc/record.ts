// Listeners, connections and the calls that wait in them, in a record of plain values and descriptors, and taken up from one by the
// agent's next program. A client does not notice: what has come of a frame and what it has not taken of replies go along, and the calls
// that wait for something are asked again in the order in which they came; they have no effect before they are answered. Only WriteStdin
// has, which goes on with what it has left. Requests that come meanwhile wait in their connections (`hold`).
import { FdChannel } from "../lib/channel.js";
import type { Kept, Left } from "../lib/kept.js";
import { listenAgain } from "../lib/listen.js";
import { now } from "../lib/loop.js";
import type { Call } from "./call.js";
import type { Connection} from "./connection.js";
import { holdRequests } from "./connection.js";
import { askAgain } from "./dispatch.js";
import { methodNamed } from "./methods.js";
import type { Methods, Request } from "./gen/messages.js";
import { HOST_CID, type Server } from "./server.js";
import { decodeAs } from "./wire/decode.js";
import { encode, encodeAs, type Out } from "./wire/encode.js";
import { namesIn } from "./wire/frame.js";

type WriteStdin = Methods["WriteStdin"]["request"];

/** Those that can be asked again; the others have to be answered before. */
const WAITING: ReadonlySet<string> = new Set<keyof Methods>(["WaitProcess", "GetOOMEvent", "ReadStdout", "ReadStderr", "WriteStdin"]);

interface ConnectionRecord {
  readonly fd: number;
  /** A serial port. */
  readonly endless: boolean;
  /** Most bytes of one write. */
  readonly piece: number;
  readonly served: boolean;
  readonly congested: boolean;
  /** Bytes still to come that belong to a frame over the limit. */
  readonly skip: number;
  /** What has come and is not a whole frame, or waits. */
  readonly come: Uint8Array;
  /** Replies that the peer has not taken. */
  readonly replies: Uint8Array;
}

interface CallRecord {
  /** A place in the list of connections. */
  readonly connection: number;
  readonly stream: number;
  /** The envelope of what is still to be asked. */
  readonly request: Uint8Array;
  /** On the clock of `now`; 0: it waits for ever. */
  readonly due: number;
  /** Bytes that it has handed on already. */
  readonly done: number;
}

export interface ServerRecord {
  readonly listeners: readonly { readonly address: string; readonly fd: number }[];
  readonly connections: readonly ConnectionRecord[];
  readonly calls: readonly CallRecord[];
}

/** The open connections, by which a record names them: by their places. */
export const connectionsOf = (server: Server): readonly Connection[] => [...server["connections"]];

/** With `on` no request is begun any more; else those that have come meanwhile are. */
export function hold(server: Server, on: boolean): void {
  holdRequests(on);
  for (const connection of connectionsOf(server)) {
    connection["wanting"]();
    if (!on) connection["again"]();
  }
}

const channelOf = (connection: Connection): FdChannel => connection.channel as FdChannel;

/** A call that is being worked on and cannot be asked again, by its name; undefined when there is none. */
export function atWork(server: Server): string | undefined {
  const names = connectionsOf(server).flatMap(({ calls }) => [...calls].map(({ method }) => method.name));
  const name = names.find((one) => !WAITING.has(one));
  return name === undefined ? undefined : `${name} is being answered`;
}

const NOTHING = new Uint8Array(0);

function saveConnection(connection: Connection, kept: Kept): ConnectionRecord {
  const { served, congested } = connection;
  const { fd, endless } = channelOf(connection);
  return {
    fd: kept.keep(fd), endless, piece: channelOf(connection)["piece"], served, congested, skip: connection["skip"],
    come: connection["own"]?.slice(0, connection["fill"]) ?? NOTHING,
    replies: connection["queue"]?.slice(connection["from"], connection["to"]) ?? NOTHING,
  };
}

/** The request with those bytes alone that have not been handed on, and how many have been. */
function withRest(envelope: Uint8Array, rest: Uint8Array): { readonly request: Uint8Array; readonly done: number } {
  const all = namesIn(envelope, 0, envelope.length);
  const schema = methodNamed(all.service, all.method).request;
  const asked = decodeAs(schema, all.payload, 0, all.payload.length) as unknown as WriteStdin;
  const payload = encoded((out) => encodeAs(schema, { ...asked, data: rest }, out));
  const request = encoded((out) => encode("Request", { ...all, payload } satisfies Request, out));
  return { request, done: asked.data.length - rest.length };
}

function encoded(write: (out: Out) => void): Uint8Array {
  const out: Out = { bytes: new Uint8Array(256), at: 0 };
  write(out);
  return out.bytes.slice(0, out.at);
}

function saveCall({ stream, timer, carried }: Call, connection: number): readonly [number: number, record: CallRecord] {
  if (carried === undefined) throw new Error(`the request of call ${stream} has not been kept`);
  const { number, envelope, rest, done } = carried;
  const left = rest === undefined ? { request: envelope, done: 0 } : withRest(envelope, rest());
  return [number, { connection, stream, request: left.request, due: timer?.due ?? 0, done: done + left.done }];
}

/** The record. Nothing is changed; descriptors that have to stay open are added to `kept`. */
export function saveServer(server: Server, kept: Kept): ServerRecord {
  const connections = connectionsOf(server);
  const calls = connections.flatMap((connection, i) => [...connection.calls].map((call) => saveCall(call, i)));
  return {
    listeners: [...server["listeners"]].map(([address, { fd }]) => ({ address, fd: kept.keep(fd) })),
    connections: connections.map((connection) => saveConnection(connection, kept)),
    calls: calls.sort(([a], [b]) => a - b).map(([, record]) => record),
  };
}

function restoreConnection(connection: Connection, { served, congested, skip, come, replies }: ConnectionRecord): Connection {
  connection.served = served;
  connection.congested = congested;
  connection["skip"] = skip;
  connection["own"] = come.length > 0 ? come : undefined;
  connection["fill"] = come.length;
  connection["queue"] = replies.length > 0 ? replies : undefined;
  connection["to"] = replies.length;
  connection["count"]();
  if (channelOf(connection).endless) connection["watchHalfFrame"](come.length);
  return connection;
}

/**
 * The connections again, in their order; none is listened to before `goOn`. `late` is told when a serial port does not appear in time.
 * Throws AppError.
 */
export function restoreConnections(record: ServerRecord, server: Server, left: Left, late: (error: unknown) => void): Connection[] {
  const port = record.connections.findIndex(({ endless }) => endless);
  const made = new Map<number, Connection>();
  for (const { address, fd } of record.listeners) {
    const serial = address.startsWith("serial://");
    let first = serial && port >= 0;
    const listening = listenAgain(address, first ? left.take(record.connections[port]?.fd ?? -1) : left.takeIf(fd), HOST_CID, (channel) => {
      if (!first) return server["take"](channel);
      first = false;
      made.set(port, server.attach(channel));
    }, late);
    server["listeners"].set(address, listening);
  }
  const make = ({ fd, endless, piece }: ConnectionRecord): Connection => server.attach(new FdChannel(left.take(fd), endless, piece));
  return record.connections.map((one, i) => restoreConnection(made.get(i) ?? make(one), one));
}

/** Asks the calls again that waited for something, and listens to the connections from now on. */
export function goOn({ calls }: ServerRecord, connections: readonly Connection[]): void {
  for (const { connection, stream, request, due, done } of calls) {
    const from = connections[connection];
    if (from?.closed === false) askAgain(from, stream, request, { msLeft: due === 0 ? 0 : Math.max(1, due - now()), done });
  }
  for (const connection of connections) {
    if (connection.closed) continue;
    channelOf(connection).start(connection);
    connection["wanting"]();
    connection["again"]();
  }
}
