// Everything of the sandbox that has to outlive the agent's own program, as plain values and descriptors: what save() gives, restore()
// takes up in the program that comes after. A record is made when nobody is changing anything (`unfinished`), between two turns of the
// loop.
import { AppError } from "../lib/errors.js";
import { asleep, Serial } from "../lib/async.js";
import { tasksAtWork } from "../lib/child-task.js";
import { foreign, named } from "../lib/foreign.js";
import type { Kept, Left } from "../lib/kept.js";
import { owing } from "../lib/owed.js";
import { awaited } from "../lib/reaper.js";
import { adoptParents, allParentsMade } from "../engine/cgroup/files.js";
import type { Process } from "../engine/process.js";
import { type Claimants, type ContainerRecord, restoreContainer, saveContainer } from "../engine/record.js";
import { installedRoutes, type Plan as Route, takeUpRoutes } from "../network/routes.js";
import type { StorageEntry } from "../storage/types.js";
import { owedAlso, type Point, stillOwed } from "../storage/undo.js";
import { followed, schedule } from "../storage/watchable.js";
import { begun } from "./copy-file.js";
import type { Entry, Sandbox } from "./sandbox.js";

/** Of the record's form. One of another version is refused: what is left out of it would be lost in silence. */
export const VERSION = 1;

interface EntryRecord {
  readonly id: string;
  readonly storages: readonly string[];
  readonly released: boolean;
  readonly container?: ContainerRecord;
}

export interface SandboxRecord {
  readonly version: number;
  readonly id: string;
  readonly created: boolean;
  readonly entries: readonly EntryRecord[];
  /** Out-of-memory events that nobody has fetched. */
  readonly oom: readonly string[];
  /** By mount point, in the order in which they were mounted, with their users' number. */
  readonly storages: readonly (readonly [point: string, entry: Omit<StorageEntry, "pending">])[];
  readonly mounts: readonly string[];
  readonly owed: readonly Point[];
  readonly watchable: readonly (readonly [point: string, source: string, target: string])[];
  readonly copies: readonly (readonly [place: string, identity: string])[];
  readonly routes: readonly Route[];
  readonly hasDns: boolean;
  readonly shared: { readonly ipc: number; readonly uts: number } | null;
  /** Groups above those of containers that were made for them. */
  readonly madeGroups: readonly string[];
  readonly pidNs: number;
  readonly pidNsOf: string;
}

function processesOf(sandbox: Sandbox): Process[] {
  const all = [...sandbox.entries.values()].map(({ container }) => container);
  return all.flatMap((container) => (container === undefined ? [] : [container.init, ...container.processes.values()]));
}

/** What is being done at the moment and could not be gone on with by another program; undefined when there is nothing. */
export function unfinished(sandbox: Sandbox): string | undefined {
  const changing = [...sandbox.entries.values()].find(({ container, serial }) => container === undefined || (serial.jobs ?? 0) > 0);
  if (changing !== undefined) return `container ${changing.id} is being made, changed or removed`;
  for (const [point, { pending }] of sandbox.storages) if (pending !== undefined) return `something is being mounted on ${point}`;
  const all = processesOf(sandbox);
  const untold = all.find(({ status, waiters }) => status !== undefined && waiters.size > 0);
  if (untold !== undefined) return `the end of process ${untold.execId} is being told`;
  const own = new Set(all.map(({ pid }) => pid));
  for (const pid of awaited()) if (!own.has(pid)) return `helper process ${pid} is at work`;
  if (tasksAtWork() > 0 || asleep() > 0) return "something is being waited for";
  return owing()[0];
}

/** The record. Nothing is changed; descriptors that have to stay open are added to `kept`. */
export function save(sandbox: Sandbox, kept: Kept, claimants: Claimants): SandboxRecord {
  const { id, created, mounts, hasDns, shared, pidNs, pidNsOf } = sandbox;
  return {
    version: VERSION, id, created, mounts, hasDns, pidNs: kept.keep(pidNs), pidNsOf,
    shared: shared === undefined ? null : { ipc: kept.keep(shared.ipc), uts: kept.keep(shared.uts) },
    entries: [...sandbox.entries.values()].map((entry) => saveEntry(entry, kept, claimants)),
    oom: sandbox.oom["events"],
    storages: [...sandbox.storages].map(([point, { pending: _, ...entry }]) => [point, entry]),
    owed: stillOwed(),
    watchable: [...followed].map(([point, { source, target }]) => [point, named(source), named(target)]),
    copies: [...begun],
    routes: installedRoutes(),
    madeGroups: allParentsMade(),
  };
}

function saveEntry({ id, storages, released, container }: Entry, kept: Kept, claimants: Claimants): EntryRecord {
  const entry = { id, storages, released: released === true };
  return container === undefined ? entry : { ...entry, container: saveContainer(container, kept, claimants) };
}

/** Throws AppError "precondition" for a record that is not of this version. */
export function checkVersion(record: Partial<SandboxRecord> | undefined): asserts record is SandboxRecord {
  const version = record?.version;
  if (version === VERSION) return;
  throw new AppError("precondition", `the record has version ${String(version)}, and this agent knows version ${VERSION}`);
}

function restoreEntry(sandbox: Sandbox, { id, storages, released, container }: EntryRecord, left: Left, claimants: Claimants): void {
  const entry: Entry = { id, storages: [...storages], container: undefined, serial: new Serial() };
  if (released) entry.released = true;
  sandbox.entries.set(id, entry);
  if (container !== undefined) entry.container = restoreContainer(container, left, claimants, () => sandbox.oom.push(id));
}

/** Takes up what the record tells, in a sandbox that is new. Throws AppError for a record that does not fit. */
export function restore(record: Partial<SandboxRecord> | undefined, sandbox: Sandbox, left: Left, claimants: Claimants): void {
  checkVersion(record);
  const { id, created, hasDns, pidNsOf, shared } = record;
  Object.assign(sandbox, { id, created, hasDns, pidNsOf, mounts: [...record.mounts], pidNs: left.takeIf(record.pidNs) });
  if (shared !== null) sandbox.shared = { ipc: left.take(shared.ipc), uts: left.take(shared.uts) };
  for (const [point, entry] of record.storages) sandbox.storages.set(point, { ...entry, done: entry.done, pending: undefined });
  for (const containerId of record.oom) sandbox.oom.push(containerId);
  for (const entry of record.entries) restoreEntry(sandbox, entry, left, claimants);
  const { storages: table } = sandbox;
  for (const [point, source, target] of record.watchable) followed.set(point, { source: foreign(source), target: foreign(target), table });
  schedule();
  for (const [place, identity] of record.copies) begun.set(place, identity);
  adoptParents(record.madeGroups);
  owedAlso(record.owed);
  takeUpRoutes(record.routes);
}
