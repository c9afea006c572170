// What is written down about containers: <root>/<id>/ holds state.json (who it is), config.json (as it was at create) and start
// (the socket where a created container waits for its start). The folder's making decides who owns an id, a lock on it keeps
// two commands apart, and each file appears whole, by rename. Nothing here trusts that the last command came to its end.
import { AF, AT, DT, F, LOCK, O, SOCK } from "../abi/flags.js";
import { isErrno, sys, SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { fcntl, fstat, getdents, mkdirat, open, openat, renameat, unlinkat, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { interruptibly } from "../sys/poll.js";
import { bind, connect, listen, socket, unixAddress } from "../sys/socket.js";
import { fromOthers } from "../sys/utf8.js";
import { AppError, attempt } from "../lib/errors.js";
import { mkdirs, readText, readTextIf } from "../lib/fs.js";
import type { ResctrlGroup } from "../engine/container.js";
import type { Apart } from "../engine/members.js";
import { type Identity, lives } from "../engine/process-identity.js";
import type { Hooks } from "../oci/spec.js";
import { ENDING } from "./interrupt.js";

/** state.json. */
export interface Saved extends Identity {
  readonly ociVersion: string;
  readonly id: string;
  readonly bundle: string;
  readonly rootfs: string;
  /** RFC 3339. */
  readonly created: string;
  readonly owner: number;
  readonly annotations?: { readonly [key: string]: string };
  readonly cgroup: string;
  readonly madeParents: readonly string[];
  readonly resctrl?: ResctrlGroup;
  /** It has no pid namespace of its own: its processes outlive the first. */
  readonly sharedPid: boolean;
  /** The first of its own namespaces that tells its processes from others. */
  readonly apart?: Apart;
  /** False: its processes keep the callers' session keyrings. */
  readonly newKeyring?: boolean;
  /** Those that run after create: poststart and poststop. */
  readonly hooks?: Hooks;
}

const MAX_CONFIG = 16 << 20;
const STATE = "state.json", CONFIG = "config.json", RESOURCES = "resources.json", TRACED = "traced", START_SOCKET = "start";

const unknown = (id: string): AppError => new AppError("not-found", `container "${id}" does not exist`);
const taken = (id: string): AppError => new AppError("exists", `container with given ID already exists: ${id}`);

function flock(dir: Fd, how: number): boolean {
  for (;;) {
    const r = sys(NR.flock, dir.n, how);
    if (r === 0) return true;
    if (r === -E.EAGAIN) return false;
    if (r !== -E.EINTR) throw new SysError("flock", -r);
  }
}

/** One container's folder, open. */
export class Entry {
  constructor(readonly id: string, readonly root: string, readonly dir: Fd) {}

  read(): Saved {
    return JSON.parse(this.#text(STATE)) as Saved;
  }
  /** The configuration as create checked it; 64-bit values are as in the types. */
  config(): string {
    return this.#text(CONFIG);
  }
  #text(name: string): string {
    try {
      return fromOthers(readText(`${fdPath(this.dir)}/${name}`, MAX_CONFIG));
    } catch (error) {
      throw isErrno(error, E.ENOENT) ? unknown(this.id) : error;
    }
  }
  write(saved: Saved): void {
    this.draft(saved);
    this.publish();
  }
  /** Writes the record, for nobody to see before `publish`. */
  draft(saved: Saved): void {
    this.#write(STATE, JSON.stringify(saved));
  }
  publish(): void {
    this.#show(STATE);
  }
  writeConfig(text: string): void {
    this.#put(CONFIG, text);
  }
  /** linux.resources as the last update left them; undefined: as the configuration has them. */
  resources(): string | undefined {
    return readTextIf(`${fdPath(this.dir)}/${RESOURCES}`);
  }
  writeResources(text: string): void {
    this.#put(RESOURCES, text);
  }
  /** Has a further process been let in that may trace others (CAP_SYS_PTRACE)? */
  traced(): boolean {
    return readTextIf(`${fdPath(this.dir)}/${TRACED}`) !== undefined;
  }
  markTraced(): void {
    this.#put(TRACED, "");
  }
  #put(name: string, text: string): void {
    this.#write(name, text);
    this.#show(name);
  }
  #write(name: string, text: string): void {
    attempt(`write ${this.root}/${this.id}/${name}`, () => {
      using file = openat(this.dir, `.${name}`, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
      writeAll(file, text);
    });
  }
  #show(name: string): void {
    attempt(`write ${this.root}/${this.id}/${name}`, () => renameat(this.dir, `.${name}`, this.dir, name));
  }

  /** Makes the socket where another command will start the container. */
  listenForStart(): Fd {
    const startSocket = socket(AF.UNIX, SOCK.SEQPACKET);
    fcntl(startSocket, F.SETFL); // the child waits in accept4
    bind(startSocket, unixAddress(`${fdPath(this.dir)}/${START_SOCKET}`));
    listen(startSocket, 8);
    return startSocket;
  }
  /** Connects to it; undefined when nobody waits behind it any more. */
  connectToStart(): Fd | undefined {
    const fd = socket(AF.UNIX, SOCK.SEQPACKET);
    try {
      connect(fd, unixAddress(`${fdPath(this.dir)}/${START_SOCKET}`));
      return fd;
    } catch (error) {
      fd.close();
      if (isErrno(error, E.ENOENT, E.ECONNREFUSED)) return undefined;
      throw error;
    }
  }
  /** Does somebody wait at the start socket? Asked with the wrong kind of socket, so that nobody takes the connection. See unix(7), EPROTOTYPE. */
  waits(): boolean {
    using fd = socket(AF.UNIX, SOCK.DGRAM);
    const address = unixAddress(`${fdPath(this.dir)}/${START_SOCKET}`);
    return sys(NR.connect, fd.n, address, address.length) === -E.EPROTOTYPE;
  }

  /** Waits until no other command changes this container. Throws "not-found" when it has been deleted meanwhile. */
  lock(): this {
    if (!flock(this.dir, LOCK.EX | LOCK.NB)) interruptibly(ENDING, () => flock(this.dir, LOCK.EX));
    if (fstat(this.dir).nlink === 0) throw unknown(this.id);
    return this;
  }
  /** Is another command making or changing it right now? */
  busy(): boolean {
    if (!flock(this.dir, LOCK.SH | LOCK.NB)) return true;
    this.unlock();
    return false;
  }
  /** Lets others change it. */
  unlock(): void {
    flock(this.dir, LOCK.UN);
  }
  /** Removes the folder. It must be locked. */
  remove(): void {
    for (const { name } of getdents(this.dir)) unlinkat(this.dir, name);
    using root = open(this.root, O.PATH | O.DIRECTORY);
    const r = sys(NR.unlinkat, root.n, this.id, AT.REMOVEDIR);
    if (r < 0 && r !== -E.ENOENT) throw new SysError(`rmdir ${this.root}/${this.id}`, -r);
  }
}

/** Takes an id: its folder, made and locked. Throws "exists" when it is taken; what a crashed create left without a state is taken over. */
export function claim(root: string, id: string): Entry {
  attempt(`make the state folder ${root}`, () => mkdirs(root, 0o700));
  using rootDir = open(root, O.RDONLY | O.DIRECTORY);
  let old = false;
  try {
    mkdirat(rootDir, id, 0o711);
  } catch (error) {
    if (!isErrno(error, E.EEXIST)) throw error;
    old = true;
  }
  const entry = find(root, id);
  const free = flock(entry.dir, LOCK.EX | LOCK.NB) && fstat(entry.dir).nlink > 0;
  if (free && (!old || !hasState(entry))) return entry;
  entry.dir.close();
  throw taken(id);
}

function hasState(entry: Entry): boolean {
  try {
    entry.read();
    return true;
  } catch (error) {
    if (error instanceof AppError && error.kind === "not-found") return false;
    throw error;
  }
}

/** The folder of an id. Throws "not-found". */
export function find(root: string, id: string): Entry {
  try {
    return new Entry(id, root, open(`${root}/${id}`, O.RDONLY | O.DIRECTORY | O.NOFOLLOW));
  } catch (error) {
    throw isErrno(error, E.ENOENT, E.ENOTDIR, E.ELOOP) ? unknown(id) : error;
  }
}

/** All ids there are, sorted. Throws ENOENT when there is no such folder, unless it may be missing (nothing has been made yet). */
export function ids(root: string, mayBeMissing: boolean): string[] {
  try {
    using dir = open(root, O.RDONLY | O.DIRECTORY);
    return getdents(dir).filter((e) => e.type === DT.DIR).map((e) => e.name).sort();
  } catch (error) {
    if (mayBeMissing && isErrno(error, E.ENOENT)) return [];
    throw error;
  }
}

export type FullStatus = "creating" | "created" | "running" | "paused" | "stopped";

/** The status as it is now; `frozen` is asked only for one that lives. */
export function statusNow(entry: Entry, saved: Saved, frozen: () => boolean): FullStatus {
  if (saved.pid === 0) return entry.busy() ? "creating" : "stopped";
  if (!lives(saved)) return "stopped";
  if (frozen()) return "paused";
  return entry.waits() ? "created" : "running";
}

/** The record that `state`, `list` and hooks show. */
export function stateRecord(saved: Saved, status: FullStatus): { readonly [key: string]: unknown } {
  return {
    ociVersion: saved.ociVersion, id: saved.id, pid: status === "stopped" ? 0 : saved.pid, status, bundle: saved.bundle, rootfs: saved.rootfs, created: saved.created, owner: String(saved.owner),
    ...(saved.annotations === undefined ? {} : { annotations: saved.annotations }),
  };
}

