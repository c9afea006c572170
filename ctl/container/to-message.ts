// From JSON written by people or by other tools to a message of the protocol: names are matched without regard to case and
// underscores, so `containerId`, `container_id` and the runtime-spec's `uidMappings` all find their field. Pure.
import protobuf from "protobufjs";
import type { Json } from "../client/exact-json.js";

export interface Converted {
  value: { [field: string]: unknown };
  /** Paths in the JSON that have no field, for instance `process.ioPriority`. */
  unknown: string[];
}

const plain = (name: string): string => name.replaceAll("_", "").toLowerCase();

// The .proto files call this one differently.
const ALIASES: Readonly<Record<string, string>> = { version: "ociversion" };

const isObject = (value: Json): value is { [key: string]: Json } => value !== null && typeof value === "object" && !Array.isArray(value);

const wrong = (path: string, wanted: string, value: Json): Error =>
  new Error(`${path}: ${wanted} is wanted, not ${value === null ? "null" : Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : typeof value === "bigint" ? value : JSON.stringify(value)}`);

/** Least and most of each kind of integer. */
const SIGNED = (bits: bigint): [bigint, bigint] => [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
const UNSIGNED = (bits: bigint): [bigint, bigint] => [0n, (1n << bits) - 1n];
const INTEGERS: Readonly<Record<string, [bigint, bigint]>> = {
  int32: SIGNED(32n), sint32: SIGNED(32n), sfixed32: SIGNED(32n), uint32: UNSIGNED(32n), fixed32: UNSIGNED(32n),
  int64: SIGNED(64n), sint64: SIGNED(64n), sfixed64: SIGNED(64n), uint64: UNSIGNED(64n), fixed64: UNSIGNED(64n),
};

// Numbers beyond 2^53 come as bigints or as text; a double of that size was rounded already (1e300, 9007199254740993.0).
const integer = (value: Json, range: [bigint, bigint], path: string): Json => {
  const exact = typeof value === "bigint" || (typeof value === "string" && /^-?\d+$/.test(value)) || Number.isSafeInteger(value);
  if (!exact) throw wrong(path, "a whole number", value);
  const whole = BigInt(value as number | bigint | string);
  if (whole >= range[0] && whole <= range[1]) return value;
  throw wrong(path, range[0] === 0n && whole < 0n ? "a number not below 0" : `a number between ${range[0]} and ${range[1]}`, value);
};

const scalar = (field: protobuf.Field, value: Json, path: string): unknown => {
  if (field.resolvedType instanceof protobuf.Enum) {
    const names = Object.keys(field.resolvedType.values);
    if (typeof value === "number" || (typeof value === "string" && names.includes(value))) return value;
    throw wrong(path, `one of ${names.join(", ")}`, value);
  }
  const range = INTEGERS[field.type];
  if (range !== undefined) return integer(value, range, path);
  if (field.type === "bool" && typeof value !== "boolean") throw wrong(path, "true or false", value);
  if (field.type === "string" && typeof value !== "string") throw wrong(path, "text", value);
  if (field.type === "bytes" && typeof value !== "string") throw wrong(path, "base64 text", value);
  if (typeof value === "bigint") throw wrong(path, field.type, value);
  return value;
};

const one = (field: protobuf.Field, value: Json, path: string, unknown: string[]): unknown => {
  if (!(field.resolvedType instanceof protobuf.Type)) return scalar(field, value, path);
  if (!isObject(value)) throw wrong(path, "an object", value);
  return object(field.resolvedType, value, path, unknown);
};

const whole = (field: protobuf.Field, value: Json, path: string, unknown: string[]): unknown => {
  if (field.map) {
    if (!isObject(value)) throw wrong(path, "an object", value);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, one(field, item, `${path}.${key}`, unknown)]));
  }
  if (!field.repeated) return one(field, value, path, unknown);
  if (field.type === "bytes" || !Array.isArray(value)) throw wrong(path, "a list", value);
  return value.map((item, i) => one(field, item, `${path}[${i}]`, unknown));
};

const object = (type: protobuf.Type, json: { [key: string]: Json }, path: string, unknown: string[]): { [field: string]: unknown } => {
  const fields = new Map(type.fieldsArray.map((field) => [plain(field.name), field]));
  const out: { [field: string]: unknown } = {};
  for (const [key, value] of Object.entries(json)) {
    const inner = path === "" ? key : `${path}.${key}`;
    const field = fields.get(plain(key)) ?? fields.get(ALIASES[plain(key)] ?? "");
    if (field === undefined) unknown.push(inner);
    else if (value !== null) out[field.name] = whole(field.resolve(), value, inner, unknown);
  }
  return out;
};

/** Convert `json` to fields of `type`. Throws Error that names the path of a value of the wrong kind. */
export const toMessage = (type: protobuf.Type, json: { [key: string]: Json }): Converted => {
  const unknown: string[] = [];
  return { value: object(type, json, "", unknown), unknown };
};
