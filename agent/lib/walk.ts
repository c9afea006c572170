// A way through a tree whose depth, width and names somebody else has chosen: folder by folder, relative to descriptors, of which
// few are open at a time. The way back to a folder that had to be closed is "..", and it counts only if it leads to what was left
// (the same device and inode): who moves folders meanwhile leads nobody out of the tree. Links and mounts are never entered.
// Synchronous; trees that are large are for a child (child-task.ts). See openat2(2), getdents64(2).
import { O, RESOLVE } from "../abi/flags.js";
import type { Fd } from "../sys/fd.js";
import { fstat, Listing, openat2 } from "../sys/file.js";
import { AppError } from "./errors.js";

const OPEN = 64;
const SAME_MOUNT = RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;

/** A folder on the way; one that is closed keeps what it is known by, and how many entries of it were read and are still there. */
interface Level { fd: Fd; listing: Listing | undefined; seen: number; dev: number; ino: number; readonly name: Uint8Array }

export interface WalkEntry { readonly bytes: Uint8Array; readonly type: number }

export class Walk {
  readonly #levels: Level[];
  /** Takes an open folder (O_RDONLY), which it closes in the end. */
  constructor(top: Fd) {
    this.#levels = [{ fd: top, listing: undefined, seen: 0, dev: 0, ino: 0, name: new Uint8Array(0) }];
  }
  get #level(): Level {
    return this.#levels[this.#levels.length - 1] as Level;
  }
  /** How far below the top the present folder is. */
  get depth(): number {
    return this.#levels.length - 1;
  }
  get top(): Fd {
    return (this.#levels[0] as Level).fd;
  }
  /** The present folder. */
  get folder(): Fd {
    return this.#level.fd;
  }

  /** The next entry of the present folder; undefined at its end. */
  next(): WalkEntry | undefined {
    const level = this.#level;
    if (level.listing === undefined) { // come back to: what was read before is passed over
      level.listing = new Listing(level.fd);
      for (let i = 0; i < level.seen; i++) if (level.listing.next() === undefined) return undefined;
    }
    const entry = level.listing.next();
    if (entry !== undefined) level.seen++;
    return entry;
  }
  /** The entry that `next` or `leave` gave last is no longer there. */
  gone(): void {
    this.#level.seen--;
  }

  /** Makes a folder of the present one the present one. Throws SysError: EXDEV for another mount, ELOOP or ENOTDIR for what is none, ENOENT. */
  enter(name: Uint8Array): void {
    const fd = openat2(this.folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW, SAME_MOUNT | RESOLVE.BENEATH);
    this.#levels.push({ fd, listing: undefined, seen: 0, dev: 0, ino: 0, name });
    if (this.#levels.length > OPEN + 1) this.#close(this.#levels[this.#levels.length - 1 - OPEN] as Level); // the top stays open
  }
  #close(level: Level): void {
    const { devMajor, devMinor, ino } = fstat(level.fd);
    level.dev = devMajor * 4294967296 + devMinor;
    level.ino = ino;
    level.listing = undefined;
    level.fd.close();
  }

  /** Back to the folder above; the name in it of the one that was left. Throws "unavailable" when that has been moved. */
  leave(): Uint8Array {
    const left = this.#levels.pop() as Level;
    using below = left.fd;
    const level = this.#level;
    if (level.fd.open) return left.name;
    const above = openat2(below, "..", O.RDONLY | O.DIRECTORY, SAME_MOUNT);
    const { devMajor, devMinor, ino } = fstat(above);
    if (ino !== level.ino || devMajor * 4294967296 + devMinor !== level.dev) {
      above.close();
      throw new AppError("unavailable", "a folder has been moved meanwhile");
    }
    level.fd = above;
    return left.name;
  }

  /** Closes what is open. */
  close(): void {
    for (const { fd } of this.#levels) fd.close();
  }
}
