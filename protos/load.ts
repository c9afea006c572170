// Reads the .proto files of this folder with protobufjs: as they are written, and with the names that TypeScript has for fields. Used by
// the generators, the tests and the host side.
import { join } from "node:path";
import protobuf from "protobufjs";
import { propertyName } from "./names.js";

/** The files that together make up the protocol. */
export const PROTO_FILES = ["agent.proto", "csi.proto", "health.proto", "oci.proto", "ttrpc.proto", "types.proto"];

/**
 * Parse all .proto files in `folder` into one resolved reflection root.
 * Throws the parser's error, which names file and line.
 */
export const loadProtos = (folder: string): protobuf.Root => {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => (target.startsWith("google/") ? target : join(folder, target));
  root.loadSync(PROTO_FILES, { keepCase: true });
  root.resolveAll();
  return root;
};

/**
 * The same protocol with every field called what `propertyName` calls it, so that objects that protobufjs takes and gives have the names
 * that the agent has for them too. Throws Error when two fields of a message would have one name.
 */
export const loadNamed = (folder: string): protobuf.Root => {
  const root = protobuf.Root.fromJSON(renamed("", loadProtos(folder).toJSON()) as protobuf.INamespace);
  root.resolveAll();
  return root;
};

type Described = protobuf.AnyNestedObject & { fields?: Record<string, object>; oneofs?: Record<string, { oneof: readonly string[] }>; nested?: Record<string, protobuf.AnyNestedObject> };

/** A namespace, message, enum or service as protobufjs describes it in JSON, with other names for the fields of messages. */
const renamed = (name: string, described: Described): Described => {
  const { fields, oneofs, nested, ...rest } = described;
  const field = (proto: string): string => propertyName(name, proto);
  const names = Object.keys(fields ?? {}).map(field);
  const twice = names.find((one, i) => names.indexOf(one) !== i);
  if (twice !== undefined) throw new Error(`two fields of ${name} would be called ${twice}`);
  return {
    ...rest,
    ...(fields === undefined ? {} : { fields: Object.fromEntries(Object.entries(fields).map(([proto, what]) => [field(proto), what])) }),
    ...(oneofs === undefined ? {} : { oneofs: Object.fromEntries(Object.entries(oneofs).map(([key, one]) => [key, { ...one, oneof: one.oneof.map(field) }])) }),
    ...(nested === undefined ? {} : { nested: Object.fromEntries(Object.entries(nested).map(([key, inner]) => [key, renamed(key, inner as Described)])) }),
  } as Described;
};

/** A call of the API. */
export interface Method {
  /** Protobuf package and service, as it goes over the wire. */
  service: string;
  name: string;
  request: protobuf.Type;
  response: protobuf.Type;
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

/** All methods of all services, in the order of the files. */
export const methodsIn = (root: protobuf.Root): Method[] => servicesIn(root).flatMap(methodsOf);
