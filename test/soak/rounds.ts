// Many containers one after the other: create, start, kill, delete, by the agent or by the command line. Afterwards nothing may be
// left of them, and the agent must not have grown. The rounds are the same in the long soak and in the short test.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Bundles } from "../helpers/oci-bundle.js";
import { Lab, named, until } from "../helpers/lab.js";
import { beginOf, cgroups, mounts, processes, sweep } from "./traces.js";

export interface Soak {
  readonly rounds: number;
  /** Told after every round. */
  readonly progress?: (round: number) => void;
  /** Ends the soak early; what is there is removed, and the checks are made all the same. */
  readonly stop?: AbortSignal;
  readonly binary?: string;
}

export interface AgentSoak {
  readonly rounds: number;
  /** Anonymous memory of the agent in kB after the first hundred rounds and at the end. */
  readonly early: number;
  readonly late: number;
  /** What was left; empty when all is well. */
  readonly left: readonly string[];
}

const EARLY = 100;
const KILL = 9;
/** An argument that nothing else on this machine has. */
const mark = (): string => `${1_000_000 + process.pid}.25`;

const differences = (before: object, after: object): string[] =>
  Object.entries(after).flatMap(([name, now]) => {
    const then = (before as Record<string, unknown>)[name];
    return JSON.stringify(then) === JSON.stringify(now) ? [] : [`${name}: ${JSON.stringify(then)} before, ${JSON.stringify(now)} after`];
  });

/** Through the agent's API. */
export const soakAgent = async ({ rounds, progress, stop, binary }: Soak): Promise<AgentSoak> => {
  const lab = await Lab.start("", ":", binary, true);
  const args = ["/bin/sleep", mark()];
  let done = 0;
  let early = NaN;
  const state = () => ({
    ...lab.state(), files: readdirSync(lab.folder), shm: lab.agent.inside("ls /dev/shm; ls /run"), processes: processes(mark(), lab.folder),
    cgroupFolders: cgroups(lab.prefix), mountsHere: mounts(lab.folder),
  });
  try {
    const before = state();
    while (done < rounds && stop?.aborted !== true) {
      if (done === EARLY) early = lab.anon();
      const id = await lab.create(args);
      await lab.client.startContainer({ containerId: id });
      await lab.client.signalProcess({ containerId: id, execId: "", signal: KILL });
      if ((await lab.wait(named(id))) !== 128 + KILL) throw new Error(`round ${done}: not ended by the signal`);
      await lab.remove(id);
      done++;
      progress?.(done);
    }
    const late = lab.anon();
    await until("the state is as before", () => differences(before, state()).length === 0, 3000).catch(() => undefined);
    return { rounds: done, early, late, left: differences(before, state()) };
  } finally {
    await lab.stop();
    sweep(lab.prefix);
  }
};

export interface CommandSoak {
  readonly rounds: number;
  readonly left: readonly string[];
}

/** Through the command line: each round one container by create, start, kill, delete and one by run. */
export const soakCommandLine = async ({ rounds, progress, stop, binary }: Soak): Promise<CommandSoak> => {
  const bundles = new Bundles(binary);
  const prefix = `oci${process.pid}n`;
  const pids = new Map<number, string>();
  let done = 0;
  const folders = (): string[] => readdirSync(bundles.folder).filter((name) => name !== "log").sort();
  const must = (...args: string[]): void => {
    const { status, stderr } = bundles.quiet(args);
    if (status !== 0) throw new Error(`round ${done}: ${args.join(" ")}: status ${status}: ${stderr}`);
  };
  const stateOf = (id: string): { status: string; pid: number } => JSON.parse(bundles.command(["state", id]).stdout) as { status: string; pid: number };
  const asked = (config: { process: Record<string, unknown> }): void => void (config.process["args"] = ["/bin/sleep", mark()]);
  try {
    const sleeping = bundles.make("", asked);
    const short = bundles.make("exit 0");
    mkdirSync(join(bundles.folder, "state"), { recursive: true });
    const before = folders();
    const left = (): string[] => [
      ...differences({ folders: before }, { folders: folders() }), ...readdirSync(join(bundles.folder, "state")).map((id) => `state of ${id}`),
      ...cgroups(prefix).map((c) => `cgroup ${c}`), ...mounts(bundles.folder).map((m) => `mount ${m}`), ...processes(mark(), bundles.folder, pids).map((p) => `process ${p}`),
    ];
    while (done < rounds && stop?.aborted !== true) {
      const id = bundles.id();
      must("create", "--bundle", sleeping, id);
      must("start", id);
      const { pid } = stateOf(id);
      pids.set(pid, beginOf(pid));
      must("kill", id, "KILL");
      await until("it has ended", () => stateOf(id).status === "stopped");
      must("delete", id);
      must("run", "--bundle", short, bundles.id());
      done++;
      progress?.(done);
    }
    await until("nothing is left", () => left().length === 0, 3000).catch(() => undefined);
    return { rounds: done, left: left() };
  } finally {
    sweep(prefix);
    bundles.stop();
  }
};
