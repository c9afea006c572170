// From inside: what the kernel counts for a user or for the whole machine is used up. In a VM only: it would be taken from everybody
// on this machine. While it is gone, the pod's other containers must still live, and be killed; then an exec and a container are made.
import { named, outcome, type Change } from "../helpers/lab.js";
import type { Attack, Did } from "./attack.js";
import { both, limits, mighty, withCaps, within, type Scene } from "./scene.js";

const NOFILE = (spec: { process: Record<string, unknown> }): void => void (spec.process["rlimits"] = [{ type: "RLIMIT_NOFILE", hard: 1 << 20, soft: 1 << 20 }]);
// what the kernel does not charge to the group (netlink) comes on top of it, and must leave room for others in a guest of 128 MB
const memory = (kind: string): Change => limits({ memory: { limit: kind === "netlink" ? 16 << 20 : 64 << 20 } });

/** Takes all of it; what others can do meanwhile. */
const taken = (kind: string, all: boolean) => async (scene: Scene): Promise<Did> => {
  const attacker = await scene.attacker(["take", kind], both(all ? mighty : withCaps("CAP_SYS_RESOURCE", "CAP_NET_RAW"), NOFILE, memory(kind)));
  const did = await scene.says(attacker, "done", 180_000);
  const id = scene.name();
  scene.attackers.add(id);
  const create = await outcome(within(scene.client.createContainer(scene.request(id, ["/bin/sleep", "1000"])), 30_000, "a container"));
  const start = create === "OK" ? await outcome(within(scene.client.startContainer({ containerId: id }), 30_000, "a start")) : "-";
  const exec = await outcome(within(scene.shell(scene.bystander, "true"), 30_000, "an exec"));
  const process = named(scene.bystander, scene.name());
  const terminal = await outcome(within(scene.client.execProcess({ ...process, process: { terminal: true, args: ["/bin/true"], env: [], cwd: "/", user: {} } } as never), 30_000, "a terminal"));
  if (terminal === "OK") await within(scene.client.waitProcess(process), 30_000, "the end of a process with a terminal"); // until then the agent keeps it, and its terminal
  const peer = await outcome(within(scene.another(), 30_000, "a connection"));
  for (const [what, said] of Object.entries({ create, start, exec, terminal, peer })) scene.expect(said === "OK" || said === "-", `with all ${kind} taken, ${what}: ${said.slice(0, 160)}`);
  return { ...did, create: create.slice(0, 40), exec: exec.slice(0, 40), peer: peer.slice(0, 40) };
};

/** What the pod has in common with the agent, and what the agent must have raised or kept back. */
const KINDS = ["epoll", "inotify", "keys", "pipes", "queues", "ptys", "sockets", "netlink", "files", "vsocks", "packets", "namespaces", "mounts"];

export const QUOTAS: readonly Attack[] = [
  ...KINDS.map((kind): Attack => ({ name: `quota-${kind}`, item: `all ${kind} there are`, needs: { where: ["vm"], removalMs: 60_000 }, run: taken(kind, kind === "namespaces" || kind === "mounts") })),
  {
    name: "vsock-loopback", item: "connections to the agent's own vsock port, in a loop", needs: { where: ["vm"] },
    run: async (scene) => {
      const did = await scene.says(await scene.attacker(["vsock", 1, 1024, scene.seconds(5)]));
      scene.expect(did["connected"] === 0, "a container reaches the agent's port");
      return did;
    },
  },
  {
    name: "vsock-everyone", item: "every address of vsock", needs: { where: ["vm", "host"] },
    run: async (scene) => {
      const did = await scene.says(await scene.attacker(["vsock-everyone", 1024]));
      scene.expect(did["connected"] === 0, "a container reaches somebody by vsock");
      return did;
    },
  },
  {
    name: "abstract-sockets", item: "sockets of the agent that a container can name", needs: { where: ["vm", "host"], quick: true },
    run: async (scene) => {
      const text = await scene.shell(scene.bystander, "cut -c1-200 /proc/net/unix");
      const names = text.split("\n").filter((line) => / @/.test(line));
      scene.expect(names.length === 0, `abstract sockets: ${names.join(" ")}`);
      return { sockets: text.split("\n").length - 2, abstract: names.length };
    },
  },
  { name: "uevents", item: "events of devices without end", needs: { where: ["vm"] }, run: async (scene) => scene.says(await scene.attacker(["uevents", scene.seconds(5)], mighty)) },
  { name: "console-flood", item: "the kernel's log and the console are written to without end", needs: { where: ["vm"] }, run: async (scene) => scene.says(await scene.attacker(["kmsg", scene.seconds(5)], mighty)) },
];
