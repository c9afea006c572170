// What a spec must be before anything is touched: each refusal names the field. Pure. (runtime-spec; facts about runc's list.)
import { AppError } from "../lib/errors.js";
import { capNumber } from "./caps.js";
import { PROPAGATION } from "./mounts.js";
import type { Capabilities, Linux, Mount, Process, Spec } from "./spec.js";

const RLIMITS = ["CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"];
const NAMESPACES = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"];
const IPC_SYSCTLS = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
/** Binds that may lie below /proc: files that tell of the container instead of the machine. */
const PROC_BINDS = ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled", "net/dev"];

function refuse(field: string, why: string): never {
  throw new AppError("invalid", `${field}: ${why}`);
}

function noNul(field: string, text: string | undefined): void {
  if (text?.includes("\0")) refuse(field, "has a NUL byte");
}

/** The same for a list; the place of an item is put into words only when it is bad. */
function noNuls(field: string, list: readonly string[] | undefined): void {
  if (list === undefined) return;
  for (let i = 0; i < list.length; i++) if ((list[i] as string).includes("\0")) refuse(`${field}[${i}]`, "has a NUL byte");
}

/** RLIMIT_NOFILE as the kernel numbers it; -1 for an unknown name. */
export function rlimitNumber(type: string): number {
  return type.startsWith("RLIMIT_") ? RLIMITS.indexOf(type.slice(7)) : -1;
}

function checkCapabilities(field: string, caps: Capabilities | undefined): void {
  for (const set in caps) {
    const names = caps[set as keyof Capabilities] ?? [];
    for (let i = 0; i < names.length; i++) {
      if (capNumber(names[i] as string) < 0) refuse(`${field}.capabilities.${set}[${i}]`, `unknown capability "${names[i]}"`);
    }
  }
}

/** Checks a process; `field` is its place, for instance "process". */
export function checkProcess(process: Process, field = "process"): void {
  if (process.args.length === 0 || process.args[0] === "") refuse(`${field}.args`, "is empty");
  noNuls(`${field}.args`, process.args);
  if (!process.cwd.startsWith("/")) refuse(`${field}.cwd`, `"${process.cwd}" is not an absolute path`);
  noNul(`${field}.cwd`, process.cwd);
  noNuls(`${field}.env`, process.env);
  checkCapabilities(field, process.capabilities);
  const seen: string[] = [];
  process.rlimits?.forEach(({ type, hard, soft }, i) => {
    if (rlimitNumber(type) < 0) refuse(`${field}.rlimits[${i}].type`, `unknown limit "${type}"`);
    if (seen.includes(type)) refuse(`${field}.rlimits[${i}].type`, `${type} is given twice`);
    if (soft > hard) refuse(`${field}.rlimits[${i}].soft`, `${soft} is above the hard limit ${hard}`);
    seen.push(type);
  });
  const adj = process.oomScoreAdj ?? 0;
  if (adj < -1000 || adj > 1000) refuse(`${field}.oomScoreAdj`, `${adj} is not between -1000 and 1000`);
  if (process.apparmorProfile) refuse(`${field}.apparmorProfile`, "AppArmor is not enabled here");
  if (process.selinuxLabel) refuse(`${field}.selinuxLabel`, "SELinux is not enabled here");
}

/** A path's own name without "." and ".." and doubled slashes; ".." above the root stays there. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function checkMount(mount: Mount, i: number): void {
  const { destination, source, type, options } = mount;
  if (destination.includes("\0") || source?.includes("\0") === true || type?.includes("\0") === true) refuse(`mounts[${i}]`, "has a NUL byte");
  noNuls("mounts[].options", options);
  if (destination === "") refuse(`mounts[${i}].destination`, "is empty");
  if (!destination.includes("proc")) return;
  const at = cleanPath(destination);
  if (at === "/proc" && type !== "proc" && source !== "/proc") refuse(`mounts[${i}].destination`, "only a proc file system may be mounted on /proc");
  if (at.startsWith("/proc/") && !PROC_BINDS.includes(at.slice(6))) refuse(`mounts[${i}].destination`, `${at} lies inside /proc`);
}

/**
 * A sysctl's path below /proc/sys. As sysctl.d(5) has it, the separator that comes first is the one that counts, and the other
 * is then part of a name: "net.ipv4.conf.eth0/1.forwarding" and "net/ipv4/conf/eth0.1/forwarding" are the same.
 */
export function sysctlPath(key: string): string {
  const slash = key.indexOf("/");
  const dot = key.indexOf(".");
  if (dot < 0 || (slash >= 0 && slash < dot)) return key;
  return key.split("/").map((part) => part.split(".").join("/")).join(".");
}

function checkSysctl(key: string, linux: Linux, spec: Spec): void {
  const field = `linux.sysctl["${key}"]`;
  const plain = sysctlPath(key);
  if (plain.split("/").some((part) => part === "" || part === "." || part === "..") || plain.includes("\0")) refuse(field, "is not a name");
  const has = (type: string): boolean => linux.namespaces?.some((n) => n.type === type) ?? false;
  if (plain.startsWith("net/")) return; // of the sandbox's network, which is the guest's
  if (plain.startsWith("fs/mqueue/") || (plain.startsWith("kernel/") && IPC_SYSCTLS.includes(plain.slice(7)))) {
    if (!has("ipc")) refuse(field, "needs an ipc namespace");
  } else if (plain === "kernel/domainname") {
    if (!has("uts") || spec.domainname) refuse(field, spec.domainname ? "conflicts with domainname" : "needs a uts namespace");
  } else refuse(field, plain === "kernel/hostname" ? "the hostname field sets it" : "is not namespaced");
}

function checkLinux(linux: Linux, spec: Spec): void {
  const types: string[] = [];
  linux.namespaces?.forEach(({ type, path }, i) => {
    if (!NAMESPACES.includes(type)) refuse(`linux.namespaces[${i}].type`, `unknown namespace "${type}"`);
    if (types.includes(type)) refuse(`linux.namespaces[${i}].type`, `${type} is given twice`);
    if (path && !path.startsWith("/")) refuse(`linux.namespaces[${i}].path`, `"${path}" is not an absolute path`);
    types.push(type);
  });
  const maps = (linux.uidMappings?.length ?? 0) + (linux.gidMappings?.length ?? 0);
  if (maps > 0 && !types.includes("user")) refuse("linux.uidMappings", "needs a user namespace");
  const user = linux.namespaces?.find((n) => n.type === "user");
  if (user && !user.path && !(linux.uidMappings?.length && linux.gidMappings?.length)) refuse("linux.namespaces", "a user namespace needs uidMappings and gidMappings");
  if (!types.includes("mount")) {
    if (linux.maskedPaths?.length) refuse("linux.maskedPaths", "needs a mount namespace");
    if (linux.readonlyPaths?.length) refuse("linux.readonlyPaths", "needs a mount namespace");
  }
  if (spec.hostname && !types.includes("uts")) refuse("hostname", "needs a uts namespace");
  if (linux.cgroupsPath && cleanPath(linux.cgroupsPath.split(":").join("/")) === "/") refuse("linux.cgroupsPath", `"${linux.cgroupsPath}" names the root of all groups`);
  if (linux.cgroupsPath?.split("/").includes("..")) refuse("linux.cgroupsPath", "must not contain ..");
  if (linux.rootfsPropagation && PROPAGATION[linux.rootfsPropagation] == null) refuse("linux.rootfsPropagation", `unknown propagation "${linux.rootfsPropagation}"`);
  if (linux.mountLabel) refuse("linux.mountLabel", "SELinux is not enabled here");
  for (const key of Object.keys(linux.sysctl ?? {})) checkSysctl(key, linux, spec);
  linux.devices?.forEach((d, i) => {
    if (!["c", "b", "u", "p"].includes(d.type)) refuse(`linux.devices[${i}].type`, `unknown type "${d.type}"`);
    noNul(`linux.devices[${i}].path`, d.path);
  });
  linux.resources?.devices?.forEach((rule, i) => {
    if (rule.type !== undefined && !["a", "b", "c"].includes(rule.type)) refuse(`linux.resources.devices[${i}].type`, `unknown type "${rule.type}"`);
    for (const c of rule.access ?? "") if (!"rwm".includes(c)) refuse(`linux.resources.devices[${i}].access`, `"${rule.access}" has more than r, w and m`);
  });
}

/** Throws AppError "invalid" naming the first field that cannot be honoured. */
export function checkSpec(spec: Spec): asserts spec is Spec & { process: Process; root: NonNullable<Spec["root"]>; linux: Linux } {
  if (spec.process === undefined) refuse("process", "is missing");
  if (spec.root === undefined || spec.root.path === "") refuse("root", "is missing");
  if (spec.linux === undefined) refuse("linux", "is missing");
  if (!spec.root.path.startsWith("/")) refuse("root.path", `"${spec.root.path}" is not an absolute path`);
  noNul("root.path", spec.root.path);
  checkProcess(spec.process);
  spec.mounts?.forEach(checkMount);
  checkLinux(spec.linux, spec);
}

const ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";

/** A container's id as command lines take it; returns it. Throws AppError "invalid". */
export function checkId(id: string): string {
  if (id === "" || id.length > 1024 || id.startsWith(".") || [...id].some((c) => !ID_CHARACTERS.includes(c))) refuse("container id", `"${id.slice(0, 80)}" is not made of letters, digits and _+-. only, or begins with a dot`);
  return id;
}
