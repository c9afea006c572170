// Owns making an ext4 image from a folder with mke2fs, so that equal trees give equal bytes: fixed id, hash seed and clock, and
// the inode times written afterwards with debugfs, because mke2fs 1.47.0 copies the change time of the source file. No journal:
// the image is only ever mounted read-only. Source: mke2fs(8), debugfs(8).
import { truncate } from "node:fs/promises";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { run } from "../lib/run.js";
import type { Node } from "./cpio.js";

export interface Ext4Options {
  readonly mtime: number;
  readonly uuid: string;
}

const BLOCK = 4096;
const INODE = 256;

/** The release of e2fsprogs, for the cache key. Throws BuildError "missing" when it is not installed. */
export async function ext4Version(context: Context): Promise<string> {
  let version = "";
  await run("mke2fs", ["-V"], { signal: context.signal, package: "e2fsprogs", onLine: (line) => { version ||= line.trim(); } });
  return version;
}

/** Bytes of an image that holds `nodes` with little to spare, a multiple of 1 MiB. */
export function ext4Size(nodes: readonly Node[]): number {
  let blocks = 0;
  for (const node of nodes) if (node.kind === "file") blocks += Math.ceil(node.content.size / BLOCK) + 1;
    else if (node.kind === "dir") blocks += 1;
    else blocks += 1;
  const inodes = Math.ceil((inodeCount(nodes) * INODE) / BLOCK);
  // superblock, descriptors, bitmaps, lost+found (4 blocks), the journal-less rest of the metadata
  const meta = 64 + Math.ceil(blocks / 50);
  return Math.ceil(((blocks + inodes + meta) * BLOCK) / (1 << 20)) * (1 << 20);
}

function inodeCount(nodes: readonly Node[]): number {
  // 11 are reserved; mke2fs rounds up to whole blocks
  return Math.ceil((nodes.length + 12 + 16) / 16) * 16;
}

/** Writes the image of folder `dir`, which holds exactly `nodes`, to `image`, and has e2fsck check it. */
export async function makeExt4(context: Context, dir: string, image: string, nodes: readonly Node[], options: Ext4Options): Promise<void> {
  for (const node of nodes) if (/["\n\\]/.test(node.path)) throw new BuildError("config", `${JSON.stringify(node.path)}: such a name cannot go into an ext4 image`, "rename it, or use erofs");
  const size = ext4Size(nodes);
  await truncate(image, 0).catch(() => undefined);
  const clock = { E2FSPROGS_FAKE_TIME: String(options.mtime), SOURCE_DATE_EPOCH: String(options.mtime) };
  const base = { env: clock, signal: context.signal, package: "e2fsprogs" };
  await run("mke2fs", ["-q", "-F", "-t", "ext4", "-b", String(BLOCK), "-I", String(INODE), "-N", String(inodeCount(nodes)), "-m", "0",
    "-O", "^has_journal,^resize_inode", "-U", options.uuid, "-E", `hash_seed=${options.uuid},root_owner=0:0,lazy_itable_init=0,nodiscard`,
    "-d", dir, image, `${size / 1024}k`], base);
  const complaints: string[] = [];
  await run("debugfs", ["-w", "-f", "-", image], { ...base, input: inodeScript(nodes, options.mtime), onLine: (line) => {
    if (!line.startsWith("debugfs")) complaints.push(line);
  } });
  if (complaints.length > 0) throw new BuildError("failed", `debugfs could not set the times in ${image}: ${complaints.slice(0, 5).join("; ")}`, "is e2fsprogs 1.47 or newer installed?");
  await run("e2fsck", ["-f", "-n", image], base);
}

/** Every inode's owner and times, as debugfs commands. */
function inodeScript(nodes: readonly Node[], mtime: number): string {
  const paths = ["/", "/lost+found", ...nodes.map((n) => `/${n.path}`)];
  return paths.flatMap((path) => [
    ...["uid", "gid"].map((field) => `sif "${path}" ${field} 0`),
    ...["atime", "ctime", "mtime", "crtime"].map((field) => `sif "${path}" ${field} @${mtime}`),
    ...["atime_extra", "ctime_extra", "mtime_extra", "crtime_extra"].map((field) => `sif "${path}" ${field} 0`),
  ]).map((l) => `${l}\n`).join("");
}
