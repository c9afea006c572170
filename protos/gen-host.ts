// The host's side of the generated code, ctl/client/gen/messages.ts: a TypeScript interface for each message and the table of calls, from
// the project's .proto files. Fields have the names that names.ts gives them on both sides. Written by gen.ts.
import protobuf from "protobufjs";
import { methodsIn } from "./load.js";

const WIDE = new Set(["int64", "uint64", "sint64", "fixed64", "sfixed64"]);
const NUMBERS = new Set(["int32", "uint32", "sint32", "fixed32", "sfixed32", "float", "double"]);

/** TypeScript name of a message or enum: its path inside the package, without dots; the package only where names could clash. */
const tsName = (type: protobuf.ReflectionObject): string => {
  const [space = "", ...path] = type.fullName.replace(/^\./, "").split(".");
  if (space === "google") return path[path.length - 1] ?? "";
  return path.join("");
};

const scalar = (field: protobuf.Field): string => {
  if (field.resolvedType !== null) return tsName(field.resolvedType);
  if (WIDE.has(field.type) || NUMBERS.has(field.type)) return "number";
  if (field.type === "bool") return "boolean";
  return field.type === "bytes" ? "Uint8Array" : "string";
};

const fieldLine = (field: protobuf.Field): string => {
  field.resolve();
  const value = scalar(field);
  if (field.map) return `${field.name}: Record<string, ${value}>`;
  if (field.repeated) return `${field.name}: ${value}[]`;
  const absent = field.resolvedType instanceof protobuf.Type || field.partOf !== null;
  return absent ? `${field.name}?: ${value}` : `${field.name}: ${value}`;
};

const collect = (space: protobuf.NamespaceBase): (protobuf.Type | protobuf.Enum)[] =>
  space.nestedArray.flatMap((item) => [
    ...(item instanceof protobuf.Type || item instanceof protobuf.Enum ? [item] : []),
    ...(item instanceof protobuf.Namespace ? collect(item) : []),
  ]);

const declaration = (item: protobuf.Type | protobuf.Enum): string => {
  if (item instanceof protobuf.Enum) {
    const names = Object.keys(item.values).map((name) => JSON.stringify(name));
    return `export type ${tsName(item)} = ${names.join(" | ")};`;
  }
  const fields = item.fieldsArray.map(fieldLine).join("; ");
  return fields === "" ? `export type ${tsName(item)} = Record<never, never>;` : `export interface ${tsName(item)} { ${fields} }`;
};

/** The text of ctl/client/gen/messages.ts; `root` has the fields' names in TypeScript. */
export const hostMessagesText = (root: protobuf.Root): string => {
  const head = "// Written by protos/gen.ts from the .proto files; do not edit. 64-bit numbers are rounded above 2^53.\n";
  const calls = methodsIn(root).map((m) => `  ${m.name}: { request: ${tsName(m.request)}; response: ${tsName(m.response)} };`);
  return `${head}\n${collect(root).map(declaration).join("\n")}\n\n/** Request and response of every call. */\nexport interface Calls {\n${calls.join("\n")}\n}\n`;
};
