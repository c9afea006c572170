// From inside: processes. What of the engine a container sees, and what many, dying, stopped or hungry processes do to the agent.
import { named, outcome } from "../helpers/lab.js";
import type { Attack, Did } from "./attack.js";
import { limits, mighty, withCaps, within, type Scene } from "./scene.js";

const REACHED = ["root", "cwd", "exe", "fd", "mem", "maps", "environ", "ptrace", "pidfd", "caps"];

/** Executes `n` processes beside a container that looks at each. */
const joined = async (scene: Scene, change: typeof mighty, n: number, attach: boolean): Promise<Did> => {
  const seconds = scene.seconds(30);
  const watching = await scene.attacker(["pids", seconds, scene.ground.mark, ...(attach ? ["attach"] : [])], change);
  await scene.says(watching, "up");
  const end = performance.now() + seconds * 1000 - 500;
  let execs = 0;
  let failed = 0;
  while (execs < n && performance.now() < end) {
    const some = await Promise.all(Array.from({ length: 4 }, () => outcome(within(scene.shell(watching.containerId, "true"), 60_000, "an exec"))));
    failed += some.filter((said) => said !== "OK").length;
    execs += some.length;
  }
  const did = await scene.says(watching, "done", (seconds + 60) * 1000);
  await scene.blame(watching, REACHED.filter((what) => did[what] !== 0), execs);
  scene.expect(Number(did["seen"]) > 0, "the watcher has seen no process: the test shows nothing");
  return { execs, failed, ...did };
};

/** A second container's first process, seen from the first one, in a shared pid namespace. */
const neighbours = async (scene: Scene, change: typeof mighty, n: number): Promise<Did> => {
  const seconds = scene.seconds(30);
  const shared = { sandboxPidns: true };
  const watching = await scene.attacker(["pids", seconds, scene.ground.mark, "attach"], change, shared);
  await scene.says(watching, "up");
  const end = performance.now() + seconds * 1000 - 500;
  let runs = 0;
  for (; runs < n && performance.now() < end; runs++) {
    const id = scene.name();
    scene.attackers.add(id);
    const { client } = scene;
    const life = { create: () => client.createContainer(scene.request(id, ["/bin/true"], change, shared)), start: () => client.startContainer({ containerId: id }), wait: () => client.waitProcess(named(id)), remove: () => client.removeContainer({ containerId: id }) };
    for (const [name, step] of Object.entries(life)) {
      const said = await outcome(within<unknown>(step(), 30_000, `${name} of a neighbour`));
      if (said.includes("not within")) scene.fault(said);
    }
    scene.attackers.delete(id);
  }
  const did = await scene.says(watching, "done", (seconds + 60) * 1000);
  await scene.blame(watching, REACHED.filter((what) => did[what] !== 0), runs);
  scene.expect(Number(did["seen"]) > 0, "the watcher has seen no process: the test shows nothing");
  return { runs, ...did };
};

/** New processes are signalled at once: an exec may fail, and must not hold others. */
const hindered = async (scene: Scene, signal: number): Promise<Did> => {
  const seconds = scene.seconds(10);
  const stopper = await scene.attacker(["stop", seconds, signal], withCaps("CAP_SYS_PTRACE"));
  await scene.says(stopper, "up");
  let [execs, failed, beside, slowest] = [0, 0, 0, 0];
  const end = performance.now() + seconds * 1000 - 500;
  const hindering = (async () => {
    while (performance.now() < end) {
      const begin = performance.now();
      const process = named(stopper.containerId, scene.name());
      const said = await outcome(within(scene.client.execProcess({ ...process, process: { args: ["/bin/true"], env: ["PATH=/bin"], cwd: "/", user: {} } } as never), 20_000, "an exec"));
      if (said !== "OK") failed++;
      else { // it may be stopped by now; and who is not waited for is kept for us
        await outcome(scene.client.signalProcess({ ...process, signal: 9 }));
        await within(scene.client.waitProcess(process), 20_000, "the end of an exec");
      }
      if (said.includes("not within")) scene.fault(`an exec whose joiner was signalled did not end: ${said}`);
      slowest = Math.max(slowest, performance.now() - begin);
      execs++;
    }
  })();
  while (performance.now() < end) {
    await within(scene.shell(scene.bystander, "true"), 10_000, "an exec in another container");
    beside++;
  }
  await hindering;
  return { execs, failed, "slowest ms": Math.round(slowest), "execs elsewhere": beside, ...(await scene.says(stopper, "done", (seconds + 60) * 1000)) };
};

/** Somebody speaks to the engine in the name of its children: execs may fail, and nothing else. */
const forged = async (scene: Scene): Promise<Did> => {
  const seconds = scene.seconds(15);
  const speaker = await scene.attacker(["speak", seconds], mighty);
  await scene.says(speaker, "up");
  let [execs, failed] = [0, 0];
  const end = performance.now() + seconds * 1000 - 500;
  while (performance.now() < end) {
    const said = await outcome(within(scene.shell(speaker.containerId, "true"), 20_000, "an exec"));
    execs++;
    if (said !== "OK") failed++;
    scene.expect(!said.includes("not within"), `an exec in whose name others spoke: ${said}`);
  }
  return { execs, failed, ...(await scene.says(speaker, "done", (seconds + 60) * 1000)) };
};

const PIDS = { pids: { limit: 400 } };

export const PROCESSES: readonly Attack[] = [
  { name: "joiner-default-caps", item: "a container with CAP_SYS_PTRACE looks at what an exec brings in", needs: { where: ["host", "vm"], quick: true }, run: (scene) => joined(scene, withCaps("CAP_SYS_PTRACE"), scene.many(1000), true) },
  { name: "joiner-all-caps", item: "the same with all capabilities", needs: { where: ["host", "vm"] }, run: (scene) => joined(scene, mighty, scene.many(1000), true) },
  { name: "joiner-no-attach", item: "the same without stopping anybody", needs: { where: ["host"] }, run: (scene) => joined(scene, mighty, scene.many(1000), false) },
  { name: "neighbours-default-caps", item: "a container looks at the first processes of others in a shared pid namespace", needs: { where: ["host"], quick: true }, run: (scene) => neighbours(scene, withCaps("CAP_SYS_PTRACE"), scene.many(200)) },
  { name: "neighbours-all-caps", item: "the same with all capabilities", needs: { where: ["host"] }, run: (scene) => neighbours(scene, mighty, scene.many(200)) },
  { name: "joiner-stopped", item: "every process that an exec brings in is stopped", needs: { where: ["host", "vm"], quick: true }, run: (scene) => hindered(scene, 19) },
  { name: "joiner-killed", item: "every process that an exec brings in is killed", needs: { where: ["host"] }, run: (scene) => hindered(scene, 9) },
  { name: "joiner-forged", item: "a container speaks to the engine in the name of what an exec brings in", needs: { where: ["host"], quick: true }, run: forged },
  {
    name: "fork-bomb", item: "processes without number", needs: { where: ["host", "vm"], quick: true },
    run: async (scene) => {
      await scene.says(await scene.attacker(["forks"], limits(PIDS)), "up");
      await scene.pause(scene.seconds(5));
      return { limit: PIDS.pids.limit };
    },
  },
  {
    name: "fork-bomb-by-memory", item: "the same with no limit but that of its memory", needs: { where: ["vm"] },
    run: async (scene) => {
      await outcome(scene.says(await scene.attacker(["forks"], limits({ memory: { limit: 48 << 20 } })), "up")); // it may be the first that ends
      await scene.pause(scene.seconds(5));
      return { megabytes: 48 };
    },
  },
  {
    name: "exit-storm", item: "orphans that end as fast as they can be made", needs: { where: ["host", "vm"], quick: true },
    run: async (scene) => {
      const all = await Promise.all(Array.from({ length: 3 }, () => scene.attacker(["exits", scene.seconds(5)], limits(PIDS))));
      const did = await Promise.all(all.map((p) => scene.says(p)));
      return { ends: did.reduce((n, d) => n + Number(d["ends"]), 0) };
    },
  },
  {
    name: "exit-storm-shared", item: "the same in a pid namespace whose first process has never waited for anybody", needs: { where: ["host"] },
    run: async (scene) => scene.says(await scene.attacker(["exits", scene.seconds(5)], limits(PIDS), { sandboxPidns: true })),
  },
  { name: "orphans", item: "thousands of processes without a parent", needs: { where: ["host", "vm"], removalMs: 60_000 }, run: async (scene) => scene.says(await scene.attacker(["orphans", scene.ground.where === "vm" ? 1000 : scene.many(10_000)], limits({ memory: { limit: scene.ground.where === "vm" ? 48 << 20 : 1 << 30 } }))) },
  { name: "zombies", item: "ended processes that nobody waits for", needs: { where: ["host", "vm"], quick: true }, run: async (scene) => scene.says(await scene.attacker(["zombies", scene.many(3000)])) },
  {
    name: "proc-walk", item: "everything in /proc of everybody is read again and again", needs: { where: ["host"], quick: true },
    run: async (scene) => scene.says(await scene.attacker(["walk", scene.seconds(3)], mighty, { sandboxPidns: true })),
  },
  {
    name: "oom-storm", item: "processes that are ended for lack of memory, one after the other", needs: { where: ["host", "vm"], quick: true },
    run: async (scene) => {
      const limit = limits({ memory: { limit: 12 << 20 } });
      const all = await Promise.all(Array.from({ length: 2 }, () => scene.attacker(["oom", scene.seconds(5), 32], limit)));
      const did = await Promise.all(all.map((p) => scene.says(p)));
      return { killed: did.reduce((n, d) => n + Number(d["killed"]), 0) };
    },
  },
  { name: "unlimited-memory", item: "a container without a limit takes the whole machine's memory", needs: { where: ["vm"] }, run: async (scene) => scene.says(await scene.attacker(["oom", scene.seconds(5), 256])) },
  {
    name: "streams", item: "both streams at full speed to a reader that is slow", needs: { where: ["host", "vm"], quick: true },
    run: async (scene) => {
      const all = await Promise.all(Array.from({ length: 3 }, () => scene.attacker(["output"])));
      const end = performance.now() + scene.seconds(4) * 1000;
      let bytes = 0;
      for (let i = 0; performance.now() < end; i++) {
        const of = all[i % all.length] as (typeof all)[number];
        bytes += (await scene.client.readStdout({ ...of, len: 65536 })).data.length;
        if (i % 7 === 0) bytes += (await scene.client.readStderr({ ...of, len: 4 << 20 })).data.length;
      }
      return { bytes };
    },
  },
  {
    name: "streams-unread", item: "both streams at full speed, and the host asks for all of it at once and reads nothing", needs: { where: ["host"], quick: true },
    run: async (scene) => {
      const attacker = await scene.attacker(["output"]);
      const deaf = await scene.another();
      let asked = 0;
      for (; asked < 300; asked++) void outcome(deaf.readStdout({ ...attacker, len: 4 << 20 }));
      await scene.pause(scene.seconds(3));
      return { asked };
    },
  },
];
