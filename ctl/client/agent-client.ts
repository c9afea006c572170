// The typed client: one function for each call of the agent's API, from plain objects to plain objects.
// It owns the conversion between objects and message bytes, and the default time limits. It never retries a call.
import protobuf from "protobufjs";
import type { Connection, CallOptions } from "./connection.js";
import type { Calls } from "./gen/messages.js";
import { CODE, RpcError, UnencodableRequest } from "./rpc-error.js";
import { schema, type Method } from "./schema.js";

export type CallName = keyof Calls;

/** What a request may be given as: every field may be left out, 64-bit numbers may be bigint or decimal text. */
export type Input<T> = T extends Uint8Array ? Uint8Array
  : T extends number ? number | bigint
  : T extends (infer E)[] ? readonly Input<E>[]
  : T extends object ? { readonly [K in keyof T]?: Input<T[K]> | undefined }
  : T;

export type Request<M extends CallName> = Input<Calls[M]["request"]>;
export type Response<M extends CallName> = Calls[M]["response"];

type Methods = { readonly [M in CallName as Uncapitalize<M>]: (request?: Request<M>, options?: CallOptions) => Promise<Response<M>> };

/** All calls as methods (`client.createContainer({...})`), and what a client needs besides. */
export interface AgentClient extends Methods {
  /** Any call by its name. Rejects with RpcError. */
  call<M extends CallName>(method: M, request?: Request<M>, options?: CallOptions): Promise<Response<M>>;
  readonly connection: Connection;
  /** Close the connection; open calls fail with CANCELLED. */
  close(): void;
}

/** Calls that may rightly take for ever; they get no time limit unless the caller asks for one. */
const UNLIMITED = new Set<string>(["WaitProcess", "WriteStdin", "ReadStdout", "ReadStderr", "GetOOMEvent"]);

/** Milliseconds every other call may take when nothing is said. */
export const DEFAULT_TIMEOUT_MS = 60_000;

// protobufjs takes decimal text for 64-bit fields but not bigint; undefined values are the same as absent ones. It would pass over
// names that are no fields, and the request would be another one than was meant.
const plain = (value: unknown, type: protobuf.Type | null): unknown => {
  if (typeof value === "bigint") return value.toString();
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item) => plain(item, type));
  const fields = Object.entries(value).filter(([, v]) => v !== undefined);
  return Object.fromEntries(fields.map(([name, inner]) => [name, type === null ? inner : plainField(type, name, inner)]));
};

const plainField = (type: protobuf.Type, name: string, value: unknown): unknown => {
  const field = Object.hasOwn(type.fields, name) ? type.fields[name]?.resolve() : undefined;
  if (field === undefined) throw new Error(`${type.name} has no field ${name}`);
  const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : null;
  if (!field.map || value === null || typeof value !== "object") return plain(value, inner);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, inner)]));
};

/** Bytes of a message. Throws Error when a name is no field, or a value does not fit its field. */
export const encodeMessage = (type: protobuf.Type, message: object): Uint8Array =>
  type.encode(type.fromObject(plain(message, type) as { [k: string]: unknown })).finish();

/** Message bytes of a request object. Throws UnencodableRequest where encodeMessage throws. */
export const encodeRequest = (method: Method, request: object): Uint8Array => {
  try {
    return encodeMessage(method.request, request);
  } catch (error) {
    throw new UnencodableRequest(error as Error, method.name);
  }
};

const OBJECT_FORM: protobuf.IConversionOptions = { defaults: true, arrays: true, objects: true, longs: Number, enums: String };

// With `defaults` protobufjs writes absent messages as null; the types say undefined, so those keys go.
const dropNulls = (value: unknown): unknown => {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (value instanceof protobuf.util.Long) return exactLong(String(value));
  if (Array.isArray(value)) return value.map(dropNulls);
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null).map(([k, v]) => [k, dropNulls(v)]));
};

const exactLong = (digits: string): number | bigint => (Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits));

/**
 * Object form of a response's bytes. 64-bit numbers beyond 2^53 are rounded, or bigints when they must be `exact`.
 * Throws RpcError INTERNAL when they are not that message.
 */
export const decodeResponse = (method: Method, payload: Uint8Array, exact = false): object => {
  const { longs, ...form } = OBJECT_FORM;
  try {
    return dropNulls(method.response.toObject(method.response.decode(payload), { ...form, ...(exact ? {} : { longs }) })) as object;
  } catch (error) {
    throw new RpcError(CODE.INTERNAL, `answer cannot be decoded: ${(error as Error).message}`, method.name, { cause: error });
  }
};

export interface ClientOptions {
  /** Milliseconds for calls that say nothing themselves; default DEFAULT_TIMEOUT_MS. 0: no limit. */
  timeoutMs?: number;
  /** 64-bit numbers beyond 2^53 in answers are bigints (which the types do not say), for printing. */
  exact?: boolean;
}

/** A client on an open connection. */
export const agentClient = (connection: Connection, options: ClientOptions = {}): AgentClient => {
  const limit = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const call = async (name: string, request: object = {}, callOptions: CallOptions = {}): Promise<object> => {
    const method = schema().methods.get(name);
    if (method === undefined) throw new RpcError(CODE.UNIMPLEMENTED, `no such call: ${name}`, name);
    const timeoutMs = callOptions.timeoutMs ?? (UNLIMITED.has(name) ? 0 : limit);
    const payload = await connection.call(method.service, name, encodeRequest(method, request), { ...callOptions, timeoutMs });
    return decodeResponse(method, payload, options.exact);
  };
  const methods = Object.fromEntries(
    [...schema().methods.keys()].map((name) => [
      name.charAt(0).toLowerCase() + name.slice(1),
      (request?: object, callOptions?: CallOptions) => call(name, request, callOptions),
    ]),
  );
  return { ...methods, call, connection, close: () => connection.close() } as unknown as AgentClient;
};
