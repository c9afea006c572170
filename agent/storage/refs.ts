// Who uses which mount point: a count for each. Two containers that ask for the same mount point share one mount; the last
// one to go takes it away. Pure: it mounts nothing.
import type { Done, StorageEntry, StorageTable } from "./types.js";

/** Counts one more user of a mount point; undefined when nobody has it yet. */
export function use(table: StorageTable, point: string): StorageEntry | undefined {
  const entry = table.get(point);
  if (entry !== undefined) entry.count++;
  return entry;
}

/** Registers a mount point with its first user. */
export function register(table: StorageTable, point: string, shared: boolean, lasting: boolean): StorageEntry {
  const entry: StorageEntry = { count: 1, shared, lasting, done: undefined, pending: undefined };
  table.set(point, entry);
  return entry;
}

/** One user less; what has to be undone when it was the last, else undefined. A point that nobody has is no error. */
export function drop(table: StorageTable, point: string): Done | undefined {
  const entry = table.get(point);
  if (entry === undefined) return undefined;
  entry.count--;
  if (entry.count > 0) return undefined;
  if (entry.shared) {
    entry.count = 1;
    return undefined;
  }
  table.delete(point);
  return entry.done;
}

/** Forgets everything; what has to be undone, the newest first. */
export function dropAll(table: StorageTable): [point: string, done: Done][] {
  const all: [string, Done][] = [];
  for (const [point, { done }] of table) if (done !== undefined) all.unshift([point, done]);
  table.clear();
  return all;
}
