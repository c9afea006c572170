// A root file system as data: names, attributes, and where the bytes of each file can be read. Layers are applied to this
// tree and never to a folder of this machine, so no path in an image, however hostile, can name a file of the host.
// Names are byte strings (latin1), as tar has them. Source: OCI image-spec layer.md (changesets and whiteouts).
import type { Content } from "./content.js";

export type NodeKind = "file" | "directory" | "symlink" | "character-device" | "block-device" | "fifo";

export interface TreeNode {
  kind: NodeKind;
  /** Permission bits with set-id and sticky, 07777. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970, perhaps before. */
  mtime: number;
  /** By name, a byte string. */
  xattrs: ReadonlyMap<string, Buffer>;
  /** Text of a symlink. */
  target?: string;
  major?: number;
  minor?: number;
  content?: Content;
  /** Entries of a directory. The same node under two names is a hard link. */
  children?: Map<string, Link>;
}

interface Link {
  node: TreeNode;
  /** Layer that put the name here. */
  layer: number;
}

/** An image that breaks the rules; the message names the entry. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

/** A byte-string name as text for people. */
export const shown = (path: string): string => Buffer.from(path, "latin1").toString("utf8");

const MAX_LINKS = 40;
const MAX_NAME = 255;
/** PATH_MAX without its NUL: longer paths and targets name nothing on Linux. */
const MAX_PATH = 4095;
/** Directories inside each other: as many as the longest path has. */
const MAX_DEPTH = 2048;

const newDirectory = (): TreeNode => ({ kind: "directory", mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: new Map(), children: new Map() });

/** The parts of a path of an image, below the root. Throws ImageError when it climbs above the root or a part is too long. */
export const partsOf = (path: string): string[] => {
  const parts: string[] = [];
  if (path.length > MAX_PATH) throw new ImageError(`entry '${shown(path.slice(0, 60))}...' has a path longer than ${MAX_PATH} bytes`);
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (parts.pop() === undefined) throw new ImageError(`entry '${shown(path)}' points outside the root file system`);
      continue;
    }
    if (part.length > MAX_NAME) throw new ImageError(`entry '${shown(path).slice(0, 60)}...' has a name longer than ${MAX_NAME} bytes`);
    if (part.includes("\0")) throw new ImageError(`entry '${shown(path)}' has a NUL byte in its name`);
    parts.push(part);
  }
  return parts;
};

/** A root file system that layers are applied to. */
export class Tree {
  readonly root: TreeNode = newDirectory();
  #layer = 0;

  /** Entries from now on belong to the next layer: whiteouts hide what came before, not what comes now. */
  nextLayer(): void {
    this.#layer += 1;
  }

  /**
   * The directory that `parts` name, as the container would see it: symlinks are followed inside the root only.
   * With `make`, missing directories are made. Returns undefined when it is not there; throws ImageError on a loop or when
   * something on the way is no directory.
   */
  directory(parts: readonly string[], make: boolean): TreeNode | undefined {
    const trail = [this.root];
    const left = [...parts].reverse();
    let links = 0;
    for (let part = left.pop(); part !== undefined; part = left.pop()) {
      const here = trail[trail.length - 1] ?? this.root;
      if (part === "" || part === ".") continue;
      if (part === "..") {
        // Above the root is the root, as chroot(2) has it.
        if (trail.length > 1) trail.pop();
        continue;
      }
      let next = here.children?.get(part)?.node;
      if (next === undefined) {
        if (!make) return undefined;
        if (trail.length > MAX_DEPTH) throw new ImageError(`'${shown(part)}' has more than ${MAX_DEPTH} directories above it`);
        next = newDirectory();
        here.children?.set(part, { node: next, layer: this.#layer });
      }
      if (next.kind === "symlink") {
        links += 1;
        if (links > MAX_LINKS) throw new ImageError(`too many symbolic links on the way to '${shown(parts.join("/"))}'`);
        const target = next.target ?? "";
        if (target.startsWith("/")) trail.length = 1;
        left.push(...target.split("/").reverse());
        continue;
      }
      if (next.kind !== "directory") {
        if (!make) return undefined;
        throw new ImageError(`'${shown(parts.join("/"))}': '${shown(part)}' is a ${next.kind}, not a directory`);
      }
      trail.push(next);
    }
    return trail[trail.length - 1];
  }

  /** The node at `path`; the last part is followed when it is a symlink and `follow` says so. Undefined when nothing is there. */
  lookup(path: string, follow = true): TreeNode | undefined {
    let parts = partsOf(path);
    for (let links = 0; links <= MAX_LINKS; links += 1) {
      const name = parts[parts.length - 1];
      if (name === undefined || name === "..") return this.directory(parts, false);
      const node = this.directory(parts.slice(0, -1), false)?.children?.get(name)?.node;
      if (node?.kind !== "symlink" || !follow) return node;
      const target = node.target ?? "";
      parts = target.startsWith("/") ? target.split("/") : [...parts.slice(0, -1), ...target.split("/")];
      // `..` inside a target is resolved against real directories by directory(); only plain names may be dropped here.
      parts = parts.filter((part) => part !== "" && part !== ".");
    }
    throw new ImageError(`too many symbolic links at '${shown(path)}'`);
  }

  /** Put `node` at `path`. A directory over a directory keeps its entries; anything else replaces what was there. */
  put(path: string, node: TreeNode): void {
    const parts = partsOf(path);
    if ((node.target ?? "").length > MAX_PATH) throw new ImageError(`symlink '${shown(path)}' has a target longer than ${MAX_PATH} bytes`);
    if (node.kind === "symlink" && node.target === "") throw new ImageError(`symlink '${shown(path)}' has no target`);
    const name = parts.pop();
    if (name === undefined) return this.#putRoot(node);
    const parent = this.directory(parts, true);
    const old = parent?.children?.get(name)?.node;
    if (node.kind === "directory") node.children = old?.kind === "directory" ? (old.children ?? new Map()) : new Map();
    parent?.children?.set(name, { node, layer: this.#layer });
  }

  /** Make `path` one more name of the node at `target`. Throws ImageError when the target is missing or a directory. */
  hardLink(path: string, target: string): void {
    const node = this.lookup(target, false);
    if (node === undefined) throw new ImageError(`hard link '${shown(path)}' points to '${shown(target)}', which is not in the image`);
    if (node.kind === "directory") throw new ImageError(`hard link '${shown(path)}' points to the directory '${shown(target)}'`);
    const parts = partsOf(path);
    const name = parts.pop();
    if (name === undefined) throw new ImageError("the root of the file system cannot be a hard link");
    this.directory(parts, true)?.children?.set(name, { node, layer: this.#layer });
  }

  /** Hide `name` in `folder` as far as it came from lower layers. */
  whiteout(folder: string, name: string): void {
    const parent = this.directory(partsOf(folder), false);
    const link = parent?.children?.get(name);
    if (parent === undefined || link === undefined) return;
    if (!this.#keepNew(link)) parent.children?.delete(name);
  }

  /** Hide everything of `folder` that came from lower layers. */
  opaque(folder: string): void {
    const parent = this.directory(partsOf(folder), true);
    for (const [name, link] of parent?.children ?? []) if (!this.#keepNew(link)) parent?.children?.delete(name);
  }

  // What a link keeps when all of lower layers is taken away; false when nothing is left of it.
  #keepNew(link: Link): boolean {
    let kept = link.layer === this.#layer;
    for (const [name, child] of link.node.children ?? []) {
      if (this.#keepNew(child)) kept = true;
      else link.node.children?.delete(name);
    }
    return kept;
  }

  #putRoot(node: TreeNode): void {
    if (node.kind !== "directory") throw new ImageError(`the root of the file system is a ${node.kind}: refused`);
    Object.assign(this.root, { mode: node.mode, uid: node.uid, gid: node.gid, mtime: node.mtime, xattrs: node.xattrs });
  }
}
