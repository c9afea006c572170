// From the host's side: single requests that are too much, too long, wrong, or lead to where nothing answers.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { encodeRequest } from "../../ctl/client/agent-client.js";
import { schema } from "../../ctl/client/schema.js";
import { outcome, until } from "../helpers/lab.js";
import type { Attack, Did } from "./attack.js";
import { filled, methods, nameOf, nestedGroups, places, replaced, texted } from "./payloads.js";
import { noAnswer, within, type Scene } from "./scene.js";

const LARGE = 3_800_000;
const ANSWER_MS = 60_000;
/** A frame of 4 MiB, what is decoded of it (16 MB), and what waits for its collection. */
const MOST_KB = 48 * 1024;

const MANY_FAULTS = 10; // there is no use in more of them

/** How calls ended, by status. */
class Tally {
  readonly did: Record<string, number> = {};
  add(said: string): void {
    const key = said.includes("not within") ? "unanswered" : said.includes(":") ? said.slice(0, said.indexOf(":")) : said;
    this.did[key] = (this.did[key] ?? 0) + 1;
  }
}

/**
 * Sends each and says how it was answered; a lost connection or no answer is a fault. What one request takes is looked at where that
 * costs nothing; elsewhere the driver looks at all of them together.
 */
const sendAll = async (scene: Scene, all: Iterable<{ service: string; name: string; what: string; payload: () => Uint8Array }>, most?: number): Promise<Did> => {
  const tally = new Tally();
  let client = await scene.another();
  for (const { service, name, what, payload } of all) {
    const looked = most !== undefined && scene.ground.agent !== undefined;
    if (looked) await scene.ground.resetPeak();
    const before = looked ? (await scene.ground.memory()).now : NaN;
    const said = await outcome(within(client.connection.call(service, name, payload()), ANSWER_MS, what));
    tally.add(said);
    if (noAnswer(said)) {
      scene.fault(`${what}: ${said.slice(0, 200)}`);
      if (!scene.ground.alive() || scene.faults.length > MANY_FAULTS) break;
      client = await scene.another();
    }
    const grown = looked ? (await scene.ground.memory()).peak - before : NaN;
    if (grown > (most ?? Infinity)) scene.fault(`${what} took ${grown} kB`);
  }
  return tally.did;
};

const repeated = (scene: Scene, each?: Uint8Array): Promise<Did> => {
  const all = places().filter(({ field }) => field.repeated || field.map);
  const step = Math.max(1, Math.round(1 / scene.effort));
  return sendAll(scene, all.filter((_, i) => i % step === 0).map((place) => ({ service: place.method.service, name: place.method.name, what: `${nameOf(place)} many times`, payload: () => filled(place, LARGE, each) })), MOST_KB);
};

const TEXTS: readonly (readonly [string, Uint8Array])[] = [
  ["64 KB", Buffer.alloc(65_543, "x")], ["a NUL byte", Buffer.from("/a\0b")], ["no UTF-8", Buffer.from([0x2f, 0xff, 0xc0, 0x80])], ["2 MB of slashes", Buffer.alloc(2 << 20, "/")],
  ["a line break and quotes", Buffer.from('"\n\x1b[2J\\')], ["a way up", Buffer.from("../../../../../../../../etc")],
];

/** A CreateContainer with something in every place, and with one text replaced. */
const created = function* (scene: Scene, text: string): Generator<{ path: string; request: object }> {
  const { storages, devices, ...plain } = scene.request(scene.name(), ["/bin/sleep", "1000"], (spec) => {
    spec.linux["namespaces"] = [...spec.linux.namespaces, { type: "network", path: "/proc/self/ns/net" }];
    spec["hooks"] = { prestart: [{ path: "/bin/true", args: ["true"], env: ["A=b"] }] };
    spec.linux["devices"] = [{ path: "/dev/x", type: "c", major: 1, minor: 3 }];
    spec["annotations"] = { a: "b" };
    spec.process["apparmorProfile"] = "unconfined";
  }, {
    storages: [{ driver: "bind", source: "/tmp", fstype: "bind", options: ["bind"], mountPoint: "/run/kata-containers/attack" }, { driver: "overlayfs", source: "none", fstype: "overlay", options: ["lowerdir=/bin"], mountPoint: "/run/kata-containers/layers" }],
    devices: [{ id: "d", type: "blk", vmPath: "/dev/null", containerPath: "/dev/y", options: ["o"] }], stringUser: { uid: "0", gid: "0", additionalGids: ["0"] }, sharedMounts: [{ name: "n", srcCtr: "s", srcPath: "/p", dstCtr: "d", dstPath: "/q" }],
  }) as { storages: object[]; devices: object[] };
  for (const { path, value } of replaced({ ...plain, storages }, text)) yield { path, request: value as object };
  for (const { path, value } of replaced({ ...plain, devices }, text)) if (path.startsWith("devices")) yield { path, request: value as object };
};

const texts = async (scene: Scene): Promise<Did> => {
  const all = places().filter(({ field }) => field.type === "string" && !field.map);
  const step = Math.max(1, Math.round(1 / scene.effort));
  return sendAll(scene, all.flatMap((place, n) => TEXTS.filter((_, i) => (n + i) % step === 0).map(([kind, text]) => ({ service: place.method.service, name: place.method.name, what: `${nameOf(place)} with ${kind}`, payload: () => texted(place, text) }))));
};

/** Each text of a whole configuration in turn; what is made by it is removed. */
const textsOfCreate = async (scene: Scene): Promise<Did> => {
  const tally = new Tally();
  const step = Math.max(1, Math.round(1 / scene.effort));
  let n = 0;
  for (const [kind, bytes] of TEXTS.filter(([k]) => k !== "no UTF-8")) {
    for (const { path, request } of created(scene, bytes.toString())) {
      if (n++ % step !== 0) continue;
      const said = await outcome(within(scene.client.createContainer(request as never), ANSWER_MS, `${path} with ${kind}`));
      tally.add(said);
      if (noAnswer(said)) scene.fault(`CreateContainer, ${path} with ${kind}: ${said.slice(0, 200)}`);
      if (said === "OK") await outcome(scene.client.removeContainer({ containerId: (request as { containerId: string }).containerId }));
      if (!scene.ground.alive()) return tally.did;
    }
  }
  return tally.did;
};

const SHARED = "/run/kata-containers/shared/containers";

/** A file system that never answers, under every path of every request. */
const hanging = async (scene: Scene): Promise<Did> => {
  const { agent } = scene.ground;
  if (agent === undefined) throw new Error("natively only");
  const place = `${SHARED}/hang`;
  agent.inside(`mkdir -p ${place}`);
  const daemon = spawn("nsenter", ["-t", String(agent.pid), "-m", "-n", join(scene.ground.rootHere, "bin/hostile"), "fuse-hang", place], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((done) => daemon.stdout.once("data", done));
  const tally = new Tally();
  const calls: Promise<void>[] = [];
  const client = await scene.another();
  const made: string[] = [];
  const still = async (what: string): Promise<void> => {
    const said = await outcome(within(scene.client.check(), 10_000, "a Check"));
    if (said !== "OK") throw new Error(`${what} on a share that hangs: ${said}`);
  };
  const call = (name: string, request: object, what: string): void => {
    const method = schema().methods.get(name);
    if (method === undefined) throw new Error(name);
    calls.push(outcome(within(client.connection.call(method.service, name, encodeRequest(method, request)), ANSWER_MS, what)).then((said) => tally.add(said)));
  };
  try {
    const hung = `${place}/x`;
    for (const one of places().filter(({ field, method }) => field.type === "string" && !field.map && method.name !== "CreateContainer")) {
      calls.push(outcome(within(client.connection.call(one.method.service, one.method.name, texted(one, Buffer.from(hung))), ANSWER_MS, nameOf(one))).then((said) => tally.add(said)));
      await still(nameOf(one));
    }
    for (const { path, request } of created(scene, hung)) {
      const id = scene.name();
      made.push(id);
      call("CreateContainer", path === "containerId" ? request : { ...request, containerId: id }, path);
      await still(`CreateContainer.${path}`);
    }
    for (const kind of [0o100644, 0o040755, 0o120777]) call("CopyFile", { path: `${place}/a/b`, fileSize: 1, fileMode: kind, dirMode: 0o755, data: Buffer.from("x") }, "CopyFile");
    for (const driver of ["local", "ephemeral", "overlayfs", "bind", "watchable-bind", "virtio-fs", "9p", "blk", "nvdimm"])
      for (const fstype of ["tmpfs", "bind", "overlay", "ext4"]) call("UpdateEphemeralMounts", { storages: [{ driver, source: hung, fstype, options: ["remount", "size=1m"], mountPoint: `${place}/m${driver}` }] }, driver);
    await scene.pause(scene.seconds(2));
    await scene.client.check();
  } finally {
    daemon.kill("SIGKILL"); // its descriptor goes, and every wait with it
    await within(Promise.all(calls), ANSWER_MS, "the answers after the share has gone").catch((error: unknown) => scene.fault(String(error)));
    for (const id of made) await outcome(within(scene.client.removeContainer({ containerId: id }), 10_000, "removal"));
    agent.inside(`umount -l ${place} 2>/dev/null || true; rm -rf --one-file-system /run/kata-containers/shared; rmdir /run/kata-containers/attack /run/kata-containers/layers 2>/dev/null || true`);
  }
  return tally.did;
};

const seccomp = (syscalls: object[]) => (spec: { linux: Record<string, unknown> }): void => void (spec.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls });

const profiles = async (scene: Scene): Promise<Did> => {
  const argument = (i: number): object => ({ names: ["ioctl"], action: "SCMP_ACT_ERRNO", args: [{ index: i % 6, value: i * 7919, valueTwo: 0, op: "SCMP_CMP_EQ" }] });
  const many = { "as many as are taken": Array.from({ length: scene.many(4_000, 500) }, (_, i) => argument(i)), arguments: Array.from({ length: scene.many(33_000, 4_000) }, (_, i) => argument(i)), names: [{ names: Array.from({ length: 200_000 }, () => "ioctl"), action: "SCMP_ACT_ERRNO" }], "one with all arguments": Array.from({ length: 5_000 }, () => ({ names: ["ioctl"], action: "SCMP_ACT_ERRNO", args: Array.from({ length: 6 }, (_, i) => ({ index: i, value: i, op: "SCMP_CMP_NE" })) })) };
  const did: Did = {};
  for (const [name, syscalls] of Object.entries(many)) {
    const id = scene.name();
    const begin = performance.now();
    const said = await outcome(within(scene.client.createContainer(scene.request(id, ["/bin/true"], seccomp(syscalls) as never)), ANSWER_MS, name));
    did[name] = `${said.slice(0, 60)} in ${(performance.now() - begin).toFixed(0)} ms`;
    await outcome(scene.client.removeContainer({ containerId: id }));
    if (noAnswer(said)) scene.fault(`a profile with ${name}: ${said}`);
  }
  return did;
};

/** Texts that do not fit sixteen bits of length: whatever the kernel has afterwards must be what it had. */
const netlink = async (scene: Scene): Promise<Did> => {
  const links = (): string => scene.ground.agent?.inside("ip -o link; ip -o route; ip -o -4 address") ?? "";
  scene.ground.agent?.inside("ip link set lo up mtu 1400; ip -6 address flush dev lo 2>/dev/null || true");
  const before = links();
  const tally = new Tally();
  const long = ["x".repeat(65_543), "x".repeat(65_536), `lo\0${"y".repeat(65_540)}`, "lo/../eth0", "x".repeat(16), "..", "a b", ""];
  for (const name of long) {
    const all = [
      () => scene.client.updateInterface({ interface: { device: name, name, ipAddresses: [{ address: "10.1.2.3", mask: "24" }], mtu: 1400, hwAddr: "02:00:00:00:00:01" } } as never),
      () => scene.client.updateInterface({ interface: { device: "lo", name, ipAddresses: [], mtu: 1400, hwAddr: "00:00:00:00:00:00" } } as never),
      () => scene.client.updateRoutes({ routes: { routes: [{ dest: "10.9.0.0/16", gateway: "", device: name }] } } as never),
      () => scene.client.addARPNeighbors({ neighbors: { arpNeighbors: [{ toIPAddress: { address: "10.1.1.1" }, device: name, lladdr: name, state: 128 }] } } as never),
    ];
    for (const call of all) tally.add(await outcome(within<unknown>(call(), ANSWER_MS, "a network call")));
  }
  scene.expect(links() === before, `the network is not what it was:\n${before}\nbut\n${links()}`);
  return tally.did;
};

export const REQUESTS: readonly Attack[] = [
  { name: "many-empty", item: "every repeated field of every request with 3.8 MB of empty elements", needs: { where: ["host", "vm"], quick: true, mostKb: MOST_KB }, run: (scene) => repeated(scene) },
  { name: "many-filled", item: "the same with elements that hold a text", needs: { where: ["host"] }, run: (scene) => repeated(scene, Buffer.from([0x0a, 0x01, 0x61])) },
  { name: "texts", item: "every text of every request: long, with NUL, not UTF-8, a way up", needs: { where: ["host", "vm"], quick: true }, run: texts },
  { name: "texts-of-create", item: "every text of a whole CreateContainer in turn", needs: { where: ["host"], quick: true }, run: textsOfCreate },
  {
    name: "unknown-fields", item: "4 MB of unknown fields and nested groups", needs: { where: ["host"], quick: true },
    run: (scene) => sendAll(scene, methods().flatMap(({ service, name }) => [nestedGroups(60), nestedGroups(1_900_000), Buffer.alloc(LARGE, Buffer.from([0xf8, 0x07, 0x01])), Buffer.alloc(LARGE, 0xff)].map((payload) => ({ service, name, what: `${name} with unknown fields`, payload: () => payload }))), MOST_KB),
  },
  { name: "hanging-share", item: "a file system that never answers, under every path of every request", needs: { where: ["host"] }, run: hanging },
  { name: "seccomp-profiles", item: "profiles of tens of thousands of rules", needs: { where: ["host", "vm"], quick: true }, run: profiles },
  { name: "netlink-names", item: "names that do not fit a netlink attribute", needs: { where: ["host"], quick: true }, run: netlink },
  {
    name: "long-id", item: "container and exec ids of 4 MB, refused again and again", needs: { where: ["host", "vm"], quick: true },
    run: async (scene) => {
      const id = "i".repeat(LARGE);
      const tally = new Tally();
      for (let i = 0; i < scene.many(50, 5); i++) {
        tally.add(await outcome(scene.client.startContainer({ containerId: id })));
        tally.add(await outcome(scene.client.createContainer({ containerId: id, oci: { linux: {} } } as never)));
        tally.add(await outcome(scene.client.signalProcess({ containerId: scene.bystander, execId: id, signal: 0 })));
      }
      await until("the agent answers", async () => (await outcome(scene.client.check())) === "OK");
      const line = scene.ground.log().split("\n").reduce((n, l) => Math.max(n, l.length), 0);
      scene.expect(line < 32_768, `a line of the log has ${line} characters`);
      return { ...tally.did, "longest line": line };
    },
  },
];
