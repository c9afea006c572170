// watchable-bind: small folders of the host (config maps, secrets) that containers watch with inotify(7), which virtio-fs
// cannot do. They are copied into a tmpfs and followed every two seconds; what is too large is mounted instead. See agent-api 20.
import { S } from "../abi/flags.js";
import { lstat } from "../sys/file.js";
import { AppError, messageOf } from "../lib/errors.js";
import { aside, foreign, type ForeignPath, named, type OffLoop, reach } from "../lib/foreign.js";
import { createFile, mkdirs, removeTree } from "../lib/fs.js";
import { Level, log } from "../lib/log.js";
import { after, type Timer } from "../lib/loop.js";
import { decimal } from "../lib/text.js";
import { mountGeneric } from "./mount.js";
import { mountOn } from "../lib/mountinfo.js";
import { register } from "./refs.js";
import type { Driver, StorageTable } from "./types.js";
import { sync, TooMuch } from "./watch-sync.js";

const PERIOD_MS = 2000;
const DEADLINE_MS = 10_000;
const ROOTS = ["/run/kata-containers/shared/containers/watchable", "/run/kata-containers/shared/containers/passthrough/watchable"];

interface Followed { readonly source: ForeignPath; readonly target: ForeignPath; readonly table: StorageTable }
/** By mount point. */
export const followed = new Map<string, Followed>();
let timer: Timer | undefined;

/** The folder that a target lies in, if it is one that watchable mounts may lie in. Throws AppError. */
export function watchableRoot(target: string): string {
  const parent = target.slice(0, Math.max(0, target.lastIndexOf("/")));
  const dotted = target.split("/").some((p) => p === "." || p === "..");
  if (!dotted && target.length > parent.length + 1) {
    if (ROOTS.includes(parent)) return parent;
    const user = parent.startsWith("/run/user/") ? parent.slice("/run/user/".length) : "";
    const uid = user.slice(0, Math.max(0, user.indexOf("/")));
    if (decimal(uid) !== undefined && Number(uid) > 0 && String(Number(uid)) === uid && ROOTS.includes(user.slice(uid.length))) return parent;
  }
  throw new AppError("internal", `invalid watchable tmpfs root: ${target}`);
}

/** One round for one target, in a helper; false when it is too much to follow. */
function round(source: ForeignPath, target: ForeignPath): Promise<boolean> {
  return aside(`follow ${named(source)}`, DEADLINE_MS, (off) => {
    try {
      sync(reach(source, off), reach(target, off));
      return true;
    } catch (error) {
      if (error instanceof TooMuch) return false;
      throw error;
    }
  });
}

async function followAll(): Promise<void> {
  for (const [point, { source, target, table }] of [...followed]) {
    if (!table.has(point)) {
      followed.delete(point);
      continue;
    }
    try {
      if (await round(source, target)) continue;
      followed.delete(point);
      await bind(source, target);
      const done = table.get(point)?.done;
      const entry = table.get(point);
      if (entry !== undefined && done !== undefined) entry.done = { ...done, mounted: true };
    } catch (error) {
      log(Level.WARN, `watchable mount: ${messageOf(error)}`);
    }
  }
  timer = undefined;
  schedule();
}

/** Looks at them again, some time from now. */
export function schedule(): void {
  if (timer === undefined && followed.size > 0) timer = after(PERIOD_MS, () => void followAll());
}

async function bind(source: ForeignPath, target: ForeignPath): Promise<void> {
  await mountGeneric({ source, target, fstype: "bind", options: ["rbind"] });
}

async function isFolder(source: ForeignPath): Promise<boolean> {
  return aside(`look at ${named(source)}`, DEADLINE_MS, (off) => (lstat(reach(source, off)).mode & S.IFMT) === S.IFDIR);
}

/** The way to a target leads through the host's share, which may not answer. */
async function onShare(what: string, step: (off: OffLoop) => void): Promise<void> {
  await aside(what, DEADLINE_MS, (off) => (step(off), null));
}

/** Copies the source and begins to follow it. */
export const watchable: Driver = async ({ source, mountPoint }, { table, containerId }) => {
  if (containerId === undefined) throw new AppError("internal", `watchable mount ${named(mountPoint)} is for a container`);
  const root = watchableRoot(named(mountPoint));
  await onShare(`make ${root}`, (_off) => mkdirs(root));
  if (mountOn(root)?.fstype !== "tmpfs") {
    const done = await mountGeneric({ source: foreign("tmpfs"), target: foreign(root), fstype: "tmpfs", options: ["nosuid", "nodev", "mode=0755"] });
    register(table, root, false, true).done = done; // the sandbox's: goes with it
  }
  const folder = await isFolder(source);
  const make = (off: OffLoop): void => (folder ? mkdirs(reach(mountPoint, off)) : createFile(reach(mountPoint, off), ""));
  const remove = (): Promise<void> => onShare(`remove ${named(mountPoint)}`, (off) => removeTree(reach(mountPoint, off)));
  await onShare(`make ${named(mountPoint)}`, make);
  try {
    if (!(await round(source, mountPoint))) {
      await remove();
      await onShare(`make ${named(mountPoint)}`, make);
      await bind(source, mountPoint);
      return { mounted: true, folder: "tree" };
    }
  } catch (error) {
    await remove();
    throw error;
  }
  followed.set(named(mountPoint), { source, target: mountPoint, table });
  schedule();
  return { mounted: false, folder: "tree" };
};
