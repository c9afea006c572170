// A pod's life by script, natively: every kind of call once or twice. Under an injected fault any step may fail; none may hang, and
// what the steps made must go away again: with RemoveContainer, and with the sandbox that is made anew when it is empty.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { SHM_PATH } from "../../ctl/container/default-spec.js";
import { sandboxRequest } from "../helpers/guest.js";
import type { Lab } from "../helpers/lab.js";
import { named, outcome, type Oci } from "../helpers/lab.js";

const STEP_MS = 15_000;

export class Hang extends Error {}

/** What a call said, in time. Throws Hang. */
export const limited = async (what: string, work: Promise<unknown>, ms = STEP_MS): Promise<string> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((done) => (timer = setTimeout(() => done("late"), ms)));
  const said = await Promise.race([outcome(work), late]);
  clearTimeout(timer);
  if (said === "late") throw new Hang(`${what} was not answered within ${ms} ms`);
  return said;
};

const SHARED = "/run/kata-containers/shared/containers";
const SANDBOX = "/run/kata-containers/sandbox";

/** What the script needs to be there: a link, and a folder that is watched. */
export const prepare = (lab: Lab): void => {
  lab.agent.inside("ip link add d0 address 02:00:00:00:00:01 type veth peer name p0; ip link set p0 up");
  mkdirSync(join(lab.folder, "config"), { recursive: true });
  writeFileSync(join(lab.folder, "config/key"), "value");
};

/** The steps, on a connection of their own, which a fault may cost; what each said. Throws Hang. `id` is the container's name. */
export const live = async (lab: Lab, id: string): Promise<Map<string, string>> => {
  const client = await connected(lab);
  try {
    return await new Life(lab, client, id).steps();
  } finally {
    client.close();
  }
};

/** The fault may cost the first try. Throws Hang. */
const connected = async (lab: Lab): Promise<AgentClient> => {
  let client: AgentClient | undefined;
  const work = lab.another().catch(() => lab.another()).then((made) => (client = made));
  if ((await limited("a connection", work)) !== "OK" || client === undefined) throw new Hang("no connection could be made");
  return client;
};

/** A sandbox with storages of all kinds that need no device. */
const sandbox = (lab: Lab): object => ({
  ...sandboxRequest("lab", false), hostname: "faults", dns: ["nameserver 192.0.2.1"],
  storages: [
    { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"], mountPoint: SHM_PATH },
    { driver: "ephemeral", source: "tmpfs", fstype: "tmpfs", options: ["fsgid=1000"], mountPoint: `${SANDBOX}/ephemeral/a`, fsGroup: { groupId: 1000, groupChangePolicy: 0 } },
    { driver: "local", source: "local", fstype: "local", options: ["mode=0770"], mountPoint: `${SANDBOX}/local/a` },
    { driver: "bind", source: join(lab.folder, "config"), fstype: "bind", options: ["rbind", "ro"], mountPoint: `${SANDBOX}/config` },
  ],
});
const plain = sandboxRequest("lab", false) as never;

const process = (args: string[], more: object = {}): object => ({ args, env: ["PATH=/bin"], cwd: "/", user: {}, ...more });

class Life {
  readonly said = new Map<string, string>();
  readonly second: string;
  constructor(readonly lab: Lab, readonly client: AgentClient, readonly id: string) {
    this.second = `${id}b`;
  }

  async step(name: string, work: () => Promise<unknown>): Promise<boolean> {
    const result = await limited(name, work());
    this.said.set(name, result);
    return result === "OK";
  }

  /** What a container is made of: a filter, limits, an overlay with a writable layer, a folder that is watched, volumes of the pod. */
  get wish(): object {
    const { lab, id } = this;
    const wish = lab.request(id, ["/bin/cat"], (spec: Oci) => {
      spec.linux.resources["memory"] = { limit: 64 << 20 };
      spec.linux.resources["pids"] = { limit: 50 };
      spec.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO", args: [{ index: 1, value: 7, op: "SCMP_CMP_EQ" }] }] };
    }) as object;
    return {
      ...wish,
      storages: [
        { driver: "overlayfs", source: "none", fstype: "overlay", options: ["io.katacontainers.fs-opt.overlay-rw", `lowerdir=${lab.root}`], mountPoint: `/run/kata-containers/${id}/rootfs` },
        { driver: "watchable-bind", source: join(lab.folder, "config"), fstype: "bind", options: [], mountPoint: `${SHARED}/watchable/${id}` },
        { driver: "ephemeral", source: "tmpfs", fstype: "tmpfs", options: [], mountPoint: `${SANDBOX}/ephemeral/a` },
        { driver: "local", source: "local", fstype: "local", options: [], mountPoint: `${SANDBOX}/local/b` },
      ],
    };
  }

  async steps(): Promise<Map<string, string>> {
    const { lab, client, id } = this;
    await this.step("CreateSandbox", () => client.createSandbox(sandbox(lab) as never));
    await this.guest();
    await this.step("CopyFile", () => client.copyFile({ path: `${SHARED}/${id}/f`, fileSize: 1, fileMode: 0o100644, dirMode: 0o755, uid: 0, gid: 0, offset: 0, data: Buffer.from("x") } as never));
    await this.step("CopyFile of a link", () => client.copyFile({ path: `${SHARED}/${id}/d/l`, fileSize: 0, fileMode: 0o120777, dirMode: 0o755, uid: 0, gid: 0, offset: 0, data: Buffer.from("f") } as never));
    if (await this.step("CreateContainer", () => client.createContainer(this.wish as never))) await this.container();
    await this.further();
    await this.step("RemoveContainer", () => client.removeContainer({ containerId: id }));
    await this.step("a connection", () => lab.another().then((c) => c.close()));
    await this.step("CreateSandbox anew", () => client.createSandbox(plain));
    return this.said;
  }

  async guest(): Promise<void> {
    const { client } = this;
    await this.step("GetGuestDetails", () => client.getGuestDetails({ memBlockSize: true } as never));
    await this.step("ReseedRandomDev", () => client.reseedRandomDev({ data: Buffer.from("seed") } as never));
    await this.step("UpdateInterface", () => client.updateInterface({ interface: { device: "eth0", name: "eth0", hwAddr: "02:00:00:00:00:01", mtu: 1400, ipAddresses: [{ address: "10.1.2.3", mask: "24" }] } } as never));
    await this.step("UpdateRoutes", () => client.updateRoutes({ routes: { routes: [{ dest: "", gateway: "10.1.2.1", device: "eth0" }, { dest: "10.9.0.0/16", device: "eth0", scope: 253 }] } } as never));
    await this.step("AddARPNeighbors", () => client.addARPNeighbors({ neighbors: { arpNeighbors: [{ toIPAddress: { address: "10.1.2.1" }, device: "eth0", lladdr: "02:00:00:00:00:07", state: 128 }] } } as never));
    await this.step("ListInterfaces", () => client.listInterfaces({}));
    await this.step("ListRoutes", () => client.listRoutes({}));
    await this.step("GetVolumeStats", () => client.getVolumeStats({ volumeGuestPath: "/run" }));
    await this.step("UpdateEphemeralMounts", () => client.updateEphemeralMounts({ storages: [{ driver: "ephemeral", source: "tmpfs", fstype: "tmpfs", options: ["remount", "size=1048576"], mountPoint: `${SANDBOX}/ephemeral/a` }] } as never));
  }

  async container(): Promise<void> {
    const { client, id } = this;
    await this.step("StartContainer", () => client.startContainer({ containerId: id }));
    await this.step("WriteStdin", () => client.writeStdin({ ...named(id), data: Buffer.from("through\n") }));
    await this.step("ReadStdout", () => Promise.race([client.readStdout({ ...named(id), len: 100 }), client.waitProcess(named(id)), new Promise((done) => setTimeout(done, 1000))]));
    for (const [name, more] of [["ExecProcess", {}], ["ExecProcess with a terminal", { terminal: true }]] as const) {
      const exec = named(id, `e${name.length}`);
      if (!(await this.step(name, () => client.execProcess({ ...exec, process: process(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], more) } as never)))) continue;
      await this.step(`${name}: ReadStdout`, () => client.readStdout({ ...exec, len: 100 }));
      if (name === "ExecProcess") await this.step(`${name}: ReadStderr`, () => client.readStderr({ ...exec, len: 100 }));
      else await this.step("TtyWinResize", () => client.ttyWinResize({ ...exec, row: 5, column: 6 }));
      await this.step(`${name}: WaitProcess`, () => client.waitProcess(exec));
    }
    if (await this.step("ExecProcess that reads", () => client.execProcess({ ...named(id, "reads"), process: process(["/bin/cat"]) } as never))) {
      if (!(await this.step("CloseStdin", () => client.closeStdin(named(id, "reads"))))) await this.step("SignalProcess of one that reads", () => client.signalProcess({ ...named(id, "reads"), signal: 9 }));
      await this.step("ExecProcess that reads: WaitProcess", () => client.waitProcess(named(id, "reads")));
    }
    await this.step("a client that leaves", () => this.leaveEarly());
    await this.step("StatsContainer", () => client.statsContainer({ containerId: id }));
    await this.step("UpdateContainer", () => client.updateContainer({ containerId: id, resources: { pids: { limit: 60 } } } as never));
    await this.step("PauseContainer", () => client.pauseContainer({ containerId: id }));
    await this.step("ResumeContainer", () => client.resumeContainer({ containerId: id }));
  }

  /** Everything that can wait waits for a client that leaves. The answer to Check comes when the agent has all of it. */
  async leaveEarly(): Promise<void> {
    const { id, lab } = this;
    const away = await lab.another();
    const waits = [away.waitProcess(named(id)), away.readStdout({ ...named(id), len: 10 }), away.readStderr({ ...named(id), len: 10 }), away.writeStdin({ ...named(id), data: Buffer.alloc(300_000) }), away.getOOMEvent({})];
    for (const wait of waits) wait.catch(() => undefined);
    try {
      await away.check({});
    } finally {
      away.close();
    }
  }

  /** A second container, in the first one's pid namespace; both end in it. */
  async further(): Promise<void> {
    const { lab, client, id, second } = this;
    const wish = lab.request(second, ["/bin/sleep", "1000"]) as object;
    if (await this.step("CreateContainer in a pid namespace", () => client.createContainer({ ...wish, sandboxPidns: true } as never))) {
      await this.step("StartContainer in a pid namespace", () => client.startContainer({ containerId: second }));
      const waits = client.waitProcess(named(second));
      waits.catch(() => undefined);
      const exec = named(second, "joins");
      if (await this.step("ExecProcess in a pid namespace", () => client.execProcess({ ...exec, process: process(["/bin/true"]) } as never))) await this.step("WaitProcess in a pid namespace", () => client.waitProcess(exec));
      await this.step("SignalProcess of one", () => client.signalProcess({ ...named(second), signal: 15 }));
      await this.step("SignalProcess of all", () => client.signalProcess({ containerId: second, execId: "", signal: 9 }));
      if (this.said.get("SignalProcess of all") === "OK") await this.step("WaitProcess that waited", () => waits);
    }
    await this.step("SignalProcess", () => client.signalProcess({ containerId: id, execId: "", signal: 9 }));
    await this.step("RemoveContainer in a pid namespace", () => client.removeContainer({ containerId: second }));
  }
}

/** Removes what a life under a fault has left, as its host would: again. What the agent still owes it does by itself. */
export const clean = async (lab: Lab, id: string, ms = STEP_MS): Promise<void> => {
  for (const name of [`${id}b`, id]) {
    await limited("ResumeContainer again", lab.client.resumeContainer({ containerId: name }), ms);
    await limited("RemoveContainer again", lab.client.removeContainer({ containerId: name }), ms);
  }
  await limited("CreateSandbox again", lab.client.createSandbox(plain), ms);
  lab.agent.inside(`rm -rf ${SHARED}/${id}; rmdir ${SHARED}/watchable ${SHARED} ${SHARED}/.. 2>/dev/null || true`);
};

/** A sandbox with two containers at work, for its end. */
export const busy = async (lab: Lab, id: string): Promise<void> => {
  const client = await connected(lab);
  const life = new Life(lab, client, id);
  await client.createSandbox(sandbox(lab) as never);
  await client.createContainer(life.wish as never);
  await client.startContainer({ containerId: id });
  await client.execProcess({ ...named(id, "e"), process: process(["/bin/sleep", "1000"]) } as never);
  await client.createContainer({ ...(lab.request(life.second, ["/bin/sleep", "1000"]) as object), sandboxPidns: true } as never);
  await client.startContainer({ containerId: life.second });
  client.waitProcess(named(id)).catch(() => undefined);
};
