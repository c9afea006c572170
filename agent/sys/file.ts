// Files and directories: open(2), openat2(2), read(2), write(2), statx(2), getdents64(2), *at(2) calls, pipes and memfds.
// Every path is used once, relative to a descriptor where a tree may be hostile. All calls are synchronous.
import { LinuxDirent64, OpenHow, Statfs, Statx } from "../abi/layouts.js";
import { ACCESS, AT, F, MFD, O, STATX } from "../abi/flags.js";
import { check, must, retry, sys } from "./call.js";
import { E } from "../abi/errno.js";
import { Fd } from "./fd.js";
import { NR } from "../abi/nr.js";
import { struct, viewOf } from "./struct.js";
import { bytesText, textBytes } from "./utf8.js";

/** A directory to resolve from: a descriptor, or the working directory. */
export type At = Fd | number;
/** A path: text, or raw bytes that end in NUL (names that are not UTF-8). */
export type Path = string | Uint8Array;
const dirNumber = (at: At): number => (typeof at === "number" ? at : at.n);

/** openat(2); close-on-exec is always set. */
export function openat(at: At, path: Path, flags: number, mode = 0): Fd {
  return new Fd(must("openat", NR.openat, dirNumber(at), path, flags | O.CLOEXEC, mode));
}

/** open(2); close-on-exec is always set. */
export function open(path: Path, flags: number, mode = 0): Fd {
  return new Fd(must("open", NR.openat, AT.FDCWD, path, flags | O.CLOEXEC, mode));
}

const how = new Uint32Array(OpenHow.SIZE / 4); // reused, since a child opens many paths
const enum HowWord { FLAGS = OpenHow.flags / 4, MODE = OpenHow.mode / 4, RESOLVE = OpenHow.resolve / 4 }
const howAddress = native.addressOf(how.buffer as ArrayBuffer);

/** openat2(2) with RESOLVE_* bits that answers the descriptor's number or the negative errno; close-on-exec is always set. */
export function openat2Raw(at: At, path: Path, flags: number, resolve: number, mode = 0): number {
  how[HowWord.FLAGS] = flags | O.CLOEXEC;
  how[HowWord.MODE] = mode;
  how[HowWord.RESOLVE] = resolve;
  const dir = dirNumber(at);
  // EAGAIN: the tree changed while it was being resolved (a rename elsewhere); the man page says to repeat
  for (let tries = 0; ; tries++) {
    const r = sys(NR.openat2, dir, path, howAddress, OpenHow.SIZE);
    if (r !== -E.EAGAIN || tries === 32) return r;
  }
}

/** openat2(2) with RESOLVE_* bits; close-on-exec is always set. */
export function openat2(at: At, path: Path, flags: number, resolve: number, mode = 0): Fd {
  return new Fd(check("openat2", openat2Raw(at, path, flags, resolve, mode)));
}

/** read(2) into bytes [offset, offset + length); EINTR is repeated. */
export function read(fd: Fd, bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
  return check("read", readRaw(fd.n, bytes, offset, length));
}

/** read(2) that answers the negative errno (hot paths, EAGAIN). */
export function readRaw(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  const at = native.addressOf(bytes) + offset;
  return retry(() => sys(NR.read, fd, at, length));
}

/** One write(2); returns the bytes taken. */
export function write(fd: Fd, bytes: Uint8Array | string): number {
  const data = typeof bytes === "string" ? textBytes(bytes) : bytes;
  return check("write", retry(() => sys(NR.write, fd.n, data, data.length)));
}

/** Writes everything to a blocking descriptor. Throws SysError; EIO for a file that takes nothing and names no error. */
export function writeAll(fd: Fd, bytes: Uint8Array | string): void {
  let rest = typeof bytes === "string" ? textBytes(bytes) : bytes;
  while (rest.length > 0) rest = rest.subarray(taken("write", write(fd, rest)));
}

/** pwrite64(2), all bytes. Throws SysError; EIO for a file that takes nothing and names no error. */
export function pwriteAll(fd: Fd, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length; ) {
    const rest = bytes.subarray(done);
    done += taken("pwrite64", check("pwrite64", retry(() => sys(NR.pwrite64, fd.n, rest, rest.length, offset + done))));
  }
}

/** write(2) of some bytes may answer 0, as often as it is asked: no progress is an error. */
const taken = (call: string, n: number): number => check(call, n === 0 ? -E.EIO : n);

const statxWords = new Uint32Array(Statx.SIZE / 4); // reused
const statxAddress = native.addressOf(statxWords.buffer as ArrayBuffer);

export interface Stat {
  readonly mode: number; readonly uid: number; readonly gid: number; readonly size: number; readonly ino: number; readonly nlink: number;
  readonly rdevMajor: number; readonly rdevMinor: number; readonly devMajor: number; readonly devMinor: number; readonly mntId: number;
  readonly mtimeSec: number; readonly mtimeNsec: number; readonly ctimeSec: number; readonly ctimeNsec: number;
}

const word = (at: number): number => statxWords[at >> 2] as number;
const wide = (at: number): number => word(at + 4) * 4294967296 + word(at);
const signedWide = (at: number): number => (word(at + 4) | 0) * 4294967296 + word(at);
const mode = (): number => word(Statx.stx_mode) & 0xffff;

/** statx(2) of a path; pass AT.SYMLINK_NOFOLLOW for the link itself, or "" with AT.EMPTY_PATH for a descriptor. */
export function statx(at: At, path: Path, flags = 0): Stat {
  must("statx", NR.statx, dirNumber(at), path, flags, STATX.BASIC_STATS | STATX.MNT_ID, statxAddress);
  return {
    mode: mode(), uid: word(Statx.stx_uid), gid: word(Statx.stx_gid), size: wide(Statx.stx_size), ino: wide(Statx.stx_ino), nlink: word(Statx.stx_nlink),
    rdevMajor: word(Statx.stx_rdev_major), rdevMinor: word(Statx.stx_rdev_minor), devMajor: word(Statx.stx_dev_major), devMinor: word(Statx.stx_dev_minor),
    mntId: wide(Statx.stx_mnt_id), mtimeSec: signedWide(Statx["stx_mtime.tv_sec"]), mtimeNsec: word(Statx["stx_mtime.tv_nsec"]),
    ctimeSec: signedWide(Statx["stx_ctime.tv_sec"]), ctimeNsec: word(Statx["stx_ctime.tv_nsec"]),
  };
}

/** The type and permission bits of what a descriptor or path names, without the rest. */
export function modeOf(at: At, path: Path = "", flags: number = AT.EMPTY_PATH): number {
  must("statx", NR.statx, dirNumber(at), path, flags, STATX.TYPE | STATX.MODE, statxAddress);
  return mode();
}

/** stat(2): links are followed. */
export const stat = (path: Path): Stat => statx(AT.FDCWD, path);
export const lstat = (path: Path): Stat => statx(AT.FDCWD, path, AT.SYMLINK_NOFOLLOW);
export const fstat = (fd: At): Stat => statx(fd, "", AT.EMPTY_PATH);

/** True when the path leads somewhere (links followed). */
export function exists(path: Path): boolean {
  return sys(NR.faccessat2, AT.FDCWD, path, ACCESS.F_OK, 0) === 0;
}

/** `bytes` is the NUL-terminated name, `name` the same as text, as exact. */
export interface Entry { readonly name: string; readonly bytes: Uint8Array; readonly type: number }

/** The entries of an open directory but "." and "..", one after the other: one buffer, however many there are. See getdents64(2). */
export class Listing {
  readonly #fd: Fd;
  readonly #buffer = new Uint8Array(8192);
  readonly #view = viewOf(this.#buffer);
  #at = 0;
  #end = 0;
  constructor(fd: Fd) {
    this.#fd = fd;
  }
  /** The next entry: its exact NUL-terminated name; undefined at the end. */
  next(): { readonly bytes: Uint8Array; readonly type: number } | undefined {
    const buffer = this.#buffer;
    for (;;) {
      if (this.#at >= this.#end) {
        this.#at = 0;
        this.#end = must("getdents64", NR.getdents64, this.#fd.n, buffer, buffer.length);
        if (this.#end === 0) return undefined;
      }
      const at = this.#at;
      this.#at += this.#view.getUint16(at + LinuxDirent64.d_reclen, true);
      const name = at + LinuxDirent64.d_name;
      const dots = buffer[name] !== 46 ? 0 : buffer[name + 1] !== 46 ? 1 : 2;
      if (dots > 0 && buffer[name + dots] === 0) continue;
      return { bytes: buffer.slice(name, buffer.indexOf(0, name) + 1), type: buffer[at + LinuxDirent64.d_type] as number };
    }
  }
}

/** A name as text; its bytes are exact (see utf8.ts). */
export function nameOf(bytes: Uint8Array): string {
  return bytesText(bytes, 0, bytes.length - 1);
}

/** All entries of an open directory at once, for those that nobody else fills. */
export function getdents(fd: Fd): Entry[] {
  const listing = new Listing(fd);
  const entries: Entry[] = [];
  for (let entry = listing.next(); entry !== undefined; entry = listing.next()) entries.push({ ...entry, name: nameOf(entry.bytes) });
  return entries;
}

/** mkdirat(2). */
export function mkdirat(at: At, path: Path, mode: number): void {
  must("mkdirat", NR.mkdirat, dirNumber(at), path, mode);
}
/** symlinkat(2): a link at `path` to `target`. */
export function symlinkat(target: Path, at: At, path: Path): void {
  must("symlinkat", NR.symlinkat, target, dirNumber(at), path);
}
/** unlinkat(2); AT.REMOVEDIR for a directory. */
export function unlinkat(at: At, path: Path, flags = 0): void {
  must("unlinkat", NR.unlinkat, dirNumber(at), path, flags);
}
/** renameat2(2). */
export function renameat(fromAt: At, from: Path, toAt: At, to: Path, flags = 0): void {
  must("renameat2", NR.renameat2, dirNumber(fromAt), from, dirNumber(toAt), to, flags);
}
/** Device number as mknod(2) and statx agree on it (makedev(3), 32-bit form). */
export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8)) + (minor & ~0xff) * 4096;
}
/** mknodat(2): `mode` holds the type too. */
export function mknodat(at: At, path: Path, mode: number, major = 0, minor = 0): void {
  must("mknodat", NR.mknodat, dirNumber(at), path, mode, makedev(major, minor));
}
/** fchmod(2). */
export function fchmod(fd: Fd, mode: number): void {
  must("fchmod", NR.fchmod, fd.n, mode);
}
/** fchmodat(2): links are followed. */
export function fchmodat(at: At, path: Path, mode: number): void {
  must("fchmodat", NR.fchmodat, dirNumber(at), path, mode);
}
/** fchownat(2); -1 leaves an id as it is. */
export function fchownat(at: At, path: Path, uid: number, gid: number, flags = 0): void {
  must("fchownat", NR.fchownat, dirNumber(at), path, uid, gid, flags);
}

/** readlinkat(2): the link's text; its bytes are exact (see utf8.ts). */
export function readlinkat(at: At, path: Path): string {
  const buffer = new Uint8Array(4096);
  const n = must("readlinkat", NR.readlinkat, dirNumber(at), path, buffer, buffer.length);
  return bytesText(buffer, 0, n);
}

/** The same as exact bytes that end in NUL: a path for symlinkat. */
export function readlinkBytes(at: At, path: Path): Uint8Array {
  const buffer = new Uint8Array(4097);
  return buffer.subarray(0, must("readlinkat", NR.readlinkat, dirNumber(at), path, buffer, buffer.length - 1) + 1);
}

/** chdir(2). */
export function chdir(path: Path): void {
  must("chdir", NR.chdir, path);
}
/** fchdir(2). */
export function fchdir(fd: Fd): void {
  must("fchdir", NR.fchdir, fd.n);
}
/** umask(2): the old mask. */
export function umask(mask: number): number {
  return sys(NR.umask, mask);
}
/** getcwd(2); "(unreachable)..." when the directory lies outside the root. */
export function getcwd(): string {
  const buffer = new Uint8Array(4096);
  const n = must("getcwd", NR.getcwd, buffer, buffer.length);
  return bytesText(buffer, 0, n - 1);
}

/** pipe2(2): the reading and the writing end, both close-on-exec. */
export function pipe(flags = 0): { read: Fd; write: Fd } {
  const pair = new Int32Array(2);
  must("pipe2", NR.pipe2, pair.buffer as ArrayBuffer, flags | O.CLOEXEC);
  return { read: new Fd(pair[0] as number), write: new Fd(pair[1] as number) };
}

export function fcntl(fd: At, command: number, argument = 0): number {
  return must("fcntl", NR.fcntl, dirNumber(fd), command, argument);
}
/** O_NONBLOCK on the open file, for all who share it. See fcntl(2). */
export function setNonblock(fd: At): void {
  fcntl(fd, F.SETFL, fcntl(fd, F.GETFL) | O.NONBLOCK);
}
/** dup3(2) onto a number, without close-on-exec. */
export function dup2(from: At, to: number): void {
  if (dirNumber(from) === to) fcntl(from, F.SETFD, 0);
  else must("dup3", NR.dup3, dirNumber(from), to, 0);
}
/** dup3(2) onto a number, close-on-exec. */
export function dup3(from: Fd, to: number): void {
  must("dup3", NR.dup3, from.n, to, O.CLOEXEC);
}
/** Opens /dev/null for those of the standard streams that are closed, so that no other file gets their numbers. */
export function fillStdio(): void {
  for (let n = 0; n <= 2; n++) if (sys(NR.fcntl, n, F.GETFD, 0) < 0) sys(NR.openat, AT.FDCWD, "/dev/null", O.RDWR, 0);
}

/** memfd_create(2), close-on-exec. */
export function memfdCreate(name: string, flags = 0): Fd {
  return new Fd(must("memfd_create", NR.memfd_create, name, flags | MFD.CLOEXEC));
}

const STATFS = struct({ type: "u64", bsize: "u64", blocks: "u64", bfree: "u64", bavail: "u64", files: "u64", ffree: "u64", fsid: "u64", namelen: "u64", frsize: "u64", flags: "u64" });
export type FsFigures = { readonly [K in "type" | "bsize" | "blocks" | "bfree" | "bavail" | "files" | "ffree" | "flags"]: number };
/** statfs(2) of a path or descriptor. */
export function statfs(target: Path | Fd): FsFigures {
  const bytes = new Uint8Array(Statfs.SIZE);
  if (target instanceof Fd) must("fstatfs", NR.fstatfs, target.n, bytes);
  else must("statfs", NR.statfs, target, bytes);
  return STATFS.read(bytes);
}
