// A list of storages, mounted in order; each mount point is made once and counted (refs.ts). When one fails, what the list
// has done so far is undone: nothing stays registered and nothing stays mounted. See agent-api 13.2 and 13.4.
import { AppError, messageOf } from "../lib/errors.js";
import { named } from "../lib/foreign.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { driverNamed, isLasting } from "./drivers.js";
import { drop, dropAll, register, use } from "./refs.js";
import { type AskedStorage, type Done, type Storage, type StorageContext, type StorageTable, storageOf } from "./types.js";
import { settled, undoAll } from "./undo.js";

const groups = lazy<typeof import("./fs-group.js")>("storage/fs-group.js");

async function make(storage: Storage, context: StorageContext): Promise<Done> {
  await settled([named(storage.mountPoint)]);
  const done = await driverNamed(storage.driver)(storage, context);
  if (storage.fsGroup === undefined) return done;
  try {
    await groups().applyFsGroup(named(storage.mountPoint), storage.fsGroup, storage.options);
  } catch (error) {
    await undoAll([[named(storage.mountPoint), done]]).catch((e: unknown) => log(Level.WARN, messageOf(e)));
    throw error;
  }
  return done;
}

/** Mounts one storage, or counts one more user of it. */
async function mountOne(storage: Storage, context: StorageContext): Promise<void> {
  const { table } = context;
  const { shared, driver } = storage;
  const mountPoint = named(storage.mountPoint);
  if (mountPoint === "") throw new AppError("internal", `storage of driver ${driver} has no mount point`);
  const known = use(table, mountPoint);
  if (known !== undefined) {
    await known.pending; // its failure is everybody's
    return;
  }
  const entry = register(table, mountPoint, shared, isLasting(driver));
  const work = make(storage, context).then((done) => {
    entry.done = done;
    entry.pending = undefined;
  });
  entry.pending = work;
  try {
    await work;
  } catch (error) {
    if (table.get(mountPoint) === entry) table.delete(mountPoint);
    throw error;
  }
}

/**
 * Makes all storages be there; answers with the mount points that the caller has to release, in this order. Those of the
 * pod itself (ephemeral, local) are not among them. Throws the error of the storage that failed.
 */
export async function mountAll(storages: readonly AskedStorage[], context: StorageContext): Promise<string[]> {
  for (const { driver } of storages) driverNamed(driver);
  const points: string[] = [];
  try {
    for (const storage of storages) {
      await mountOne(storageOf(storage), context);
      points.push(storage.mountPoint);
    }
  } catch (error) {
    await giveBack(points, context.table).catch((e: unknown) => log(Level.WARN, `undo storages: ${messageOf(e)}`));
    throw error;
  }
  return points.filter((point) => context.table.get(point)?.lasting !== true);
}

/** One user less for each point, newest first. */
function giveBack(points: readonly string[], table: StorageTable): Promise<void> {
  const undo: [string, Done][] = [];
  for (const point of [...points].reverse()) {
    const done = drop(table, point);
    if (done !== undefined) undo.push([point, done]);
  }
  return undoAll(undo);
}

/**
 * Gives back mount points that `mountAll` answered, once; those without another user are unmounted. Rejects with all failures: what is
 * left is tried again, and by `settledAt` at once.
 */
export async function releaseAll(points: readonly string[], table: StorageTable): Promise<void> {
  await giveBack(points, table);
  return settled(points);
}

/** Does what was left of these points when they were given back. Rejects when it still cannot be done. */
export const settledAt = (points: readonly string[]): Promise<void> => settled(points);

/** The end of the sandbox: everything that is still there goes, the newest first. */
export async function releaseRest(table: StorageTable): Promise<void> {
  await settled();
  return undoAll(dropAll(table));
}
