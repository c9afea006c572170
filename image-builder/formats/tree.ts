// Owns laying out nodes as a plain folder for the mkfs programs that read one. Works without root: owners are set by the mkfs
// program, so only what an ordinary user can create is accepted. Must never follow a link out of the folder (checkNodes has
// refused such names).
import { chmod, link, lutimes, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BuildError } from "../lib/errors.js";
import { checkNodes, sortNodes, type Node } from "./cpio.js";

/** Makes `nodes` below the empty folder `dir`, every time set to `mtime`. Throws BuildError "config" for what a disk image cannot take. */
export async function layOut(nodes: readonly Node[], dir: string, mtime: number): Promise<void> {
  checkNodes(nodes);
  const sorted = sortNodes(nodes);
  for (const node of sorted) {
    if (node.kind === "char" || node.kind === "block" || node.kind === "fifo") {
      throw new BuildError("config", `${node.path}: a disk image takes no ${node.kind} node`, "the kernel mounts devtmpfs on /dev for a disk root; keep nodes out of files.json");
    }
    if (node.kind !== "link" && (node.uid !== 0 || node.gid !== 0)) {
      throw new BuildError("config", `${node.path}: in a disk image everything belongs to root, not to ${node.uid}:${node.gid}`, "use an initrd, or drop the owner in files.json");
    }
    const path = join(dir, node.path);
    if (node.kind === "dir") await mkdir(path);
    else if (node.kind === "symlink") await symlink(node.target, path);
    else if (node.kind === "file") await writeFile(path, Buffer.concat([...node.content.chunks()]));
  }
  for (const node of sorted) if (node.kind === "link") await link(join(dir, node.target), join(dir, node.path));
  for (const node of sorted.reverse()) {
    const path = join(dir, node.path);
    if (node.kind === "dir" || node.kind === "file") await chmod(path, node.mode);
    if (node.kind !== "link") await lutimes(path, mtime, mtime);
  }
  await chmod(dir, 0o755);
  await lutimes(dir, mtime, mtime);
  await lutimes(dirname(dir), mtime, mtime);
}
