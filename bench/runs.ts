// Owns run and exec: the agent, the command lines (ours, crun, runc) and the floor, one of each kind in every round, so that a
// disturbance hits all of them alike. The operation is the same for all: one bundle, one clock, from the request to the end of it.
import { HOME_ID, writePauseBundle } from "./bundle.js";
import { commandLines, EXEC_KEY, RUN_KEY, type CommandLine } from "./command-lines.js";
import { Driver } from "./driver.js";
import type { Key } from "./keys.js";
import { ms, type Session } from "./session.js";

const WARM_UP = 3;

interface Step {
  readonly key: Key;
  /** Nanoseconds of one sample. */
  readonly go: () => Promise<number>;
}

const command = (s: Session, { words }: CommandLine, ...more: string[]): Promise<number> => s.driver.one("run", s.path("commands.log"), ...words, ...more);

const runSteps = (s: Session, floor: Driver, lines: readonly CommandLine[]): Step[] => [
  { key: "run_ms_floor", go: () => floor.one("run") },
  ...lines.map((line): Step => ({ key: RUN_KEY[line.runtime], go: () => command(s, line, "run", "--bundle", s.bundle.folder, s.id()) })),
  { key: "run_ms", go: () => s.driver.one("sequence", "agent", s.id(), "create-true", "start", "wait", "remove") },
];

/** Every runtime has an idle container of its own, made before the first round; the execs go there. */
const execSteps = async (s: Session, lines: readonly CommandLine[]): Promise<Step[]> => {
  const steps: Step[] = [];
  for (const line of lines) {
    const key = EXEC_KEY[line.runtime];
    await s.guard([key], async () => {
      await command(s, line, "run", "--detach", "--bundle", writePauseBundle(s.bundle, `home-${line.runtime}`), HOME_ID);
      steps.push({ key, go: () => command(s, line, "exec", HOME_ID, "/true") });
    });
  }
  await s.guard(["exec_ms"], async () => {
    await s.driver.do("sequence", "agent", HOME_ID, "create-pause", "start");
    steps.push({ key: "exec_ms", go: () => s.driver.one("sequence", "agent", s.id(), "exec", "exec-wait") });
  });
  return steps;
};

/** The keys of the groups run and exec. What fails once is told about and left out from then on. */
export const runs = async (s: Session): Promise<void> => {
  const floor = new Driver(s.o.tools["floor-run"], s.bundle.floorArgs);
  const lines = commandLines(s.path("runtimes"), s.o.runtimes);
  const took = new Map<Key, number[]>();
  try {
    const steps = [...(s.o.groups.has("run") ? runSteps(s, floor, lines) : []), ...(s.o.groups.has("exec") ? await execSteps(s, lines) : [])];
    for (let round = -WARM_UP; round < s.o.rounds; round++) {
      for (const { key, go } of [...steps]) {
        await s.guard([key], async () => {
          try {
            const ns = await go();
            if (round >= 0) took.set(key, [...(took.get(key) ?? []), ns]);
          } catch (error) {
            steps.splice(steps.findIndex((step) => step.key === key), 1);
            took.delete(key);
            throw error;
          }
        });
      }
    }
  } finally {
    await floor.close();
  }
  for (const [key, ns] of took) s.results[key] = ms(ns);
};
