// Containers on a private agent, spelled as changes to the default request; and what must be the same before and after.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerRequest, fillRootfs, finish, sandboxRequest, type Ended } from "./guest.js";
import { startPrivateAgent, type PrivateAgent } from "./private-agent.js";

type Json = Record<string, unknown>;
interface Request { oci: Json & { process: Json; linux: Json & { resources: Json }; mounts: Json[]; root: Json } }
export type Change = (spec: Request["oci"]) => void;

/** Before the agent starts: only the unified cgroup hierarchy is there, as in a VM (here without controllers). */
export const ONLY_V2 = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup";

export class Box {
  #n = 0;
  /** What the names of its containers begin with. */
  readonly prefix = `box${process.pid}n`;
  private constructor(readonly agent: PrivateAgent, readonly folder: string) {}

  static async start(before = ":"): Promise<Box> {
    const folder = mkdtempSync(join(tmpdir(), "kata-box-"));
    fillRootfs(join(folder, "plain"));
    const agent = await startPrivateAgent("", before);
    await agent.client.createSandbox(sandboxRequest("box", false) as never);
    const box = new Box(agent, folder);
    await box.run("true"); // what is made once and kept (namespace descriptors) is there from now on
    return box;
  }

  /** A fresh copy of the root file system. */
  root(): string {
    const dir = join(this.folder, `root${this.#n++}`);
    cpSync(join(this.folder, "plain"), dir, { recursive: true, verbatimSymlinks: true });
    return dir;
  }

  /** A folder of the host that no container may reach. */
  outside(): string {
    const dir = join(this.folder, `outside${this.#n++}`);
    mkdirSync(dir);
    return dir;
  }

  /** The request; returns the container's id. */
  async create(args: string[], change: Change = () => undefined, rootPath = this.root()): Promise<string> {
    const id = `${this.prefix}${this.#n++}`;
    const request = structuredClone(containerRequest({ id, rootPath, args })) as Request;
    change(request.oci);
    await this.agent.client.createContainer(request as never);
    return id;
  }

  async start(id: string): Promise<void> {
    await this.agent.client.startContainer({ containerId: id });
  }

  async remove(id: string): Promise<void> {
    await this.agent.client.removeContainer({ containerId: id });
  }

  /** Creates, starts, reads, waits, removes. */
  async run(script: string, change?: Change, rootPath?: string): Promise<Ended> {
    const id = await this.create(["/bin/sh", "-c", script], change, rootPath);
    try {
      await this.start(id);
      return await finish(this.agent.client, { containerId: id, execId: id });
    } finally {
      await this.remove(id);
    }
  }

  /** A container that sleeps. */
  async sleeper(change?: Change): Promise<string> {
    const id = await this.create(["/bin/sleep", "1000"], change);
    await this.start(id);
    return id;
  }

  /** Mounts, descriptors, children, cgroups and container folders, to compare before and after. */
  state(): string[] {
    const { pid } = this.agent;
    return [
      `mounts ${readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n").length}`,
      `descriptors ${this.agent.inside(`ls -l /proc/${pid}/fd | sed -n 's/.*-> //p' | sed 's/\\[[0-9]*\\]//' | sort | uniq -c | tr -s ' \\n' ' '`)}`,
      `children ${readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim()}`,
      `folders ${this.agent.inside("ls /run/kata-containers | sort | tr '\\n' ' '")}`,
      `cgroups ${this.agent.inside(`find /sys/fs/cgroup -name '${this.prefix}*' | wc -l`)}`,
    ];
  }

  async stop(): Promise<void> {
    await this.agent.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
