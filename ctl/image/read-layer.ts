// Reads one layer (a tar archive, plain or compressed) into the tree: entries become nodes, whiteouts hide what came before.
// File contents stay in the archive and are only pointed at. Source: OCI image-spec layer.md.
import type { Content } from "./content.js";
import { forEachEntry, type TarEntry } from "./read-tar.js";
import { ImageError, shown, type NodeKind, type Tree, type TreeNode } from "./tree.js";
import { plainTar } from "./unpack.js";

const nodeOf = (entry: TarEntry, kind: NodeKind): TreeNode => ({
  kind, mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs,
  ...(kind === "symlink" ? { target: entry.link } : {}),
  ...(kind.endsWith("device") ? { major: entry.major, minor: entry.minor } : {}),
  ...(entry.content === undefined ? {} : { content: entry.content }),
});

const WHITEOUT = ".wh.";

const applyEntry = (tree: Tree, entry: TarEntry): void => {
  const { path } = entry;
  const clean = path.replace(/\/+$/, "");
  const slash = clean.lastIndexOf("/");
  const name = clean.slice(slash + 1);
  const folder = slash < 0 ? "" : clean.slice(0, slash);
  if (name === ".wh..wh..opq") return tree.opaque(folder);
  // Names that begin with two whiteout marks are notes of aufs, no files.
  if (name.startsWith(".wh..wh.")) return;
  if (name.startsWith(WHITEOUT)) {
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") throw new ImageError(`whiteout '${shown(path)}' names no file`);
    return tree.whiteout(folder, hidden);
  }
  if (entry.kind === "link") return tree.hardLink(path, entry.link);
  tree.put(path, nodeOf(entry, entry.kind));
};

/** Apply one layer to the tree; unpacks to `work` when it is compressed. Throws ImageError that names layer and entry. */
export const applyLayer = async (tree: Tree, layer: Content, work: string, name: string): Promise<Content> => {
  const plain = await plainTar(layer, work, name);
  tree.nextLayer();
  await forEachEntry(plain, name, (entry) => applyEntry(tree, entry));
  return plain;
};
