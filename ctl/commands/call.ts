// `ctl`: any call of the API with its request as JSON, the answer as JSON. It owns the checks that make a typing error visible.
import { parseAddress } from "../client/address.js";
import { connectAgent } from "../client/connect.js";
import type { CallName } from "../client/agent-client.js";
import { printExact } from "../client/exact-json.js";
import { schema } from "../client/schema.js";
import { toMessage } from "../container/to-message.js";
import { jsonObject } from "../image/config.js";
import { findVm, listVms } from "../vm/registry.js";

export interface CallOptions {
  address?: string;
  vm?: string;
  timeout?: number;
  compact?: boolean;
}

const nearest = (name: string): string | undefined =>
  [...schema().methods.keys()].find((known) => known.toLowerCase() === name.replaceAll("_", "").toLowerCase());

/** Name of a call as the protocol has it, whatever its case. Throws Error that lists all calls. */
export const callName = (name: string): CallName => {
  const found = nearest(name);
  if (found === undefined) throw new Error(`no call '${name}'; there are: ${[...schema().methods.keys()].join(", ")}`);
  return found as CallName;
};

/** The request object of a call from JSON text. Throws Error that names the field that is unknown or of the wrong kind. */
export const requestFrom = (name: CallName, json: string): object => {
  const type = schema().methods.get(name)?.request;
  if (type === undefined) throw new Error(`no call '${name}'`);
  const { value, unknown } = toMessage(type, jsonObject(json, `request of ${name}`));
  if (unknown.length > 0) throw new Error(`${type.name} has no field ${unknown.join(", ")}; it has: ${type.fieldsArray.map((field) => field.name).join(", ") || "none"}`);
  return value;
};

const addressFor = (options: CallOptions): string => {
  if (options.address !== undefined) return options.address;
  if (options.vm !== undefined) return findVm(options.vm).address;
  const running = listVms();
  const only = running.length === 1 ? running[0] : undefined;
  if (only !== undefined) return only.address;
  throw new Error(running.length === 0 ? "no VM is running: give --address" : `several VMs are running: choose with --vm ${running.map((vm) => vm.name).join("|")}`);
};

const bytesAsBase64 = (_key: string, value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString("base64")
    // Buffer's own toJSON runs before a replacer sees the value.
    : value !== null && typeof value === "object" && (value as { type?: unknown }).type === "Buffer" ? Buffer.from((value as { data: number[] }).data).toString("base64") : value;

/** Make the call and print its answer; byte fields are base64. */
export const callCommand = async (name: string, json: string, options: CallOptions): Promise<number> => {
  const method = callName(name);
  const request = requestFrom(method, json);
  const client = await connectAgent(parseAddress(addressFor(options)), { exact: true });
  try {
    const answer = await client.call(method, request as never, options.timeout === undefined ? {} : { timeoutMs: options.timeout });
    process.stdout.write(`${printExact(answer, bytesAsBase64, options.compact === true ? undefined : 2)}\n`);
    return 0;
  } finally {
    client.close();
  }
};
