// Taking away what storages have put there: unmounts, folders, reserved pages. One child does all of it, because any unmount
// may wait for a disk or a host. A step that fails does not stop the others.
import { AT, MNT, S, UMOUNT } from "../abi/flags.js";
import { SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { tryUmount } from "../sys/mount.js";
import { NR } from "../abi/nr.js";
import { AppError, messageOf } from "../lib/errors.js";
import { childTask, NotStarted, Unanswered } from "../lib/child-task.js";
import { lazy } from "../lib/lazy.js";
import { removeTree, statIf } from "../lib/fs.js";
import { Level, log } from "../lib/log.js";
import { after, type Timer } from "../lib/loop.js";
import type { Done } from "./types.js";

const DEADLINE_MS = 30_000;
const RETRY_MS = 1_000; // and less and less often
const RETRY_MOST_MS = 60_000;
const memory = lazy<typeof import("./ephemeral.js")>("storage/ephemeral.js");

/** Unmounts; what is in use is taken out of sight now, and the kernel ends it when its last user goes. */
function unmount(point: string): void {
  let r = tryUmount(point, UMOUNT.NOFOLLOW);
  if (r === -E.EBUSY) r = tryUmount(point, UMOUNT.NOFOLLOW | MNT.DETACH);
  if (r < 0 && r !== -E.EINVAL && r !== -E.ENOENT) throw new SysError("umount2", -r);
}

/** The mount point that was made for the mount: an empty folder, or an empty file. Whatever has come into it stays. */
function removeTarget(point: string): void {
  const found = statIf(point);
  const kind = (found?.mode ?? 0) & S.IFMT;
  if (found === undefined || (kind !== S.IFDIR && (kind !== S.IFREG || found.size > 0))) return;
  const r = sys(NR.unlinkat, AT.FDCWD, point, kind === S.IFDIR ? AT.REMOVEDIR : 0);
  if (r < 0 && r !== -E.ENOENT && r !== -E.EROFS && r !== -E.EBUSY) throw new SysError("rmdir", -r);
}

/** `unmounted` is told when nothing is mounted there any more: what has been there before must not go too when the rest is tried again. */
function undoOne(point: string, { mounted, folder, extra, pages }: Done, unmounted: () => void): void {
  if (mounted) unmount(point);
  unmounted();
  if (folder === "empty") removeTarget(point);
  if (folder === "tree") removeTree(point);
  for (const path of extra ?? []) removeTree(path);
  if (pages !== undefined) memory().unreserve(pages);
}

/** A mount point, and what is there. */
export type Point = readonly [point: string, done: Done];

interface Released { /** What is still there. */ readonly left: readonly Point[]; readonly error?: unknown }

/** All of them, in one child. One that could not be heard may have done anything: all is tried again, but pages are not given back twice. */
async function release(all: readonly Point[]): Promise<Released> {
  try {
    const failures = await childTask("release storages", DEADLINE_MS, () => {
      const found: [at: number, mounted: boolean, why: string][] = [];
      all.forEach(([point, done], i) => {
        let { mounted } = done;
        try {
          undoOne(point, done, () => (mounted = false));
        } catch (error) {
          found.push([i, mounted, `${point}: ${messageOf(error)}`]);
        }
      });
      return found;
    });
    if (failures.length === 0) return { left: [] };
    const left = failures.map(([i, mounted]): Point => [(all[i] as Point)[0], { ...(all[i] as Point)[1], mounted }]);
    return { left, error: new AppError("internal", `release storages: ${failures.map(([, , why]) => why).join("; ")}`) };
  } catch (error) {
    if (!(error instanceof Unanswered)) return { left: all, error };
    // at the deadline: one of them waits for its host, and so would the next child
    return { left: error.kind === "deadline" ? [] : all.map(([point, { pages: _, ...done }]) => [point, done]), error };
  }
}

let owed: readonly Point[] = []; // what could not be released; it is done as soon as it can be
let settling: Promise<void> | undefined;
let timer: Timer | undefined;
let retryMs = RETRY_MS;

function settleLater(): void {
  if (owed.length === 0) return;
  timer ??= after(retryMs, () => {
    timer = undefined;
    retryMs = Math.min(2 * retryMs, RETRY_MOST_MS);
    settle().catch((error: unknown) => log(Level.WARN, messageOf(error)));
  });
}

function settle(): Promise<void> {
  return (settling ??= settleNow().finally(() => (settling = undefined)));
}

async function settleNow(): Promise<void> {
  const all = owed;
  const { left, error } = await release(all);
  owed = [...left, ...owed.slice(all.length)];
  settleLater();
  if (error !== undefined) throw error;
}

/** What could not be released yet. */
export const stillOwed = (): readonly Point[] => owed;
/** Goes on with what an earlier process could not release. */
export function owedAlso(all: readonly Point[]): void {
  owed = [...owed, ...all];
  settleLater();
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
 * child can be made for it now. What could not be undone is remembered and done later; only who has not answered in time is not asked again.
 */
export async function undoAll(all: readonly Point[]): Promise<void> {
  if (all.length === 0) return;
  const { left, error } = await release(all);
  if (error === undefined) return;
  owed = [...owed, ...left];
  retryMs = RETRY_MS;
  settleLater();
  if (!(error instanceof NotStarted)) throw error;
  throw new AppError("exhausted", `${messageOf(error)}; they are released later: ${all.map(([point]) => point).join(" ")}`, error);
}
