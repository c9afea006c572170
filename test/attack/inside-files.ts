// From inside: folders, files and control groups that are a trouble to remove, and links where others write.
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { named, outcome, type Change } from "../helpers/lab.js";
import { finish } from "../helpers/guest.js";
import type { Attack, Did } from "./attack.js";
import { both, limits, mighty, withCaps, within, type Scene } from "./scene.js";

const SHARED = "/run/kata-containers/shared/containers";
const LONG_MS = 120_000;

/** A container with a writable layer of its own, which goes with it. */
export const layered = (scene: Scene): { id: string; more: object } => {
  const id = scene.name();
  const options = ["io.katacontainers.fs-opt.overlay-rw", `lowerdir=${scene.ground.root}`];
  return { id, more: { storages: [{ driver: "overlayfs", source: "none", fstype: "overlay", options, mountPoint: `/run/kata-containers/${id}/rootfs` }] } };
};

const inLayer = async (scene: Scene, words: readonly (string | number)[], change?: Change): Promise<Did> => {
  const { id, more } = layered(scene);
  scene.attackers.add(id);
  await scene.client.createContainer(scene.request(id, ["/bin/hostile", ...words.map(String)], change, more));
  await scene.client.startContainer({ containerId: id });
  return scene.says(named(id), "done", 180_000);
};

/** A folder that the host has shared with a container, writable. */
const withShare = (folder: string): Change => (spec) => void spec.mounts.push({ destination: "/shared", type: "bind", source: `${SHARED}/${folder}`, options: ["rbind", "rw"] });

const copy = (scene: Scene, path: string, more: object = {}): Promise<string> =>
  outcome(within(scene.client.copyFile({ path: `${SHARED}/${path}`, fileSize: 1, fileMode: 0o100644, dirMode: 0o755, uid: 0, gid: 0, offset: 0, data: Buffer.from("x"), ...more } as never), 30_000, "CopyFile"));

/** A deep tree where the host then puts a file. */
const deepCopy = async (scene: Scene): Promise<Did> => {
  const { agent } = scene.ground;
  agent?.inside(`mkdir -p ${SHARED}/own/tree`);
  try {
    const did = await scene.says(await scene.attacker(["nest", "/shared/tree", scene.many(20_000, 3_000), 1], withShare("own")));
    const said: string[] = [];
    for (let i = 0; i < 3; i++) said.push((await copy(scene, "own/tree")).slice(0, 80));
    scene.expect(said.at(-1) === "OK", `CopyFile over a deep folder says ${said.at(-1)}`);
    return { ...did, said: said.join(", ") };
  } finally {
    for (const id of scene.attackers) await outcome(scene.client.removeContainer({ containerId: id }));
    agent?.inside(`rm -rf /run/kata-containers/shared`);
  }
};

const linkedCopy = async (scene: Scene): Promise<Did> => {
  const { agent } = scene.ground;
  if (agent === undefined) throw new Error("natively only");
  agent.inside(`mkdir -p ${SHARED}/a ${SHARED}/b/inner && chown 77:78 ${SHARED}/b && chmod 0700 ${SHARED}/b && touch ${SHARED}/b/kept`);
  try {
    const id = (await scene.attacker(["zombies", 1], withShare("a"))).containerId;
    await scene.shell(id, "cd /shared && for l in '../b other' '/run/kata-containers/shared/containers/b absolute' '/etc up'; do busybox ln -s $l || exit 1; done; mkdir mine && busybox chown 55:56 mine");
    const said = [await copy(scene, "a/other/new"), await copy(scene, "a/absolute/new"), await copy(scene, "a/other/inner/new"), await copy(scene, "a/up/new"), await copy(scene, "a/other", { fileMode: 0o040755 }), await copy(scene, "a/mine/new", { uid: 7, gid: 7 })];
    const there = agent.inside(`find ${SHARED}/b ${SHARED}/b/inner -name new; stat -c '%u:%g %a' ${SHARED}/b`);
    scene.expect(there === "77:78 700", `CopyFile through a container's link changed another container's folder: ${there}`);
    const mine = agent.inside(`stat -c %u:%g ${SHARED}/a/mine`);
    scene.expect(mine === "55:56", `CopyFile changed the owner of a folder that was there: ${mine}`);
    return { said: said.map((s) => s.split(":")[0]).join(" ") };
  } finally {
    for (const id of scene.attackers) await outcome(scene.client.removeContainer({ containerId: id }));
    agent.inside("rm -rf /run/kata-containers/shared");
  }
};

/** The image's own /dev/console leads somewhere; the terminal must not be mounted there. */
const consoleLinks = async (scene: Scene): Promise<Did> => {
  const did: Did = {};
  for (const target of ["/proc/sys/kernel/domainname", "/proc/1/attr/exec", "../proc/self/oom_score_adj", "/etc/victim"]) {
    const root = join(scene.ground.rootHere, `../console${Object.keys(did).length}`);
    cpSync(scene.ground.rootHere, root, { recursive: true, verbatimSymlinks: true });
    writeFileSync(join(root, "etc/victim"), "");
    mkdirSync(join(root, "dev/pts"), { recursive: true });
    symlinkSync(target, join(root, "dev/console"));
    const id = scene.name();
    scene.attackers.add(id);
    const said = await outcome(scene.client.createContainer(scene.request(id, ["/bin/sh", "-c", "cat /proc/self/mountinfo"], (spec) => {
      spec.process["terminal"] = true;
      spec.root["path"] = root;
      spec.mounts = spec.mounts.filter((m) => !["/dev", "/dev/shm", "/dev/mqueue"].includes(String(m["destination"])));
    })));
    if (said === "OK") {
      await scene.client.startContainer({ containerId: id });
      const { stdout } = await finish(scene.client, named(id)).catch((error: unknown) => ({ stdout: String(error) }));
      const wrong = stdout.split("\n").find((line) => / devpts /.test(line) && !/ \/dev\/(pts|console) /.test(line));
      scene.expect(wrong === undefined, `the terminal lies on ${target}: ${wrong}`);
    }
    did[target] = said.slice(0, 60);
  }
  return did;
};

const masked = async (scene: Scene): Promise<Did> => {
  const before = readFileSync("/proc/self/mountinfo", "utf8").length;
  const did = await scene.says(await scene.attacker(["masked", "/proc/keys"], withCaps("CAP_FOWNER", "CAP_CHOWN")));
  scene.expect(did["chmod"] === 0 && did["chown"] === 0, "the mode or owner of a masked file can be changed");
  scene.expect(did["spilt"] === 0, "a masked file is the same file as the container's /dev/null");
  const null_ = scene.ground.agent?.inside("stat -c '%a %u' /dev/null") ?? "666 0";
  scene.expect(null_ === "666 0", `the agent's /dev/null is ${null_} now`);
  return { ...did, before };
};

const groups = (words: readonly (string | number)[], change: Change = mighty) => async (scene: Scene): Promise<Did> => scene.says(await scene.attacker(words, change), "done", 180_000);

/** The memory file system that all containers of a pod share is filled. */
const fillShm = async (scene: Scene): Promise<Did> => {
  const attacker = await scene.attacker(["fill", "/dev/shm/balloon", 200], limits({ memory: { limit: 32 << 20 } }));
  const said = await scene.says(attacker).catch((error: unknown) => ({ ended: String(error).slice(0, 60) })); // its own group's limit may end it
  const free = await scene.shell(scene.bystander, "free -m | grep Mem");
  await outcome(scene.client.signalProcess({ containerId: attacker.containerId, execId: "", signal: 9 }));
  await scene.shell(scene.bystander, "busybox rm -f /dev/shm/balloon"); // it is the pod's, and outlives its maker
  return { ...said, free: free.trim().replace(/\s+/g, " ") };
};

const V1 = ["systemd.unified_cgroup_hierarchy=0", "cgroup_no_v1=net_prio"];
const DEEP: Attack["needs"] = { where: ["host", "vm"], removalMs: LONG_MS };

export const FILES: readonly Attack[] = [
  { name: "deep-layer", item: "1,500 nested folders in a writable layer", needs: { ...DEEP, quick: true }, run: (scene) => inLayer(scene, ["nest", "/tmp", 1500, 1]) },
  { name: "deeper-layer", item: "100,000 nested folders (10,000 in the VM)", needs: DEEP, run: (scene) => inLayer(scene, ["nest", "/tmp", scene.ground.where === "vm" ? 10_000 : scene.many(100_000), 1]) },
  { name: "long-names", item: "thousands of nested folders with names of 255 bytes", needs: DEEP, run: (scene) => inLayer(scene, ["nest", "/tmp", scene.ground.where === "vm" ? 3_000 : scene.many(30_000), 255]) },
  { name: "wide-layer", item: "100,000 folders side by side (10,000 in the VM)", needs: DEEP, run: (scene) => inLayer(scene, ["wide", "/tmp", scene.ground.where === "vm" ? 10_000 : scene.many(100_000), 200]) },
  { name: "fixed-files", item: "immutable and append-only files in a writable layer", needs: { ...DEEP, quick: true }, run: (scene) => inLayer(scene, ["flags", "/tmp"], mighty) },
  { name: "deep-copy", item: "CopyFile over a deep folder of a container's", needs: { where: ["host"], quick: true, removalMs: LONG_MS }, run: deepCopy },
  { name: "linked-copy", item: "CopyFile by way of a container's link, and into a folder that is there", needs: { where: ["host"], quick: true }, run: linkedCopy },
  { name: "console-links", item: "an image whose /dev/console is a link", needs: { where: ["host"], quick: true }, run: consoleLinks },
  { name: "masked-file", item: "chmod and chown of a masked file", needs: { where: ["host", "vm"], quick: true }, run: masked },
  { name: "groups-deep", item: "thousands of nested control groups", needs: { ...DEEP, quick: true }, run: (scene) => groups(["groups-deep", "freezer", scene.many(3_000, 300)])(scene) },
  { name: "groups-many", item: "20,000 control groups side by side (3,000 in the VM)", needs: DEEP, run: (scene) => groups(["groups-many", "freezer", scene.ground.where === "vm" ? 3_000 : scene.many(20_000)])(scene) },
  { name: "frozen-groups", item: "processes in frozen groups of the container's own", needs: { where: ["host", "vm"], quick: true }, run: groups(["freeze", "freezer"]) },
  { name: "frozen-groups-v1", item: "the same on version 1 in the VM", needs: { where: ["vm"], append: V1 }, run: groups(["freeze", "freezer"]) },
  { name: "frozen-itself", item: "the container freezes everything of its own", needs: { where: ["host", "vm"], quick: true }, run: groups(["freeze-all", "freezer"]) },
  { name: "threaded-group", item: "a threaded group with a process in it", needs: { where: ["host", "vm"] }, run: groups(["threaded", "pids"]) },
  { name: "starved-group", item: "limits at zero in the container's own group", needs: { where: ["host", "vm"], quick: true }, run: async (scene) => {
    const attacker = await scene.attacker(["starve", "pids"], mighty);
    return scene.says(attacker).catch((error: unknown) => ({ ended: String(error).slice(0, 60) })); // without memory it may be the first that ends
  } },
  { name: "frozen-and-bombed", item: "a fork bomb inside a frozen group", needs: { where: ["host", "vm"] }, run: async (scene) => {
    const id = (await scene.attacker(["freeze", "freezer"], both(mighty, limits({ pids: { limit: 300 } })))).containerId;
    const exec = named(id, scene.name());
    await scene.client.execProcess({ ...exec, process: { args: ["/bin/hostile", "forks"], env: [], cwd: "/", user: {} } } as never);
    await scene.pause(scene.seconds(2));
    return { limit: 300 };
  } },
  { name: "shm-balloon", item: "the memory file system that the pod shares is filled", needs: { where: ["vm"] }, run: fillShm },
];
