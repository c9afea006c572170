// The protocol as the host sees it: the project's own .proto files read by protobufjs, and the table of methods made from them.
// It owns the ttRPC envelope types too. It never talks to anybody. Field names are those of the .proto files.
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { loadProtos } from "../../protos/load.js";

export interface Method {
  /** Protobuf package and service, as it goes over the wire. */
  service: string;
  name: string;
  request: protobuf.Type;
  response: protobuf.Type;
}

export interface Schema {
  root: protobuf.Root;
  /** All methods of all services, by their bare name; names are unique over the services. */
  methods: ReadonlyMap<string, Method>;
}

const methodsOf = (service: protobuf.Service): Method[] =>
  service.methodsArray.map((method) => {
    method.resolve();
    if (method.resolvedRequestType === null || method.resolvedResponseType === null) throw new Error(`${method.fullName}: unknown type`);
    return { service: service.fullName.replace(/^\./, ""), name: method.name, request: method.resolvedRequestType, response: method.resolvedResponseType };
  });

const servicesIn = (space: protobuf.NamespaceBase): protobuf.Service[] =>
  space.nestedArray.flatMap((item) =>
    item instanceof protobuf.Service ? [item] : item instanceof protobuf.Namespace ? servicesIn(item) : [],
  );

let loaded: Schema | undefined;

/** The schema, read from disk on first use. Throws the parser's error, which names file and line. */
export const schema = (): Schema => {
  if (loaded !== undefined) return loaded;
  const root = loadProtos(fileURLToPath(new URL("../../protos", import.meta.url)));
  loaded = { root, methods: new Map(servicesIn(root).flatMap(methodsOf).map((method) => [method.name, method])) };
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
