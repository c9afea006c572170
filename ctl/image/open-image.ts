// From what the user names (an OCI layout folder, a docker-save or OCI tar, a root file system tar, a bundle folder) to a tree
// and a configuration. It owns telling these forms apart. Unpacked bytes go to the given work folder only.
import { closeSync, existsSync, lstatSync, openSync, readSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import type { Json } from "../client/exact-json.js";
import { readBundle } from "./bundle.js";
import { EMPTY_CONFIG, type ImageConfig } from "./config.js";
import { loadDockerArchive, loadOciLayout, type Files } from "./oci-layout.js";
import type { Content } from "./content.js";
import { applyLayer } from "./read-layer.js";
import { forEachEntry } from "./read-tar.js";
import { ImageError, shown, Tree } from "./tree.js";
import { plainTar } from "./unpack.js";

export type ImageKind = "oci-layout" | "docker-archive" | "oci-archive" | "rootfs-tar" | "bundle";

export interface OpenedImage {
  kind: ImageKind;
  tree: Tree;
  config: ImageConfig;
  /** config.json of a bundle. */
  spec?: { [key: string]: Json };
  /** What of it was left out, in words for the user. */
  notes?: string[];
}

const folderFiles = (folder: string): Files => (name) => {
  const clean = posix.normalize(name);
  if (clean.startsWith("..") || clean.startsWith("/")) return undefined;
  const file = join(folder, clean);
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() ? { file, offset: 0, size: stat.size } : undefined;
};

/** Files of an image archive by name; links inside the archive are followed to other members only. */
const archiveFiles = async (tarball: Content, name: string): Promise<Files> => {
  const contents = new Map<string, Content>();
  const links = new Map<string, string>();
  await forEachEntry(tarball, name, (entry) => {
    const path = posix.normalize(shown(entry.path)).replace(/^\/+/, "");
    contents.delete(path);
    links.delete(path);
    if (entry.content !== undefined) contents.set(path, entry.content);
    else if (entry.kind === "symlink") links.set(path, posix.join(posix.dirname(path), shown(entry.link)));
    else if (entry.kind === "link") links.set(path, posix.normalize(shown(entry.link)));
  });
  return (wanted) => {
    let path = posix.normalize(wanted);
    for (let hops = 0; hops < 8; hops += 1) {
      const next = links.get(path);
      if (next === undefined) break;
      path = next;
    }
    return contents.get(path);
  };
};

const openFolder = async (folder: string, ref: string, work: string): Promise<OpenedImage> => {
  if (existsSync(join(folder, "index.json"))) return { kind: "oci-layout", ...(await loadOciLayout(folderFiles(folder), ref, work)) };
  if (existsSync(join(folder, "manifest.json"))) return { kind: "docker-archive", ...(await loadDockerArchive(folderFiles(folder), ref, work)) };
  if (existsSync(join(folder, "config.json"))) return { kind: "bundle", config: EMPTY_CONFIG, ...readBundle(folder) };
  throw new ImageError(`${folder} is neither an OCI image layout (index.json) nor a bundle (config.json)`);
};

const openArchive = async (path: string, size: number, ref: string, work: string): Promise<OpenedImage> => {
  const tarball = await plainTar({ file: path, offset: 0, size }, work, path);
  const files = await archiveFiles(tarball, path);
  if (files("index.json") !== undefined && files("oci-layout") !== undefined) return { kind: "oci-archive", ...(await loadOciLayout(files, ref, work)) };
  if (files("manifest.json") !== undefined) return { kind: "docker-archive", ...(await loadDockerArchive(files, ref, work)) };
  const tree = new Tree();
  await applyLayer(tree, tarball, work, path);
  if ((tree.root.children?.size ?? 0) === 0) throw new ImageError(`${path} is an empty archive`);
  return { kind: "rootfs-tar", tree, config: EMPTY_CONFIG };
};

/**
 * Open the image at `path`. Throws ImageError that says what is wrong with it; the work folder may then hold unpacked files,
 * which its owner removes.
 */
export const openImage = async (path: string, work: string, ref = ""): Promise<OpenedImage> => {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    const dangling = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    throw new ImageError(dangling ? `image ${path} is a symbolic link to nothing` : `no image at ${path}`);
  }
  if (stat.isDirectory()) return openFolder(path, ref, work);
  if (!stat.isFile()) throw new ImageError(`image ${path} is neither a file nor a folder`);
  if (stat.size === 0) throw new ImageError(`image ${path} is empty`);
  closeSync(probeReadable(path));
  return openArchive(path, stat.size, ref, work);
};

const probeReadable = (path: string): number => {
  try {
    const fd = openSync(path, "r");
    readSync(fd, Buffer.alloc(1), 0, 1, 0);
    return fd;
  } catch (error) {
    throw new ImageError(`image ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
};
