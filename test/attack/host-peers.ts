// From the host's side: peers that connect, promise, wait, leave in the middle, or ask in the wrong order.
import { spawn } from "node:child_process";
import { join } from "node:path";
import type { AgentClient, CallName } from "../../ctl/client/agent-client.js";
import { encodeFrame, FRAME_REQUEST } from "../../ctl/client/frame.js";
import { RequestEnvelope } from "../../ctl/client/schema.js";
import { named, outcome, until } from "../helpers/lab.js";
import { startPrivateAgent } from "../helpers/private-agent.js";
import type { Attack, Did } from "./attack.js";
import { limits, noAnswer, within, type Scene } from "./scene.js";

/** What may be held for peers that only promise. */
const PROMISES_KB = 64 * 1024;

/** One of the hostile programs on this side, for a number of seconds. */
const here = async (scene: Scene, ...words: (string | number)[]): Promise<Did> => {
  const child = spawn(join(scene.ground.rootHere, "bin/hostile"), words.map(String), { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (d) => (text += String(d)));
  try {
    await until(`${words[0]} is done`, () => text.includes("done\n") || child.exitCode !== null, 120_000);
  } finally {
    child.kill("SIGKILL");
  }
  return Object.fromEntries(text.split("\n").map((l) => l.split(" ")).filter((w) => w.length === 2).map(([k = "", v]) => [k, Number(v)]));
};

const promises = async (scene: Scene, peers: number, bytes: Uint8Array): Promise<Did> => {
  const before = (await scene.ground.memory()).now;
  for (let i = 0; i < peers; i += 50) {
    const some = await Promise.all(Array.from({ length: 50 }, () => scene.raw()));
    for (const stream of some) stream.write(bytes);
  }
  await scene.client.check();
  await scene.pause(1);
  const held = (await scene.ground.memory()).now - before;
  if (held > PROMISES_KB) scene.fault(`${peers} peers that sent ${bytes.length} bytes each cost ${held} kB`);
  return { peers, "held kB": held };
};

const header = (length: number): Buffer => {
  const head = Buffer.alloc(11);
  head.writeUInt32BE(length, 0);
  head.writeUInt32BE(1, 4);
  head[8] = 1;
  return head;
};

const pendingWrites = async (scene: Scene): Promise<Did> => {
  const deaf = scene.name();
  scene.attackers.add(deaf);
  await scene.client.createContainer(scene.request(deaf, ["/bin/sleep", "1000"]));
  await scene.client.startContainer({ containerId: deaf });
  const before = (await scene.ground.memory()).now;
  const writer = await scene.another();
  const data = Buffer.alloc(1 << 20, "x");
  const count = scene.many(200, 60);
  const all = Array.from({ length: count }, () => outcome(writer.writeStdin({ ...named(deaf), data })));
  await scene.pause(1);
  await scene.client.check();
  const held = (await scene.ground.memory()).now - before;
  if (held > PROMISES_KB) scene.fault(`${count} pending writes of 1 MB cost ${held} kB`);
  await scene.client.signalProcess({ containerId: deaf, execId: "", signal: 9 });
  const said = await within(Promise.all(all), 30_000, "the end of the pending writes");
  return { count, "held kB": held, refused: said.filter((s) => s.startsWith("RESOURCE_EXHAUSTED")).length };
};

const pendingReads = async (scene: Scene): Promise<Did> => {
  const quiet = scene.name();
  scene.attackers.add(quiet);
  await scene.client.createContainer(scene.request(quiet, ["/bin/sleep", "1000"]));
  await scene.client.startContainer({ containerId: quiet });
  const count = scene.many(5000, 1000);
  const reader = await scene.another();
  const calls = Array.from({ length: count }, () => outcome(within(reader.readStdout({ ...named(quiet), len: 100 }), 120_000, "a read")));
  const waits = Array.from({ length: count }, () => outcome(within(reader.waitProcess(named(quiet)), 120_000, "a wait")));
  await scene.pause(0.5);
  await scene.client.signalProcess({ containerId: quiet, execId: "", signal: 9 });
  const said = await Promise.all(calls);
  await Promise.all(waits);
  scene.expect(said.every((s) => !s.includes("not within")), "a pending read was not answered");
  return { reads: count, refused: said.filter((s) => s !== "OK").length };
};

/** Every call with something sensible in it, on the bystander or on a container of its own. */
const sensible = (scene: Scene, id: string): [CallName, object][] => [
  ["CreateContainer", scene.request(id, ["/bin/sleep", "1000"])], ["StartContainer", { containerId: id }], ["ExecProcess", { containerId: id, execId: scene.name(), process: { args: ["/bin/true"], env: [], cwd: "/", user: {} } }],
  ["WaitProcess", named(id)], ["ReadStdout", { ...named(id), len: 10 }], ["ReadStderr", { ...named(id), len: 10 }], ["WriteStdin", { ...named(id), data: Buffer.alloc(1 << 20) }], ["CloseStdin", named(id)],
  ["TtyWinResize", { ...named(id), row: 1, column: 1 }], ["StatsContainer", { containerId: id }], ["UpdateContainer", { containerId: id, resources: { pids: { limit: 100 } } }], ["PauseContainer", { containerId: id }], ["ResumeContainer", { containerId: id }],
  ["SignalProcess", { containerId: id, execId: "", signal: 0 }], ["GetOOMEvent", {}], ["ListInterfaces", {}], ["ListRoutes", {}], ["GetGuestDetails", {}], ["GetVolumeStats", { volumeGuestPath: "/" }], ["GetIPTables", {}],
  ["CopyFile", { path: `/run/kata-containers/shared/containers/${id}`, fileSize: 2 << 20, fileMode: 0o100644, dirMode: 0o755, data: Buffer.alloc(1 << 20) }], ["GetDiagnosticData", { containerId: id, logType: "termination_log" }],
  ["UpdateEphemeralMounts", { storages: [] }], ["RemoveStaleVirtiofsShareMounts", {}], ["RemoveContainer", { containerId: id }],
];

const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((done) => setImmediate(done));
};

/** Clients that leave in the middle of each call: all calls of a life are sent, and the peer goes after so many turns. */
const vanish = async (scene: Scene): Promise<Did> => {
  const rounds = scene.many(60, 12);
  for (let i = 0; i < rounds; i++) {
    const id = scene.name();
    scene.attackers.add(id);
    const client: AgentClient = await scene.another();
    const calls = sensible(scene, id).slice(0, 1 + (i % 25)).map(([name, request]) => outcome(client.call(name, request as never)));
    await turns((i * 7) % 40);
    client.close();
    await Promise.all(calls);
    await outcome(within(scene.client.removeContainer({ containerId: id }), 30_000, "removal"));
    scene.attackers.delete(id);
  }
  scene.ground.agent?.inside("rm -rf /run/kata-containers/shared");
  return { rounds };
};

/** Half a request: the peer goes, or stays and is silent. */
const halves = async (scene: Scene): Promise<Did> => {
  let sent = 0;
  for (const [name, request] of sensible(scene, scene.name())) {
    const payload = Buffer.from(JSON.stringify(request).slice(0, 500));
    const frame = encodeFrame({ streamId: 1, type: FRAME_REQUEST, flags: 0, data: RequestEnvelope.encode(RequestEnvelope.create({ service: "grpc.AgentService", method: name, payload })).finish() });
    for (let at = 1; at < frame.length; at += Math.max(1, Math.floor(frame.length / scene.many(40, 8)))) {
      const stream = await scene.raw();
      stream.write(frame.subarray(0, at));
      if (sent++ % 2 === 0) stream.destroy();
    }
  }
  return { sent };
};

const disorder = async (scene: Scene): Promise<Did> => {
  const did: Record<string, number> = {};
  const rounds = scene.many(12, 2);
  const ids: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const id = scene.name();
    ids.push(id);
    scene.attackers.add(id);
    const calls = sensible(scene, id);
    // a permutation that differs each time, every call twice, all at once
    const order = Array.from({ length: 2 * calls.length }, (_, i) => calls[(i * (2 * round + 3) + round) % calls.length] as [CallName, object]);
    const said = await Promise.all(order.map(([name, request]) => outcome(within(scene.client.call(name, request as never, { timeoutMs: 3_000 }), 30_000, name))));
    for (const one of said) {
      const key = one.split(":")[0] as string;
      did[key] = (did[key] ?? 0) + 1;
      if (noAnswer(one)) scene.fault(one);
    }
    await outcome(scene.client.resumeContainer({ containerId: id }));
    await outcome(scene.client.removeContainer({ containerId: id }));
  }
  scene.ground.agent?.inside("rm -rf /run/kata-containers/shared");
  return did;
};

/** With no descriptor left, a container can still be ended and removed. */
const descriptors = async (scene: Scene): Promise<Did> => {
  const id = scene.name();
  scene.attackers.add(id);
  await scene.client.createContainer(scene.request(id, ["/bin/sleep", "1000"]));
  await scene.client.startContainer({ containerId: id });
  const hungry = await scene.attacker(["oom", 2, 32], limits({ memory: { limit: 12 << 20 } }));
  const peers = await Promise.all(Array.from({ length: 200 }, () => scene.raw().catch(() => undefined)));
  await scene.pause(0.3);
  const exec = await outcome(within(scene.client.execProcess({ ...named(id, "e"), process: { args: ["/bin/true"], env: [], cwd: "/", user: {} } } as never), 30_000, "an exec"));
  const create = await outcome(within(scene.client.createContainer(scene.request(scene.name(), ["/bin/true"])), 30_000, "a create"));
  await scene.says(hungry, "done", 60_000); // it has run out of memory meanwhile, which is told by a descriptor
  const killed = await outcome(within(scene.client.signalProcess({ containerId: id, execId: "", signal: 9 }), 10_000, "SignalProcess"));
  const removed = await outcome(within(scene.client.removeContainer({ containerId: id }), 20_000, "RemoveContainer"));
  scene.expect(killed === "OK", `with no descriptor left SignalProcess says ${killed}`);
  scene.expect(removed === "OK", `with no descriptor left RemoveContainer says ${removed}`);
  return { peers: peers.filter((p) => p !== undefined).length, exec: exec.slice(0, 80), create: create.slice(0, 80), killed, removed };
};

/** A terminal as console that nobody reads: an agent of its own writes its log there. */
const console_ = async (scene: Scene): Promise<Did> => {
  const holder = spawn(join(scene.ground.rootHere, "bin/hostile"), ["hold-pty"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const slave = String(await new Promise<Buffer>((done) => holder.stdout.once("data", done))).split("\n")[0] ?? "";
    const agent = await startPrivateAgent('log_level = "debug"', `exec >${slave} 2>&1`, undefined, true);
    let slowest = 0;
    try {
      const count = scene.many(3000, 600);
      for (let i = 0; i < count; i++) {
        const begin = performance.now();
        await outcome(within(agent.client.startContainer({ containerId: `nobody${i}`.padEnd(300, "x") }), 5_000, "a call"));
        slowest = Math.max(slowest, performance.now() - begin);
        if (slowest >= 5_000) break;
      }
      scene.expect(slowest < 5_000, "a console that nobody reads stops the agent");
      return { calls: count, "slowest ms": Math.round(slowest) };
    } finally {
      await agent.stop();
    }
  } finally {
    holder.kill("SIGKILL");
  }
};

export const PEERS: readonly Attack[] = [
  {
    name: "connection-flood", item: "peers that connect and go, as fast as they can", needs: { where: ["host"], quick: true },
    run: async (scene) => {
      const path = scene.ground.address.slice("unix://".length);
      const [a, b] = await Promise.all([here(scene, "unix", path, scene.seconds(5)), here(scene, "unix", path, scene.seconds(5))]);
      return { tries: Number(a["tries"]) + Number(b["tries"]), connected: Number(a["connected"]) + Number(b["connected"]) };
    },
  },
  { name: "promises-4mib", item: "200 peers that announce 4 MiB and send eleven bytes", needs: { where: ["host", "vm"], quick: true }, run: (scene) => promises(scene, scene.ground.where === "vm" ? 100 : 200, header(4 << 20)) },
  { name: "promises-3-bytes", item: "2,000 peers that send three bytes", needs: { where: ["host"], quick: true }, run: (scene) => promises(scene, 2000, Buffer.from([0, 0, 0])) },
  { name: "pending-writes", item: "200 pending writes of 1 MB to a process that reads nothing", needs: { where: ["host", "vm"], quick: true }, run: pendingWrites },
  { name: "pending-reads", item: "5,000 pending reads and waits on one stream", needs: { where: ["host", "vm"], quick: true }, run: pendingReads },
  { name: "vanishing-clients", item: "clients that leave in the middle of each call", needs: { where: ["host"], quick: true }, run: vanish },
  { name: "half-requests", item: "requests that end or stop at every place", needs: { where: ["host"], quick: true }, run: halves },
  { name: "disorder", item: "every call twice, in any order, at once, with deadlines", needs: { where: ["host", "vm"], quick: true }, run: disorder },
  { name: "no-descriptors", item: "no descriptor left: killing and removing work all the same", needs: { where: ["host"], quick: true, before: "ulimit -Sn 100" }, run: descriptors },
  { name: "deaf-console", item: "a terminal as console that nobody reads", needs: { where: ["host"], quick: true }, run: console_ },
];
