// Where attacks take place: an agent of this machine in namespaces of its own, or a VM. Both show what of the agent could be left behind.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { formatAddress } from "../../ctl/client/address.js";
import { bootVm, kernelFile, type Vm } from "../../ctl/vm/boot.js";
import { needed } from "../../ctl/vm/places.js";
import { distFile } from "../../tools/places.js";
import { findProgram } from "../../ctl/vm/program.js";
import { chooseWire } from "../../ctl/vm/wire.js";
import { containerRequest, fillRootfs, sandboxRequest } from "../helpers/guest.js";
import { hasModules } from "../helpers/kernel.js";
import { startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import type { Attack, Where } from "./attack.js";

export type State = Readonly<Record<string, string | number>>;

export interface Ground {
  readonly where: Where;
  readonly client: AgentClient;
  readonly address: string;
  /** The threads of this machine that an answer of the agent's passes through: its own, or those of the VM. */
  readonly threads: readonly number[];
  /** Milliseconds that a Check takes here in any case: a guest that is emulated, its processor busy. */
  readonly baseline: number;
  /** The agent itself, where it can be seen. */
  readonly agent: PrivateAgent | undefined;
  /** The root file system as this machine and as the agent name it, with `hostile` in its /bin. */
  readonly rootHere: string;
  readonly root: string;
  /** A file that only the agent's root has. */
  readonly mark: string;
  /** What must be the same before and after; `look` runs a shell command in an unharmed container. */
  state(look: (script: string) => Promise<string>): Promise<State>;
  /** Memory of the agent in kB: anonymous now, and the most resident so far. */
  memory(): Promise<{ now: number; peak: number }>;
  /** Forgets the most so far. */
  resetPeak(): Promise<void>;
  log(): string;
  alive(): boolean;
  stop(): Promise<void>;
}

/** Compiles the hostile programs once. */
let compiled: string | undefined;
const hostileIn = (root: string): void => {
  if (compiled === undefined) {
    compiled = join(mkdtempSync(join(tmpdir(), "kata-hostile-")), "hostile");
    const folder = new URL("native/", import.meta.url).pathname;
    const sources = readdirSync(folder).filter((name) => name.endsWith(".c")).map((name) => join(folder, name));
    execFileSync("musl-gcc", ["-static", "-s", "-O2", "-o", compiled, ...sources]);
    process.once("exit", () => rmSync(join(compiled as string, ".."), { recursive: true, force: true }));
  }
  copyFileSync(compiled, join(root, "bin/hostile"));
};

const makeRoot = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "kata-attack-"));
  fillRootfs(join(folder, "rootfs"));
  hostileIn(join(folder, "rootfs"));
  writeFileSync(join(folder, "mark"), "the agent's\n");
  return folder;
};

const field = (status: string, key: string): number => Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? NaN);

const status = (pid: number, key: string): number => {
  try {
    return field(readFileSync(`/proc/${pid}/status`, "utf8"), key);
  } catch {
    return NaN;
  }
};

/** Those that have not ended: a reaper may be a moment late. */
const children = (pid: number): number =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter((child) => child !== "" && !Number.isNaN(status(Number(child), "VmSize"))).length;

/** Where something is mounted, but for what the machine itself has. */
const mountPoints = (mountinfo: string): string => {
  const all = mountinfo.trim().split("\n").map((line) => line.split(" ")[4] ?? "");
  return `${all.length}: ${all.filter((place) => !/^\/(proc|sys|dev)(\/|$)/.test(place)).join(" ")}`;
};

const count = (text: string): number => text.split("\n").filter(Boolean).length;

/** Descriptors by what they lead to, of `ls -l`, without the numbers that differ each time. */
const descriptors = (listing: string): string => {
  const all = new Map<string, number>();
  for (const [, to = ""] of listing.matchAll(/-> (.*)$/gm)) {
    const kind = to.replace(/\[\d*\]/, "").replace(/\d+/g, "N");
    all.set(kind, (all.get(kind) ?? 0) + 1);
  }
  return [...all].map(([kind, n]) => `${n} ${kind}`).sort().join(" ");
};

const NAMESPACES = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];

/** A private agent. `prefix` begins the names of all containers. */
export const onHost = async (attack: Attack["needs"], prefix: string, sharePid = false): Promise<Ground> => {
  const folder = makeRoot();
  let agent: PrivateAgent | undefined;
  try {
    agent = await startPrivateAgent(attack.settings, attack.before, undefined, true);
    await agent.client.createSandbox({ ...sandboxRequest("attack", false), sandboxPidns: sharePid } as never);
  } catch (error) {
    await agent?.stop();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const { pid, client, dir } = agent;
  const own = agent;
  return {
    where: "host", client, address: `unix://${join(dir, "a.sock")}`, threads: [pid], baseline: 0, agent: own,
    rootHere: join(folder, "rootfs"), root: join(folder, "rootfs"), mark: join(folder, "mark").slice(1),
    state: async () => ({
      descriptors: descriptors(execFileSync("ls", ["-l", `/proc/${pid}/fd`], { encoding: "utf8" })),
      children: children(pid),
      mounts: mountPoints(readFileSync(`/proc/${pid}/mountinfo`, "utf8")),
      cgroups: count(own.inside(`find /sys/fs/cgroup -name '${prefix}*' 2>/dev/null || true`)),
      folders: own.inside("ls /run/kata-containers"),
      namespaces: NAMESPACES.map((ns) => execFileSync("readlink", [`/proc/${pid}/ns/${ns}`], { encoding: "utf8" }).trim()).join(" "),
    }),
    memory: async () => ({ now: status(pid, "RssAnon"), peak: status(pid, "VmHWM") }),
    resetPeak: async () => writeFileSync(`/proc/${pid}/clear_refs`, "5"),
    log: () => own.log(),
    alive: () => status(pid, "Pid") === pid && !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8")),
    stop: async () => {
      await own.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

/** Why there can be no VM here; undefined when there can. */
export const whyNoVm = (): string | undefined => {
  try {
    kernelFile(undefined);
    needed(distFile("initrd.img"), "initrd", "make it with `make initrd`");
    if (findProgram("qemu-system-x86_64") === undefined) return "QEMU is not installed";
    chooseWire("vsock");
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};

const GUEST_SHARE = "/run/kata-containers/shared/containers";

const threadsOf = (pid: number): number[] => readdirSync(`/proc/${pid}/task`).map(Number);
const textOf = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // it has ended
  }
};

/** The guest's first processor, QEMU's loop, and the daemon of its vsock, which is known by its socket's folder. */
const answering = (qemu: number, folder: string): number[] => {
  const processor = threadsOf(qemu).filter((tid) => textOf(`/proc/${qemu}/task/${tid}/comm`).startsWith("CPU 0"));
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && textOf(`/proc/${name}/comm`).startsWith("vhost-device"));
  const daemons = pids.filter((pid) => textOf(`/proc/${pid}/cmdline`).includes(folder));
  return [...processor, qemu, ...daemons.flatMap((pid) => threadsOf(Number(pid)))];
};

/**
 * What of PID 1 is to be seen in the guest: nothing of it is inside a container, so a hook looks, which runs where the agent is. It has the
 * shared busybox, and writes into the shared folder.
 */
const LOOK = `cd /proc/1; echo "[status]"; cat status; echo "[fd]"; ls -l fd; echo "[mounts]"; cat mountinfo; echo "[folders]"; ls /run/kata-containers; echo "[namespaces]"; ls -l ns; \
echo "[children]"; grep -lE '^PPid:.1$' /proc/[0-9]*/status; [ "$1" = reset ] && echo 5 > clear_refs; true`;

/** Runs it; the report by its headings. A container has to be made for it, and is removed. */
const lookAt = async (client: AgentClient, folder: string, id: string, word = ""): Promise<Record<string, string>> => {
  const report = `work/${id}`;
  const request = containerRequest({ id, rootPath: `${GUEST_SHARE}/rootfs`, args: ["/bin/true"] }) as { oci: Record<string, unknown> };
  const script = `(${LOOK}) > ${GUEST_SHARE}/${report}`;
  request.oci["hooks"] = { createRuntime: [{ path: `${GUEST_SHARE}/rootfs/bin/busybox`, args: ["sh", "-c", script, "look", word], env: [`PATH=${GUEST_SHARE}/rootfs/bin`], timeout: 60 }] };
  await client.createContainer(request as never);
  await client.removeContainer({ containerId: id });
  const file = join(folder, report);
  const parts = readFileSync(file, "utf8").replaceAll(id, "look").split(/^\[(\w+)\]\n/m).slice(1);
  rmSync(file);
  return Object.fromEntries(Array.from({ length: parts.length / 2 }, (_, i) => [parts[2 * i] as string, parts[2 * i + 1] as string]));
};

const SMALL_MIB = 128;
/** A distribution's kernel is larger, and its modules lie in the initrd. */
const LARGER_MIB = 192;

/** A VM with 128 MB and the root file system by virtio-fs. */
export const inVm = async (append: readonly string[] = [], say: (line: string) => void = () => undefined): Promise<Ground & { readonly vm: Vm }> => {
  const folder = makeRoot();
  mkdirSync(join(folder, "work"));
  let vm: Vm | undefined;
  try {
    vm = await bootVm({ transport: "vsock", memoryMiB: hasModules() ? LARGER_MIB : SMALL_MIB, share: { folder, by: "virtiofs" }, append: [...append], timeoutMs: 120_000, say });
    await vm.client.createSandbox(sandboxRequest("attack") as never);
  } catch (error) {
    await vm?.stop({ graceMs: 0 });
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const own = vm;
  let looks = 0;
  let dead = false;
  void own.poweredOff.then(() => (dead = true));
  return {
    vm: own, where: "vm", client: own.client, address: formatAddress(own.address), threads: answering(own.qemuPid, dirname(formatAddress(own.address).replace(/^\w+:\/\//, ""))), baseline: NaN, agent: undefined,
    rootHere: join(folder, "rootfs"), root: `${GUEST_SHARE}/rootfs`, mark: "init",
    // and the guest's groups, seen from their top (the bystander may mount that): who is left has to be in one
    state: async (look) => {
      const seen = await lookAt(own.client, folder, `look${looks++}`);
      const groups = await look("mkdir -p /tmp/groups; [ -e /tmp/groups/cgroup.procs ] || mount -t cgroup2 none /tmp/groups 2>/dev/null || mount -t cgroup -o pids none /tmp/groups; cd /tmp/groups; busybox find . -type d");
      return {
        groups: groups.split("\n").sort().join(" "), descriptors: descriptors(seen["fd"] ?? ""), mounts: mountPoints(seen["mounts"] ?? ""),
        children: count(seen["children"] ?? ""), folders: (seen["folders"] ?? "").trim().replace(/\s+/g, " "), namespaces: descriptors(seen["namespaces"] ?? ""),
      };
    },
    memory: async () => {
      const { status: text = "" } = await lookAt(own.client, folder, `look${looks++}`);
      return { now: field(text, "RssAnon"), peak: field(text, "VmHWM") };
    },
    resetPeak: async () => void (await lookAt(own.client, folder, `look${looks++}`, "reset")),
    log: () => own.console(),
    alive: () => !dead,
    stop: async () => {
      await own.stop({ graceMs: 0 });
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
