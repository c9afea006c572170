// Containers of a private agent for black-box tests: short names for calls, error codes, and what has to be the same before
// and after. It holds the names of what it made and nothing else.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { connectAgent } from "../../ctl/client/connect.js";
import { RpcError, UnencodableRequest } from "../../ctl/client/rpc-error.js";
import { collectStream, type ProcessName } from "../../ctl/client/stdio.js";
import { containerRequest, fillRootfs, finish, sandboxRequest, type Ended } from "./guest.js";
import { startPrivateAgent, type PrivateAgent } from "./private-agent.js";
import type { Fixture } from "./suite.js";

export type Json = Record<string, unknown>;
export type Oci = Json & { process: Json; linux: Json & { resources: Json; namespaces: Json[] }; mounts: Json[]; root: Json };
export type Change = (spec: Oci) => void;

/** How a call ended: "OK" or "NOT_FOUND: its message". Rejects when the request never reached the agent because it is none. */
export const outcome = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "OK",
    (error: unknown) => {
      if (error instanceof UnencodableRequest) throw error;
      return error instanceof RpcError ? `${error.codeName}: ${error.message}` : String(error);
    },
  );

/** Tries until `good`; for what the kernel finishes by itself (a closed connection, a dying process). */
export const until = async (what: string, good: () => boolean | Promise<boolean>, ms = 120_000): Promise<void> => {
  const end = Date.now() + ms;
  while (!(await good())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setImmediate(done));
  }
};

/** A process with its parts named as the calls want them. */
export const named = (containerId: string, execId = containerId): ProcessName => ({ containerId, execId });

export class Lab {
  #n = 0;
  readonly #live = new Set<string>();
  readonly prefix = `lab${process.pid}n`;
  private constructor(readonly agent: PrivateAgent, readonly folder: string) {}

  /** Starts an agent with a sandbox; the arguments are those of startPrivateAgent. */
  static async start(settings = "", before = ":", binary?: string, apart?: boolean): Promise<Lab> {
    const folder = mkdtempSync(join(tmpdir(), "kata-lab-"));
    fillRootfs(join(folder, "rootfs"));
    const agent = await startPrivateAgent(settings, before, binary, apart);
    const lab = new Lab(agent, folder);
    try {
      await agent.client.createSandbox(sandboxRequest("lab", false) as never);
      await lab.run("true"); // what is made once and kept is there from now on
      return lab;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  get client(): AgentClient {
    return this.agent.client;
  }
  /** The root file system that all containers share unless they are given another. */
  get root(): string {
    return join(this.folder, "rootfs");
  }
  name(): string {
    return `${this.prefix}${this.#n++}`;
  }

  /** A CreateContainer request. */
  request(id: string, args: string[], change: Change = () => undefined, rootPath = this.root): never {
    const request = structuredClone(containerRequest({ id, rootPath, args })) as { oci: Oci };
    change(request.oci);
    return request as never;
  }
  async create(args: string[], change?: Change, rootPath?: string): Promise<string> {
    const id = this.name();
    await this.client.createContainer(this.request(id, args, change, rootPath));
    this.#live.add(id);
    return id;
  }
  /** A running container. */
  async up(script = "exec sleep 1000", change?: Change, rootPath?: string): Promise<string> {
    const id = await this.create(["/bin/sh", "-c", script], change, rootPath);
    await this.client.startContainer({ containerId: id });
    return id;
  }
  async remove(id: string): Promise<void> {
    this.#live.delete(id);
    await this.client.removeContainer({ containerId: id });
  }
  /** A container from its creation to its removal. */
  async run(script: string, change?: Change, rootPath?: string): Promise<Ended> {
    const id = await this.up(script, change, rootPath);
    try {
      return await finish(this.client, named(id));
    } finally {
      await this.remove(id);
    }
  }
  /** Starts a further process; `more` are fields of its Process message. */
  async exec(id: string, script: string, more: Json = {}, execId = this.name()): Promise<ProcessName> {
    await this.client.execProcess({ containerId: id, execId, process: { args: ["/bin/sh", "-c", script], env: ["PATH=/bin"], cwd: "/", user: {}, ...more } } as never);
    return named(id, execId);
  }
  /** Runs a further process to its end. */
  async execRun(id: string, script: string, more: Json = {}): Promise<Ended> {
    return finish(this.client, await this.exec(id, script, more));
  }
  wait(p: ProcessName): Promise<number> {
    return this.client.waitProcess(p).then((r) => r.status);
  }
  read(p: ProcessName, len = 32768, which: "stdout" | "stderr" = "stdout"): Promise<string> {
    return (which === "stdout" ? this.client.readStdout({ ...p, len }) : this.client.readStderr({ ...p, len })).then((r) => Buffer.from(r.data).toString());
  }
  readAll(p: ProcessName, which: "stdout" | "stderr" = "stdout"): Promise<string> {
    return collectStream(this.client, p, which).then(String);
  }
  /** Reads until `text` has come; what was read. */
  async expectText(p: ProcessName, text: string): Promise<string> {
    let seen = "";
    while (!seen.includes(text)) {
      const piece = await this.read(p);
      if (piece === "") throw new Error(`the stream ended before ${JSON.stringify(text)} came: ${JSON.stringify(seen)}`);
      seen += piece;
    }
    return seen;
  }
  write(p: ProcessName, data: string): Promise<unknown> {
    return this.client.writeStdin({ ...p, data: Buffer.from(data) });
  }
  /** A further connection; the caller closes it. */
  another(): Promise<AgentClient> {
    return connectAgent(`unix://${join(this.agent.dir, "a.sock")}`);
  }

  fds(): number {
    return readdirSync(`/proc/${this.agent.pid}/fd`).length;
  }
  /** Anonymous memory of the agent in kB. */
  anon(): number {
    return Number(/RssAnon:\s*(\d+)/.exec(readFileSync(`/proc/${this.agent.pid}/status`, "utf8"))?.[1]);
  }
  /** Mounts, descriptors, children, cgroups, folders. */
  state(): Json {
    const { pid } = this.agent;
    return {
      mounts: readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n").length,
      hostMounts: readFileSync("/proc/self/mountinfo", "utf8").includes(this.folder),
      descriptors: this.fds(),
      children: readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim(),
      folders: this.agent.inside("ls /run/kata-containers"),
      cgroups: this.agent.inside(`find /sys/fs/cgroup -name '${this.prefix}*' 2>/dev/null || true`),
    };
  }
  /** Waits until the state is what it was; containers that a failed test has left are removed first. */
  async settled(before: Json): Promise<void> {
    for (const id of this.#live) await outcome(this.remove(id));
    const want = JSON.stringify(before);
    await until(`the state is ${want}`, () => JSON.stringify(this.state()) === want, 60_000).catch((error: unknown) => {
      throw new Error(`${String(error)}\nbut it is ${JSON.stringify(this.state())}`);
    });
  }
  /** Ends the agent; what a sanitiser or the interpreter had to say about its code is an error. */
  async stop(): Promise<void> {
    await this.agent.stop();
    rmSync(this.folder, { recursive: true, force: true });
    const bad = this.agent.log().split("\n").find((l) => /runtime error:|AddressSanitizer|LeakSanitizer|TypeError|ReferenceError|"level":"CRIT"/.test(l));
    if (bad !== undefined) throw new Error(`the agent has a bug: ${bad}`);
  }
}

/** A lab for all tests of a suite, each of which leaves it as it was. `prepare` makes what is made once and kept. */
export const labs = (prepare?: (lab: Lab) => Promise<unknown>, ...how: Parameters<typeof Lab.start>): Fixture<Lab> => ({
  start: async () => {
    const lab = await Lab.start(...how);
    await prepare?.(lab);
    return lab;
  },
  stop: (lab) => lab.stop(),
  state: (lab) => lab.state(),
  settled: (lab, before) => lab.settled(before as Json),
});
