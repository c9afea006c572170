// spec: a config.json to begin with, with the defaults that runc writes.
import { O } from "../abi/flags.js";
import { isErrno, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { open, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { AppError } from "../lib/errors.js";
import { hierarchy } from "../engine/cgroup/hierarchy.js";
import type { Mount, Spec } from "../oci/spec.js";
import { BUNDLE, type Command, type Context } from "./context.js";
import type { Options } from "./options.js";

const CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
const MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"];
const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

function mounts(rootless: boolean): Mount[] {
  const sysfs: Mount = rootless
    ? { destination: "/sys", type: "none", source: "/sys", options: ["rbind", "nosuid", "noexec", "nodev", "ro"] }
    : { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] };
  return [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
    { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", ...(rootless ? [] : ["gid=5"])] },
    { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    sysfs,
    ...(rootless ? [] : [{ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"] }]),
  ];
}

/** The configuration; `v2`: the machine has cgroup version 2. */
export function defaultSpec(rootless: boolean, v2: boolean, uid = 0, gid = 0): Spec {
  const namespaces = ["pid", ...(rootless ? [] : ["network"]), "ipc", "uts", "mount", ...(v2 ? ["cgroup"] : []), ...(rootless ? ["user"] : [])].map((type) => ({ type }));
  return {
    ociVersion: "1.3.0",
    process: {
      terminal: true, user: { uid: 0, gid: 0 }, args: ["sh"], env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"], cwd: "/",
      capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS }, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }], noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "runc",
    mounts: mounts(rootless),
    linux: {
      ...(rootless ? { uidMappings: [{ containerID: 0, hostID: uid, size: 1 }], gidMappings: [{ containerID: 0, hostID: gid, size: 1 }] } : { resources: { devices: [{ allow: false, access: "rwm" }] } }),
      namespaces, maskedPaths: MASKED, readonlyPaths: READ_ONLY,
    },
  };
}

/** Writes config.json into the bundle; one that is there already stays. */
function spec(_context: Context, options: Options): number {
  const rootless = options.has("rootless");
  const path = `${options.get("bundle") ?? "."}/config.json`;
  const text = JSON.stringify(defaultSpec(rootless, hierarchy().version === 2, sys(NR.geteuid), sys(NR.getegid)), undefined, "\t");
  try {
    using file = open(path, O.WRONLY | O.CREAT | O.EXCL, 0o644);
    writeAll(file, text);
  } catch (error) {
    throw isErrno(error, E.EEXIST) ? new AppError("exists", `file ${path} exists. Remove it first`) : error;
  }
  return 0;
}

export const commands = {
  spec: {
    about: "write a config.json to begin with", usage: "", least: 0, most: 0, run: spec,
    options: { bundle: BUNDLE, rootless: ["switch", "for a user without privileges"] },
  },
} as const satisfies { readonly [name: string]: Command };
