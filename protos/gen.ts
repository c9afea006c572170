// Writes what both sides have of the .proto files. For the agent gen/table.ts (what the codec needs, as two strings) and gen/messages.ts
// (types only, nothing of it reaches the binary), for the host client/gen/messages.ts. `make gen` runs it; a test runs it again and
// compares, so the result is committed.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { hostMessagesText } from "./gen-host.js";
import { loadNamed, loadProtos } from "./load.js";
import { propertyName } from "./names.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const EMPTY = "Empty";

/** 64-bit fields whose upper values carry meaning; they decode to a bigint where a number is not exact. */
const WIDE = new Set(["POSIXRlimit.Hard", "POSIXRlimit.Soft", "LinuxSeccompArg.Value", "LinuxSeccompArg.ValueTwo"]);

/**
 * The most elements of a list or map that a request may have in one message: what the field can sensibly hold, where that is not
 * DEFAULT_ELEMENTS of rpc/wire/schema.ts. The kernel's own limits lie below these, so that it is still
 * the one who refuses what it does not take.
 */
const ELEMENTS: Readonly<Record<string, number>> = {
  "Process.Args": 32768, "Process.Env": 32768, "Hook.Args": 4096, "Hook.Env": 4096,
  "User.AdditionalGids": 8192, "StringUser.additionalGids": 1024,
  "LinuxCapabilities.Bounding": 256, "LinuxCapabilities.Effective": 256, "LinuxCapabilities.Inheritable": 256, "LinuxCapabilities.Permitted": 256, "LinuxCapabilities.Ambient": 256,
  "Process.Rlimits": 64, "Linux.Namespaces": 64, "Linux.UIDMappings": 1024, "Linux.GIDMappings": 1024,
  "Hooks.Prestart": 256, "Hooks.Poststart": 256, "Hooks.Poststop": 256, "Hooks.CreateRuntime": 256, "Hooks.CreateContainer": 256, "Hooks.StartContainer": 256,
  "LinuxResources.HugepageLimits": 64, "LinuxResources.Devices": 1024, "LinuxNetwork.Priorities": 1024,
  "LinuxSeccomp.Architectures": 64, "LinuxSeccomp.Flags": 16, "LinuxSyscall.Names": 1024, "LinuxSyscall.Args": 64,
  "Mount.options": 1024, "Storage.driver_options": 1024, "Storage.options": 1024, "Device.options": 1024,
  "CreateContainerRequest.devices": 1024, "CreateContainerRequest.storages": 1024, "CreateSandboxRequest.storages": 1024, "UpdateEphemeralMountsRequest.storages": 1024,
  "CreateSandboxRequest.dns": 256, "CreateSandboxRequest.kernel_modules": 256, "KernelModule.parameters": 256,
  "ARPNeighbors.ARPNeighbors": 1024, "Routes.Routes": 1024, "AddSwapRequest.PCIPath": 64, "Interface.IPAddresses": 256, "Request.metadata": 256,
};

/** The most bytes of a text; 0: as long as a frame. All others are names, paths and options: LONGEST_TEXT of rpc/wire/schema.ts. */
const LENGTHS: Readonly<Record<string, number>> = {
  "Process.Args": 0, "Process.Env": 0, "Hook.Args": 0, "Hook.Env": 0, "Spec.Annotations": 0, "SetPolicyRequest.policy": 0, "Storage.driver_options": 0,
  "LinuxDeviceCgroup.Access": 64, "CheckRequest.service": 0, "CopyFileRequest.path": 4096, // PATH_MAX: the agent walks it part by part
};

const SCALARS: Readonly<Record<string, { kind: string; type: string }>> = {
  string: { kind: "s", type: "string" },
  bytes: { kind: "y", type: "Uint8Array" },
  bool: { kind: "b", type: "boolean" },
  uint32: { kind: "u", type: "number" },
  int32: { kind: "i", type: "number" },
  uint64: { kind: "q", type: "number" },
  int64: { kind: "j", type: "number" },
};

type Value = { readonly kind: string; readonly type: string; readonly message: string };

const valueOf = (f: protobuf.Field): Value => {
  const owner = f.parent?.name ?? "?";
  if (f.resolvedType instanceof protobuf.Type) return { kind: "m", type: f.resolvedType.name, message: f.resolvedType.name };
  if (f.resolvedType instanceof protobuf.Enum) return { kind: "i", type: "number", message: "" };
  if (WIDE.has(`${owner}.${f.name}`)) return { kind: "w", type: "number | bigint", message: "" };
  const scalar = SCALARS[f.type];
  if (scalar === undefined) throw new Error(`${owner}.${f.name}: type ${f.type} is not one the codec knows`);
  return { ...scalar, message: "" };
};

const isOptional = (f: protobuf.Field): boolean => f.partOf !== null;

/** One field as the codec reads it: label, kind, name, then ":Message", "=number", "#elements" and "^bytes" where they are needed. */
const token = (f: protobuf.Field, expected: number): string => {
  const { kind, message } = valueOf(f);
  if (f instanceof protobuf.MapField && f.keyType !== "string") throw new Error(`${f.fullName}: only string keys are known`);
  const label = f.map ? "%" : f.repeated ? "*" : isOptional(f) ? "?" : "";
  const owner = f.parent?.name ?? "";
  const bound = ELEMENTS[`${owner}.${f.name}`];
  const length = LENGTHS[`${owner}.${f.name}`];
  if (bound !== undefined && !f.map && !f.repeated) throw new Error(`${f.fullName}: only lists and maps have elements`);
  const rest = `${message === "" ? "" : `:${message}`}${f.id === expected ? "" : `=${f.id}`}${bound === undefined ? "" : `#${bound}`}${length === undefined ? "" : `^${length}`}`;
  return `${label}${kind}${propertyName(owner, f.name)}${rest}`;
};

const line = (t: protobuf.Type): string => {
  let next = 1;
  const tokens = t.fieldsArray.map((f) => {
    const text = token(f, next);
    next = f.id + 1;
    return text;
  });
  return [t.name, ...tokens].join(" ");
};

const property = (f: protobuf.Field): string => {
  const { kind, type } = valueOf(f);
  const name = propertyName(f.parent?.name ?? "", f.name);
  if (f.map) return `  ${name}: Record<string, ${type}>;`;
  if (f.repeated) return `  ${name}: ${type.includes("|") ? `(${type})` : type}[];`;
  return kind === "m" || isOptional(f) ? `  ${name}?: ${type};` : `  ${name}: ${type};`;
};

const typesOf = (root: protobuf.Root): protobuf.Type[] =>
  ["grpc", "types", "ttrpc"].flatMap((pkg) => {
    const ns = root.lookup(pkg);
    return ns instanceof protobuf.Namespace ? ns.nestedArray.filter((o) => o instanceof protobuf.Type) : [];
  });

const methodsOf = (root: protobuf.Root): { service: string; methods: protobuf.Method[] }[] =>
  ["AgentService", "Health"].map((name) => {
    const service = root.lookupService(`grpc.${name}`);
    return { service: `grpc.${name}`, methods: service.methodsArray.map((m) => m.resolve() as protobuf.Method) };
  });

const nameOf = (t: protobuf.Type | null): string => t?.name ?? "?";

/** `Method[:Request][>Response]`; a request called MethodRequest and an empty response are left out. */
const methodToken = (m: protobuf.Method): string => {
  const request = nameOf(m.resolvedRequestType);
  const response = nameOf(m.resolvedResponseType);
  return `${m.name}${request === `${m.name}Request` ? "" : `:${request}`}${response === EMPTY ? "" : `>${response}`}`;
};

const HEAD = "// Written by protos/gen.ts from the .proto files; do not edit. ";

/** The text of gen/table.ts. */
export const tableText = (root: protobuf.Root): string => {
  const types = typesOf(root);
  const names = types.map((t) => t.name);
  const fields = new Set(types.flatMap((t) => t.fieldsArray.map((f) => `${t.name}.${f.name}`)));
  const unknown = [...Object.keys(ELEMENTS), ...Object.keys(LENGTHS)].find((name) => !fields.has(name));
  if (unknown !== undefined) throw new Error(`no field ${unknown} to bound`);
  if (new Set(names).size !== names.length) throw new Error("two messages have the same name");
  const lines = [...types.map(line), EMPTY].map((l) => `\\n${l} `).join("\" +\n  \"");
  const methods = methodsOf(root).map((s) => `\\n${s.service} ${s.methods.map(methodToken).join(" ")}`).join("\" +\n  \"");
  return `${HEAD}The format is told in rpc/wire/schema.ts and rpc/methods.ts.

export const TABLE =
  "${lines}\\n";

export const METHODS =
  "${methods}";
`;
};

/** The text of gen/messages.ts. */
export const messagesText = (root: protobuf.Root): string => {
  const types = typesOf(root);
  const interfaces = types.map((t) =>
    t.fieldsArray.length === 0
      ? `export type ${t.name} = Empty;`
      : `export interface ${t.name} {\n${t.fieldsArray.map(property).join("\n")}\n}`,
  );
  const methods = methodsOf(root).flatMap((s) =>
    s.methods.map((m) => `  ${m.name}: { request: ${nameOf(m.resolvedRequestType)}; response: ${nameOf(m.resolvedResponseType)} };`),
  );
  return `${HEAD}Types only.
// A decoded message has every scalar, list and map; a message or optional field is there only if it was sent. 64-bit integers are
// numbers (above 2^53 rounded), four of them \`number | bigint\` (exact). Enums are their numbers.

export type Empty = Record<never, never>;

${interfaces.join("\n\n")}

/** All messages by name. */
export interface Messages {
  Empty: Empty;
${types.map((t) => `  ${t.name}: ${t.name};`).join("\n")}
}

/** All methods by name, which is unique over both services. */
export interface Methods {
${methods.join("\n")}
}
`;
};

/** Generated files: path from the top of the tree to text. */
export const generated = (): Record<string, string> => {
  const root = loadProtos(HERE);
  return {
    "agent/rpc/gen/table.ts": tableText(root), "agent/rpc/gen/messages.ts": messagesText(root),
    "ctl/client/gen/messages.ts": hostMessagesText(loadNamed(HERE)),
  };
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of Object.entries(generated())) {
    const target = join(HERE, "..", path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
}
