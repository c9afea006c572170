// Where attacks take place: an agent of this machine in namespaces of its own, or a VM. Both show what of the agent could be left behind.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { formatAddress } from "../../ctl/client/address.js";
import { bootVm, kernelFile, type Vm } from "../../ctl/vm/boot.js";
import { needed } from "../../ctl/vm/places.js";
import { distFile } from "../../tools/places.js";
import { findProgram } from "../../ctl/vm/program.js";
import { chooseWire } from "../../ctl/vm/wire.js";
import { fillRootfs, sandboxRequest } from "../helpers/guest.js";
import { startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import type { Attack, Where } from "./attack.js";

export type State = Readonly<Record<string, string | number>>;

export interface Ground {
  readonly where: Where;
  readonly client: AgentClient;
  readonly address: string;
  /** The thread of this machine that the agent runs on: its own, or the VM's processor. */
  readonly thread: number | undefined;
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
  /** Anonymous memory of the agent in kB: now, and the most so far. */
  memory(): { now: number; peak: number };
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

const status = (pid: number, key: string): number => {
  try {
    return Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? NaN);
  } catch {
    return NaN;
  }
};

/** Those that have not ended: a reaper may be a moment late. */
const children = (pid: number): number =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter((child) => child !== "" && !Number.isNaN(status(Number(child), "VmSize"))).length;

/** Where something is mounted, but for what the machine itself has. */
const mountPoints = (pid: number): string => {
  const all = readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n").map((line) => line.split(" ")[4] ?? "");
  return `${all.length}: ${all.filter((place) => !/^\/(proc|sys|dev)(\/|$)/.test(place)).join(" ")}`;
};

const count = (text: string): number => text.split("\n").filter(Boolean).length;

/** Descriptors by what they lead to, without the numbers that differ each time. */
const descriptors = (pid: number): string => {
  const links = execFileSync("sh", ["-c", `ls -l /proc/${pid}/fd | sed -n 's/.*-> //p' | sed 's/\\[[0-9]*\\]//; s/[0-9][0-9]*/N/g' | sort | uniq -c`], { encoding: "utf8" });
  return links.trim().replace(/\s+/g, " ");
};

/** A private agent. `prefix` begins the names of all containers. */
export const onHost = async (attack: Attack["needs"], prefix: string, sharePid = false): Promise<Ground> => {
  const folder = makeRoot();
  let agent: PrivateAgent | undefined;
  try {
    agent = await startPrivateAgent(attack.settings, attack.before, undefined, true);
    await agent.client.createSandbox({ ...sandboxRequest("attack", false), sandbox_pidns: sharePid } as never);
  } catch (error) {
    await agent?.stop();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const { pid, client, dir } = agent;
  const own = agent;
  return {
    where: "host", client, address: `unix://${join(dir, "a.sock")}`, thread: pid, baseline: 0, agent: own,
    rootHere: join(folder, "rootfs"), root: join(folder, "rootfs"), mark: join(folder, "mark").slice(1),
    state: async () => ({
      descriptors: descriptors(pid),
      children: children(pid),
      mounts: mountPoints(pid),
      cgroups: count(own.inside(`find /sys/fs/cgroup -name '${prefix}*' 2>/dev/null || true`)),
      folders: own.inside("ls /run/kata-containers"),
      namespaces: ["mnt", "pid", "net", "ipc", "uts", "cgroup"].map((ns) => execFileSync("readlink", [`/proc/${pid}/ns/${ns}`], { encoding: "utf8" }).trim()).join(" "),
    }),
    memory: () => ({ now: status(pid, "RssAnon"), peak: status(pid, "VmHWM") }),
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

/** QEMU's thread that is the guest's first processor. */
const processorOf = (qemu: number): number =>
  Number(readdirSync(`/proc/${qemu}/task`).find((tid) => readFileSync(`/proc/${qemu}/task/${tid}/comm`, "utf8").startsWith("CPU 0")) ?? qemu);

/** A VM with 128 MB and the root file system by virtio-fs. */
export const inVm = async (append: readonly string[] = [], say: (line: string) => void = () => undefined): Promise<Ground & { readonly vm: Vm }> => {
  const folder = makeRoot();
  mkdirSync(join(folder, "work"));
  let vm: Vm | undefined;
  try {
    vm = await bootVm({ transport: "vsock", memoryMiB: 128, share: { folder, by: "virtiofs" }, append: [...append], timeoutMs: 120_000, say });
    await vm.client.createSandbox(sandboxRequest("attack") as never);
  } catch (error) {
    await vm?.stop({ graceMs: 0 });
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const own = vm;
  let dead = false;
  void own.poweredOff.then(() => (dead = true));
  return {
    vm: own, where: "vm", client: own.client, address: formatAddress(own.address), thread: processorOf(own.qemuPid), baseline: NaN, agent: undefined,
    rootHere: join(folder, "rootfs"), root: `${GUEST_SHARE}/rootfs`, mark: "init",
    // the guest's groups, seen from its top (the bystander may mount that): who is left has to be in one
    state: async (look) => {
      const groups = await look("mkdir -p /tmp/groups; [ -e /tmp/groups/cgroup.procs ] || mount -t cgroup2 none /tmp/groups 2>/dev/null || mount -t cgroup -o pids none /tmp/groups; cd /tmp/groups; busybox find . -type d");
      return { groups: groups.split("\n").sort().join(" ") };
    },
    memory: () => ({ now: NaN, peak: NaN }),
    log: () => own.console(),
    alive: () => !dead,
    stop: async () => {
      await own.stop({ graceMs: 0 });
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
