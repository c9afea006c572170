// Removal of a tree that somebody else has filled: any depth and width, names of any length, files that are immutable or can only be
// appended to, mounts. Few descriptors and little memory whatever it holds: a folder that lies deep is moved up to the top of the
// tree and has its turn later. What cannot be removed does not keep the rest. Synchronous; it may take long, so a child does it.
// See unlink(2), rename(2), ioctl_iflags(2), umount(2).
import { AT, DT, FS, MNT, O, RENAME, RESOLVE, S } from "../abi/flags.js";
import { isErrno, SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { Fd, fdPath } from "../sys/fd.js";
import { modeOf, nameOf, openat2, openat2Raw, type At, type Path } from "../sys/file.js";
import { tryUmount } from "../sys/mount.js";
import { NR } from "../abi/nr.js";
import { getpid } from "../sys/system.js";
import { AppError, messageOf } from "./errors.js";
import { Walk, type WalkEntry } from "./walk.js";

const DEEP = 48; // fewer than a walk keeps open: it never has to find its way back
const TOLD = 3;
const STACKED = 100; // mounts on one place
const IN_TREE = RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;

const numberOf = (at: At): number => (typeof at === "number" ? at : at.n);

/** Takes away the flags that keep a file or a folder from being changed; true when there were some. */
function unprotect(fd: Fd): boolean {
  const flags = new Int32Array(2);
  if (sys(NR.ioctl, fd.n, FS.IOC_GETFLAGS, flags.buffer as ArrayBuffer) < 0) return false;
  const old = flags[0] as number;
  if ((old & (FS.IMMUTABLE_FL | FS.APPEND_FL)) === 0) return false;
  flags[0] = old & ~(FS.IMMUTABLE_FL | FS.APPEND_FL);
  return sys(NR.ioctl, fd.n, FS.IOC_SETFLAGS, flags.buffer as ArrayBuffer) === 0;
}

function unprotectIn(dir: At, name: Path): boolean {
  const kind = (() => {
    try {
      return modeOf(dir, name, AT.SYMLINK_NOFOLLOW) & S.IFMT;
    } catch {
      return 0;
    }
  })();
  if (kind !== S.IFREG && kind !== S.IFDIR) return false; // opening a device or a pipe does something
  const n = openat2Raw(dir, name, O.RDONLY | O.NONBLOCK | O.NOFOLLOW, dir === AT.FDCWD ? 0 : IN_TREE);
  if (n < 0) return false;
  using file = new Fd(n);
  return unprotect(file);
}

/** Takes a mount out of sight; the kernel ends it when its last user goes. */
function detach(dir: At, name: Path): boolean {
  const n = openat2Raw(dir, name, O.PATH | O.NOFOLLOW, dir === AT.FDCWD ? 0 : RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
  if (n < 0) return false;
  using place = new Fd(n);
  return tryUmount(fdPath(place), MNT.DETACH) === 0;
}

class Pass {
  changed = 0;
  stays = 0;
  readonly reasons: string[] = [];
  constructor(readonly walk: Walk, readonly unmount: boolean) {}

  keep(name: Uint8Array, why: unknown): void {
    if (++this.stays <= TOLD) this.reasons.push(`${nameOf(name)}: ${messageOf(why)}`);
  }

  /** unlinkat(2) with whatever is in its way; ENOTEMPTY for a folder that is to be emptied first. */
  unlink(name: Uint8Array, type: number): number {
    const dir = this.walk.folder;
    let flags = type === DT.DIR ? AT.REMOVEDIR : 0;
    let protectedOnce = false;
    for (let tries = 0; ; tries++) {
      const r = sys(NR.unlinkat, dir.n, name, flags);
      if (r === -E.EISDIR && flags === 0) flags = AT.REMOVEDIR;
      else if (r === -E.ENOTDIR && flags !== 0) flags = 0;
      else if (r === -E.EBUSY && this.unmount && tries < STACKED && detach(dir, name)) this.changed++;
      else if ((r === -E.EPERM || r === -E.EACCES) && !protectedOnce) {
        protectedOnce = true;
        const [own, its] = [unprotect(dir), unprotectIn(dir, name)];
        if (!own && !its) return r;
      } else return r;
    }
  }

  /** What becomes of an entry, by the answer of `unlink`. */
  settle(name: Uint8Array, r: number): void {
    if (r === 0) this.changed++;
    if (r === 0 || r === -E.ENOENT) this.walk.gone();
    else this.keep(name, new SysError("unlinkat", -r));
  }

  /** A folder deep down goes to the top, where it is found again. False: it stays where it is (EXDEV on some overlays). */
  raise(name: Uint8Array): boolean {
    const { walk } = this;
    for (let n = this.changed; n < this.changed + 8; n++) {
      const to = `.removed-${getpid()}-${n}`;
      let r = sys(NR.renameat2, walk.folder.n, name, walk.top.n, to, RENAME.NOREPLACE);
      if (r === -E.EINVAL) r = sys(NR.renameat2, walk.folder.n, name, walk.top.n, to, 0); // a file system without the flag: what is there is to go too
      if (r === 0) {
        this.changed++;
        walk.gone();
      }
      if (r !== -E.EEXIST && r !== -E.ENOTEMPTY && r !== -E.ENOTDIR) return r === 0;
    }
    return false;
  }

  visit({ bytes, type }: WalkEntry): void {
    const r = this.unlink(bytes, type);
    if (r !== -E.ENOTEMPTY && r !== -E.EEXIST) return this.settle(bytes, r);
    if (this.walk.depth >= DEEP && this.raise(bytes)) return;
    try {
      this.walk.enter(bytes);
    } catch (error) {
      if (isErrno(error, E.ENOENT)) this.walk.gone();
      else this.keep(bytes, error);
    }
  }

  run(): void {
    const { walk } = this;
    try {
      for (;;) {
        const entry = walk.next();
        if (entry !== undefined) this.visit(entry);
        else if (walk.depth === 0) return;
        else {
          const name = walk.leave();
          this.settle(name, this.unlink(name, DT.DIR));
        }
      }
    } catch (error) {
      this.stays++;
      this.reasons.push(messageOf(error));
    }
  }
}

/**
 * Removes a folder with everything in it. Passes are repeated as long as one changes something. With `unmount` mounts in it are taken
 * out of sight, else they stay, with what is on the way to them. Throws AppError "internal" that says what stays and why.
 */
export function removeFolder(at: At, path: Path, unmount: boolean): void {
  for (;;) {
    let r = sys(NR.unlinkat, numberOf(at), path, AT.REMOVEDIR);
    if (r === -E.EBUSY && unmount && detach(at, path)) continue;
    if (r === 0 || r === -E.ENOENT) return;
    if (r === -E.ENOTDIR && unprotectIn(at, path)) r = sys(NR.unlinkat, numberOf(at), path, 0); // a file after all
    if (r === 0) return;
    const protectedNow = r === -E.EPERM || r === -E.EACCES;
    if (r !== -E.ENOTEMPTY && r !== -E.EEXIST && !protectedNow) throw new SysError("unlinkat", -r);
    const top = openat2(at, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW, at === AT.FDCWD ? 0 : RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS);
    const walk = new Walk(top);
    const pass = new Pass(walk, unmount);
    try {
      if (protectedNow && !unprotect(top)) throw new SysError("unlinkat", -r);
      pass.run();
    } finally {
      walk.close();
    }
    r = sys(NR.unlinkat, numberOf(at), path, AT.REMOVEDIR);
    if (r === 0 || r === -E.ENOENT) return;
    if (pass.changed > 0 || protectedNow) continue;
    const more = pass.stays > TOLD ? `, and ${pass.stays - TOLD} more` : "";
    throw new AppError("internal", pass.stays === 0 ? messageOf(new SysError("unlinkat", -r)) : `${pass.stays} files stay: ${pass.reasons.join("; ")}${more}`);
  }
}
