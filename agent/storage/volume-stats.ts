// How full a volume is (agent facts 10.17).
import { statfs, open, O } from "../sys/file.js";
import { childTask } from "../lib/child-task.js";

const DEADLINE_MS = 10_000;
export interface Usage { readonly available: number; readonly total: number; readonly used: number; readonly unit: number }
const BYTES = 1;
const INODES = 2;

const usage = (total: number, available: number, unit: number): Usage => ({ available, total, used: total - available, unit });

/** Bytes and inodes of the file system at `path`, asked in a child: the host may not answer. */
export async function volumeStats(path: string): Promise<Usage[]> {
  const s = await childTask(`volume ${path}`, DEADLINE_MS, () => {
    using fd = open(path, O.RDONLY);
    const { bsize, blocks, bfree, files, ffree } = statfs(fd);
    return { bsize, blocks, bfree, files, ffree };
  });
  return [usage(s.blocks * s.bsize, s.bfree * s.bsize, BYTES), usage(s.files, s.ffree, INODES)];
}
