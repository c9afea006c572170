// Owns the measurements that need no VM: the agent, the peers and the floors side by side on this machine, in turns, so that a
// disturbance hits all of them alike. All of it lives below one driver in namespaces of its own; what is left is removed at the end.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CGROUP, HOME_ID, writeBundle, type Bundle } from "./bundle.js";
import { Driver } from "./driver.js";
import type { Group, Key, Results } from "./keys.js";
import type { Tools } from "./native-tools.js";
import { median, rounded } from "./stats.js";

const BATCH_BYTES = 32 << 20;
const CONTAINERS = 50;

export interface NativeOptions {
  readonly agent: string;
  readonly tools: Tools;
  readonly groups: ReadonlySet<Group>;
  /** Samples of each kind; at least 50 for published numbers. */
  readonly rounds: number;
  /** Paths of the peers that are installed. */
  readonly peers: Readonly<Partial<Record<"crun" | "runc", string>>>;
  /** Told what is being done now. */
  readonly progress: (text: string) => void;
  /** Told about a measurement that failed; the others go on. */
  readonly failed: (keys: readonly Key[], why: string) => void;
  /** Run this before anything is measured against the agent (tests stand in a fake agent here). */
  readonly agentArgs?: readonly string[];
}

class Session {
  readonly results: Results = {};
  #ids = 0;

  constructor(readonly o: NativeOptions, readonly driver: Driver, readonly bundle: Bundle) {}

  path = (name: string): string => join(this.bundle.folder, name);
  id = (): string => `b${String(this.#ids++).padStart(7, "0")}`;

  agentCommand(socket: string): string[] {
    const config = this.path("agent.toml");
    writeFileSync(config, `server_addr = "unix://${socket}"\n`);
    return [this.o.agent, ...(this.o.agentArgs ?? ["--config", config])];
  }

  /** Starts an agent with a sandbox and connects to it; gives its process id. */
  async startAgent(): Promise<number> {
    const socket = this.path("agent.sock");
    rmSync(socket, { force: true });
    const pid = await this.driver.one("spawn", this.path("agent.log"), ...this.agentCommand(socket));
    await this.driver.do("connect", "agent", socket, 10);
    await this.driver.do("sequence", "agent", HOME_ID, "check", "sandbox");
    return pid;
  }

  async endAgent(pid: number): Promise<void> {
    await this.driver.do("disconnect", "agent");
    await this.driver.do("end", pid);
  }

  /** Runs `work` for some keys; its failure is told and does not stop the others. */
  async guard(keys: readonly Key[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.o.failed(keys, `${error instanceof Error ? error.message : String(error)}${this.#log()}`);
    }
  }

  #log(): string {
    const file = this.path("agent.log");
    const text = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
    return text === "" ? "" : `; the agent said: ${text.slice(-400)}`;
  }
}

const ms = (ns: readonly number[]): number => rounded(median(ns) / 1e6, 3);
const rate = (samples: readonly { bytes: number; ns: number }[]): number => rounded(median(samples.map((s) => (s.bytes / s.ns) * 1000)), 1);

const start = async (s: Session): Promise<void> => {
  const took: number[] = [];
  const socket = s.path("start.sock");
  const command = s.agentCommand(socket);
  for (let i = 0; i < s.o.rounds; i++) took.push(await s.driver.one("first", socket, "check", s.path("agent.log"), ...command));
  s.results.start_ms = ms(took);
};

const peerCommand = (s: Session, name: "crun" | "runc", program: string): string[] => [
  program, ...(name === "crun" ? ["--cgroup-manager=cgroupfs"] : []), "--root", s.path(name), "run", "--bundle", s.bundle.folder,
];

/** run_ms and exec_ms of the agent, of each peer and of the floor, one of each kind in every round. */
const runs = async (s: Session): Promise<void> => {
  const floor = new Driver(s.o.tools["floor-run"], s.bundle.floorArgs);
  const took: Partial<Record<Key, number[]>> = {};
  const sample = async (key: Key, ns: Promise<number>): Promise<void> => void (took[key] ??= []).push(await ns);
  const steps: { keys: Key[]; go: () => Promise<void> }[] = [];
  if (s.o.groups.has("run")) {
    steps.push({ keys: ["run_ms_floor"], go: () => sample("run_ms_floor", floor.one("run")) });
    for (const [name, program] of Object.entries(s.o.peers) as ["crun" | "runc", string][]) {
      steps.push({ keys: [`run_ms_${name}`], go: () => sample(`run_ms_${name}`, s.driver.one("run", s.path("peer.log"), ...peerCommand(s, name, program), s.id())) });
    }
    steps.push({ keys: ["run_ms"], go: () => sample("run_ms", s.driver.one("sequence", "agent", s.id(), "create-true", "start", "wait", "remove")) });
  }
  if (s.o.groups.has("exec")) {
    await s.guard(["exec_ms"], async () => {
      await s.driver.do("sequence", "agent", HOME_ID, "create-pause", "start");
      steps.push({ keys: ["exec_ms"], go: () => sample("exec_ms", s.driver.one("sequence", "agent", s.id(), "exec", "exec-wait")) });
    });
  }
  try {
    for (let round = -3; round < s.o.rounds; round++) {
      if (round === 0) for (const key of Object.keys(took) as Key[]) delete took[key]; // the first three warm everything up
      for (const step of [...steps]) {
        await s.guard(step.keys, async () => {
          try {
            await step.go();
          } catch (error) {
            steps.splice(steps.indexOf(step), 1);
            for (const key of step.keys) delete took[key];
            throw error;
          }
        });
      }
    }
  } finally {
    await floor.close();
  }
  for (const [key, ns] of Object.entries(took) as [Key, number[]][]) s.results[key] = ms(ns);
};

const checks = async (s: Session): Promise<void> => {
  const took: Record<"agent" | "floor", number[]> = { agent: [], floor: [] };
  for (let round = 0; round < s.o.rounds; round++) {
    for (const who of ["agent", "floor"] as const) took[who].push(await s.driver.one("repeat", who, HOME_ID, "check", 200));
  }
  s.results.check_us = rounded(median(took.agent) / 1e3, 2);
  s.results.check_floor_us = rounded(median(took.floor) / 1e3, 2);
};

/** Pieces of 32 MiB by turns; the rate is the median piece's. */
const stream = async (s: Session, call: "stdout" | "stdin", program: string): Promise<void> => {
  const id = s.id();
  const samples: Record<"agent" | "floor", { bytes: number; ns: number }[]> = { agent: [], floor: [] };
  await s.driver.do("sequence", "agent", id, `create-${program}`, "start");
  for (let round = -1; round < s.o.rounds; round++) {
    for (const who of ["agent", "floor"] as const) {
      const [ns = NaN, bytes = NaN] = await s.driver.do("flow", who, id, call, BATCH_BYTES);
      if (round >= 0) samples[who].push({ bytes, ns });
    }
  }
  await s.driver.do("sequence", "agent", id, "kill", "wait", "remove");
  s.results[`${call}_mb_per_s`] = rate(samples.agent);
  s.results[`${call}_floor_mb_per_s`] = rate(samples.floor);
};

/** A fresh agent; one container before the first look, so that code which is loaded once is not counted. */
const memory = async (s: Session): Promise<void> => {
  const pid = await s.startAgent();
  const whole = ["create-pause", "start", "kill", "wait", "remove"];
  await s.driver.do("sequence", "agent", s.id(), ...whole);
  const [, before = NaN] = await s.driver.do("memory", pid);
  const ids = Array.from({ length: CONTAINERS }, s.id);
  for (const id of ids) await s.driver.do("sequence", "agent", id, "create-pause", "start");
  const [, after = NaN] = await s.driver.do("memory", pid);
  for (const id of ids) await s.driver.do("sequence", "agent", id, "kill", "wait", "remove");
  await s.endAgent(pid);
  s.results.container_anon_bytes = Math.round((after - before) / CONTAINERS);
};

const withAgent = async (s: Session): Promise<void> => {
  const wanted = (group: Group): boolean => s.o.groups.has(group);
  const floorSocket = s.path("floor.sock");
  await s.driver.do("spawn", s.path("floor.log"), s.o.tools["floor-server"], floorSocket, s.o.tools.spew, s.o.tools.sink);
  await s.driver.do("connect", "floor", floorSocket, 10);
  const pid = await s.startAgent();
  if (wanted("run") || wanted("exec")) {
    s.o.progress(`runs and execs, ${s.o.rounds} rounds`);
    await runs(s);
  }
  if (wanted("check")) {
    s.o.progress("round trips");
    await s.guard(["check_us", "check_floor_us"], () => checks(s));
  }
  for (const [call, program] of [["stdout", "spew"], ["stdin", "sink"]] as const) {
    if (!wanted(call)) continue;
    s.o.progress(call);
    await s.guard([`${call}_mb_per_s`, `${call}_floor_mb_per_s`], () => stream(s, call, program));
  }
  await s.endAgent(pid);
};

/** Where the unified tree is mounted on this machine, for cleaning up. */
const unified = (): string | undefined => {
  const line = readFileSync("/proc/mounts", "utf8").split("\n").find((l) => l.split(" ")[2] === "cgroup2");
  return line?.split(" ")[1];
};

const removeCgroups = (): void => {
  const top = join(unified() ?? "/nonexistent", CGROUP);
  const remove = (path: string): void => {
    if (!existsSync(path)) return;
    for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) remove(join(path, entry.name));
    rmdirSync(path);
  };
  remove(top);
};

/**
 * Takes all native measurements that `groups` asks for. Needs root. Rejects only when nothing at all can be measured; single
 * failures go to `failed`. Leaves no process, mount, cgroup or file.
 */
export const measureNative = async (o: NativeOptions): Promise<Results> => {
  const folder = mkdtempSync(join(tmpdir(), "kata-bench-"));
  const driver = new Driver(o.tools.drive, ["--apart"]);
  const s = new Session(o, driver, writeBundle(folder, o.tools));
  try {
    for (const [name, file] of s.bundle.calls) await driver.do("load", name, file);
    if (o.groups.has("start")) {
      o.progress("start");
      await s.guard(["start_ms"], () => start(s));
    }
    const keys: Key[] = ["run_ms", "run_ms_floor", "run_ms_crun", "run_ms_runc", "exec_ms", "check_us", "check_floor_us", "stdout_mb_per_s", "stdout_floor_mb_per_s", "stdin_mb_per_s", "stdin_floor_mb_per_s"];
    if (["run", "exec", "check", "stdout", "stdin"].some((g) => o.groups.has(g as Group))) await s.guard(keys, () => withAgent(s));
    if (o.groups.has("memory")) {
      o.progress(`${CONTAINERS} idle containers`);
      await s.guard(["container_anon_bytes"], () => memory(s));
    }
  } finally {
    await driver.close();
    rmSync(folder, { recursive: true, force: true });
    removeCgroups();
  }
  return s.results;
};
