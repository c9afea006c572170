// The protocol as the host sees it: the project's own .proto files read by protobufjs, and the table of methods made from them.
// It owns the ttRPC envelope types too. It never talks to anybody. Fields are called as on the agent's side (protos/names.ts).
import { fileURLToPath } from "node:url";
import type protobuf from "protobufjs";
import { loadNamed, methodsIn, type Method } from "../../protos/load.js";

export type { Method };

export interface Schema {
  root: protobuf.Root;
  /** All methods of all services, by their bare name; names are unique over the services. */
  methods: ReadonlyMap<string, Method>;
}

let loaded: Schema | undefined;

/** The schema, read from disk on first use. Throws the parser's error, which names file and line. */
export const schema = (): Schema => {
  if (loaded !== undefined) return loaded;
  const root = loadNamed(fileURLToPath(new URL("../../protos", import.meta.url)));
  loaded = { root, methods: new Map(methodsIn(root).map((method) => [method.name, method])) };
  return loaded;
};

/** The ttRPC request around a method's own request message. */
export const RequestEnvelope = schema().root.lookupType("ttrpc.Request");

/** The ttRPC response around a method's own response message. */
export const ResponseEnvelope = schema().root.lookupType("ttrpc.Response");

/** The decoded form of a response envelope. */
export interface ResponseFields {
  status?: { code: number; message: string } | null;
  payload: Uint8Array;
}
