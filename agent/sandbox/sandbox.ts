// The one sandbox of the agent: its name, its containers, the storages they use, the namespaces they share. This class owns
// those maps; the pipelines in create-container.ts and remove-container.ts fill and empty them. It must not see requests.
import { AT } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { NR } from "../abi/nr.js";
import { childTask } from "../lib/child-task.js";
import { removeTree, mkdirs } from "../lib/fs.js";
import { AppError } from "../lib/errors.js";
import type { Serial } from "../lib/async.js";
import type { Container } from "../engine/container.js";
import type { InStream, OutStream } from "../engine/stdio/streams.js";
import type { Process } from "../engine/process.js";
import type { StorageTable } from "../storage/types.js";
import { OomQueue } from "./oom.js";
import type { SharedNamespaces } from "./shared-ns.js";

/** Where the agent keeps what belongs to containers; hosts know this path. */
export const BASE_DIR = "/run/kata-containers";

/** A name that is taken: by a container, or by one that is being made or removed. */
export interface Entry {
  readonly id: string;
  /** Absent until the engine has made it. */
  container: Container | undefined;
  /** Mount points of the storages it uses, in the order they were mounted. */
  storages: string[];
  /** They have been given back, if not all of it could be done. */
  released?: boolean;
  /** Create, start, remove run one after the other; signals, waits and streams never queue here. */
  readonly serial: Serial;
}

export interface SandboxSettings {
  readonly containerPipeSize: number;
  readonly hotplugTimeoutMs: number;
  /** The agent is PID 1: the whole machine is its own. */
  readonly isInit: boolean;
}

export class Sandbox {
  id = "";
  created = false;
  readonly entries = new Map<string, Entry>();
  readonly oom = new OomQueue();
  readonly storages: StorageTable = new Map();
  /** Mount points of the sandbox's own storages. */
  mounts: string[] = [];
  /** The guest's resolv.conf is the sandbox's. */
  hasDns = false;
  shared: SharedNamespaces | undefined;
  /** The pid namespace of the first container, for those that want to share it. */
  pidNs: Fd | undefined;
  /** The container whose first process keeps that namespace alive. */
  pidNsOf = "";

  constructor(readonly settings: SandboxSettings) {}

  /** The container, or AppError with the kind and text that the caller's method promises. */
  container(id: string, error: () => AppError): Container {
    const container = this.entries.get(id)?.container;
    if (container === undefined) throw error();
    return container;
  }

  /**
   * The process `execId` of a container; "" and the container's own id name its first process. One that has been waited for is
   * found only by who asks for what it left unread. Throws AppError: "invalid" InvalidContainerId, "not-found" InitProcessNotFound or InvalidExecId.
   */
  process(containerId: string, execId: string, withCollected = false): Process {
    const container = this.container(containerId, () => new AppError("invalid", "InvalidContainerId", undefined, "container id"));
    const process = container.processes.get(execId === "" ? containerId : execId);
    if (process !== undefined && (withCollected || !process.collected)) return process;
    if (execId === "" || execId === containerId) throw new AppError("not-found", "InitProcessNotFound", undefined, "first process");
    throw new AppError("not-found", "InvalidExecId", undefined, "exec id");
  }

  /** The stream that ReadStdout or ReadStderr reads; undefined: at its end (a terminal has no stream of errors of its own). */
  output(containerId: string, execId: string, name: "stdout" | "stderr"): OutStream | undefined {
    const { streams } = this.process(containerId, execId, true);
    if (streams === undefined) throw new AppError("internal", "cannot get stream reader");
    return streams[name];
  }

  /** The stream that WriteStdin writes to; undefined once it has been closed. Lookup failures are "internal" here, as hosts know it. */
  input(containerId: string, execId: string): InStream | undefined {
    return this.process(containerId, execId).streams?.stdin;
  }

  /** Throws AppError "unavailable" when the process has no terminal. */
  resize(containerId: string, execId: string, rows: number, columns: number): void {
    const { streams } = this.process(containerId, execId);
    if (streams === undefined) throw new AppError("unavailable", '"no tty"');
    streams.resize(rows, columns);
  }
}

/** The sandbox's folder, made if it is not there. */
export function ensureBase(): void {
  mkdirs(BASE_DIR, 0o755);
}

/** The folder of one container. */
export function containerDir(id: string): string {
  return `${BASE_DIR}/${id}`;
}

const REMOVE_MS = 300_000;

/**
 * Removes a container's folder and what is in it. A folder that holds nothing but an empty one goes at once; whatever a container has
 * left there is for a child. Mounts that are still in it are taken out of sight, and not entered. Rejects with what stays and why.
 */
export async function removeContainerDir(id: string): Promise<void> {
  const dir = containerDir(id);
  for (const folder of [dir, `${dir}/rootfs`, dir]) {
    const r = sys(NR.unlinkat, AT.FDCWD, folder, AT.REMOVEDIR);
    if (folder === dir && (r === 0 || r === -E.ENOENT)) return;
  }
  await childTask(`remove ${dir}`, REMOVE_MS, () => (removeTree(dir, AT.FDCWD, true), null));
}
