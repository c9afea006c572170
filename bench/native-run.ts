// Owns the measurements that need no VM: the agent, the peers and the floors side by side on this machine, in turns, so that a
// disturbance hits all of them alike. All of it lives below one driver in namespaces of its own; what is left is removed at the end.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CGROUP, HOME_ID, writeBundle } from "./bundle.js";
import { crowd } from "./crowd.js";
import { Driver } from "./driver.js";
import { KEYS, type Group, type Key, type Results } from "./keys.js";
import { runs } from "./runs.js";
import { ms, Session, type NativeOptions } from "./session.js";
import { median, rounded } from "./stats.js";

const BATCH_BYTES = 32 << 20;
const CONTAINERS = 50;

const rate = (samples: readonly { bytes: number; ns: number }[]): number => rounded(median(samples.map((s) => (s.bytes / s.ns) * 1000)), 1);

const start = async (s: Session): Promise<void> => {
  const took: number[] = [];
  const socket = s.path("start.sock");
  const command = s.agentCommand(socket);
  for (let i = 0; i < s.o.rounds; i++) took.push(await s.driver.one("first", socket, "check", s.path("agent.log"), ...command));
  s.results.start_ms = ms(took);
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
    const withIt: readonly Group[] = ["run", "exec", "check", "stdout", "stdin"];
    const keys = (Object.keys(KEYS) as Key[]).filter((key) => withIt.includes(KEYS[key].group));
    if (withIt.some((g) => o.groups.has(g))) await s.guard(keys, () => withAgent(s));
    if (o.groups.has("memory")) {
      o.progress(`${CONTAINERS} idle containers`);
      await s.guard(["container_anon_bytes"], () => memory(s));
    }
    if (o.groups.has("crowd")) await crowd(s);
  } finally {
    await driver.close();
    rmSync(folder, { recursive: true, force: true });
    removeCgroups();
  }
  return s.results;
};
