// Owns what is run in the measurements: one bundle (config.json with the defaults of `runc spec`, a root of static programs), the
// same as request messages for the agent, and the same as steps for the bare C floor. All three come from one config, so that
// they cannot drift apart. Device rules are left out: crun needs a privilege for them that a build machine need not have.
import { CLONE, MS } from "../agent/abi/flags.js";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeRequest } from "../ctl/client/agent-client.js";
import { RequestEnvelope, schema } from "../ctl/client/schema.js";
import { toMessage } from "../ctl/container/to-message.js";
import type { Tools } from "./native-tools.js";

/** Stands for the container or exec id in a request; the driver puts another 8 bytes there. */
export const PLACE = "@@@@@@@@";
/** The container that execs go to. */
export const HOME_ID = "benchhom";
/** Parent of all cgroups of the bench, below the unified tree's root. */
export const CGROUP = "kata-bench";

const CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
const MOUNTS = [
  { destination: "/proc", type: "proc", source: "proc", options: [] },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
  { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
  { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"] },
];
const MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"];
const READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/** Namespace name to its clone flag. */
const NAMESPACES = { pid: CLONE.NEWPID, network: CLONE.NEWNET, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, mount: CLONE.NEWNS, cgroup: CLONE.NEWCGROUP } as const;
const MOUNT_FLAGS: Readonly<Record<string, number>> = { nosuid: MS.NOSUID, nodev: MS.NODEV, noexec: MS.NOEXEC, relatime: MS.RELATIME, strictatime: MS.STRICTATIME };

export type OciConfig = ReturnType<typeof ociConfig>;

/** A config.json that runs `program` in `rootfs`; `cgroup` is the last part of its cgroup's path. */
export const ociConfig = (rootfs: string, program: string, cgroup: string) => ({
  ociVersion: "1.0.2",
  process: {
    terminal: false, user: { uid: 0, gid: 0 }, args: [program], cwd: "/", noNewPrivileges: true,
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS },
    rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
  },
  root: { path: rootfs, readonly: true },
  hostname: "bench",
  mounts: MOUNTS,
  linux: {
    cgroupsPath: `/${CGROUP}/${cgroup}`,
    namespaces: Object.keys(NAMESPACES).map((type) => ({ type })),
    maskedPaths: MASKED,
    readonlyPaths: READONLY,
  },
});

/** The data of a request frame: envelope and the method's message. */
export const requestData = (method: string, message: Record<string, unknown>): Uint8Array => {
  const m = schema().methods.get(method);
  if (m === undefined) throw new Error(`no such method: ${method}`);
  const payload = encodeRequest(m, message);
  return RequestEnvelope.encode(RequestEnvelope.create({ service: m.service, method, payload })).finish();
};

/**
 * The CreateContainer message of a config: what a Kata host would send. The pid namespace is not named in it, the agent always
 * makes one.
 */
export const createMessage = (config: OciConfig, id: string): Record<string, unknown> => {
  const spec = { ...config, linux: { ...config.linux, namespaces: config.linux.namespaces.filter((n) => n.type !== "pid") } };
  const { value, unknown } = toMessage(schema().root.lookupType("grpc.Spec"), spec);
  if (unknown.length > 0) throw new Error(`the protocol cannot carry ${unknown.join(", ")}`);
  return { containerId: id, execId: id, oci: value };
};

const create = (rootfs: string, program: string, id: string): Record<string, unknown> => createMessage(ociConfig(rootfs, program, id), id);

/** Every call the driver makes, by the name it is loaded under. */
const requests = (rootfs: string): Record<string, Uint8Array> => ({
  check: requestData("Check", {}),
  sandbox: requestData("CreateSandbox", { sandboxId: "bench", hostname: "bench" }),
  "create-true": requestData("CreateContainer", create(rootfs, "/true", PLACE)),
  "create-pause": requestData("CreateContainer", create(rootfs, "/pause", PLACE)),
  "create-spew": requestData("CreateContainer", create(rootfs, "/spew", PLACE)),
  "create-sink": requestData("CreateContainer", create(rootfs, "/sink", PLACE)),
  start: requestData("StartContainer", { containerId: PLACE }),
  wait: requestData("WaitProcess", { containerId: PLACE, execId: PLACE }),
  remove: requestData("RemoveContainer", { containerId: PLACE }),
  kill: requestData("SignalProcess", { containerId: PLACE, signal: 9 }),
  exec: requestData("ExecProcess", {
    containerId: HOME_ID, execId: PLACE,
    process: { user: { uid: 0, gid: 0 }, args: ["/true"], env: ["PATH=/bin"], cwd: "/" },
  }),
  "exec-wait": requestData("WaitProcess", { containerId: HOME_ID, execId: PLACE }),
  stdout: requestData("ReadStdout", { containerId: PLACE, execId: PLACE, len: 32768 }),
  stdin: requestData("WriteStdin", { containerId: PLACE, execId: PLACE, data: new Uint8Array(32768).fill(120) }),
});

type StepLine = [kind: "m" | "r" | "o" | "x" | "n" | "l", target: string, source?: string, type?: string, data?: string, flags?: number, major?: number, minor?: number];

/** The config as steps for floor-run.c, in the order an engine takes them. */
export const floorSteps = (config: OciConfig): string => {
  const lines: StepLine[] = [];
  for (const m of config.mounts) {
    const known = m.options.filter((o) => MOUNT_FLAGS[o] !== undefined);
    const flags = known.reduce((sum, o) => sum | (MOUNT_FLAGS[o] ?? 0), 0);
    const data = m.options.filter((o) => o !== "ro" && !known.includes(o)).join(",");
    lines.push(["m", m.destination, m.source, m.type === "cgroup" ? "cgroup2" : m.type, data, flags]);
    if (m.options.includes("ro")) lines.push(["o", m.destination, "", "", "", flags]);
  }
  const nodes = { null: 3, zero: 5, full: 7, random: 8, urandom: 9 };
  for (const [name, minor] of Object.entries(nodes)) lines.push(["n", `/dev/${name}`, "", "", "", 0, 1, minor]);
  lines.push(["n", "/dev/tty", "", "", "", 0, 5, 0]);
  lines.push(["l", "/dev/fd", "/proc/self/fd"], ["l", "/dev/stdin", "/proc/self/fd/0"], ["l", "/dev/stdout", "/proc/self/fd/1"]);
  lines.push(["l", "/dev/stderr", "/proc/self/fd/2"], ["l", "/dev/ptmx", "pts/ptmx"]);
  for (const path of config.linux.readonlyPaths) lines.push(["r", path]);
  for (const path of config.linux.maskedPaths) lines.push(["x", path]);
  return lines.map(([kind, target, source = "", type = "", data = "", flags = 0, major = 0, minor = 0]) =>
    `${[kind, `.${target}`, source, type, data, flags, major, minor].join("\t")}\n`).join("");
};

export interface Bundle {
  readonly folder: string;
  readonly rootfs: string;
  /** Call name to the file with its request. */
  readonly calls: ReadonlyMap<string, string>;
  /** Arguments of floor-run. */
  readonly floorArgs: readonly string[];
}

/** Writes the bundle, the requests and the steps below `folder`, which exists and is empty. */
export const writeBundle = (folder: string, tools: Tools): Bundle => {
  const rootfs = join(folder, "rootfs");
  for (const dir of ["", "proc", "dev", "sys"]) mkdirSync(join(rootfs, dir));
  for (const tool of ["true", "pause", "spew", "sink"] as const) copyFileSync(tools[tool], join(rootfs, tool));
  const config = ociConfig(rootfs, "/true", "peer");
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "steps"), floorSteps(config));
  const calls = new Map<string, string>();
  for (const [name, data] of Object.entries(requests(rootfs))) {
    const file = join(folder, `${name}.request`);
    writeFileSync(file, data);
    calls.set(name, file);
  }
  const flags = Object.values(NAMESPACES).reduce((sum, flag) => sum + flag, 0);
  return { folder, rootfs, calls, floorArgs: [join(folder, "steps"), rootfs, config.hostname, "/true", flags.toString(16)] };
};

/** A second bundle with the same root that runs `pause`, in a cgroup of that name; its folder. */
export const writePauseBundle = (bundle: Bundle, name: string): string => {
  const folder = join(bundle.folder, `bundle-${name}`);
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), JSON.stringify(ociConfig(bundle.rootfs, "/pause", name)));
  return folder;
};
