// Runs one attack: a bystander beside it, a watcher on it, and after it the attackers are killed and removed, the bystander must be as
// it was, and nothing may be left.
import { named, outcome, type Oci } from "../helpers/lab.js";
import { containerRequest } from "../helpers/guest.js";
import { GROWTH_KB, HANG_MS, LIMIT_MS, REMOVAL_MS, type Attack, type Did, type Outcome, type Patience } from "./attack.js";
import type { Ground, State } from "./ground.js";
import type { Measure } from "./measure.js";
import { Scene, within, withCaps } from "./scene.js";

export interface Rules {
  /** Hold the limits of time (else only standing still counts). */
  readonly strict: boolean;
  readonly effort: number;
}

const KILL = 9;
const SETTLE_MS = 15_000;
const ATTACK_MS = 200_000;

const bystand = async (ground: Ground, id: string): Promise<void> => {
  const request = containerRequest({ id, rootPath: ground.root, args: ["/bin/cat"] }) as { oci: Oci };
  if (ground.where === "vm") withCaps("CAP_SYS_ADMIN")(request.oci); // it looks at the guest for us
  await ground.client.createContainer(request as never);
  await ground.client.startContainer({ containerId: id });
};

/** The bystander runs, takes input, gives output, and can be executed in. */
const unharmed = async (scene: Scene): Promise<void> => {
  const { client, bystander } = scene;
  await within(client.writeStdin({ ...named(bystander), data: Buffer.from("still here\n") }), 10_000, "input for the bystander");
  const { data } = await within(client.readStdout({ ...named(bystander), len: 100 }), 10_000, "output of the bystander");
  if (Buffer.from(data).toString() !== "still here\n") throw new Error(`the bystander said ${JSON.stringify(Buffer.from(data).toString())}`);
  const said = await scene.shell(bystander, "echo executed");
  if (said !== "executed\n") throw new Error(`an exec in the bystander said ${JSON.stringify(said)}`);
};

/** Kills and removes the attackers; milliseconds. */
const clear = async (scene: Scene, limit: number): Promise<number> => {
  const begin = performance.now();
  for (const id of scene.attackers) {
    const killed = await outcome(within(scene.client.signalProcess({ containerId: id, execId: "", signal: KILL }), limit, `SignalProcess of ${id}`));
    const removed = await outcome(within(scene.client.removeContainer({ containerId: id }), limit, `RemoveContainer of ${id}`));
    const unknown = /Invalid container id|not found|NOT_FOUND/;
    if (removed !== "OK" && !unknown.test(removed)) scene.fault(`it cannot be removed: ${removed} (killed: ${killed})`);
  }
  return performance.now() - begin;
};

const same = (before: State, after: State): string[] =>
  Object.entries(after).flatMap(([name, now]) => (now === before[name] ? [] : [`left: ${name}: ${before[name] ?? ""} before, ${now} after`]));

const settled = async (read: () => Promise<State>, before: State): Promise<string[]> => {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const left = same(before, await read());
    if (left.length === 0 || performance.now() > end) return left;
    await new Promise((done) => setTimeout(done, 50));
  }
};

/** How long a Check takes while a container does nothing but use the processor, for some seconds. */
export const baselineOf = async (ground: Ground, measure: Measure, seconds: number, id: string): Promise<Patience> => {
  await ground.client.createContainer(containerRequest({ id, rootPath: ground.root, args: ["/bin/sh", "-c", "while :; do :; done"] }) as never);
  await ground.client.startContainer({ containerId: id });
  await measure.watch(ground.address, ground.threads);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  const patience = await measure.report();
  await ground.client.removeContainer({ containerId: id });
  return patience;
};

/** One attack on this ground. `prefix` begins all its names. Never rejects: what goes wrong is a fault. */
export const drive = async (attack: Attack, ground: Ground, measure: Measure, rules: Rules, prefix: string): Promise<Outcome> => {
  const begin = performance.now();
  const bystander = `${prefix}b`;
  const scene = new Scene(ground, prefix, bystander, rules.effort);
  const look = (script: string): Promise<string> => scene.shell(bystander, script);
  const note = (what: string) => (error: unknown): void => scene.fault(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  let did: Did = {};
  let patience: Patience = { checks: 0, longest: 0, net: 0, at: 0, lost: false };
  let removalMs = NaN;
  let before: State | undefined;
  let memory = { before: NaN, peak: NaN, after: NaN };
  try {
    await bystand(ground, bystander);
    await unharmed(scene); // what is made once and kept is there from now on
    before = await ground.state(look);
    await ground.resetPeak();
    memory = { ...memory, before: (await ground.memory()).now };
    await measure.watch(ground.address, ground.threads);
    try {
      did = await within(attack.run(scene), ATTACK_MS, "the attack's end");
    } catch (error) {
      note("the attack")(error);
    }
    scene.closeAll();
    removalMs = await clear(scene, attack.needs.removalMs ?? REMOVAL_MS);
    if (attack.needs.ends !== true) await unharmed(scene).catch(note("the bystander"));
    patience = await measure.report();
    if (attack.needs.ends !== true) scene.faults.push(...(await settled(() => ground.state(look), before)));
  } catch (error) {
    note("the run")(error);
  }
  scene.closeAll();
  if (ground.alive() && attack.needs.ends !== true) {
    const { now, peak } = await within(ground.memory(), 30_000, "a look at the agent").catch((error: unknown) => {
      note("memory")(error);
      return { now: NaN, peak: NaN };
    });
    memory = { ...memory, after: now, peak };
  }
  await outcome(within(ground.client.removeContainer({ containerId: bystander }), 10_000, "removal of the bystander"));
  scene.faults.push(...judge(attack, ground, patience, memory, removalMs, rules));
  return { name: attack.name, item: attack.item, where: ground.where, did, patience, removalMs, memory, ms: performance.now() - begin, faults: scene.faults };
};

const judge = ({ needs }: Attack, ground: Ground, patience: Patience, memory: Outcome["memory"], removalMs: number, rules: Rules): string[] => {
  const faults: string[] = [];
  const limit = rules.strict ? LIMIT_MS[ground.where] + ground.baseline : HANG_MS;
  if (needs.ends !== true && !ground.alive()) faults.push(`the agent is dead: ${lastWords(ground.log())}`);
  else if (needs.ends !== true && patience.lost) faults.push("the watcher's connection was lost");
  if (patience.net > limit) faults.push(`a Check took ${patience.net.toFixed(0)} ms (limit ${limit})`);
  if (removalMs > (needs.removalMs ?? REMOVAL_MS)) faults.push(`the removal took ${removalMs.toFixed(0)} ms`);
  if (needs.mostKb !== undefined && memory.peak - memory.before > needs.mostKb) faults.push(`the agent took ${memory.peak - memory.before} kB`);
  const grown = memory.after - memory.before;
  if (grown > (needs.keepsKb ?? GROWTH_KB)) faults.push(`the agent has grown by ${grown} kB`);
  const bug = ground.log().split("\n").find((line) => /runtime error:|AddressSanitizer|LeakSanitizer|TypeError|ReferenceError|RangeError|InternalError|"level":"CRIT"/.test(line));
  if (bug !== undefined) faults.push(`the agent has a bug: ${bug.slice(0, 600)}`);
  return faults;
};

const lastWords = (log: string): string => {
  const lines = log.trim().split("\n");
  return (lines.filter((line) => /fatal|panic|last system calls/.test(line)).slice(-2).join(" | ") || lines.slice(-2).join(" | ")).slice(0, 1500);
};
