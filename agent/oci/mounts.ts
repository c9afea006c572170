// One mounts[] entry to what the kernel is told: flags, data, propagation, recursive attributes (runtime-spec config.md
// "Mounts", mount(2), mount_setattr(2)). Pure: constants are those of the kernel's headers.
import { MOUNT_ATTR, MS } from "../abi/flags.js";
import type { IdMapping, Mount } from "./spec.js";

type Words = { readonly __proto__: null; readonly [option: string]: number | null | undefined };

/** Options that set flags, that clear them, and that say how mounts spread, in mount(8)'s words. */
export const SET: Words = {
  __proto__: null,
  ro: MS.RDONLY, nosuid: MS.NOSUID, nodev: MS.NODEV, noexec: MS.NOEXEC, sync: MS.SYNCHRONOUS, dirsync: MS.DIRSYNC, noatime: MS.NOATIME, nodiratime: MS.NODIRATIME, relatime: MS.RELATIME,
  strictatime: MS.STRICTATIME, lazytime: MS.LAZYTIME, iversion: MS.I_VERSION, mand: MS.MANDLOCK, silent: MS.SILENT, nosymfollow: MS.NOSYMFOLLOW, bind: MS.BIND, rbind: MS.BIND | MS.REC, remount: MS.REMOUNT,
};
export const CLEAR: Words = {
  __proto__: null,
  rw: MS.RDONLY, suid: MS.NOSUID, dev: MS.NODEV, exec: MS.NOEXEC, async: MS.SYNCHRONOUS, atime: MS.NOATIME, diratime: MS.NODIRATIME, norelatime: MS.RELATIME, nostrictatime: MS.STRICTATIME,
  nolazytime: MS.LAZYTIME, noiversion: MS.I_VERSION, nomand: MS.MANDLOCK, loud: MS.SILENT, symfollow: MS.NOSYMFOLLOW, defaults: 0,
};
export const PROPAGATION: Words = {
  __proto__: null,
  private: MS.PRIVATE, rprivate: MS.PRIVATE | MS.REC, shared: MS.SHARED, rshared: MS.SHARED | MS.REC, slave: MS.SLAVE, rslave: MS.SLAVE | MS.REC, unbindable: MS.UNBINDABLE, runbindable: MS.UNBINDABLE | MS.REC,
};
/** mount_setattr(2): [attributes set, attributes cleared]. Any access-time attribute clears the whole enumeration first. */
const RECURSIVE: { readonly __proto__: null; readonly [option: string]: readonly [number, number] | null | undefined } = {
  __proto__: null,
  rro: [MOUNT_ATTR.RDONLY, 0], rrw: [0, MOUNT_ATTR.RDONLY], rnosuid: [MOUNT_ATTR.NOSUID, 0], rsuid: [0, MOUNT_ATTR.NOSUID], rnodev: [MOUNT_ATTR.NODEV, 0], rdev: [0, MOUNT_ATTR.NODEV],
  rnoexec: [MOUNT_ATTR.NOEXEC, 0], rexec: [0, MOUNT_ATTR.NOEXEC], rnodiratime: [MOUNT_ATTR.NODIRATIME, 0], rdiratime: [0, MOUNT_ATTR.NODIRATIME],
  rrelatime: [0, MOUNT_ATTR._ATIME], rnorelatime: [0, MOUNT_ATTR._ATIME], rnoatime: [MOUNT_ATTR.NOATIME, MOUNT_ATTR._ATIME], ratime: [0, MOUNT_ATTR._ATIME],
  rstrictatime: [MOUNT_ATTR.STRICTATIME, MOUNT_ATTR._ATIME], rnostrictatime: [0, MOUNT_ATTR._ATIME], rnosymfollow: [MOUNT_ATTR.NOSYMFOLLOW, 0], rsymfollow: [0, MOUNT_ATTR.NOSYMFOLLOW],
};

/** Options that are about the mount itself, not its flags: bits of `extra`. */
export const enum EXTRA {
  /** tmpfs that begins with a copy of what lies below it. */
  COPY_UP = 1,
  /** The owners of files are mapped; RIDMAP: also those of the mounts below. */
  IDMAP = 2, RIDMAP = 4,
  /** A source that is a link is not mounted: the same link is made. */
  COPY_LINK = 8,
  /** The last part of source or destination may be a link, which is then mounted, or mounted over. */
  SOURCE_LINK = 16, DESTINATION_LINK = 32,
}
const EXTRAS: Words = { __proto__: null, tmpcopyup: EXTRA.COPY_UP, idmap: EXTRA.IDMAP, ridmap: EXTRA.IDMAP | EXTRA.RIDMAP, "copy-symlink": EXTRA.COPY_LINK, "src-nofollow": EXTRA.SOURCE_LINK, "dest-nofollow": EXTRA.DESTINATION_LINK };

/** All options by name, for those who are asked what the engine knows. */
export const optionNames = (): string[] => [SET, CLEAR, PROPAGATION, RECURSIVE, EXTRAS].flatMap((words) => Object.keys(words)).sort();

export interface MountPlan {
  readonly source: string;
  readonly at: string;
  readonly type: string;
  readonly flags: number;
  /** Flags that the options cleared in so many words. */
  readonly cleared: number;
  /** Flags of a bind's source that no option speaks of and that it is to lose, where the kernel lets it; it keeps the others. */
  readonly dropped: number;
  readonly data: string;
  readonly propagation: readonly number[];
  readonly setRecursive: number;
  readonly clearRecursive: number;
  /** Bits of EXTRA. */
  readonly extra: number;
  /** The mount's own mappings of ids. */
  readonly maps?: { readonly uids: readonly IdMapping[]; readonly gids: readonly IdMapping[] };
}

/** Is it a bind mount? */
export const isBind = (plan: { readonly flags: number }): boolean => (plan.flags & MS.BIND) !== 0;

/** Flags that a mount may have more strictly than the one it is a copy of. How it keeps times of access is another question: see `ATIMES`. */
const OF_MOUNT = MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.NOSYMFOLLOW;
/** One choice: as soon as one of them is set, the others no longer count; without any the source's stay, also when they are cleared (mount(2), MS_REMOUNT). */
export const ATIMES = MS.NOATIME | MS.NODIRATIME | MS.RELATIME | MS.STRICTATIME;

const NONE: readonly string[] = [];
const NOBODY: readonly IdMapping[] = [];

/** Reads the options of one entry; unknown ones become data for the file system. A bind's source may be relative to `bundle`; with `exact` and any flag in its options it has those and no others. */
export function mountPlan(mount: Mount, bundle = "", exact = false): MountPlan {
  let flags = mount.type === "bind" ? MS.BIND : 0;
  let cleared = 0;
  let setRecursive = 0;
  let clearRecursive = 0;
  let extra = 0;
  const propagation: number[] = [];
  let data = "";
  const other = (option: string): void => {
    const change = RECURSIVE[option];
    const spread = PROPAGATION[option];
    if (spread != null) propagation.push(spread);
    else if (change != null) {
      setRecursive = (setRecursive & ~change[1]) | change[0];
      clearRecursive = (clearRecursive & ~change[0]) | change[1];
    } else if (EXTRAS[option] != null) extra |= EXTRAS[option];
    else if (option !== "") data = data === "" ? option : `${data},${option}`;
  };
  for (const option of mount.options ?? NONE) {
    const set = SET[option];
    const clear = set == null ? CLEAR[option] : undefined;
    if (set != null) {
      flags |= set;
      cleared &= ~set;
    } else if (clear != null) {
      flags &= ~clear;
      cleared |= clear;
    } else other(option);
  }
  const at = mount.destination.startsWith("/") ? mount.destination : `/${mount.destination}`;
  const maps = mount.uidMappings?.length ? { uids: mount.uidMappings, gids: mount.gidMappings ?? NOBODY } : undefined;
  if (maps !== undefined) extra |= EXTRA.IDMAP;
  let source = mount.source ?? mount.type ?? "none";
  if ((flags & MS.BIND) !== 0 && !source.startsWith("/")) source = `${bundle}/${source}`;
  const dropped = exact && (flags & MS.BIND) !== 0 && (flags & ~(MS.BIND | MS.REC) | cleared) !== 0 ? OF_MOUNT & ~(flags | cleared) : 0;
  return { source, at, type: mount.type ?? "none", flags, cleared, dropped, data, propagation, setRecursive, clearRecursive, extra, ...(maps === undefined ? {} : { maps }) };
}
