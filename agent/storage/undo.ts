// Taking away what storages have put there: unmounts, folders, reserved pages. One child does all of it, because any unmount
// may wait for a disk or a host. A step that fails does not stop the others.
import { SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { AT, AT_FDCWD, S } from "../sys/file.js";
import { MNT, tryUmount } from "../sys/mount.js";
import { NR } from "../abi/nr.js";
import { AppError, messageOf } from "../lib/errors.js";
import { childTask, NotStarted } from "../lib/child-task.js";
import { lazy } from "../lib/lazy.js";
import { removeTree, statIf } from "../lib/fs.js";
import { Level, log } from "../lib/log.js";
import { after, type Timer } from "../lib/loop.js";
import type { Done } from "./types.js";

const DEADLINE_MS = 30_000;
const RETRY_MS = 1_000;
const NOFOLLOW = 8;
const memory = lazy<typeof import("./ephemeral.js")>("storage/ephemeral.js");

/** Unmounts; what is in use is taken out of sight now, and the kernel ends it when its last user goes. */
function unmount(point: string): void {
  let r = tryUmount(point, NOFOLLOW);
  if (r === -E.EBUSY) r = tryUmount(point, NOFOLLOW | MNT.DETACH);
  if (r < 0 && r !== -E.EINVAL && r !== -E.ENOENT) throw new SysError("umount2", -r);
}

/** The mount point that was made for the mount: an empty folder, or an empty file. Whatever has come into it stays. */
function removeTarget(point: string): void {
  const found = statIf(point);
  const kind = (found?.mode ?? 0) & S.IFMT;
  if (found === undefined || (kind !== S.IFDIR && (kind !== S.IFREG || found.size > 0))) return;
  const r = sys(NR.unlinkat, AT_FDCWD, point, kind === S.IFDIR ? AT.REMOVEDIR : 0);
  if (r < 0 && r !== -E.ENOENT && r !== -E.EROFS && r !== -E.EBUSY) throw new SysError("rmdir", -r);
}

function undoOne(point: string, { mounted, folder, extra, pages }: Done): void {
  if (mounted) unmount(point);
  if (folder === "empty") removeTarget(point);
  if (folder === "tree") removeTree(point);
  for (const path of extra ?? []) removeTree(path);
  if (pages !== undefined) memory().unreserve(pages);
}

type Point = readonly [point: string, done: Done];

async function release(all: readonly Point[]): Promise<void> {
  const failures = await childTask("release storages", DEADLINE_MS, () => {
    const found: string[] = [];
    for (const [point, done] of all) {
      try {
        undoOne(point, done);
      } catch (error) {
        found.push(`${point}: ${messageOf(error)}`);
      }
    }
    return found;
  });
  if (failures.length > 0) throw new AppError("internal", `release storages: ${failures.join("; ")}`);
}

let owed: Point[] = []; // what no child could be made for; it is done as soon as there can be one
let settling: Promise<void> | undefined;
let timer: Timer | undefined;

function settleLater(): void {
  timer ??= after(RETRY_MS, () => {
    timer = undefined;
    settle().catch((error: unknown) => log(Level.WARN, messageOf(error)));
  });
}

function settle(): Promise<void> {
  return (settling ??= settleNow().finally(() => (settling = undefined)));
}

async function settleNow(): Promise<void> {
  const all = owed;
  try {
    await release(all);
    owed = owed.slice(all.length);
  } catch (error) {
    if (!(error instanceof NotStarted)) owed = owed.slice(all.length); // it has been tried
    throw error;
  } finally {
    if (owed.length > 0) settleLater();
  }
}

/**
 * Does now what could not be done before at one of these points (without any: anywhere), because somebody wants to mount something
 * there or to be sure that nothing is left. Rejects when it still cannot be done.
 */
export async function settled(points?: readonly string[]): Promise<void> {
  if (owed.some(([at]) => points === undefined || points.includes(at))) await settle();
}

/**
 * Undoes everything in the given order. Rejects at the end with the failures there were, in one AppError; kind "exhausted" when no
 * child can be made for it now: then it is remembered and done later.
 */
export async function undoAll(all: readonly Point[]): Promise<void> {
  if (all.length === 0) return;
  try {
    await release(all);
  } catch (error) {
    if (!(error instanceof NotStarted)) throw error;
    owed = [...owed, ...all];
    settleLater();
    throw new AppError("exhausted", `${messageOf(error)}; they are released later: ${all.map(([point]) => point).join(" ")}`, error);
  }
}
