// What an attack works with: containers that run the hostile programs, connections, and a place to say what is wrong.
import { readFileSync } from "node:fs";
import type { Duplex } from "node:stream";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { connectAgent } from "../../ctl/client/connect.js";
import { ConnectError, openStream } from "../../ctl/client/transport.js";
import type { ProcessName } from "../../ctl/client/stdio.js";
import { containerRequest } from "../helpers/guest.js";
import { named, type Change, type Json, type Oci } from "../helpers/lab.js";
import type { Did, Where } from "./attack.js";
import type { Ground } from "./ground.js";

const CAPABILITIES = [
  "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK",
  "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE",
  "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
]; // by their numbers

/** All capabilities that can be given: on this machine its own, in a VM every one. See proc_pid_status(5), CapBnd. */
const capabilities = (where: Where): string[] => {
  const own = where === "vm" ? -1n : BigInt(`0x${/^CapBnd:\s*(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`);
  return CAPABILITIES.filter((_, i) => ((own >> BigInt(i)) & 1n) === 1n).map((c) => `CAP_${c}`);
};

/** A container with all capabilities (scene.request knows which there are), nothing hidden and nothing read-only. */
export const mighty: Change = (spec) => {
  spec.process["capabilities"] = "all";
  spec.linux["maskedPaths"] = [];
  spec.linux["readonlyPaths"] = [];
  spec.mounts = spec.mounts.map((m) => (Array.isArray(m["options"]) ? { ...m, options: m["options"].filter((o) => o !== "ro") } : m));
};
/** Further capabilities besides the default ones. */
export const withCaps = (...more: string[]): Change => (spec) => {
  const caps = spec.process["capabilities"] as Record<string, string[]>;
  for (const set of ["bounding", "effective", "permitted"]) caps[set] = [...(caps[set] ?? []), ...more];
};
export const limits = (resources: Json): Change => (spec) => void Object.assign(spec.linux.resources, resources);
export const both = (...all: Change[]): Change => (spec) => all.forEach((change) => change(spec));

export class Scene {
  #n = 0;
  readonly faults: string[] = [];
  /** Containers that the driver kills and removes. */
  readonly attackers = new Set<string>();
  readonly #open: { close(): void }[] = [];
  /** `effort` scales sizes and times: 1 in full, less in the short form. */
  constructor(readonly ground: Ground, readonly prefix: string, readonly bystander: string, readonly effort: number) {}

  get client(): AgentClient {
    return this.ground.client;
  }
  /** A number of things, in the measure of the effort. */
  many(full: number, least = 1): number {
    return Math.max(least, Math.round(full * this.effort));
  }
  fault(text: string): void {
    this.faults.push(text);
  }
  expect(good: boolean, text: string): void {
    if (!good) this.fault(text);
  }
  name(): string {
    return `${this.prefix}${this.#n++}`;
  }

  request(id: string, args: string[], change: Change = () => undefined, more: object = {}): never {
    const request = structuredClone(containerRequest({ id, rootPath: this.ground.root, args })) as { oci: Oci };
    change(request.oci);
    if (request.oci.process["capabilities"] === "all") {
      const all = capabilities(this.ground.where);
      request.oci.process["capabilities"] = { bounding: all, effective: all, permitted: all };
    }
    return { ...request, ...more } as never;
  }
  /** A running container whose first process is `hostile` with these words. */
  async attacker(words: readonly (string | number)[], change?: Change, more?: object): Promise<ProcessName> {
    const id = this.name();
    this.attackers.add(id);
    await this.client.createContainer(this.request(id, ["/bin/hostile", ...words.map(String)], change, more));
    await this.client.startContainer({ containerId: id });
    return named(id);
  }
  /** Reads what the program says until the line `word`, at most so long. */
  async says(process: ProcessName, word = "done", ms = 120_000): Promise<Did> {
    let seen = "";
    const read = async (): Promise<void> => {
      while (!`\n${seen}`.includes(`\n${word}\n`)) {
        const { data } = await this.client.readStdout({ ...process, len: 32768 });
        if (data.length === 0) throw new Error(`the attacker ended before it said ${word}: ${JSON.stringify(seen)}`);
        seen += Buffer.from(data).toString();
      }
    };
    await within(read(), ms, `the attacker's word "${word}"`);
    return Object.fromEntries(seen.split("\n").map((line) => line.split(" ")).filter((w) => w.length === 2).map(([key = "", value]) => [key, Number(value)]));
  }
  /** Runs a shell command in the container; its output. */
  async shell(id: string, script: string, ms = 30_000): Promise<string> {
    const process = named(id, this.name());
    await within(this.client.execProcess({ ...process, process: { args: ["/bin/sh", "-c", script], env: ["PATH=/bin"], cwd: "/", user: {} } } as never), ms, `exec in ${id}`);
    const pieces: Uint8Array[] = [];
    for (;;) {
      const { data } = await within(this.client.readStdout({ ...process, len: 32768 }), ms, `output of ${id}`);
      if (data.length === 0) break;
      pieces.push(Buffer.from(data));
    }
    const { status } = await within(this.client.waitProcess(process), ms, `the end of an exec in ${id}`);
    if (status !== 0) throw new Error(`"${script}" in ${id} ended with ${status}`);
    return Buffer.concat(pieces).toString();
  }
  /** What was reached is a fault, with what the attacker noted of it. */
  async blame(attacker: ProcessName, reached: readonly string[], times: number): Promise<void> {
    if (reached.length === 0) return;
    const { data } = await within(this.client.readStderr({ ...attacker, len: 4096 }), 5_000, "the attacker's notes").catch(() => ({ data: new Uint8Array(0) }));
    this.fault(`of the engine was reached in ${times} times: ${reached.join(", ")}; ${Buffer.from(data).toString().trim().replaceAll("\n", "; ")}`);
  }
  /** Lets the attack go on for so many seconds (in the measure of the effort). */
  seconds(full: number): number {
    return Math.max(1, Math.round(full * this.effort));
  }
  pause(seconds: number): Promise<void> {
    return new Promise((done) => setTimeout(done, seconds * 1000));
  }
  /** A further connection; closed in the end. */
  async another(): Promise<AgentClient> {
    const client = await connectAgent(this.ground.address, { waitMs: 10_000 });
    this.#open.push(client);
    return client;
  }
  /** Bytes to the agent as they are; closed in the end. */
  async raw(): Promise<Duplex> {
    let stream: Duplex | undefined;
    for (const end = performance.now() + 30_000; stream === undefined; ) {
      try {
        stream = await openStream(this.ground.address, 30_000);
      } catch (error) {
        if (!(error instanceof ConnectError && error.retry) || performance.now() > end) throw error; // the queue is full: EAGAIN
        await this.pause(0.005);
      }
    }
    stream.on("error", () => undefined);
    this.#open.push({ close: () => stream.destroy() });
    stream.resume();
    return stream;
  }
  closeAll(): void {
    for (const one of this.#open.splice(0)) one.close();
  }
}

/** Was the connection lost over it, or no answer given? */
export const noAnswer = (said: string): boolean => said.includes("not within") || said.startsWith("UNAVAILABLE: connection");

/** Rejects when `work` takes longer. */
export const within = async <T>(work: Promise<T>, ms: number, what: string): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
};
