// The messages of the API as the codec walks them, parsed one at a time, when first needed, from gen/table.ts. A line of that table
// is a message: its name, then its fields in order of number: label (* list, % map with string keys, ? optional, none: singular),
// kind, name, ":Message" for kind m, "=number" where it is not the number before plus one, "#elements" where a list or map may have
// more or fewer than usual, "^bytes" where a text may be longer or shorter (0: of any length).
import { TABLE } from "../gen/table.js";

/** What a field holds. Up to BYTES the value has a length on the wire, above it is a varint. */
export const enum KIND { MESSAGE = 1, STRING = 2, BYTES = 3, BOOL = 4, UINT32 = 5, INT32 = 6, UINT64 = 7, INT64 = 8, WIDE = 9 }

/** How often a field occurs. */
export const enum LABEL { SINGULAR = 0, LIST = 16, MAP = 32, OPTIONAL = 48 }

/** One message; the arrays are indexed by field number and have no holes. A code is kind plus label, 0 where there is no field. */
export interface Schema {
  readonly name: string;
  readonly codes: number[];
  readonly names: string[];
  /** Schema of a message field, or its name until it is first needed. */
  readonly parts: (Schema | string)[];
  /** The scalar fields with their defaults, to copy from. */
  readonly scalars: Record<string, unknown>;
  /** Numbers of the list and map fields, which need a fresh value in each message. */
  readonly containers: number[];
  /** The most elements of a list or map field in a request. */
  readonly elements: number[];
  /** The most bytes of a text in a request. */
  readonly lengths: number[];
  /** What one decoded message costs at least, in bytes of memory: an estimate, on the high side. */
  cost: number;
}

/** The most elements of a list or map in a request, where protos/gen.ts says nothing else. */
export const DEFAULT_ELEMENTS = 4096;
/** The most bytes of a name, a path or an option in a request; and of the name of a map's entry. */
export const LONGEST_TEXT = 65536;
export const LONGEST_KEY = 4096;

const KIND_LETTERS = " msybuiqjw";
const LABEL_LETTERS = " *%?";

const known = new Map<string, Schema>();

/** Schema of message `name`; throws Error for a name that is not in the table. */
export function schemaOf(name: string): Schema {
  let schema = known.get(name);
  if (schema === undefined) {
    schema = parse(name);
    known.set(name, schema);
  }
  return schema;
}

/** Schema of message field `number`. */
export function partOf(schema: Schema, number: number): Schema {
  const part = schema.parts[number] as Schema | string;
  if (typeof part !== "string") return part;
  return (schema.parts[number] = schemaOf(part));
}

function parse(message: string): Schema {
  const start = TABLE.indexOf(`\n${message} `);
  if (start < 0) throw new Error(`no message ${message} in the table`);
  const first = start + message.length + 2;
  const line = TABLE.slice(first, TABLE.indexOf("\n", first)).trimEnd();
  const schema: Schema = { name: message, codes: [0], names: [""], parts: [""], scalars: {}, containers: [], elements: [0], lengths: [0], cost: 128 };
  if (line !== "") for (const token of line.split(" ")) addField(schema, token);
  return schema;
}

function addField(schema: Schema, token: string): void {
  const label = Math.max(0, LABEL_LETTERS.indexOf(token.charAt(0)));
  const kind = KIND_LETTERS.indexOf(token.charAt(label === 0 ? 0 : 1));
  const [bounded = "", length = `${LONGEST_TEXT}`] = token.slice(label === 0 ? 1 : 2).split("^");
  const [field = "", elements = `${DEFAULT_ELEMENTS}`] = bounded.split("#");
  const [head = "", number] = field.split("=");
  const [name = "", part = ""] = head.split(":");
  const at = number === undefined ? schema.codes.length : Number(number);
  while (schema.codes.length < at) {
    schema.codes.push(0);
    schema.names.push("");
    schema.parts.push("");
    schema.elements.push(0);
    schema.lengths.push(0);
  }
  const code = kind | (label << 4);
  schema.codes.push(code);
  schema.names.push(name);
  schema.parts.push(part);
  schema.elements.push(Number(elements));
  schema.lengths.push(Number(length) || Infinity);
  schema.cost += label === 1 || label === 2 ? 128 : 32;
  if (label === 1 || label === 2) schema.containers.push(at);
  else if (label === 0 && kind !== KIND.MESSAGE) schema.scalars[name] = defaultOf(code);
}

/** The default of a singular scalar. The byte default is shared: it is empty, so nobody can change it. */
export function defaultOf(code: number): unknown {
  switch (code & 15) {
    case KIND.STRING:
      return "";
    case KIND.BYTES:
      return NO_BYTES;
    case KIND.BOOL:
      return false;
    default:
      return 0;
  }
}

const NO_BYTES = new Uint8Array(0);
