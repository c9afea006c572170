// Requests by the schema: every repeated field filled, every text replaced, whatever messages lie around it. Pure: bytes out.
import protobuf from "protobufjs";
import { schema, type Method } from "../../ctl/client/schema.js";

/**
 * Calls that change this machine itself when they are natively made, or end the agent: the clock, the entropy, memory, swap, processors.
 */
const NOT_HERE = ["SetGuestDateTime", "ReseedRandomDev", "OnlineCPUMem", "MemHotplugByProbe", "AddSwap", "AddSwapPath", "DestroySandbox", "GetOOMEvent"];

export const methods = (): Method[] => [...schema().methods.values()].filter(({ name }) => !NOT_HERE.includes(name));

/** A field somewhere below a request: the fields on the way to it, and itself. */
export interface Place { readonly method: Method; readonly way: readonly protobuf.Field[]; readonly field: protobuf.Field }

const walk = (method: Method, type: protobuf.Type, way: readonly protobuf.Field[], seen: readonly protobuf.Type[]): Place[] =>
  type.fieldsArray.flatMap((field) => {
    field.resolve();
    const inner = field.resolvedType instanceof protobuf.Type && !(field instanceof protobuf.MapField) ? field.resolvedType : undefined;
    const below = inner === undefined || seen.includes(inner) ? [] : walk(method, inner, [...way, field], [...seen, inner]);
    return [{ method, way, field }, ...below];
  });

/** All fields of all requests. */
export const places = (): Place[] => methods().flatMap((method) => walk(method, method.request, [], [method.request]));

export const nameOf = ({ method, way, field }: Place): string => [method.name, ...way.map((f) => f.name), field.name].join(".");

const varint = (n: number): Buffer => {
  const bytes: number[] = [];
  for (; n >= 128; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  return Buffer.from([...bytes, n]);
};
const lengthField = (id: number, data: Uint8Array): Buffer => Buffer.concat([varint(id * 8 + 2), varint(data.length), data]);

/** `data` as the bytes of field `place`, inside all messages around it. */
const wrapped = ({ way }: Place, data: Uint8Array): Uint8Array => way.reduceRight<Uint8Array>((inner, field) => lengthField(field.id, inner), data);

const NUMBERS = ["uint32", "int32", "uint64", "int64", "bool", "sint32", "sint64"];

/** A repeated or map field with as many of the smallest elements as fit; `each` is the element's own content. */
export const filled = (place: Place, bytes: number, each: Uint8Array = new Uint8Array(0)): Uint8Array => {
  const { field } = place;
  if (NUMBERS.includes(field.type) && field.repeated) return wrapped(place, lengthField(field.id, new Uint8Array(bytes)));
  let element = lengthField(field.id, each);
  if (!(field instanceof protobuf.MapField)) return wrapped(place, Buffer.alloc(bytes - (bytes % element.length), element));
  // different keys: as many as there are, of four bytes
  const parts: Buffer[] = [];
  for (let n = 0, size = 0; size < bytes; n++, size += element.length) parts.push((element = lengthField(field.id, lengthField(1, Buffer.from(n.toString(36).padStart(4, "0"))))));
  return wrapped(place, Buffer.concat(parts).subarray(0, undefined));
};

/** One text field with these bytes. */
export const texted = (place: Place, bytes: Uint8Array): Uint8Array => wrapped(place, lengthField(place.field.id, bytes));

/** Messages in a message of the same type cannot come (the schema has none), but groups and unknown fields can. */
export const nestedGroups = (depth: number): Uint8Array => Buffer.concat([Buffer.alloc(depth, 0x7b), Buffer.alloc(depth, 0x7c)]);

/** Every copy of `value` in which one text is replaced; with the path to it. */
export function* replaced(value: unknown, put: string, path: readonly string[] = []): Generator<{ path: string; value: unknown }> {
  if (typeof value === "string") yield { path: path.join("."), value: put };
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  for (const [key, inner] of Object.entries(value)) {
    for (const one of replaced(inner, put, [...path, key])) {
      const copy: unknown = Array.isArray(value) ? [...(value as unknown[])] : { ...value };
      (copy as Record<string, unknown>)[key] = one.value;
      yield { path: one.path, value: copy };
    }
  }
}
