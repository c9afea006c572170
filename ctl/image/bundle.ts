// Reads a bundle folder (config.json and a root file system) into a tree and a runtime spec. It owns the walk over the folder:
// names are bytes, symlinks are taken as symlinks and never followed, sockets are left out. Source: OCI runtime-spec bundle.md.
import { lstatSync, readdirSync, readFileSync, readlinkSync, type BigIntStats } from "node:fs";
import { isAbsolute, join, normalize, relative } from "node:path";
import type { Json } from "../client/exact-json.js";
import { attributesBelow, type Attributes } from "./attributes.js";
import { documentText, jsonObject } from "./config.js";
import { ImageError, shown, Tree, type NodeKind, type TreeNode } from "./tree.js";

export interface Bundle {
  tree: Tree;
  /** config.json as it stands. */
  spec: { [key: string]: Json };
  /** What was left out, in words for the user. */
  notes: string[];
}

const kindOf = (stat: BigIntStats): NodeKind | undefined => {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "character-device";
  if (stat.isBlockDevice()) return "block-device";
  return stat.isFIFO() ? "fifo" : undefined;
};

const major = (device: bigint): number => Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n));
const minor = (device: bigint): number => Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n));

const nodeOf = (host: Buffer, stat: BigIntStats, kind: NodeKind, attributes: Attributes | undefined): TreeNode => ({
  kind, mode: Number(stat.mode) & 0o7777, uid: Number(stat.uid), gid: Number(stat.gid), mtime: Math.floor(Number(stat.mtimeNs) / 1e9),
  xattrs: attributes?.xattrs ?? new Map(),
  ...(kind === "symlink" ? { target: readlinkSync(host, "latin1") } : {}),
  ...(kind === "file" ? { content: { file: host, offset: 0, size: Number(stat.size), ...(attributes?.pieces === undefined ? {} : { pieces: attributes.pieces }) } } : {}),
  ...(kind.endsWith("device") ? { major: major(stat.rdev), minor: minor(stat.rdev) } : {}),
});

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

/** Everything below the folder `host` into the tree; returns the sockets that were left out. */
const readBelow = (tree: Tree, host: string): string[] => {
  const attributes = attributesBelow(host);
  tree.put("", nodeOf(Buffer.from(host), lstatSync(host, { bigint: true }), "directory", attributes.get("")));
  const first = new Map<string, string>();
  const sockets: string[] = [];
  const left = [""];
  for (let folder = left.pop(); folder !== undefined; folder = left.pop()) {
    for (const name of readdirSync(Buffer.concat([Buffer.from(`${host}/`), bytes(folder)]), "latin1").sort()) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const file = Buffer.concat([Buffer.from(`${host}/`), bytes(path)]);
      const stat = lstatSync(file, { bigint: true });
      const kind = kindOf(stat);
      const id = `${stat.dev}:${stat.ino}`;
      const other = stat.nlink > 1n && kind !== "directory" ? first.get(id) : undefined;
      if (kind === undefined) sockets.push(path);
      else if (other !== undefined) tree.hardLink(path, other);
      else tree.put(path, nodeOf(file, stat, kind, attributes.get(path)));
      if (kind === "directory") left.push(path);
      else if (kind !== undefined) first.set(id, path);
    }
  }
  return sockets;
};

/** Put everything below the folder `host` into the tree. Throws ImageError when it is not a real folder or cannot be read. */
export const readFolder = (tree: Tree, host: string): string[] => {
  const stat = lstatSync(host, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImageError(`the root file system ${host} does not exist`);
  if (stat.isSymbolicLink()) throw new ImageError(`the root file system ${host} is a symbolic link: refused, name the folder itself`);
  if (!stat.isDirectory()) throw new ImageError(`the root file system ${host} is no folder`);
  try {
    const sockets = readBelow(tree, host);
    return sockets.length === 0 ? [] : [`${sockets.length === 1 ? "a socket is" : `${sockets.length} sockets are`} left out of the container's disk: ${sockets.slice(0, 3).map(shown).join(", ")}`];
  } catch (error) {
    throw error instanceof ImageError ? error : new ImageError(`the root file system ${host} cannot be read: ${(error as Error).message}`, { cause: error });
  }
};

/** Read a bundle. Throws ImageError when config.json is missing or wrong, or the root leads out of the bundle by `..`. */
export const readBundle = (folder: string): Bundle => {
  const file = join(folder, "config.json");
  const spec = jsonObject(documentText(readFileSync(file), file), file);
  const root = spec["root"];
  const path = root !== null && typeof root === "object" && !Array.isArray(root) ? root["path"] : undefined;
  if (typeof path !== "string" || path === "") throw new ImageError(`${file} has no root.path`);
  const host = isAbsolute(path) ? normalize(path) : join(folder, path);
  if (!isAbsolute(path) && relative(folder, host).startsWith("..")) throw new ImageError(`root.path '${path}' leads out of the bundle`);
  const tree = new Tree();
  tree.nextLayer();
  return { tree, spec, notes: readFolder(tree, host) };
};
