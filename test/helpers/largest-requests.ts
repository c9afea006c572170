// Requests of the largest size that hold as many of the smallest elements as fit: one for each list, map, text and number that any
// message of any method can have, and some that only look like messages. For tests of what a request may cost.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { loadNamed } from "../../protos/load.js";

/** What fits a frame with its envelope. */
export const PAYLOAD = 4194304 - 128;

export interface Shape { readonly name: string; readonly method: string; payload(): Buffer }

const root = loadNamed(join(fileURLToPath(import.meta.url), "../../../protos"));
const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);

/** `unit` as often as it fits. */
export const repeated = (unit: readonly number[], size = PAYLOAD): Buffer => {
  const bytes = Buffer.alloc(size - (size % unit.length));
  bytes.fill(Buffer.from(unit));
  return bytes;
};

/** The content under a field with a length. */
const field = (id: number, content: Buffer): Buffer => Buffer.concat([Buffer.from([...varint((id << 3) | 2), ...varint(content.length)]), content]);
const within = (path: readonly number[], content: Buffer): Buffer => path.reduceRight((inner, id) => field(id, inner), content);

interface Place { readonly name: string; readonly path: readonly number[]; readonly field: protobuf.Field }

/** Every field that a message can hold; of a list of messages the fields of its elements too. */
const places = (type: protobuf.Type, name: string, path: readonly number[] = []): Place[] =>
  type.fieldsArray.flatMap((f) => {
    const here = { name: `${name}.${f.name}`, path, field: f };
    return f.resolvedType instanceof protobuf.Type ? [here, ...places(f.resolvedType, here.name, [...path, f.id])] : [here];
  });

const contents = ({ path, field: f }: Place): [what: string, bytes: () => Buffer][] => {
  const size = PAYLOAD - 8 * path.length - 16;
  const tag = varint((f.id << 3) | 2);
  const bare = [...varint(f.id << 3), 1];
  if (f.map) return [["entries", () => repeated([...tag, 0], size)], ["named entries", () => names(tag, size)]];
  if (f.resolvedType instanceof protobuf.Type) return [["messages", () => repeated([...tag, 0], size)]];
  if (f.type === "string" || f.type === "bytes")
    return [["elements", () => repeated([...tag, 0], size)], ["short elements", () => repeated([...tag, 1, 0x2f], size)], ["slashes", () => field(f.id, Buffer.alloc(size, "/"))], ["separators", () => field(f.id, Buffer.alloc(size, ",:.= \n"))]];
  return [["numbers", () => repeated(bare, size)], ...(f.repeated ? [["packed numbers", () => field(f.id, Buffer.alloc(size))] as [string, () => Buffer]] : [])];
};

/** Entries of a map, each with another name. */
const names = (tag: readonly number[], size: number): Buffer => {
  const unit = tag.length + 1 + 2 + 4;
  const bytes = Buffer.alloc(size - (size % unit));
  for (let at = 0, n = 0; at < bytes.length; at += unit, n++) {
    const name = Buffer.from(n.toString(36).padStart(4, "0").slice(-4));
    bytes.set([...tag, 6, 0x0a, 4, ...name], at);
  }
  return bytes;
};

/** All shapes of all methods; of lists within lists one element that holds the inner list. */
export const shapes = (): Shape[] =>
  ["grpc.AgentService", "grpc.Health"].flatMap((service) =>
    root.lookupService(service).methodsArray.flatMap((m) => {
      const type = (m.resolve() as protobuf.Method).resolvedRequestType as protobuf.Type;
      const method = `${service}/${m.name}`;
      const known = places(type, m.name).flatMap((p) => contents(p).map(([what, bytes]) => ({ name: `${p.name}: ${what}`, method, payload: () => within(p.path, bytes()) })));
      const odd: [string, () => Buffer][] = [
        ["unknown numbers", () => repeated([0xf8, 0x7f, 1])], ["unknown texts", () => repeated([0xfa, 0x7f, 0])], ["unknown groups", () => repeated([0xfb, 0x7f, 0xfc, 0x7f])],
        ["an unknown group of numbers", () => Buffer.concat([Buffer.from([0xfb, 0x7f]), repeated([0x08, 1], PAYLOAD - 4), Buffer.from([0xfc, 0x7f])])],
        ["deep groups", () => Buffer.alloc(PAYLOAD, 0x0b)], ["zeros", () => Buffer.alloc(PAYLOAD)],
      ];
      return [...known, ...odd.map(([what, payload]) => ({ name: `${m.name}: ${what}`, method, payload }))];
    }),
  );

/** The frame of a request. */
export const requestFrame = (stream: number, method: string, payload: Buffer): Buffer => {
  const [service = "", name = ""] = method.split("/");
  const envelope = Buffer.concat([field(1, Buffer.from(service)), field(2, Buffer.from(name)), field(3, payload)]);
  const header = Buffer.alloc(10);
  header.writeUInt32BE(envelope.length, 0);
  header.writeUInt32BE(stream, 4);
  header[8] = 1;
  return Buffer.concat([header, envelope]);
};
