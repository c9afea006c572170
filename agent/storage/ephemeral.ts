// Memory-backed volumes of the pod (shm, emptyDir), huge pages, and plain folders of the guest. They belong to the pod: a
// container that ends leaves them. Size, mode and flags are honoured. See agent-api 13.7 to 13.9.
import { AT, S } from "../abi/flags.js";
import { fchmodat, fchownat, stat } from "../sys/file.js";
import { aside, named, type OffLoop, reach } from "../lib/foreign.js";
import { AppError, attempt } from "../lib/errors.js";
import { mkdirs, readText, removeTree, statIf, writeText } from "../lib/fs.js";
import { decimal, parseBase } from "../lib/text.js";
import { mountGeneric } from "./mount.js";
import { optionValue, splitWords } from "./options.js";
import type { Done, Driver, Storage } from "./types.js";

const DEADLINE_MS = 30_000;

function groupOf(options: readonly string[]): number | undefined {
  const text = optionValue(options, "fsgid");
  if (text === undefined) return undefined;
  const gid = decimal(text);
  if (gid === undefined) throw new AppError("internal", `invalid fsgid "${text}"`);
  return gid;
}

function modeOf(options: readonly string[]): number | undefined {
  const text = optionValue(options, "mode");
  if (text === undefined) return undefined;
  const mode = parseBase(text, 8);
  if (mode === undefined) throw new AppError("internal", `invalid mode "${text}"`);
  return mode;
}

function setOwner(path: string, gid: number | undefined, mode: number | undefined, _off: OffLoop): void {
  if (gid !== undefined) fchownat(AT.FDCWD, path, -1, gid);
  if (gid === undefined && mode === undefined) return;
  fchmodat(AT.FDCWD, path, (mode ?? stat(path).mode & 0o7777) | (gid === undefined ? 0 : S.ISGID));
}

/** tmpfs (or whatever type the host names), or huge pages. */
export const ephemeral: Driver = async (storage) => {
  const { fstype, options, mountPoint, source } = storage;
  if (fstype === "hugetlbfs") return hugePages(storage);
  const gid = groupOf(options);
  return mountGeneric({ source, target: mountPoint, fstype, options }, (target, off) => setOwner(target, gid, undefined, off));
};

function bytesOf(options: readonly string[], key: string): number {
  const text = optionValue(options, key);
  const bytes = text === undefined ? undefined : decimal(text);
  if (bytes === undefined || bytes === 0) throw new AppError("internal", `huge pages need the option ${key}=<bytes>${text === undefined ? "" : `, not "${text}"`}`);
  return bytes;
}

const pagesIn = (file: string): number => decimal(attempt(`read ${file}`, () => readText(file)).trim()) ?? 0;

/** Sets pages aside, on top of those that other volumes have. The kernel may move much memory about for them. */
function reserve(options: readonly string[], _off: OffLoop): { file: string; count: number } {
  const size = bytesOf(options, "pagesize");
  const count = Math.floor(bytesOf(options, "size") / size);
  const file = `/sys/kernel/mm/hugepages/hugepages-${size / 1024}kB/nr_hugepages`;
  const wanted = pagesIn(file) + count;
  writeText(file, String(wanted));
  const got = pagesIn(file);
  if (got === wanted) return { file, count };
  writeText(file, String(wanted - count));
  throw new AppError("internal", `Only allocated ${Math.max(0, got - wanted + count)} of ${count} huge pages of ${size} bytes`);
}

/** Gives pages back. */
export function unreserve({ file, count }: { readonly file: string; readonly count: number }): void {
  writeText(file, String(Math.max(0, pagesIn(file) - count)));
}

async function hugePages({ fstype, options, mountPoint, source }: Storage): Promise<Done> {
  const gid = groupOf(options);
  const pages = await aside("reserve huge pages", DEADLINE_MS, (off) => reserve(options, off));
  try {
    const done = await mountGeneric({ source, target: mountPoint, fstype, options: splitWords(options) }, (target, off) => setOwner(target, gid, undefined, off));
    return { ...done, pages };
  } catch (error) {
    await aside("give huge pages back", DEADLINE_MS, (_off) => (unreserve(pages), null));
    throw error;
  }
}

/** True when the folder was not there before. */
function makeFolder(path: string, gid: number | undefined, mode: number | undefined, off: OffLoop): boolean {
  const made = statIf(path) === undefined;
  mkdirs(path);
  try {
    setOwner(path, gid, mode, off);
  } catch (error) {
    if (made) removeTree(path);
    throw error;
  }
  return made;
}

/** A folder of the guest's own file system, or of the share with the host, which may not answer: a helper makes it. */
export const local: Driver = async ({ mountPoint, options }) => {
  const gid = groupOf(options);
  const mode = modeOf(options);
  const made = await aside(`make ${named(mountPoint)}`, DEADLINE_MS, (off) => makeFolder(reach(mountPoint, off), gid, mode, off));
  return { mounted: false, folder: made ? "tree" : "keep" };
};
