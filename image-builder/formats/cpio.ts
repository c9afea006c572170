// Owns the "newc" archive as the kernel reads it: entries in, bytes out. Pure: no file is opened here, content comes through
// `chunks`. Same entries, same bytes: names are sorted, inode numbers count up, times are what the entry says. Must never write
// a header for something the kernel would drop without a word. Source: Documentation/driver-api/early-userspace/buffer-format.rst.
import { BuildError } from "../lib/errors.js";

/** A file's content: its size is known before any byte is read. */
export interface Content {
  readonly size: number;
  chunks(): Iterable<Uint8Array>;
}

interface Common {
  /** Relative to the root of the archive, "/" between the parts, no leading "/". */
  readonly path: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export type Node =
  | (Common & { readonly kind: "dir" | "fifo" })
  | (Common & { readonly kind: "file"; readonly content: Content })
  | (Common & { readonly kind: "symlink"; readonly target: string })
  | (Common & { readonly kind: "char" | "block"; readonly major: number; readonly minor: number })
  /** A further name of the file at `target`; mode and owner are those of the file. */
  | { readonly kind: "link"; readonly path: string; readonly target: string };

const TYPE = { dir: 0o040000, file: 0o100000, symlink: 0o120000, char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;
const MAX_FIELD = 0xffffffff;
const PATH_MAX = 4096;
const BLOCK = 512;
const text = new TextEncoder();

/** Entries in the order they are written: by bytes of the name, so a directory comes before what is in it. */
export function sortNodes(nodes: readonly Node[]): Node[] {
  return [...nodes].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

/**
 * Refuses a list that cannot be written so that the kernel makes the same tree of it. Throws BuildError "failed" that names the
 * entry: bad or double names, missing parent directories, sizes from 4 GiB, link targets that are not files.
 */
export function checkNodes(nodes: readonly Node[]): void {
  const byPath = new Map<string, Node>();
  for (const node of nodes) {
    checkName(node.path);
    if (byPath.has(node.path)) throw bad(node.path, "is named twice");
    byPath.set(node.path, node);
  }
  for (const node of nodes) {
    const slash = node.path.lastIndexOf("/");
    if (slash > 0 && byPath.get(node.path.slice(0, slash))?.kind !== "dir") throw bad(node.path, "has no parent directory in the list; the kernel would drop it");
    if (node.kind === "link") {
      if (byPath.get(node.target)?.kind !== "file") throw bad(node.path, `is a hard link to "${node.target}", which is not a file in the list`);
      continue;
    }
    for (const [what, value, most] of [["mode", node.mode, 0o7777], ["uid", node.uid, MAX_FIELD], ["gid", node.gid, MAX_FIELD]] as const) {
      if (!Number.isInteger(value) || value < 0 || value > most) throw bad(node.path, `has ${what} ${value}, which does not fit (0 to ${most})`);
    }
    if (node.kind === "file" && node.content.size > MAX_FIELD) throw bad(node.path, `has ${node.content.size} bytes; this archive format holds files below 4 GiB`);
    if (node.kind === "symlink" && (node.target === "" || node.target.includes("\0") || text.encode(node.target).length >= PATH_MAX)) {
      throw bad(node.path, "is a symbolic link with an empty or too long target");
    }
  }
}

function checkName(path: string): void {
  const parts = path.split("/");
  if (path === "" || parts.some((p) => p === "" || p === "." || p === "..") || path.includes("\0")) {
    throw bad(path, "is not a plain relative name (no leading, double or trailing \"/\", no \".\" or \"..\")");
  }
  if (text.encode(path).length >= PATH_MAX) throw bad(`${path.slice(0, 40)}...`, `is longer than ${PATH_MAX - 1} bytes`);
  if (path === "TRAILER!!!") throw bad(path, "is the name that ends an archive");
}

function bad(path: string, why: string): BuildError {
  return new BuildError("failed", `archive entry "${path}" ${why}`, "correct rootfs/files.json or the overlay folder");
}

/**
 * The archive in pieces. `mtime` (seconds since 1970) is every entry's time. Of a hard-linked file the last name holds the data,
 * as GNU cpio writes it: every reader can unpack that in one pass. Throws as checkNodes does, before the first byte.
 */
export function* newc(nodes: readonly Node[], mtime: number): Generator<Uint8Array> {
  checkNodes(nodes);
  const sorted = sortNodes(nodes);
  const groups = linkGroups(sorted);
  let written = 0;
  let ino = 0;
  const count = (chunk: Uint8Array): Uint8Array => {
    written += chunk.length;
    return chunk;
  };
  for (const node of sorted) {
    const group = groups.get(node.kind === "link" ? node.target : node.path);
    const real = group === undefined ? (node as Exclude<Node, { kind: "link" }>) : group.file;
    if (group === undefined) ino++;
    else if (group.ino === 0) group.ino = ++ino;
    const last = group === undefined || group.names.at(-1) === node.path;
    const target = real.kind === "symlink" ? text.encode(real.target) : undefined;
    const size = real.kind === "file" && last ? real.content.size : target?.length ?? 0;
    yield count(header(node.path, {
      ino: group?.ino ?? ino, mode: TYPE[real.kind] | real.mode, uid: real.uid, gid: real.gid,
      nlink: group?.names.length ?? (real.kind === "dir" ? 2 : 1), mtime, size,
      rmajor: "major" in real ? real.major : 0, rminor: "minor" in real ? real.minor : 0,
    }));
    if (target !== undefined) yield count(target);
    if (real.kind === "file" && last) {
      let got = 0;
      for (const chunk of real.content.chunks()) {
        got += chunk.length;
        yield count(chunk);
      }
      if (got !== size) throw bad(node.path, `changed while it was read (${size} bytes before, ${got} now)`);
    }
    if (size % 4 !== 0) yield count(new Uint8Array(4 - (size % 4)));
  }
  yield count(header("TRAILER!!!", { ino: 0, mode: 0, uid: 0, gid: 0, nlink: 1, mtime: 0, size: 0, rmajor: 0, rminor: 0 }));
  if (written % BLOCK !== 0) yield new Uint8Array(BLOCK - (written % BLOCK));
}

interface LinkGroup {
  readonly file: Extract<Node, { kind: "file" }>;
  readonly names: string[];
  ino: number;
}

function linkGroups(sorted: readonly Node[]): Map<string, LinkGroup> {
  const groups = new Map<string, LinkGroup>();
  const targets = new Set(sorted.flatMap((n) => (n.kind === "link" ? [n.target] : [])));
  for (const node of sorted) if (node.kind === "file" && targets.has(node.path)) groups.set(node.path, { file: node, names: [], ino: 0 });
  for (const node of sorted) groups.get(node.kind === "link" ? node.target : node.path)?.names.push(node.path);
  return groups;
}

interface Fields {
  readonly ino: number; readonly mode: number; readonly uid: number; readonly gid: number; readonly nlink: number;
  readonly mtime: number; readonly size: number; readonly rmajor: number; readonly rminor: number;
}

function header(path: string, f: Fields): Uint8Array {
  const name = text.encode(path);
  const fields = [f.ino, f.mode, f.uid, f.gid, f.nlink, f.mtime, f.size, 0, 0, f.rmajor, f.rminor, name.length + 1, 0];
  const head = text.encode(`070701${fields.map((v) => v.toString(16).padStart(8, "0")).join("")}`);
  const length = head.length + name.length + 1;
  const out = new Uint8Array(length + ((4 - (length % 4)) % 4));
  out.set(head);
  out.set(name, head.length);
  return out;
}
