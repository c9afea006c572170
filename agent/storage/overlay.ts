// Overlays whose lower layers the host has named. With the option overlay-rw the upper layer is the agent's: it lies in the
// container's own folder (a tmpfs in a booted guest) and goes with the container. See agent-api 13.13.
import { AT } from "../abi/flags.js";
import { fchmodat, fchownat, stat } from "../sys/file.js";
import { AppError, messageOf } from "../lib/errors.js";
import { aside, foreign, named } from "../lib/foreign.js";
import { mkdirs, removeTree } from "../lib/fs.js";
import { Level, log } from "../lib/log.js";
import { keyValue } from "../lib/text.js";
import { mountGeneric } from "./mount.js";
import { optionValue, splitWords } from "./options.js";
import type { Driver, Storage, StorageContext } from "./types.js";

const WRITABLE = "io.katacontainers.fs-opt.overlay-rw";
const CREATE = "io.katacontainers.volume.overlayfs.create_directory";

const DEADLINE_MS = 30_000;

/**
 * The folders of the upper layer. The merged root looks like the upper one, so that one looks like the lowest root. That may
 * lie on a share that does not answer, so a child looks at it.
 */
async function makeUpper({ options }: Storage, { baseDir, containerId }: StorageContext): Promise<{ upper: string; work: string }> {
  if (containerId === undefined || baseDir === "") throw new AppError("internal", `option ${WRITABLE} is for a container's storage`);
  const upper = `${baseDir}/upper`;
  const work = `${baseDir}/work`;
  await aside(`make the overlay's upper layer in ${baseDir}`, DEADLINE_MS, (_off) => {
    mkdirs(work);
    mkdirs(upper);
    const top = (optionValue(options, "lowerdir") ?? "").split(":")[0];
    if (top === undefined || top === "") return null;
    const { mode, uid, gid } = stat(top);
    fchownat(AT.FDCWD, upper, uid, gid);
    fchmodat(AT.FDCWD, upper, mode & 0o7777);
    return null;
  });
  return { upper, work };
}

/** Mounts the overlay. */
export const overlay: Driver = async (storage, context) => {
  const { driverOptions, mountPoint, options } = storage;
  for (const option of driverOptions) {
    const [key, directory] = keyValue(option);
    if (key === CREATE && directory !== undefined) await aside(`create overlay directory ${directory}`, DEADLINE_MS, (_off) => (mkdirs(directory), null));
  }
  const wish = { source: named(storage.source) === "" ? foreign("overlay") : storage.source, target: mountPoint, fstype: storage.fstype || "overlay" };
  if (!splitWords(options).includes(WRITABLE)) return mountGeneric({ ...wish, options });
  const { upper, work } = await makeUpper(storage, context);
  try {
    const done = await mountGeneric({ ...wish, fstype: "overlay", options: [...options, `upperdir=${upper}`, `workdir=${work}`] });
    return { ...done, extra: [upper, work] };
  } catch (error) {
    await aside(`remove ${upper} and ${work}`, DEADLINE_MS, (_off) => ([upper, work].forEach((directory) => removeTree(directory)), null))
      .catch((e: unknown) => log(Level.WARN, messageOf(e)));
    throw error;
  }
};
