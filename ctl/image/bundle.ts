// Reads a bundle folder (config.json and a root file system) into a tree and a runtime spec. It owns the walk over the
// folder: symlinks are taken as symlinks and never followed, sockets are left out. Source: OCI runtime-spec bundle.md.
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from "node:fs";
import { isAbsolute, join, normalize, relative } from "node:path";
import { jsonObject, type Json } from "./config.js";
import { ImageError, Tree, type NodeKind, type TreeNode } from "./tree.js";

export interface Bundle {
  tree: Tree;
  /** config.json as it stands. */
  spec: { [key: string]: Json };
}

const kindOf = (stat: Stats): NodeKind | undefined => {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "character-device";
  if (stat.isBlockDevice()) return "block-device";
  return stat.isFIFO() ? "fifo" : undefined;
};

const major = (device: number): number => Number(((BigInt(device) >> 8n) & 0xfffn) | ((BigInt(device) >> 32n) & 0xfffff000n));
const minor = (device: number): number => Number((BigInt(device) & 0xffn) | ((BigInt(device) >> 12n) & 0xffffff00n));

const nodeOf = (host: string, stat: Stats, kind: NodeKind): TreeNode => ({
  kind, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, mtime: Math.max(0, Math.floor(stat.mtimeMs / 1000)), xattrs: new Map(),
  ...(kind === "symlink" ? { target: readlinkSync(host, "latin1") } : {}),
  ...(kind === "file" ? { content: { file: host, offset: 0, size: stat.size } } : {}),
  ...(kind.endsWith("device") ? { major: major(stat.rdev), minor: minor(stat.rdev) } : {}),
});

/** Put everything below the folder `host` into the tree. Throws ImageError when it is not a real folder. */
export const readFolder = (tree: Tree, host: string): void => {
  const first = new Map<string, string>();
  const visit = (folder: string, path: string): void => {
    for (const name of readdirSync(folder, "latin1").sort()) {
      const file = join(folder, Buffer.from(name, "latin1").toString("utf8"));
      const stat = lstatSync(file);
      const kind = kindOf(stat);
      if (kind === undefined) continue;
      const inner = path === "" ? name : `${path}/${name}`;
      const id = `${stat.dev}:${stat.ino}`;
      const other = stat.nlink > 1 && kind !== "directory" ? first.get(id) : undefined;
      if (other !== undefined) tree.hardLink(inner, other);
      else tree.put(inner, nodeOf(file, stat, kind));
      if (kind === "directory") visit(file, inner);
      else first.set(id, inner);
    }
  };
  const stat = lstatSync(host, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImageError(`the root file system ${host} does not exist`);
  if (stat.isSymbolicLink()) throw new ImageError(`the root file system ${host} is a symbolic link: refused, name the folder itself`);
  if (!stat.isDirectory()) throw new ImageError(`the root file system ${host} is no folder`);
  tree.put("", nodeOf(host, stat, "directory"));
  visit(host, "");
};

/** Read a bundle. Throws ImageError when config.json is missing or wrong, or the root leads out of the bundle by `..`. */
export const readBundle = (folder: string): Bundle => {
  const spec = jsonObject(readFileSync(join(folder, "config.json"), "utf8"), join(folder, "config.json"));
  const root = spec["root"];
  const path = root !== null && typeof root === "object" && !Array.isArray(root) ? root["path"] : undefined;
  if (typeof path !== "string" || path === "") throw new ImageError(`${join(folder, "config.json")} has no root.path`);
  const host = isAbsolute(path) ? normalize(path) : join(folder, path);
  if (!isAbsolute(path) && relative(folder, host).startsWith("..")) throw new ImageError(`root.path '${path}' leads out of the bundle`);
  const tree = new Tree();
  tree.nextLayer();
  readFolder(tree, host);
  return { tree, spec };
};
