// A share whose daemon does not answer: a FUSE file system that reads every request and keeps silent, under each path of each request.
// Who waits for it can be killed by nobody. The call ends by its deadline; Health and signals to another container are answered
// before it does, so nothing of the agent waits; and when the daemon has gone, nothing is left of any of it.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { containerRequest, fillRootfs } from "../helpers/guest.js";
import { until } from "../helpers/lab.js";
import { startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

const SHARED = "/run/kata-containers/shared/containers";
const HUNG = "/run/hung";
const FILE = 0o100644;

type Fields = Record<string, unknown>;
interface Case { readonly name: string; readonly call: string; readonly fields: (agent: PrivateAgent) => Fields }

const live = `live${process.pid}`;
const other = `other${process.pid}`;
let work: string;

const storage = (fields: Fields): Fields => ({ driver: "bind", source: "/run/plain", fstype: "bind", options: [], mountPoint: "/run/plain-target", ...fields });
const sandbox = (name: string, ...storages: Fields[]): Case => ({ name: `CreateSandbox: ${name}`, call: "CreateSandbox", fields: () => ({ sandboxId: "s", storages: storages.map(storage) }) });

const container = (name: string, change: (request: { oci: Record<string, unknown> & { linux: Record<string, unknown>; mounts: Fields[] } } & Fields) => void): Case => ({
  name: `CreateContainer: ${name}`, call: "CreateContainer",
  fields: () => {
    const request = containerRequest({ id: other, rootPath: join(work, "rootfs"), args: ["sleep", "1000"] }) as Parameters<typeof change>[0];
    change(request);
    return request;
  },
});
const copy = (name: string, path: string, fields: Fields = {}): Case => ({
  name: `CopyFile: ${name}`, call: "CopyFile",
  fields: () => ({ path: `${SHARED}/${path}`, dirMode: 0o755, fileMode: FILE, fileSize: 1, data: Buffer.from("x"), ...fields }),
});

const HUNG_MOUNT = { destination: "/mnt", source: `${HUNG}/x`, type: "bind", options: ["rbind"] };

const CASES: readonly Case[] = [
  sandbox("the source of a bind", { source: `${HUNG}/x` }),
  sandbox("the mount point of a bind", { mountPoint: `${HUNG}/x` }),
  sandbox("the mount point of a tmpfs", { driver: "ephemeral", source: "shm", fstype: "tmpfs", mountPoint: `${HUNG}/x` }),
  sandbox("the file system itself, as the mount point of a tmpfs of a group", { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["fsgid=5"], mountPoint: `${HUNG}/x/y` }),
  sandbox("a local folder", { driver: "local", source: "local", fstype: "local", mountPoint: `${HUNG}/x` }),
  sandbox("a lower layer", { driver: "overlayfs", source: "overlay", fstype: "overlay", options: [`lowerdir=${HUNG}/x`] }),
  sandbox("a folder that an overlay wants made", { driver: "overlayfs", driverOptions: [`io.katacontainers.volume.overlayfs.create_directory=${HUNG}/x`], source: "overlay", fstype: "overlay", options: ["lowerdir=/run/plain"] }),
  sandbox("the mount point of a share", { driver: "virtio-fs", source: "tag", fstype: "virtiofs", mountPoint: `${HUNG}/x` }),
  container("root.path", (r) => { r.oci.root = { path: `${HUNG}/x`, readonly: false }; }),
  container("the source of a mount", (r) => { r.oci.mounts = [...r.oci.mounts, HUNG_MOUNT]; }),
  container("the source of a mount, with a user namespace", (r) => {
    r.oci.mounts = [...r.oci.mounts, HUNG_MOUNT];
    r.oci.linux.namespaces = [...(r.oci.linux.namespaces as Fields[]), { type: "user" }];
    for (const which of ["uidMappings", "gidMappings"]) r.oci.linux[which] = [{ hostID: 100000, containerID: 0, size: 65536 }];
  }),
  container("a network namespace", (r) => { r.oci.linux.namespaces = [{ type: "network", path: `${HUNG}/x` }, ...(r.oci.linux.namespaces as Fields[]).filter((n) => n.type !== "network")]; }),
  container("a storage", (r) => { r.storages = [storage({ source: `${HUNG}/x` })]; }),
  container("a watched folder", (r) => { r.storages = [storage({ driver: "watchable-bind", source: `${HUNG}/x`, mountPoint: `${SHARED}/watchable/w` })]; }),
  container("a hook", (r) => { r.oci.hooks = { createRuntime: [{ path: `${HUNG}/x`, args: ["x"], timeout: 1 }] }; }),
  copy("a folder on the way", "vol/x/file"),
  copy("the place itself", "vol/file"),
  copy("a folder", "vol/dir", { fileMode: 0o040755 }),
  copy("a link", "vol/link", { fileMode: 0o120777 }),
  { name: "ExecProcess: the program", call: "ExecProcess", fields: () => ({ containerId: live, execId: "e1", process: { args: ["/log/x"], env: [], cwd: "/", user: {} } }) },
  { name: "ExecProcess: the working directory", call: "ExecProcess", fields: () => ({ containerId: live, execId: "e2", process: { args: ["/bin/true"], env: [], cwd: "/log/x", user: {} } }) },
  { name: "GetVolumeStats", call: "GetVolumeStats", fields: () => ({ volumeGuestPath: HUNG }) },
  { name: "AddSwapPath", call: "AddSwapPath", fields: () => ({ path: `${HUNG}/x` }) },
  { name: "UpdateEphemeralMounts", call: "UpdateEphemeralMounts", fields: () => ({ storages: [storage({ driver: "ephemeral", source: "shm", fstype: "tmpfs", mountPoint: `${HUNG}/x` })] }) },
  { name: "UpdateEphemeralMounts with options", call: "UpdateEphemeralMounts", fields: () => ({ storages: [storage({ driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["remount", "size=1m"], mountPoint: HUNG })] }) },
  { name: "RemoveStaleVirtiofsShareMounts", call: "RemoveStaleVirtiofsShareMounts", fields: () => ({}) },
  { name: "GetDiagnosticData", call: "GetDiagnosticData", fields: () => ({ containerId: live, logType: "termination_log" }) },
];

/** Each has a daemon of its own. The last covers the file that `live` has as its termination log. */
const PLACES = [HUNG, `${SHARED}/vol`, "/run/log"];

suite("a share that never answers", { needs: ["agent", "fuse"] }, () => {
  let agent: PrivateAgent;
  let program: string;
  let daemons: ChildProcess[] = [];
  let before: string;

  /** What the agent has: mounts, processes below it, its descriptors, folders of /run. */
  const state = (): string => agent.inside(`cut -d' ' -f5 /proc/self/mountinfo | grep -v -e ${PLACES.join(" -e ")} | sort; cat /proc/${agent.pid}/task/*/children | wc -w; ls /proc/${agent.pid}/fd | wc -l; find /run -xdev | sort; find /sys/fs/cgroup -name '*${process.pid}*' | sort`);
  const hang = async (place: string): Promise<void> => {
    const child = spawn("nsenter", ["-t", String(agent.pid), "-m", program, place, "read"], { stdio: ["ignore", "pipe", "inherit"] });
    daemons.push(child);
    await Promise.race([once(child.stdout as never, "data"), once(child, "exit").then(() => Promise.reject(new Error("no FUSE here")))]);
  };
  /** The daemons go, and their file systems with them: who waits gets an error. */
  const letGo = async (): Promise<void> => {
    for (const child of daemons) {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    daemons = [];
    agent.inside(PLACES.map((place) => `umount -l ${place} 2>/dev/null || true`).join("; "));
  };

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "kata-silent-"));
    fillRootfs(join(work, "rootfs"));
    program = join(work, "silent-fuse");
    execFileSync("gcc", ["-O1", "-o", program, "test/helpers/silent-fuse.c"]);
    agent = await startPrivateAgent("share_timeout = { secs = 0, nanos = 400000000 }", `mount --make-shared /run && mkdir -p ${PLACES.join(" ")} /run/plain /run/mount /run/kata-containers/sandbox/shm ${SHARED}/watchable && mount -t tmpfs watched ${SHARED}/watchable && touch /run/log/file`);
    const request = containerRequest({ id: live, rootPath: join(work, "rootfs"), args: ["sleep", "1000"] }) as { oci: { mounts: Fields[]; annotations: Fields } };
    request.oci.mounts = [...request.oci.mounts, { destination: "/dev/log-file", source: "/run/log/file", type: "bind", options: ["bind"] }, { destination: "/log", source: "/run/log", type: "bind", options: ["rbind", "rslave"] }];
    request.oci.annotations = { ...request.oci.annotations, "io.kubernetes.container.terminationMessagePath": "/dev/log-file" };
    await agent.client.createContainer(request as never);
    await agent.client.startContainer({ containerId: live });
    await hang(HUNG);
    await agent.client.call("CreateSandbox", { storages: [storage({ source: `${HUNG}/x` })] } as never).catch(() => undefined); // what the agent opens once
    await letGo();
  });
  afterAll(async () => {
    await letGo();
    await agent?.client.removeContainer({ containerId: live }).catch(() => undefined);
    await agent?.stop();
    rmSync(work, { recursive: true, force: true });
  });
  beforeEach(async () => {
    before = state();
    for (const place of PLACES) await hang(place);
  });
  afterEach(async () => {
    await letGo();
    await until("nothing is left", () => state() === before).catch(() => expect(state()).toBe(before));
  });

  it.each(CASES.map((c) => [c.name, c] as const))("%s", async (_, { call, fields }) => {
    let ended = false;
    const result = agent.client.call(call as never, fields(agent) as never).then(() => "(no error)", String).finally(() => (ended = true));
    await agent.client.call("Check", {});
    await agent.client.call("SignalProcess", { containerId: live, execId: live, signal: 18 } as never);
    expect(ended).toBe(false);
    expect(await result).toContain("DEADLINE_EXCEEDED");
    await agent.client.call("Check", {});
  });

  it("does not take all helpers: a second try is refused at once, while the first is stuck", async () => {
    const ask = (): Promise<string> => agent.client.call("GetVolumeStats", { volumeGuestPath: HUNG }).then(() => "(no error)", String);
    expect(await ask()).toContain("DEADLINE_EXCEEDED");
    const count = (): string => agent.inside(`cat /proc/${agent.pid}/task/*/children | wc -w`);
    const stuck = count();
    for (let i = 0; i < 50; i++) expect(await ask()).toContain("an earlier try still waits");
    expect(count()).toBe(stuck);
  });
});
