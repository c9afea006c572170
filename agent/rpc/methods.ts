// The table of methods, read from gen/table.ts when one is first called: service, name, request and response, and the handler that a
// service has registered for it. A line of METHODS is a service and its methods, "Name[:Request][>Response]"; what is left out is
// NameRequest and Empty.
import { AppError } from "../lib/errors.js";
import { words } from "../lib/text.js";
import type { Call } from "./call.js";
import type { Init } from "./wire/encode.js";
import type { Methods } from "./gen/messages.js";
import { METHODS } from "./gen/table.js";
import type { Answering } from "./reply.js";
import { KIND, type Schema, schemaOf } from "./wire/schema.js";

/** Returned by a handler that will answer through its call, later or already. */
export const LATER = { later: true } as const;

/** Which module answers a method; "none": nobody yet, which is UNIMPLEMENTED. */
type Service = "health" | "sandbox" | "container" | "stdio" | "network" | "guest" | "features" | "none";
/**
 * What is special about a method. call: its handler gets the call besides the request, to answer later or to learn of its end. quiet: called so often, or
 * pending for so long, that a log line for each call would drown the others. in-place: the handler is done with the request's bytes when it returns.
 */
type Trait = "call" | "quiet" | "in-place";
type Row = Service | `${Service} ${Trait}` | `${Service} ${Trait} ${Trait}` | `${Service} ${Trait} ${Trait} ${Trait}`;

/** Every method of the API, the module that answers it and its traits. One that is missing here, or in its module, is a type error. */
const SERVED = {
  Check: "health quiet", Version: "health quiet",
  CreateSandbox: "sandbox", DestroySandbox: "sandbox",
  CreateContainer: "container", StartContainer: "container", RemoveContainer: "container", ExecProcess: "container call", SignalProcess: "container", WaitProcess: "container call",
  UpdateContainer: "container", StatsContainer: "container", PauseContainer: "container", ResumeContainer: "container", GetOOMEvent: "container call quiet", GetDiagnosticData: "container",
  WriteStdin: "stdio call quiet in-place", ReadStdout: "stdio call quiet", ReadStderr: "stdio call quiet", CloseStdin: "stdio", TtyWinResize: "stdio",
  UpdateInterface: "network", UpdateRoutes: "network", ListInterfaces: "network", ListRoutes: "network", AddARPNeighbors: "network", GetIPTables: "network", SetIPTables: "network",
  OnlineCPUMem: "guest", MemHotplugByProbe: "guest", GetGuestDetails: "guest", ReseedRandomDev: "guest", SetGuestDateTime: "guest", GetVolumeStats: "guest", AddSwap: "guest", AddSwapPath: "guest",
  CopyFile: "guest", UpdateEphemeralMounts: "guest", RemoveStaleVirtiofsShareMounts: "guest",
  MemAgentMemcgSet: "features quiet", MemAgentCompactSet: "features quiet", ResizeVolume: "features", SetPolicy: "features",
  GetMetrics: "none",
} as const satisfies { readonly [M in keyof Methods]: Row };

type Result<M extends keyof Methods> = Init<Methods[M]["response"]> | typeof LATER | undefined | void;
type Given<M extends keyof Methods> = (typeof SERVED)[M] extends `${string} call${string}` ? [request: Methods[M]["request"], call: Call] : [request: Methods[M]["request"]];

/**
 * Does one method. The answer is what it returns or its promise resolves to (nothing, for an empty response), or LATER. It is called
 * in the order in which requests came and must not block. Bytes in the request are the handler's own, unless the method is in-place:
 * then they are gone when it returns.
 */
export type Handler<M extends keyof Methods> = (...given: Given<M>) => Result<M> | Promise<Result<M>>;

type MethodsOf<S extends Service> = { [M in keyof Methods]: (typeof SERVED)[M] extends S | `${S} ${string}` ? M : never }[keyof Methods];
/** The handlers of a module: all of its methods and no others. */
export type Handlers<S extends Service> = { readonly [M in MethodsOf<S>]: Handler<M> };

type AnyHandler = (request: Record<string, unknown>, call: Call) => unknown;

export interface Method extends Answering {
  readonly service: string;
  readonly request: Schema;
  /** The request holds bytes that the handler may keep, so it must not point into the receive buffer. */
  readonly copies: boolean;
  readonly quiet: boolean;
  readonly needsCall: boolean;
  readonly handler: AnyHandler;
}

const handlers = new Map<string, AnyHandler>();
const loaders = new Map<string, () => object>();
const methods = new Map<string, Method>();

/** Registers handlers that are needed from the start. */
export function serve(group: { readonly [M in keyof Methods]?: Handler<M> }): void {
  for (const name of Object.keys(group)) handlers.set(name, group[name as keyof Methods] as AnyHandler);
}

/** Registers a module, whose handlers are loaded when one of its methods is first called. */
export function serveLazily<S extends Service>(service: S, load: () => Handlers<S>): void {
  loaders.set(service, load);
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
  const [module = "none", ...traits] = words(SERVED[name as keyof Methods] ?? "");
  const handler = handlerOf(name, module);
  if (handler === undefined) throw new AppError("unimplemented", `/${service}/${name} is not supported`);
  const [head = "", response = "Empty"] = token.split(">");
  const request = schemaOf(head.split(":")[1] ?? `${name}Request`);
  const copies = !traits.includes("in-place") && request.codes.some((code) => (code & 15) === KIND.BYTES);
  return { service, name, request, response: schemaOf(response), copies, quiet: traits.includes("quiet"), needsCall: traits.includes("call"), handler };
}

function handlerOf(name: string, module: string): AnyHandler | undefined {
  const load = loaders.get(module);
  if (!handlers.has(name) && load !== undefined) {
    loaders.delete(module);
    serve(load());
  }
  return handlers.get(name);
}
