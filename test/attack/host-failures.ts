// From the host's side: what the agent needs is not to be had (processes, namespaces), or peers ask for much and are gone. The calls may
// fail; nothing is lost or kept over it, and who is there can be ended and removed.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeFrame, FRAME_REQUEST } from "../../ctl/client/frame.js";
import { RequestEnvelope } from "../../ctl/client/schema.js";
import { named, outcome } from "../helpers/lab.js";
import type { Attack, Did } from "./attack.js";
import { layered } from "./inside-files.js";
import { noAnswer, within, type Scene } from "./scene.js";

const ANSWER_MS = 30_000;
const sleeping = async (scene: Scene, more: object = {}, id = scene.name()): Promise<string> => {
  scene.attackers.add(id);
  await scene.client.createContainer(scene.request(id, ["/bin/sleep", "1000"], undefined, more));
  await scene.client.startContainer({ containerId: id });
  return id;
};
const run = (exec: ReturnType<typeof named>): never => ({ ...exec, process: { args: ["/bin/true"], env: ["PATH=/bin"], cwd: "/", user: {} } }) as never;

/** The group of processes that `pid` is in, and its hierarchy. */
const groupOf = (pid: number): { base: string; own: string } => {
  const base = existsSync("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";
  const own = new RegExp(base.endsWith("pids") ? "^\\d+:pids:(.*)$" : "^0::(.*)$", "m").exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "/";
  return { base, own: join(base, own) };
};

/** The agent can make no process: no container, no exec, no helper. */
const noProcesses = async (scene: Scene): Promise<Did> => {
  const pid = scene.ground.agent?.pid as number;
  const { id, more } = layered(scene);
  await sleeping(scene, more, id);
  const { base, own } = groupOf(pid);
  const group = join(base, `${scene.prefix}none`);
  mkdirSync(group);
  const said: Record<string, string> = {};
  const call = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    said[what] = (await outcome(within(work(), ANSWER_MS, what))).slice(0, 60);
    if (noAnswer(said[what])) scene.fault(`with no process left: ${what}: ${said[what]}`);
  };
  try {
    writeFileSync(join(group, "cgroup.procs"), String(pid));
    writeFileSync(join(group, "pids.max"), "1");
    for (let i = 0; i < scene.many(40, 10); i++) {
      const none = scene.name();
      scene.attackers.add(none);
      await call("exec", () => scene.client.execProcess(run(named(id, scene.name()))));
      await call("create", () => scene.client.createContainer(scene.request(none, ["/bin/true"])));
    }
    scene.expect(said["exec"] !== "OK", "an exec was made without a process: the test shows nothing");
    await call("kill", () => scene.client.signalProcess({ containerId: id, execId: "", signal: 9 }));
    scene.expect(said["kill"] === "OK", `with no process left SignalProcess says ${said["kill"]}`);
    await call("remove", () => scene.client.removeContainer({ containerId: id }));
  } finally {
    writeFileSync(join(own, "cgroup.procs"), String(pid));
    rmdirSync(group);
  }
  return said;
};

const WRONG = ["/etc/passwd", "/proc/self/ns/user", "/proc/self/ns/mnt", "/proc/1/ns/uts", "/proc/self/fd/0", "/nothing", "/proc/self/ns", "relative"];

/** Namespaces that cannot be joined: the agent's own must stay what they are, and containers can be made. */
const failedJoins = async (scene: Scene): Promise<Did> => {
  const did: Record<string, number> = {};
  for (const Path of WRONG) {
    for (const Type of ["network", "ipc", "uts", "mount", "cgroup", "pid", "user", "time"]) {
      const id = scene.name();
      const said = await outcome(within(scene.client.createContainer(scene.request(id, ["/bin/true"], (spec) => {
        spec.linux.namespaces = [...spec.linux.namespaces.filter((n) => n["type"] !== Type), { type: Type, path: Path }];
      })), ANSWER_MS, `${Type} ${Path}`));
      if (noAnswer(said)) scene.fault(said);
      const key = said.split(":")[0] as string;
      did[key] = (did[key] ?? 0) + 1;
      if (said === "OK") await outcome(scene.client.removeContainer({ containerId: id }));
    }
  }
  await sleeping(scene);
  return did;
};

/** Processes that have ended and nobody has asked about. */
const unclaimed = async (scene: Scene): Promise<Did> => {
  const id = await sleeping(scene);
  const before = (await scene.ground.memory()).now;
  const count = scene.many(3000, 150);
  for (let i = 0; i < count; i += 10) await Promise.all(Array.from({ length: 10 }, () => outcome(scene.client.execProcess(run(named(id, scene.name()))))));
  const held = (await scene.ground.memory()).now - before;
  scene.expect(held < 8192, `${count} ended processes cost ${held} kB`);
  return { count, "held kB": held };
};

/** Peers with thousands of pending calls each go at the same moment. */
const vanishing = async (scene: Scene): Promise<Did> => {
  const id = await sleeping(scene);
  const count = scene.many(scene.ground.where === "vm" ? 1500 : 4000, 200);
  const peers = await Promise.all(Array.from({ length: 4 }, () => scene.another()));
  const calls = peers.flatMap((peer, n) => Array.from({ length: count }, () => outcome(n % 2 === 0 ? peer.waitProcess(named(id)) : peer.readStdout({ ...named(id), len: 100 }))));
  for (const peer of peers) await within(peer.check(), 120_000, "a Check behind them"); // they are all there
  for (const peer of peers) peer.close();
  await Promise.all(calls);
  return { calls: calls.length };
};

/** Peers whose large requests become whole at the same moment, each of which takes long to refuse. */
const largeTogether = async (scene: Scene): Promise<Did> => {
  const payload = Buffer.alloc(4_100_000, Buffer.from([0xf8, 0x07, 0x01])); // fields nobody knows
  const data = RequestEnvelope.encode(RequestEnvelope.create({ service: "grpc.AgentService", method: "CreateContainer", payload })).finish();
  const frame = encodeFrame({ streamId: 1, type: FRAME_REQUEST, flags: 0, data });
  const rounds = scene.many(10, 2);
  let answers = 0;
  for (let round = 0; round < rounds; round++) {
    const peers = await Promise.all(Array.from({ length: round % 2 === 0 ? 3 : 12 }, () => scene.raw()));
    const heard = peers.map((peer) => new Promise<void>((done) => {
      peer.once("data", () => {
        answers++;
        done();
      }).once("close", done); // of many, some lose their connection: there is a bound on half frames
    }));
    for (const peer of peers) peer.write(frame.subarray(0, -1));
    await scene.client.check();
    await scene.pause(0.2);
    for (const peer of peers) peer.write(frame.subarray(-1));
    await within(Promise.all(heard), 120_000, "their answers");
    for (const peer of peers) peer.destroy();
  }
  return { rounds, answers };
};

export const FAILURES: readonly Attack[] = [
  { name: "no-processes", item: "the agent can make no process: killing works, removal when it can again", needs: { where: ["host"], quick: true }, run: noProcesses },
  { name: "failed-joins", item: "namespaces of containers that cannot be joined", needs: { where: ["host", "vm"], quick: true }, run: failedJoins },
  { name: "unclaimed", item: "3,000 executed processes that nobody waits for", needs: { where: ["host"], quick: true }, run: unclaimed },
  { name: "pending-vanish", item: "peers with thousands of pending calls go at the same moment", needs: { where: ["host", "vm"], quick: true }, run: vanishing },
  { name: "large-together", item: "peers whose requests of 4 MB become whole at the same moment", needs: { where: ["host", "vm"], quick: true }, run: largeTogether },
];
