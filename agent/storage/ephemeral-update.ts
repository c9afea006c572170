// New sizes for memory-backed volumes, while containers use them (agent-api 8.12).
import { AppError } from "../lib/errors.js";
import { aside, named, reach } from "../lib/foreign.js";
import { mkdirs } from "../lib/fs.js";
import { driverNamed } from "./drivers.js";
import { mountGeneric } from "./mount.js";
import { type AskedStorage, storageOf } from "./types.js";

const DEADLINE_MS = 30_000;

/** Mounts each again with its options (hosts send "remount" and a size); one without options is left as it is. */
export async function updateEphemeralMounts(storages: readonly AskedStorage[]): Promise<void> {
  for (const { driver, source, fstype, options, mountPoint } of storages.map(storageOf)) {
    driverNamed(driver);
    if (driver !== "ephemeral") throw new AppError("internal", `Unsupported storage type for syncing mounts ${driver}. Only ephemeral storage update is supported`);
    if (options.length > 0) await mountGeneric({ source, target: mountPoint, fstype, options });
    else await aside(`make ${named(mountPoint)}`, DEADLINE_MS, (off) => (mkdirs(reach(mountPoint, off)), null));
  }
}
