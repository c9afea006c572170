// New sizes for memory-backed volumes, while containers use them (agent facts 8.12).
import { AppError, attempt } from "../lib/errors.js";
import { mkdirs } from "../lib/fs.js";
import { driverNamed } from "./drivers.js";
import { mountGeneric } from "./mount.js";
import type { Storage } from "./types.js";

/** Mounts each again with its options (hosts send "remount" and a size); one without options is left as it is. */
export async function updateEphemeralMounts(storages: readonly Storage[]): Promise<void> {
  for (const { driver, source, fstype, options, mountPoint } of storages) {
    driverNamed(driver);
    if (driver !== "ephemeral") throw new AppError("internal", `Unsupported storage type for syncing mounts ${driver}. Only ephemeral storage update is supported`);
    attempt(`make ${mountPoint}`, () => mkdirs(mountPoint));
    if (options.length > 0) await mountGeneric({ source, target: mountPoint, fstype, options });
  }
}
