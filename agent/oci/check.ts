// What a spec must be before anything is touched: each refusal names the field. Pure. (runtime-spec; container-engine 1.17.)
import { lazy } from "../lib/lazy.js";
import { checkClocks, checkMounts, checkUser } from "./check-mounts.js";
import { checkProcess } from "./check-process.js";
import { cleanPath, noNul, noNuls, refuse } from "./field.js";
import { PROPAGATION } from "./mounts.js";
import type { Linux, Process, Spec } from "./spec.js";
import { AGENT, COMMAND_LINE, type Judgement } from "./judgement.js";

const sysctl = lazy<typeof import("./sysctl.js")>("oci/sysctl.js");
const intelRdt = lazy<typeof import("./intel-rdt.js")>("oci/intel-rdt.js");
const netDevices = lazy<typeof import("./net-devices.js")>("oci/net-devices.js");
const hooks = lazy<typeof import("./check-hooks.js")>("oci/check-hooks.js");
const schedule = lazy<typeof import("./schedule.js")>("oci/schedule.js");

/** The kinds of namespaces. */
export const NAMESPACES = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"];
/** Kinds that a kernel of use may lack. */
const YOUNG = ["user", "cgroup", "time"];
/** What only the machine knows. A sandbox's agent has none of it: the machine is the sandbox's own. */
export interface Machine {
  /** Does the kernel have this kind of namespace? */
  has(type: string): boolean;
  /** Does the path lead to the namespace of that kind which the engine itself is in? Throws when it leads to none of that kind. */
  isOwn(type: string, path: string): boolean;
}

/** Does the container have a namespace of that kind apart from the machine's? */
function apart(linux: Linux, type: string, machine: Machine | undefined): boolean {
  const of = linux.namespaces?.find((n) => n.type === type);
  return of !== undefined && !(of.path && machine?.isOwn(type, of.path));
}

/** The kinds of namespaces; each once, and what needs one of them. */
function checkNamespaces(linux: Linux, machine: Machine | undefined): void {
  const types: string[] = [];
  linux.namespaces?.forEach(({ type, path }, i) => {
    if (!NAMESPACES.includes(type)) refuse(`linux.namespaces[${i}].type`, `unknown namespace "${type}"`);
    if (types.includes(type)) refuse(`linux.namespaces[${i}].type`, `${type} is given twice`);
    if (path && !path.startsWith("/")) refuse(`linux.namespaces[${i}].path`, `"${path}" is not an absolute path`);
    noNul(`linux.namespaces[${i}].path`, path);
    if (YOUNG.includes(type) && machine?.has(type) === false) refuse(`linux.namespaces[${i}].type`, `this kernel has no ${type} namespaces`);
    types.push(type);
  });
}

function checkLinux(linux: Linux, spec: Spec, machine: Machine | undefined, judgement: Judgement): void {
  checkNamespaces(linux, machine);
  checkUser(linux, spec.process as Process);
  if (linux.timeOffsets !== undefined) checkClocks(linux);
  for (const name of ["hostname", "domainname"] as const) {
    noNul(name, spec[name]);
    if (spec[name] && !apart(linux, "uts", machine)) refuse(name, "needs a uts namespace");
  }
  noNuls("linux.maskedPaths", linux.maskedPaths);
  noNuls("linux.readonlyPaths", linux.readonlyPaths);
  noNul("linux.cgroupsPath", linux.cgroupsPath);
  if (linux.cgroupsPath && cleanPath(linux.cgroupsPath.split(":").join("/")) === "/") refuse("linux.cgroupsPath", `"${linux.cgroupsPath}" names the root of all groups`);
  if (linux.cgroupsPath?.split("/").includes("..")) refuse("linux.cgroupsPath", "must not contain ..");
  if (linux.rootfsPropagation && PROPAGATION[linux.rootfsPropagation] == null) refuse("linux.rootfsPropagation", `unknown propagation "${linux.rootfsPropagation}"`);
  // without a machine the network is the sandbox's: its parameters are the container's to set
  if (Object.keys(linux.sysctl ?? {}).length > 0) sysctl().checkSysctls(spec, (type) => (type === "network" && judgement.networkSysctls === "allow") || apart(linux, type, machine));
  if (linux.intelRdt !== undefined) intelRdt().checkIntelRdt(linux.intelRdt);
  if (linux.netDevices !== undefined) netDevices().checkNetDevices(linux.netDevices, apart(linux, "network", machine));
  if (linux.personality !== undefined || linux.memoryPolicy !== undefined) schedule().traitsOf({}, linux);
  linux.resources?.devices?.forEach((rule, i) => {
    if (rule.type !== undefined && !["a", "b", "c"].includes(rule.type)) refuse(`linux.resources.devices[${i}].type`, `unknown type "${rule.type}"`);
    for (const c of rule.access ?? "") if (!"rwma".includes(c)) refuse(`linux.resources.devices[${i}].access`, `"${rule.access}" has more than r, w and m`); // "a" adds nothing, as elsewhere
  });
}

/** Throws AppError "invalid" naming the first field that cannot be honoured. A command line has a `machine` besides the container. */
export function checkSpec(spec: Spec, machine?: Machine, judgement = machine === undefined ? AGENT : COMMAND_LINE): asserts spec is Spec & { process: Process; root: NonNullable<Spec["root"]>; linux: Linux } {
  if (spec.process === undefined) refuse("process", "is missing");
  if (spec.root === undefined || spec.root.path === "") refuse("root", "is missing");
  if (spec.linux === undefined) refuse("linux", "is missing");
  if (!spec.root.path.startsWith("/")) refuse("root.path", `"${spec.root.path}" is not an absolute path`);
  noNul("root.path", spec.root.path);
  if (judgement.namelessAnnotations === "refuse" && spec.annotations !== undefined && Object.hasOwn(spec.annotations, "")) refuse('annotations[""]', "has no name");
  checkProcess(spec.process, "process", judgement);
  if (spec.hooks !== undefined) hooks().checkHooks(spec.hooks);
  checkLinux(spec.linux, spec, machine, judgement);
  checkMounts(spec);
}

const ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";

/** A container's id as command lines take it; returns it. Throws AppError "invalid". */
export function checkId(id: string): string {
  const bad = [...id].find((c) => !ID_CHARACTERS.includes(c));
  if (bad !== undefined) refuse("container id", `invalid character \`${bad}\` in the ID "${id.slice(0, 80)}": letters, digits and _+-. are allowed`);
  if (id === "" || id.length > 1024 || id.startsWith(".")) refuse("container id", `"${id.slice(0, 80)}" is empty, too long or begins with a dot`);
  return id;
}
