// How full a volume is (agent-api 10.17).
import { O } from "../abi/flags.js";
import { statfs, open } from "../sys/file.js";
import { aside, type ForeignPath, named, reach } from "../lib/foreign.js";

const DEADLINE_MS = 10_000;
export interface Usage { readonly available: number; readonly total: number; readonly used: number; readonly unit: number }
const BYTES = 1;
const INODES = 2;

const usage = (total: number, available: number, unit: number): Usage => ({ available, total, used: total - available, unit });

/** Bytes and inodes of the file system at `path`, asked in a child: the host may not answer. */
export async function volumeStats(path: ForeignPath): Promise<Usage[]> {
  const s = await aside(`volume ${named(path)}`, DEADLINE_MS, (off) => {
    using fd = open(reach(path, off), O.PATH);
    const { bsize, blocks, bfree, files, ffree } = statfs(fd);
    return { bsize, blocks, bfree, files, ffree };
  });
  return [usage(s.blocks * s.bsize, s.bfree * s.bsize, BYTES), usage(s.files, s.ffree, INODES)];
}
