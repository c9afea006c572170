// The runtime spec of a container that comes from an image: what docker gives by default, in the protocol's own names, as a
// Kata host sends it (no pid, network, cgroup or time namespace, no host devices). Pure data.
// Sources: OCI runtime-spec config-linux.md, docker's default spec, agent-api 27 (what the Kata runtime asks).
import type { Spec } from "../client/gen/messages.js";
import type { Input } from "../client/agent-client.js";

const CAPABILITIES = [
  "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP",
  "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
];

const MASKED = [
  "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
  "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
];

const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Where the sandbox's shared memory is mounted in the guest; containers bind it on /dev/shm. */
export const SHM_PATH = "/run/kata-containers/sandbox/shm";

const MOUNTS: Input<Spec>["mounts"] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
  { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
  { destination: "/dev/shm", type: "bind", source: SHM_PATH, options: ["rbind"] },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"] },
];

/** The capability sets of an ordinary container process. */
export const defaultCapabilities = (): NonNullable<NonNullable<Input<Spec>["process"]>["capabilities"]> => ({
  bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES,
});

export interface SpecOptions {
  id: string;
  rootPath: string;
  args: string[];
  env: string[];
  workdir: string;
  user: { uid: number; gid: number; additionalGids: number[] };
  terminal: boolean;
  hostname: string;
  /** Bytes; absent: no limit. */
  memory?: number | undefined;
  /** Processors, may be a fraction; absent: no limit. */
  cpus?: number | undefined;
}

const CPU_PERIOD_US = 100_000;

/** The limit to so many processors. */
export const cpuLimit = (cpus: number): { quota: number; period: number } => ({ quota: Math.round(cpus * CPU_PERIOD_US), period: CPU_PERIOD_US });

/** The spec for one container. */
export const defaultSpec = (options: SpecOptions): Input<Spec> => ({
  ociVersion: "1.1.0",
  hostname: options.hostname,
  root: { path: options.rootPath, readonly: false },
  process: {
    terminal: options.terminal,
    user: { uid: options.user.uid, gid: options.user.gid, additionalGids: options.user.additionalGids },
    args: options.args, env: options.env, cwd: options.workdir,
    capabilities: defaultCapabilities(),
    rlimits: [{ type: "RLIMIT_NOFILE", hard: 1_048_576, soft: 1_024 }],
  },
  mounts: MOUNTS,
  linux: {
    cgroupsPath: `/katactl/${options.id}`,
    namespaces: [{ type: "ipc" }, { type: "uts" }, { type: "mount" }],
    resources: {
      ...(options.memory === undefined ? {} : { memory: { limit: options.memory } }),
      ...(options.cpus === undefined ? {} : { cpu: cpuLimit(options.cpus) }),
    },
    maskedPaths: MASKED,
    readonlyPaths: READ_ONLY,
  },
});
