// What mounts, devices, maps of ids and clocks must be before anything is touched: each refusal names the field. Pure. (runtime-spec
// config.md "Mounts", config-linux.md; container-engine 1.3 to 1.8, 1.17)
import { MS } from "../abi/flags.js";
import { cleanPath, noNul, noNuls, refuse } from "./field.js";
import { EXTRA, isBind, mountPlan } from "./mounts.js";
import type { IdMapping, Linux, Mount, Process, Spec } from "./spec.js";

/** Binds that may lie below /proc: files that tell of the container instead of the machine. */
const PROC_BINDS = ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled", "net/dev"];

function checkMount(mount: Mount, field: string, user: boolean): void {
  const { destination, source, type, options, uidMappings, gidMappings } = mount;
  if (destination.includes("\0") || source?.includes("\0") === true || type?.includes("\0") === true) refuse(field, "has a NUL byte");
  noNuls(`${field}.options`, options);
  if (destination === "") refuse(`${field}.destination`, "is empty");
  if (type === "bind" || options !== undefined || uidMappings !== undefined || gidMappings !== undefined) checkBind(mount, field, user);
  if (!destination.includes("proc")) return;
  const at = cleanPath(destination);
  if (at === "/proc" && type !== "proc" && source !== "/proc") refuse(`${field}.destination`, "only a proc file system may be mounted on /proc");
  if (at.startsWith("/proc/") && !PROC_BINDS.includes(at.slice(6))) refuse(`${field}.destination`, `${at} lies inside /proc`);
}

function checkBind(mount: Mount, field: string, user: boolean): void {
  const plan = mountPlan(mount);
  if (isBind(plan) && !mount.source && (plan.flags & MS.REMOUNT) === 0) refuse(`${field}.source`, "a bind mount needs a source");
  const uids = mount.uidMappings?.length ?? 0;
  const gids = mount.gidMappings?.length ?? 0;
  if ((uids === 0) !== (gids === 0)) refuse(`${field}.${uids === 0 ? "uidMappings" : "gidMappings"}`, "are missing: both or neither");
  if ((plan.extra & EXTRA.IDMAP) === 0) return;
  if (!isBind(plan)) refuse(`${field}.${uids > 0 ? "uidMappings" : "options"}`, "only of a bind mount can ids be mapped");
  if (uids === 0 && !user) refuse(`${field}.options`, "idmap needs uidMappings and gidMappings, or a user namespace");
  checkMaps(`${field}.uidMappings`, mount.uidMappings ?? []);
  checkMaps(`${field}.gidMappings`, mount.gidMappings ?? []);
}

const LINES = 340; // user_namespaces(7): what the kernel takes, in one write of less than a page
const PAGE = 4096;
const IDS = 2 ** 32 - 1;

function checkMaps(field: string, maps: readonly IdMapping[]): void {
  if (maps.length > LINES) refuse(field, `${maps.length} are more than the ${LINES} that the kernel takes`);
  let length = 0;
  maps.forEach(({ containerID, hostID, size }, i) => {
    if (size < 1) refuse(`${field}[${i}].size`, "is 0");
    if (containerID + size > IDS || hostID + size > IDS) refuse(`${field}[${i}].size`, `${size} ids go beyond the last one, ${IDS - 1}`);
    length += `${containerID} ${hostID} ${size}\n`.length;
    for (let k = 0; k < i; k++) if (overlap(maps[k] as IdMapping, maps[i] as IdMapping)) refuse(`${field}[${i}]`, `has ids of ${field}[${k}]`);
  });
  if (length >= PAGE) refuse(field, "are more text than the kernel takes (4095 bytes)");
}

const overlap = (a: IdMapping, b: IdMapping): boolean =>
  (a.containerID < b.containerID + b.size && b.containerID < a.containerID + a.size) || (a.hostID < b.hostID + b.size && b.hostID < a.hostID + a.size);

/** In order, so that many ids can be looked up: they do not overlap. */
const byId = (maps: readonly IdMapping[]): IdMapping[] => [...maps].sort((a, b) => a.containerID - b.containerID);

function mapped(maps: readonly IdMapping[], id: number): boolean {
  let from = 0;
  for (let to = maps.length; from < to; ) {
    const middle = (from + to) >> 1;
    if ((maps[middle] as IdMapping).containerID > id) to = middle;
    else from = middle + 1;
  }
  const last = maps[from - 1]; // of those that begin at or before it
  return last !== undefined && id < last.containerID + last.size;
}

/** Maps without a user namespace, a user namespace without maps, ids that the maps leave out. */
export function checkUser({ uidMappings = [], gidMappings = [], namespaces = [] }: Linux, { user: asked }: Process): void {
  const user = namespaces.find((n) => n.type === "user");
  if (uidMappings.length + gidMappings.length > 0 && user === undefined) refuse("linux.uidMappings", "needs a user namespace");
  if (user === undefined) return;
  if (!user.path && !(uidMappings.length > 0 && gidMappings.length > 0)) refuse("linux.namespaces", "a user namespace needs uidMappings and gidMappings");
  checkMaps("linux.uidMappings", uidMappings);
  checkMaps("linux.gidMappings", gidMappings);
  if (user.path && uidMappings.length + gidMappings.length === 0) return;
  const uids = byId(uidMappings);
  const gids = byId(gidMappings);
  if (!mapped(uids, asked.uid)) refuse("process.user.uid", `${asked.uid} is not in linux.uidMappings`);
  if (!mapped(gids, asked.gid)) refuse("process.user.gid", `${asked.gid} is not in linux.gidMappings`);
  asked.additionalGids?.forEach((gid, i) => {
    if (!mapped(gids, gid)) refuse(`process.user.additionalGids[${i}]`, `${gid} is not in linux.gidMappings`);
  });
}

/** Offsets of clocks are for those of a new time namespace. */
export function checkClocks({ timeOffsets = {}, namespaces }: Linux): void {
  const clocks = Object.keys(timeOffsets);
  if (clocks.length > 0 && !namespaces?.some((n) => n.type === "time" && !n.path)) refuse("linux.timeOffsets", "needs a new time namespace");
  for (const clock of clocks) {
    if (clock !== "monotonic" && clock !== "boottime") refuse(`linux.timeOffsets[${JSON.stringify(clock)}]`, "is no clock that has an offset: monotonic, boottime");
    if ((timeOffsets[clock]?.nanosecs ?? 0) > 999_999_999) refuse(`linux.timeOffsets.${clock}.nanosecs`, "is a second or more");
  }
}

const KINDS = ["c", "b", "u", "p"];

/** Mounts and devices. */
export function checkMounts({ mounts, root, linux = {} }: Spec): void {
  const has = (type: string): boolean => linux.namespaces?.some((n) => n.type === type) ?? false;
  const user = has("user");
  mounts?.forEach((mount, i) => checkMount(mount, `mounts[${i}]`, user));
  linux.devices?.forEach(({ path, type, major, minor }, i) => {
    if (!KINDS.includes(type)) refuse(`linux.devices[${i}].type`, `unknown type "${type}"`);
    noNul(`linux.devices[${i}].path`, path);
    if (cleanPath(path) === "/") refuse(`linux.devices[${i}].path`, `"${path}" names no file`);
    if (type !== "p" && (major === undefined || minor === undefined)) refuse(`linux.devices[${i}].${major === undefined ? "major" : "minor"}`, "is missing");
    if ((major ?? 0) < 0 || (major ?? 0) > 4095) refuse(`linux.devices[${i}].major`, `${major} is not between 0 and 4095`);
    if ((minor ?? 0) < 0 || (minor ?? 0) > 1048575) refuse(`linux.devices[${i}].minor`, `${minor} is not between 0 and 1048575`);
  });
  if (has("mount")) return;
  if (root?.readonly === true) refuse("root.readonly", "needs a mount namespace");
  for (const field of ["maskedPaths", "readonlyPaths"] as const) if (linux[field]?.length) refuse(`linux.${field}`, "needs a mount namespace");
  if (linux.rootfsPropagation) refuse("linux.rootfsPropagation", "needs a mount namespace");
}
