// Takes the compression off an archive: gzip, or zstd by its own program, into a plain tar in the given work folder. It owns telling
// how bytes are packed; forms that are not unpacked are refused by their name. Sources: RFC 1952, RFC 8878, zstd(1).
import { spawn } from "node:child_process";
import { createWriteStream, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { Transform, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { atEnd } from "../lifetime.js";
import { headOf, readContent, type Content } from "./content.js";
import { BLOCK, isHeader } from "./tar-header.js";
import { ImageError } from "./tree.js";

export type Compression = "none" | "gzip" | "zstd";

const startsWith = (head: Buffer, hex: string): boolean => head.subarray(0, hex.length / 2).toString("hex") === hex;

const OTHERS: readonly [hex: string, name: string][] = [
  ["fd377a585a00", "xz"], ["425a68", "bzip2"], ["04224d18", "lz4"], ["4c5a4950", "lzip"], ["1f9d", "compress"], ["5d0000", "lzma"], ["504b0304", "zip"], ["377abcaf271c", "7z"],
];

/** How the bytes are packed, from their beginning. Throws ImageError that names a form that is not unpacked. */
export const compressionOf = (content: Content): Compression => {
  const head = headOf(content, BLOCK);
  // The name of a tar's first entry may look like anything.
  if (isHeader(head)) return "none";
  if (startsWith(head, "1f8b")) return "gzip";
  // Frames that only carry notes may come first: 184D2A50 to 184D2A5F.
  if (startsWith(head, "28b52ffd") || (startsWith(head.subarray(1), "2a4d18") && ((head[0] ?? 0) & 0xf0) === 0x50)) return "zstd";
  const other = OTHERS.find(([hex]) => startsWith(head, hex));
  if (other !== undefined) throw new ImageError(`packed with ${other[1]}, which is not supported: plain tar, gzip and zstd are`);
  return "none";
};

/** Share of the work folder's disk, and bytes, that unpacking leaves to others. */
const RESERVE_SHARE = 0.02;
const RESERVE_BYTES = 256 * 1024 ** 2;
const LOOK_EVERY = 16 * 1024 ** 2;

const noSpace = (): Error => Object.assign(new Error("no space left on device"), { code: "ENOSPC", syscall: "write" });

/** Counts bytes, and ends before a small archive that unpacks to a huge one takes the whole disk. */
const counting = (size: { bytes: number }, work: string): Transform => {
  let look = LOOK_EVERY;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size.bytes += chunk.length;
      if (size.bytes >= look) {
        look = size.bytes + LOOK_EVERY;
        const disk = statfsSync(work);
        if (disk.bavail * disk.bsize < Math.min(RESERVE_BYTES, disk.blocks * disk.bsize * RESERVE_SHARE)) return done(noSpace());
      }
      done(null, chunk);
    },
  });
};

/** Bytes through `zstd -d`, which checks what each frame says of itself; `ended` resolves with the reason of a failure. */
const unzstd = (from: Readable): { out: Readable; ended: Promise<string | undefined> } => {
  const tool = spawn("zstd", ["-dcq"], { stdio: ["pipe", "pipe", "pipe"] });
  const forget = atEnd(() => tool.kill("SIGKILL"));
  let said = "";
  tool.stderr.on("data", (piece: Buffer) => (said = (said + piece.toString("utf8")).slice(-2000)));
  // A tool that ends early closes its input; its own words then matter more than our EPIPE.
  const fed = pipeline(from, tool.stdin).catch((error: NodeJS.ErrnoException) => {
    tool.kill("SIGKILL");
    return error.code === "EPIPE" || error.code === "ERR_STREAM_PREMATURE_CLOSE" ? undefined : error.message;
  });
  const ended = new Promise<string | undefined>((resolve) => {
    tool.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ENOENT" ? "zstd is not installed (Debian package zstd)" : error.message));
    tool.once("close", (code, signal) => resolve(code === 0 ? undefined : said.trim().replaceAll("/*stdin*\\", "").replace(/^(zstd)?[\s:]*/, "") || `zstd ended with ${signal ?? code}`));
  });
  return { out: tool.stdout, ended: Promise.all([fed, ended]).then(([input, end]) => (forget(), input ?? end)) };
};

let unpacked = 0;

const takeOff = async (content: Content, compression: Compression, file: string, size: { bytes: number }, work: string): Promise<void> => {
  const count = counting(size, work);
  const to = createWriteStream(file, { flags: "wx", mode: 0o600 });
  if (compression === "none") return pipeline(readContent(content), count, to);
  if (compression === "gzip") return pipeline(readContent(content), createGunzip(), count, to);
  const { out, ended } = unzstd(readContent(content));
  const written = await pipeline(out, count, to).then(() => undefined, (error: Error) => error);
  const why = await ended;
  if (written !== undefined) throw written;
  if (why !== undefined) throw new Error(why);
};

/**
 * The same bytes without compression and without holes: `content` itself, or a new file in `work`. Throws ImageError when they are
 * damaged, packed in a way that is not supported, or the disk is full; no half-made file stays.
 */
export const plainTar = async (content: Content, work: string, name: string): Promise<Content> => {
  let compression: Compression;
  try {
    compression = compressionOf(content);
  } catch (error) {
    throw error instanceof ImageError ? new ImageError(`${name} is ${error.message}`) : error;
  }
  if (compression === "none" && content.pieces === undefined) return content;
  const file = join(work, `unpacked-${unpacked++}.tar`);
  const size = { bytes: 0 };
  try {
    await takeOff(content, compression, file, size, work);
  } catch (error) {
    rmSync(file, { force: true });
    const cause = error as NodeJS.ErrnoException;
    if (cause.code === "ENOSPC") throw new ImageError(`no space left in ${work} while unpacking ${name}; set TMPDIR to a larger place`, { cause });
    if (cause.syscall !== undefined || cause.message.includes("not installed")) throw new ImageError(`cannot unpack ${name}: ${cause.message}`, { cause });
    throw new ImageError(`${name} is damaged (${compression}): ${cause.message}`, { cause });
  }
  return { file, offset: 0, size: size.bytes };
};
