// CopyFile: files that the host hands over piece by piece, for a guest without a shared file system. Everything lands below
// one folder, whose entries are mounted into containers: a container may write there, rename and plant links at any moment. So the
// way is resolved by the kernel (openat2(2), RESOLVE_BENEATH), what is made is made anew (O_EXCL) and from then on only touched by
// its descriptor. A file appears under its name when it is complete, in one step. It may all lie on a share, so helper processes do
// the work. See agent-api 10.14, 24.22 and 26.9 (type and set-id bits).
import { AT, O, RESOLVE, S } from "../abi/flags.js";
import { isErrno, must, SysError } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { type Fd, fdPath } from "../sys/fd.js";
import {
  fchmodat, fchownat, fstat, mkdirat, open, openat, openat2, pwriteAll, renameat, type Stat, statfs, symlinkat,
} from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { Serial } from "../lib/async.js";
import { AppError } from "../lib/errors.js";
import { aside, type ForeignPath, named, type OffLoop } from "../lib/foreign.js";
import { mkdirs, removeTree, statIn } from "../lib/fs.js";

const ROOT = "/run/kata-containers/shared/containers";
const PERMISSIONS = 0o7777;
const DEADLINE_MS = 30_000;
/** Bytes of pieces that wait for others of the same file. */
const MOST_WAITING = 32 << 20;
/** Files of which the first piece has come and not the last. */
const MOST_BEGUN = 1024;

/** As the API has it. `fileMode` holds type and permissions; `fileSize` is that of the whole file. */
export interface CopyRequest {
  readonly path: ForeignPath;
  readonly fileSize: number;
  readonly fileMode: number;
  readonly dirMode: number;
  readonly uid: number;
  readonly gid: number;
  readonly offset: number;
  readonly data: Uint8Array;
}

/** The parts of a path below the root, without "." and "..". Throws AppError for a path that is not, SysError EXDEV for one that leads out. */
export function partsBelow(path: string): string[] {
  if (!path.startsWith(`${ROOT}/`)) throw new AppError("internal", `removing ${ROOT} prefix from ${path}: it does not begin with it`);
  const all = path.slice(ROOT.length).split("/").filter((p) => p !== "" && p !== ".");
  const leaf = all[all.length - 1];
  if (leaf === undefined || leaf === "..") throw new AppError("internal", `${path} names no file below ${ROOT}`);
  const parts: string[] = [];
  for (const part of all) {
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw new SysError(`copy ${path}`, E.EXDEV);
  }
  return parts;
}

/** A name beside the target that belongs to it alone (FNV-1a, twice): two files that arrive together never share one. */
export function temporaryName(leaf: string): string {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (const byte of native.utf8Encode(leaf)) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b + byte, 0x85ebca6b) ^ (b >>> 15);
  }
  return `.kata-copy-${(a >>> 0).toString(16)}${(b >>> 0).toString(16)}`;
}

const openFolder = (dir: Fd, path: string): Fd => openat2(dir, path, O.PATH | O.DIRECTORY, RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS);

interface Folder { readonly fd: Fd; /** The call has made it. */ readonly made: boolean }

/** Makes a folder and opens it; whatever else has come to be there meanwhile is refused. */
function makeFolderIn(parent: Fd, name: string, mode: number): Fd {
  mkdirat(parent, name, 0o700);
  const made = openat(parent, name, O.PATH | O.DIRECTORY | O.NOFOLLOW);
  const { mode: now, uid } = fstat(made);
  if ((now & 0o777) !== 0o700 || uid !== must("geteuid", NR.geteuid)) {
    made.close();
    throw new AppError("internal", `${name} has been replaced by somebody else`);
  }
  fchmodat(AT.FDCWD, fdPath(made), mode);
  return made;
}

/** The folder `way` below `base`, which `name` names in `parent`; made if it is missing. */
function enter(base: Fd, way: string, parent: Fd, name: string, dirMode: number): Folder {
  try {
    return { fd: openFolder(base, way), made: false };
  } catch (error) {
    if (!isErrno(error, E.ENOENT)) throw error;
  }
  return { fd: makeFolderIn(parent, name, dirMode & 0o777), made: true };
}

/**
 * The folder that the target lies in; what is missing on the way is made. The first part is the host's: only below it may a container
 * have written, and links there lead nowhere but to other places below it.
 */
function openParent(root: Fd, parts: readonly string[], dirMode: number): Folder {
  if (parts.length < 2) return { fd: openFolder(root, "."), made: false };
  const [first, ...further] = parts.slice(0, -1) as [string, ...string[]];
  const top = enter(root, first, root, first, dirMode);
  let folder = top;
  further.forEach((name, i) => {
    const parent = folder;
    folder = enter(top.fd, further.slice(0, i + 1).join("/"), parent.fd, name, dirMode);
    if (parent !== top) parent.fd.close();
  });
  if (folder !== top) top.fd.close();
  return folder;
}

const typeOf = (stat: Stat | undefined): number => (stat?.mode ?? 0) & S.IFMT;

/** Owner first: chown(2) takes set-id bits away. `fd` may be O_PATH, which fchmod(2) does not take. */
function give(fd: Fd, { fileMode, uid, gid }: CopyRequest): void {
  fchownat(fd, "", uid, gid, AT.EMPTY_PATH);
  fchmodat(AT.FDCWD, fdPath(fd), fileMode & PERMISSIONS);
}

function makeFolder(parent: Fd, leaf: string, request: CopyRequest): null {
  const old = statIn(parent, leaf);
  if (old !== undefined && typeOf(old) !== S.IFDIR) removeTree(leaf, parent);
  using folder = typeOf(old) === S.IFDIR ? openat(parent, leaf, O.PATH | O.DIRECTORY | O.NOFOLLOW) : makeFolderIn(parent, leaf, 0o700);
  give(folder, request);
  return null;
}

/** Which file it is: not another of the same name. */
const identity = ({ devMajor, devMinor, ino, uid, gid }: Stat): string => [devMajor, devMinor, ino, uid, gid].join(":");

/** Puts what is complete in its place; a folder has to go first, anything else is replaced by the rename itself. */
function putInPlace(parent: Fd, temporary: string, made: string, leaf: string): void {
  const now = statIn(parent, temporary);
  if (now === undefined || identity(now) !== made) throw new AppError("internal", `${temporary} has been replaced by somebody else`);
  if (typeOf(statIn(parent, leaf)) === S.IFDIR) removeTree(leaf, parent);
  renameat(parent, temporary, parent, leaf);
}

function makeLink(parent: Fd, leaf: string, { data, uid, gid }: CopyRequest): null {
  const temporary = temporaryName(leaf);
  removeTree(temporary, parent);
  const target = new Uint8Array(data.length + 1);
  target.set(data);
  if (target.indexOf(0) < data.length) throw new AppError("internal", "the link's target holds a NUL byte");
  symlinkat(target, parent, temporary);
  using link = openat(parent, temporary, O.PATH | O.NOFOLLOW);
  const { mode, nlink } = fstat(link);
  if ((mode & S.IFMT) !== S.IFLNK || nlink !== 1) throw new AppError("internal", `${temporary} has been replaced by somebody else`);
  fchownat(link, "", uid, gid, AT.EMPTY_PATH);
  putInPlace(parent, temporary, identity(fstat(link)), leaf);
  return null;
}

/** The file that the pieces go into: the one that an earlier piece has begun, or a new one; nothing that somebody else has put there. */
function openTemporary(parent: Fd, temporary: string, begun: string | undefined): Fd {
  if (begun === undefined) {
    removeTree(temporary, parent);
    return openat(parent, temporary, O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
  }
  using there = openat(parent, temporary, O.PATH | O.NOFOLLOW); // as anything else, to open could wait or do something
  const stat = fstat(there);
  if (typeOf(stat) !== S.IFREG || stat.nlink !== 1 || identity(stat) !== begun) throw new AppError("internal", `${temporary} has been replaced by somebody else`);
  return open(fdPath(there), O.RDWR);
}

/** Answers with the identity of a file that more pieces are to come for, else null. */
function writePart(parent: Fd, leaf: string, request: CopyRequest, begun: string | undefined): string | null {
  const { data, offset, fileSize } = request;
  const { blocks, bsize } = statfs(parent);
  if (fileSize > blocks * bsize && blocks > 0) throw new AppError("internal", `the file system has room for ${blocks * bsize} bytes, and none for a file of ${fileSize}`);
  const temporary = temporaryName(leaf);
  using file = openTemporary(parent, temporary, offset === 0 ? undefined : begun);
  const made = identity(fstat(file));
  pwriteAll(file, data, offset);
  if (fstat(file).size !== fileSize) return made;
  give(file, request);
  putInPlace(parent, temporary, identity(fstat(file)), leaf);
  return null;
}

const MAKERS: Readonly<Record<number, typeof writePart>> = { [S.IFDIR]: makeFolder, [S.IFLNK]: makeLink, [S.IFREG]: writePart, 0: writePart };

/** One piece, in the helper. */
function take(parts: readonly string[], request: CopyRequest, make: typeof writePart, begun: string | undefined, _off: OffLoop): string | null {
  mkdirs(ROOT);
  using root = open(ROOT, O.PATH | O.DIRECTORY);
  const { fd, made } = openParent(root, parts, request.dirMode);
  using parent = fd;
  if (made) fchownat(parent, "", request.uid, request.gid, AT.EMPTY_PATH); // one that was there is somebody's already
  return make(parent, parts[parts.length - 1] as string, request, begun);
}

function check({ path, fileMode, data, offset, fileSize }: CopyRequest): typeof writePart {
  const make = MAKERS[fileMode & S.IFMT];
  if (make === undefined) throw new AppError("internal", `${named(path)}: only files, folders and links can be copied, not a type of 0${(fileMode & S.IFMT).toString(8)}`);
  if (make === writePart && (!(offset >= 0) || !Number.isSafeInteger(fileSize) || offset + data.length > fileSize)) {
    throw new AppError("internal", `${named(path)}: ${data.length} bytes at ${offset} are beyond the file's size of ${fileSize}`);
  }
  return make;
}

/** Identities of the files that pieces are to come for, by their places, oldest first. */
export const begun = new Map<string, string>();
const turns = new Map<string, { readonly serial: Serial; jobs: number }>();
let waiting = 0;

function remember(place: string, made: string | null): void {
  begun.delete(place);
  if (made === null) return;
  begun.set(place, made);
  const [oldest] = begun.keys();
  if (begun.size > MOST_BEGUN && oldest !== undefined) begun.delete(oldest);
}

/** Runs `job` when the earlier ones of the place have ended; `size` bytes wait for it. */
async function inTurn(place: string, size: number, job: () => Promise<void>): Promise<void> {
  if (waiting > 0 && waiting + size > MOST_WAITING) throw new AppError("exhausted", `copy ${place}: ${waiting} bytes of other pieces have not been written yet`);
  const turn = turns.get(place) ?? { serial: new Serial(), jobs: 0 };
  turns.set(place, turn);
  turn.jobs++;
  waiting += size;
  try {
    await turn.serial.run(job);
  } finally {
    waiting -= size;
    if (--turn.jobs === 0) turns.delete(place);
  }
}

/**
 * Takes one piece: a folder, a link, or part of a file. Pieces of one file are taken in the order in which they came. Rejects with
 * AppError that names the path; the kind is "deadline" when the file system does not answer.
 */
export async function copyFile(request: CopyRequest): Promise<void> {
  const make = check(request);
  const parts = partsBelow(named(request.path));
  const place = parts.join("/");
  const what = `copy ${ROOT}/${place}`;
  await inTurn(place, request.data.length, async () => {
    remember(place, await aside(what, DEADLINE_MS, (off) => take(parts, request, make, begun.get(place), off)));
  });
}
