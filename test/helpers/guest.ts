// A container in a test VM or on a bare agent, in a few words: its root comes from a folder shared with the guest or from a
// folder of this machine. It holds no state but the names of what it made.
import { mkdirSync, mkdtempSync, copyFileSync, symlinkSync, chmodSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { collectStream, readStream, type ProcessName } from "../../ctl/client/stdio.js";
import { defaultSpec, SHM_PATH } from "../../ctl/container/default-spec.js";

export const BUSYBOX = "/bin/busybox";
const APPLETS = ["sh", "cut", "ionice", "ip", "sort", "echo", "cat", "sleep", "true", "false", "id", "ls", "mount", "dd", "head", "tail", "stty", "kill", "test", "hostname", "ps", "mkdir", "touch", "sha256sum", "wc", "seq", "yes", "tr", "env", "grep", "readlink", "printf", "uname", "dmesg", "nc", "stat", "free", "tty", "setsid", "nproc"];

/** A folder with a busybox userland in `rootfs/`; the folder is the caller's to remove. */
export function makeRootfs(under = tmpdir()): string {
  const dir = mkdtempSync(join(under, "kata-root-"));
  fillRootfs(join(dir, "rootfs"));
  return dir;
}

/** Puts a busybox userland into a folder. */
export function fillRootfs(root: string): void {
  for (const d of ["bin", "proc", "sys", "dev", "tmp", "etc", "run", "root"]) mkdirSync(join(root, d), { recursive: true });
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  chmodSync(root, 0o755);
  for (const a of APPLETS) if (!existsSync(join(root, "bin", a))) symlinkSync("busybox", join(root, "bin", a));
}

/** The storages and sandbox that the real Kata runtime asks for before the first container. */
export const sandboxRequest = (id: string, share = true): object => ({
  sandboxId: id,
  storages: [
    ...(share ? [{ driver: "virtio-fs", source: "kataShared", fstype: "virtiofs", mountPoint: "/run/kata-containers/shared/containers/" }] : []),
    { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"], mountPoint: SHM_PATH },
  ],
});

export interface Wanted {
  id: string;
  rootPath: string;
  args: string[];
  terminal?: boolean;
  memory?: number;
  cpus?: number;
  env?: string[];
  readonly?: boolean;
}

/** A CreateContainer request with docker's defaults. */
export function containerRequest(w: Wanted): object {
  const spec = defaultSpec({
    id: w.id, rootPath: w.rootPath, args: w.args, env: w.env ?? ["PATH=/bin", "HOME=/root"], workdir: "/", user: { uid: 0, gid: 0, additionalGids: [] },
    terminal: w.terminal ?? false, hostname: w.id, memory: w.memory, cpus: w.cpus,
  });
  return { containerId: w.id, execId: w.id, oci: { ...spec, process: { ...spec.process, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }] }, root: { path: w.rootPath, readonly: w.readonly ?? false } } };
}

export interface Ended { status: number; stdout: string; stderr: string }

/** Reads both streams of a process to their ends, then its status: the order in which the Go runtime does it. */
export async function finish(client: AgentClient, process: ProcessName): Promise<Ended> {
  const [stdout, stderr] = await Promise.all([collectStream(client, process, "stdout"), collectStream(client, process, "stderr")]);
  const { status } = await client.waitProcess(process);
  return { status, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Creates, starts, reads, waits, removes. */
export async function runContainer(client: AgentClient, w: Wanted): Promise<Ended> {
  await client.createContainer(containerRequest(w) as never);
  await client.startContainer({ containerId: w.id });
  const ended = await finish(client, { containerId: w.id, execId: w.id });
  await client.removeContainer({ containerId: w.id });
  return ended;
}

/** Starts a further process and reads it to its end. */
export async function execIn(client: AgentClient, container: string, exec: string, args: string[], extra: object = {}): Promise<Ended> {
  await client.execProcess({ containerId: container, execId: exec, process: { args, env: ["PATH=/bin"], cwd: "/", user: {}, ...extra } } as never);
  return finish(client, { containerId: container, execId: exec });
}

/** Counts and hashes a stream without keeping it. */
export async function drain(client: AgentClient, process: ProcessName, sink: (data: Uint8Array) => void): Promise<number> {
  let total = 0;
  await readStream(client, process, "stdout", (data) => {
    total += data.length;
    sink(data);
  });
  return total;
}
