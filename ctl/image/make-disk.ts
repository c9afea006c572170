// Turns a tree into a read-only disk image for the guest: squashfs, made by sqfstar from a tar stream, so that owners,
// modes, devices and attributes are right without being root and without a copy of the files on this machine.
import { spawn } from "node:child_process";
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { atEnd } from "../lifetime.js";
import { tarOf, timeOf } from "./write-tar.js";
import { ImageError, type Tree } from "./tree.js";

/** File system in the images made here. */
export const DISK_FSTYPE = "squashfs";

// sqfstar 4.5 has an option for the time of the root, but puts the present time. The inode is found by the superblock and lies there
// uncompressed (-noI). Source: squashfs_super_block and squashfs_base_inode in the kernel's fs/squashfs/squashfs_fs.h.
const setRootTime = (file: string, seconds: number): void => {
  const fd = openSync(file, "r+");
  try {
    const head = Buffer.alloc(96);
    readSync(fd, head, 0, head.length, 0);
    const rootInode = head.readBigUInt64LE(32);
    const block = Number(head.readBigUInt64LE(64) + (rootInode >> 16n));
    const time = Buffer.alloc(4);
    time.writeUInt32LE(seconds);
    // Behind the block's length; behind type, mode, owner and group of the inode.
    writeSync(fd, time, 0, time.length, block + 2 + Number(rootInode & 0xffffn) + 8);
  } finally {
    closeSync(fd);
  }
};

/**
 * Write the tree to `file` as squashfs. Data stays uncompressed: the image lives for one run and is read by an emulated disk.
 * Throws ImageError when the tool is missing, fails or the disk is full; no half-made file is left.
 */
export const makeDisk = async (tree: Tree, file: string): Promise<void> => {
  const root = tree.root;
  const args = [
    "-quiet", "-no-progress", "-exit-on-error", "-comp", "gzip", "-noI", "-noD", "-noF", "-noX", "-reproducible", "-mkfs-time", "0",
    "-root-mode", root.mode.toString(8), "-root-uid", String(root.uid), "-root-gid", String(root.gid), file,
  ];
  const tool = spawn("sqfstar", args, { stdio: ["pipe", "ignore", "pipe"] });
  const forget = atEnd(() => tool.kill("SIGKILL"));
  let said = "";
  tool.stderr.on("data", (piece: Buffer) => (said = (said + piece.toString("utf8")).slice(-2000)));
  const ended = new Promise<string | undefined>((resolve) => {
    tool.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ENOENT" ? "sqfstar is not installed (Debian package squashfs-tools)" : error.message));
    tool.once("close", (code, signal) => resolve(code === 0 ? undefined : `sqfstar ended with ${signal ?? code}: ${said.trim().split(/\s*\n\s*/).slice(-3).join("; ")}`));
  });
  const fed = pipeline(Readable.from(tarOf(tree)), tool.stdin).then(() => undefined, (error: Error) => error);
  const [problem, feedError] = await Promise.all([ended, fed]);
  forget();
  // A tool that died closes its input; its own words then matter more than our EPIPE.
  const why = feedError instanceof ImageError ? feedError.message : problem ?? feedError?.message;
  if (why === undefined) return setRootTime(file, timeOf(root));
  rmSync(file, { force: true });
  throw new ImageError(`cannot make the container's disk ${file}: ${why}`);
};
