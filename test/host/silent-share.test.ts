// A share whose daemon does not answer: a FUSE file system that reads every request and keeps silent, under each path of each request.
// Who waits for it can be killed by nobody. The call ends by its deadline; Health and signals to another container are answered
// before it does, so nothing of the agent waits; and when the daemon has gone, nothing is left of any of it.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { containerRequest, fillRootfs } from "../helpers/guest.js";
import { until } from "../helpers/lab.js";
import { startPrivateAgent, whyNot, type PrivateAgent } from "../helpers/private-agent.js";

const why = whyNot() ?? (existsSync("/dev/fuse") ? undefined : "needs /dev/fuse");
if (why !== undefined) console.warn(`skipped: ${why}`);

const SHARED = "/run/kata-containers/shared/containers";
const HUNG = "/run/hung";
const FILE = 0o100644;

type Fields = Record<string, unknown>;
interface Case { readonly name: string; readonly call: string; readonly fields: (agent: PrivateAgent) => Fields }

const live = `live${process.pid}`;
const other = `other${process.pid}`;
let work: string;

const storage = (fields: Fields): Fields => ({ driver: "bind", source: "/run/plain", fstype: "bind", options: [], mount_point: "/run/plain-target", ...fields });
const sandbox = (name: string, ...storages: Fields[]): Case => ({ name: `CreateSandbox: ${name}`, call: "CreateSandbox", fields: () => ({ sandbox_id: "s", storages: storages.map(storage) }) });

const container = (name: string, change: (request: { OCI: Record<string, unknown> & { Linux: Record<string, unknown>; Mounts: Fields[] } } & Fields) => void): Case => ({
  name: `CreateContainer: ${name}`, call: "CreateContainer",
  fields: () => {
    const request = containerRequest({ id: other, rootPath: join(work, "rootfs"), args: ["sleep", "1000"] }) as Parameters<typeof change>[0];
    change(request);
    return request;
  },
});
const copy = (name: string, path: string, fields: Fields = {}): Case => ({
  name: `CopyFile: ${name}`, call: "CopyFile",
  fields: () => ({ path: `${SHARED}/${path}`, dir_mode: 0o755, file_mode: FILE, file_size: 1, data: Buffer.from("x"), ...fields }),
});

const HUNG_MOUNT = { destination: "/mnt", source: `${HUNG}/x`, type: "bind", options: ["rbind"] };

const CASES: readonly Case[] = [
  sandbox("the source of a bind", { source: `${HUNG}/x` }),
  sandbox("the mount point of a bind", { mount_point: `${HUNG}/x` }),
  sandbox("the mount point of a tmpfs", { driver: "ephemeral", source: "shm", fstype: "tmpfs", mount_point: `${HUNG}/x` }),
  sandbox("the file system itself, as the mount point of a tmpfs of a group", { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["fsgid=5"], mount_point: `${HUNG}/x/y` }),
  sandbox("a local folder", { driver: "local", source: "local", fstype: "local", mount_point: `${HUNG}/x` }),
  sandbox("a lower layer", { driver: "overlayfs", source: "overlay", fstype: "overlay", options: [`lowerdir=${HUNG}/x`] }),
  sandbox("a folder that an overlay wants made", { driver: "overlayfs", driver_options: [`io.katacontainers.volume.overlayfs.create_directory=${HUNG}/x`], source: "overlay", fstype: "overlay", options: ["lowerdir=/run/plain"] }),
  sandbox("the mount point of a share", { driver: "virtio-fs", source: "tag", fstype: "virtiofs", mount_point: `${HUNG}/x` }),
  container("root.path", (r) => { r.OCI.Root = { Path: `${HUNG}/x`, Readonly: false }; }),
  container("the source of a mount", (r) => { r.OCI.Mounts = [...r.OCI.Mounts, HUNG_MOUNT]; }),
  container("the source of a mount, with a user namespace", (r) => {
    r.OCI.Mounts = [...r.OCI.Mounts, HUNG_MOUNT];
    r.OCI.Linux.Namespaces = [...(r.OCI.Linux.Namespaces as Fields[]), { Type: "user" }];
    for (const which of ["UIDMappings", "GIDMappings"]) r.OCI.Linux[which] = [{ HostID: 100000, ContainerID: 0, Size: 65536 }];
  }),
  container("a network namespace", (r) => { r.OCI.Linux.Namespaces = [{ Type: "network", Path: `${HUNG}/x` }, ...(r.OCI.Linux.Namespaces as Fields[]).filter((n) => n.Type !== "network")]; }),
  container("a storage", (r) => { r.storages = [storage({ source: `${HUNG}/x` })]; }),
  container("a watched folder", (r) => { r.storages = [storage({ driver: "watchable-bind", source: `${HUNG}/x`, mount_point: `${SHARED}/watchable/w` })]; }),
  container("a hook", (r) => { r.OCI.Hooks = { CreateRuntime: [{ Path: `${HUNG}/x`, Args: ["x"], Timeout: 1 }] }; }),
  copy("a folder on the way", "vol/x/file"),
  copy("the place itself", "vol/file"),
  copy("a folder", "vol/dir", { file_mode: 0o040755 }),
  copy("a link", "vol/link", { file_mode: 0o120777 }),
  { name: "ExecProcess: the program", call: "ExecProcess", fields: () => ({ container_id: live, exec_id: "e1", process: { Args: ["/log/x"], Env: [], Cwd: "/", User: {} } }) },
  { name: "ExecProcess: the working directory", call: "ExecProcess", fields: () => ({ container_id: live, exec_id: "e2", process: { Args: ["/bin/true"], Env: [], Cwd: "/log/x", User: {} } }) },
  { name: "GetVolumeStats", call: "GetVolumeStats", fields: () => ({ volume_guest_path: HUNG }) },
  { name: "AddSwapPath", call: "AddSwapPath", fields: () => ({ path: `${HUNG}/x` }) },
  { name: "UpdateEphemeralMounts", call: "UpdateEphemeralMounts", fields: () => ({ storages: [storage({ driver: "ephemeral", source: "shm", fstype: "tmpfs", mount_point: `${HUNG}/x` })] }) },
  { name: "UpdateEphemeralMounts with options", call: "UpdateEphemeralMounts", fields: () => ({ storages: [storage({ driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["remount", "size=1m"], mount_point: HUNG })] }) },
  { name: "RemoveStaleVirtiofsShareMounts", call: "RemoveStaleVirtiofsShareMounts", fields: () => ({}) },
  { name: "GetDiagnosticData", call: "GetDiagnosticData", fields: () => ({ container_id: live, log_type: "termination_log" }) },
];

/** Each has a daemon of its own. The last covers the file that `live` has as its termination log. */
const PLACES = [HUNG, `${SHARED}/vol`, "/run/log"];

describe.skipIf(why !== undefined)("a share that never answers", () => {
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
    const request = containerRequest({ id: live, rootPath: join(work, "rootfs"), args: ["sleep", "1000"] }) as { OCI: { Mounts: Fields[]; Annotations: Fields } };
    request.OCI.Mounts = [...request.OCI.Mounts, { destination: "/dev/log-file", source: "/run/log/file", type: "bind", options: ["bind"] }, { destination: "/log", source: "/run/log", type: "bind", options: ["rbind", "rslave"] }];
    request.OCI.Annotations = { ...request.OCI.Annotations, "io.kubernetes.container.terminationMessagePath": "/dev/log-file" };
    await agent.client.createContainer(request as never);
    await agent.client.startContainer({ container_id: live });
    await hang(HUNG);
    await agent.client.call("CreateSandbox", { storages: [storage({ source: `${HUNG}/x` })] } as never).catch(() => undefined); // what the agent opens once
    await letGo();
  });
  afterAll(async () => {
    await letGo();
    await agent?.client.removeContainer({ container_id: live }).catch(() => undefined);
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
    await agent.client.call("SignalProcess", { container_id: live, exec_id: live, signal: 18 } as never);
    expect(ended).toBe(false);
    expect(await result).toContain("DEADLINE_EXCEEDED");
    await agent.client.call("Check", {});
  });

  it("does not take all helpers: a second try is refused at once, while the first is stuck", async () => {
    const ask = (): Promise<string> => agent.client.call("GetVolumeStats", { volume_guest_path: HUNG }).then(() => "(no error)", String);
    expect(await ask()).toContain("DEADLINE_EXCEEDED");
    const count = (): string => agent.inside(`cat /proc/${agent.pid}/task/*/children | wc -w`);
    const stuck = count();
    for (let i = 0; i < 50; i++) expect(await ask()).toContain("an earlier try still waits");
    expect(count()).toBe(stuck);
  });
});
