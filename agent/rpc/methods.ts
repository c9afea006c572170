// The table of methods, read from gen/table.ts when one is first called: service, name, request and response, and the handler that a
// service has registered for it. A line of METHODS is a service and its methods, "Name[:Request][>Response]"; what is left out is
// NameRequest and Empty.
import { AppError } from "../lib/errors.js";
import type { Call } from "./call.js";
import type { Init } from "./wire/encode.js";
import type { Methods } from "./gen/messages.js";
import { METHODS } from "./gen/table.js";
import { KIND, type Schema, schemaOf } from "./wire/schema.js";

/** Returned by a handler that will answer through its call, later or already. */
export const LATER = { later: true } as const;

type Result<M extends keyof Methods> = Init<Methods[M]["response"]> | typeof LATER | undefined | void;

/**
 * Does one method. The answer is what it returns or its promise resolves to (nothing, for an empty response), or LATER. It is called
 * in the order in which requests came and must not block. Bytes in the request are the handler's own, except for the methods in
 * IN_PLACE below: theirs are gone when it returns.
 */
export type Handler<M extends keyof Methods> = (request: Methods[M]["request"], call: Call) => Result<M> | Promise<Result<M>>;

/** Handlers by method name. */
export type Handlers = { readonly [M in keyof Methods]?: Handler<M> };

type AnyHandler = (request: Record<string, unknown>, call: Call) => unknown;

export interface Method {
  readonly service: string;
  readonly name: string;
  readonly request: Schema;
  readonly response: Schema;
  /** The request holds bytes that the handler may keep, so it must not point into the receive buffer. */
  readonly copies: boolean;
  /** No log line for each call. */
  readonly quiet: boolean;
  /** The handler takes a second argument. */
  readonly needsCall: boolean;
  readonly handler: AnyHandler;
}

/** Called so often, or pending for so long, that a log line for each call would drown the others. */
const QUIET = " WriteStdin ReadStdout ReadStderr GetOOMEvent MemAgentMemcgSet MemAgentCompactSet Check Version ";
/** Handlers that are done with the request's bytes when they return. */
const IN_PLACE = " WriteStdin ";

const handlers = new Map<string, AnyHandler>();
const groups: { readonly methods: readonly string[]; readonly load: () => Handlers }[] = [];
const methods = new Map<string, Method>();

/** Registers handlers that are needed from the start. */
export function serve(group: Handlers): void {
  for (const name of Object.keys(group)) handlers.set(name, group[name as keyof Methods] as AnyHandler);
}

/** Registers methods whose handlers are loaded when one of them is first called. */
export function serveLazily(names: readonly (keyof Methods)[], load: () => Handlers): void {
  groups.push({ methods: names, load });
}

/** The method; throws AppError: invalid for an unknown service, unimplemented for an unknown method or one without handler. */
export function methodNamed(service: string, name: string): Method {
  const id = `${service}/${name}`;
  const known = methods.get(id);
  if (known !== undefined) return known;
  const start = METHODS.indexOf(`\n${service} `);
  if (service === "" || start < 0 || service.includes(" ")) throw new AppError("invalid", `${service} service does not exist`);
  const stop = METHODS.indexOf("\n", start + 1);
  const token = METHODS.slice(start + service.length + 2, stop < 0 ? METHODS.length : stop)
    .split(" ")
    .find((t) => nameOf(t) === name);
  if (token === undefined) throw new AppError("unimplemented", `${name} method`);
  const method = build(service, name, token);
  methods.set(id, method);
  return method;
}

const nameOf = (token: string): string | undefined => (token.split(">")[0] as string).split(":")[0];

function build(service: string, name: string, token: string): Method {
  const handler = handlerOf(name);
  if (handler === undefined) throw new AppError("unimplemented", `/${service}/${name} is not supported`);
  const [head = "", response = "Empty"] = token.split(">");
  const request = schemaOf(head.split(":")[1] ?? `${name}Request`);
  const copies = !IN_PLACE.includes(` ${name} `) && request.codes.some((code) => (code & 15) === KIND.BYTES);
  return { service, name, request, response: schemaOf(response), copies, quiet: QUIET.includes(` ${name} `), needsCall: handler.length > 1, handler };
}

function handlerOf(name: string): AnyHandler | undefined {
  if (!handlers.has(name)) {
    const i = groups.findIndex((g) => g.methods.includes(name));
    if (i >= 0) for (const group of groups.splice(i, 1)) serve(group.load());
  }
  return handlers.get(name);
}
