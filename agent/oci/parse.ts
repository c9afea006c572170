// config.json and the other JSON that command lines read, to the types of spec.ts. The form is checked here, the meaning in
// check.ts. Sources: runtime-spec config.md, config-linux.md, schema/*.json.
import { AppError } from "../lib/errors.js";
import { decimal } from "../lib/text.js";
import { readShape, type Shape } from "./shape.js";
import type { Process, Resources, Spec } from "./spec.js";

const TEXTS: Shape = ["s"];
const MAP: Shape = { "*": "s" };
const MAPPINGS: Shape = [{ "!": "containerID hostID size", containerID: "u32", hostID: "u32", size: "u32" }];
const HOOKS: Shape = [{ "!": "path", path: "s", args: TEXTS, env: TEXTS, timeout: "i64" }];
const RATES: Shape = [{ "!": "major minor rate", major: "i64", minor: "i64", rate: "u64" }];

const PROCESS: Shape = { "!": "cwd",
  terminal: "b", consoleSize: { "!": "height width", height: "u32", width: "u32" }, user: { uid: "u32", gid: "u32", umask: "u32", additionalGids: ["u32"] }, args: TEXTS, env: TEXTS, cwd: "s",
  capabilities: { bounding: TEXTS, effective: TEXTS, inheritable: TEXTS, permitted: TEXTS, ambient: TEXTS }, rlimits: [{ "!": "type hard soft", type: "s", hard: "x64", soft: "x64" }], noNewPrivileges: "b",
  apparmorProfile: "s", oomScoreAdj: "i32", selinuxLabel: "s",
  scheduler: { "!": "policy", policy: "s", nice: "i32", priority: "i32", flags: TEXTS, runtime: "x64", deadline: "x64", period: "x64" }, ioPriority: { "!": "class", class: "s", priority: "i32" },
  execCPUAffinity: { initial: "s", final: "s" },
};
const RESOURCES: Shape = {
  devices: [{ "!": "allow", allow: "b", type: "s", major: "i64", minor: "i64", access: "s" }],
  memory: { limit: "i64", reservation: "i64", swap: "i64", kernel: "i64", kernelTCP: "i64", swappiness: "u64", useHierarchy: "b", disableOOMKiller: "b", checkBeforeUpdate: "b" },
  cpu: { shares: "u64", quota: "i64", period: "u64", burst: "u64", idle: "i64", realtimeRuntime: "i64", realtimePeriod: "u64", cpus: "s", mems: "s" },
  pids: { limit: "i64" },
  blockIO: {
    weight: "u16", leafWeight: "u16", weightDevice: [{ "!": "major minor", major: "i64", minor: "i64", weight: "u16", leafWeight: "u16" }],
    throttleReadBpsDevice: RATES, throttleWriteBpsDevice: RATES, throttleReadIOPSDevice: RATES, throttleWriteIOPSDevice: RATES,
  },
  hugepageLimits: [{ "!": "pageSize limit", pageSize: "s", limit: "u64" }], network: { classID: "u32", priorities: [{ "!": "name priority", name: "s", priority: "u32" }] },
  rdma: { "*": { hcaHandles: "u32", hcaObjects: "u32" } }, unified: MAP,
};
const SECCOMP: Shape = { "!": "defaultAction",
  defaultAction: "s", defaultErrnoRet: "u32", architectures: TEXTS, flags: TEXTS, listenerPath: "s", listenerMetadata: "s",
  syscalls: [{ "!": "names action", names: TEXTS, action: "s", errnoRet: "u32", args: [{ "!": "index value op", index: "u32", value: "x64", valueTwo: "x64", op: "s" }] }],
};
const SPEC: Shape = { "!": "ociVersion",
  ociVersion: "s", process: PROCESS, root: { "!": "path", path: "s", readonly: "b" }, hostname: "s", domainname: "s",
  mounts: [{ "!": "destination", destination: "s", type: "s", source: "s", options: TEXTS, uidMappings: MAPPINGS, gidMappings: MAPPINGS }],
  hooks: { prestart: HOOKS, createRuntime: HOOKS, createContainer: HOOKS, startContainer: HOOKS, poststart: HOOKS, poststop: HOOKS },
  annotations: MAP,
  linux: {
    uidMappings: MAPPINGS, gidMappings: MAPPINGS, sysctl: MAP, resources: RESOURCES, cgroupsPath: "s", namespaces: [{ "!": "type", type: "s", path: "s" }],
    devices: [{ "!": "path type", path: "s", type: "s", major: "i64", minor: "i64", fileMode: "u32", uid: "u32", gid: "u32" }], seccomp: SECCOMP, rootfsPropagation: "s", maskedPaths: TEXTS, readonlyPaths: TEXTS,
    mountLabel: "s", timeOffsets: { "*": { secs: "i64", nanosecs: "u32" } }, personality: { "!": "domain", domain: "s", flags: TEXTS }, memoryPolicy: { mode: "s", nodes: "s", flags: TEXTS },
    intelRdt: { closID: "s", l3CacheSchema: "s", memBwSchema: "s", schemata: TEXTS, enableMonitoring: "b" }, netDevices: { "*": { name: "s" } },
  },
};

/** "1.2.3", perhaps with "-pre" or "+build": any version 1 is understood. See semver.org, 2. */
function checkVersion(text: string): void {
  const [numbers = ""] = text.split("+")[0]?.split("-") ?? [];
  const parts = numbers.split(".").map(decimal);
  if (parts.length !== 3 || parts.includes(undefined)) throw new AppError("invalid", `ociVersion: "${text.slice(0, 40)}" is not a version like 1.3.0`);
  if (parts[0] !== 1) throw new AppError("invalid", `ociVersion: ${text.slice(0, 40)} is not a version 1 of the runtime specification`);
}

type Loose<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;

/** What may be left out of a process by name is there as nothing. */
function wholeProcess(process: Loose<Process, "args" | "user">): Process {
  const { user, args } = process;
  return { ...process, args: args ?? [], user: { ...user, uid: user?.uid ?? 0, gid: user?.gid ?? 0 } };
}

/** A config.json. Throws AppError "invalid" naming the field. */
export function parseSpec(text: string): Spec {
  const spec = readShape(text, SPEC) as Spec;
  checkVersion(spec.ociVersion);
  return { ...spec, ...(spec.process === undefined ? {} : { process: wholeProcess(spec.process) }), ...(spec.root === undefined ? {} : { root: { ...spec.root, readonly: spec.root.readonly ?? false } }) };
}

/** A process, as exec reads it. Throws AppError "invalid" naming the field. */
export function parseProcess(text: string): Process {
  return wholeProcess(readShape(text, PROCESS, "process") as Process);
}

/** linux.resources, as update reads them. Throws AppError "invalid" naming the field. */
export function parseResources(text: string): Resources {
  return readShape(text, RESOURCES, "resources") as Resources;
}
