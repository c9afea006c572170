// CopyFile: files that the host hands over piece by piece, for a guest without a shared file system. Everything lands below
// one folder, and the way there is resolved by the kernel (openat2(2), RESOLVE_BENEATH): `..` and links cannot leave it. A file
// appears under its name when it is complete, in one step. Agent facts 10.14; type and set-id bits as 24.22 and 26.9 ask.
import { isErrno, must } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { AT, AT_FDCWD, fchmod, fchmodat, fchownat, fstat, mkdirat, O, open, openat, openat2, pwriteAll, renameat, RESOLVE, S, type Stat, symlinkat } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { AppError, attempt } from "../lib/errors.js";
import { mkdirs, removeTree, statIn } from "../lib/fs.js";

const ROOT = "/run/kata-containers/shared/containers";
const PERMISSIONS = 0o7777;

/** As the API has it. `fileMode` holds type and permissions; `fileSize` is that of the whole file. */
export interface CopyRequest {
  readonly path: string;
  readonly fileSize: number;
  readonly fileMode: number;
  readonly dirMode: number;
  readonly uid: number;
  readonly gid: number;
  readonly offset: number;
  readonly data: Uint8Array;
}

/** The parts of a path below the root. Throws AppError for a path that is not. */
export function partsBelow(path: string): string[] {
  if (!path.startsWith(`${ROOT}/`)) throw new AppError("internal", `removing ${ROOT} prefix from ${path}: it does not begin with it`);
  const parts = path.slice(ROOT.length).split("/").filter((p) => p !== "" && p !== ".");
  const leaf = parts[parts.length - 1];
  if (leaf === undefined || leaf === "..") throw new AppError("internal", `${path} names no file below ${ROOT}`);
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

const beneath = (dir: Fd, path: string): Fd => openat2(dir, path, O.PATH | O.DIRECTORY, RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS);

/** The folder `way`, which `part` names in `parent`; made if it is missing. */
function enter(root: Fd, way: string, parent: Fd, part: string, dirMode: number): Fd {
  try {
    return beneath(root, way);
  } catch (error) {
    if (!isErrno(error, E.ENOENT)) throw error;
  }
  mkdirat(parent, part, 0o700);
  const made = beneath(root, way);
  fchmodat(AT_FDCWD, fdPath(made), dirMode & 0o777);
  return made;
}

/** The folder that the target lies in; what is missing on the way is made. */
function openParent(root: Fd, parts: readonly string[], dirMode: number): Fd {
  let folder = beneath(root, ".");
  for (let i = 1; i < parts.length; i++) {
    using parent = folder;
    folder = enter(root, parts.slice(0, i).join("/"), parent, parts[i - 1] as string, dirMode);
  }
  return folder;
}

const typeOf = (stat: Stat | undefined): number => (stat?.mode ?? 0) & S.IFMT;

function makeFolder(parent: Fd, leaf: string, { fileMode, uid, gid }: CopyRequest): void {
  const old = statIn(parent, leaf);
  if (old !== undefined && typeOf(old) !== S.IFDIR) removeTree(leaf, parent);
  if (typeOf(old) !== S.IFDIR) mkdirat(parent, leaf, 0o700);
  using folder = openat(parent, leaf, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  fchownat(folder, "", uid, gid, AT.EMPTY_PATH);
  fchmod(folder, fileMode & PERMISSIONS);
}

/** Puts what is complete in its place; a folder has to go first, anything else is replaced by the rename itself. */
function putInPlace(parent: Fd, temporary: string, leaf: string): void {
  if (typeOf(statIn(parent, leaf)) === S.IFDIR) removeTree(leaf, parent);
  renameat(parent, temporary, parent, leaf);
}

function makeLink(parent: Fd, leaf: string, { data, uid, gid }: CopyRequest): void {
  const temporary = temporaryName(leaf);
  removeTree(temporary, parent);
  const target = new Uint8Array(data.length + 1);
  target.set(data);
  if (target.indexOf(0) < data.length) throw new AppError("internal", "the link's target holds a NUL byte");
  symlinkat(target, parent, temporary);
  fchownat(parent, temporary, uid, gid, AT.SYMLINK_NOFOLLOW);
  putInPlace(parent, temporary, leaf);
}

function writePart(parent: Fd, leaf: string, { data, offset, fileSize, fileMode, uid, gid }: CopyRequest): void {
  if (offset < 0 || fileSize < 0 || offset + data.length > fileSize) throw new AppError("internal", `${data.length} bytes at ${offset} are beyond the file's size of ${fileSize}`);
  const temporary = temporaryName(leaf);
  using file = openat(parent, temporary, O.RDWR | O.CREAT | O.NOFOLLOW, 0o600);
  if (offset === 0) must("ftruncate", NR.ftruncate, file.n, 0);
  pwriteAll(file, data, offset);
  if (fstat(file).size !== fileSize) return; // more is to come
  fchownat(file, "", uid, gid, AT.EMPTY_PATH);
  fchmod(file, fileMode & PERMISSIONS);
  putInPlace(parent, temporary, leaf);
}

const MAKERS: Readonly<Record<number, typeof writePart>> = { [S.IFDIR]: makeFolder, [S.IFLNK]: makeLink, [S.IFREG]: writePart, 0: writePart };

/** Takes one piece: a folder, a link, or part of a file. Throws AppError that names the path. */
export function copyFile(request: CopyRequest): void {
  const parts = partsBelow(request.path);
  const make = MAKERS[request.fileMode & S.IFMT];
  if (make === undefined) throw new AppError("internal", `${request.path}: only files, folders and links can be copied, not a type of 0${(request.fileMode & S.IFMT).toString(8)}`);
  attempt(`copy ${request.path}`, () => {
    mkdirs(ROOT);
    using root = open(ROOT, O.PATH | O.DIRECTORY);
    using parent = openParent(root, parts, request.dirMode);
    fchownat(parent, "", request.uid, request.gid, AT.EMPTY_PATH);
    make(parent, parts[parts.length - 1] as string, request);
  });
}
