// Owns what is packed into or beside a kernel: which compression a run of bytes begins with, and the bytes inside. Must never guess:
// what has no magic number of a known compression is returned as it is. Sources: lz4_Frame_format.md (legacy), gzip (RFC 1952), the
// .xz format, zstd (RFC 8878).
import { createReadStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { run } from "../lib/run.js";

export type Packing = "gzip" | "xz" | "zstd" | "lz4" | "bzip2" | "lzma" | "lzo" | "none";

const MAGIC: readonly (readonly [Packing, string])[] = [
  ["gzip", "1f8b"], ["xz", "fd377a585a00"], ["zstd", "28b52ffd"], ["lz4", "02214c18"], ["bzip2", "425a68"], ["lzma", "5d0000"], ["lzo", "894c5a4f"],
];
const PROGRAMS: Readonly<Record<string, readonly [program: string, from: string]>> = {
  xz: ["xz", "xz-utils"], zstd: ["zstd", "zstd"], lz4: ["lz4", "lz4"], bzip2: ["bzip2", "bzip2"], lzma: ["xz", "xz-utils"], lzo: ["lzop", "lzop"],
};

/** How the bytes are packed, by their first ones. */
export function packingOf(bytes: Uint8Array): Packing {
  const start = Buffer.from(bytes.subarray(0, 8)).toString("hex");
  return MAGIC.find(([, magic]) => start.startsWith(magic))?.[0] ?? "none";
}

/** The first bytes of a file. */
export async function headOf(path: string, count = 8): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of createReadStream(path, { end: count - 1 })) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/**
 * The bytes inside; bytes that are not packed come back as they are. Throws BuildError "missing" when the program for it is not installed, "failed" for damaged data.
 */
export async function unpacked(bytes: Buffer, signal: AbortSignal): Promise<Buffer> {
  const packing = packingOf(bytes);
  if (packing === "none") return bytes;
  if (packing === "gzip") return gunzipSync(bytes);
  const [program, from] = PROGRAMS[packing] as readonly [string, string];
  const dir = await mkdtemp(join(tmpdir(), "image-builder-unpack-"));
  try {
    await writeFile(join(dir, "in"), bytes);
    await run("sh", ["-c", `"$1" -dc < "$2" > "$3"`, "sh", program, join(dir, "in"), join(dir, "out")], { signal, package: from });
    return await readFile(join(dir, "out"));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
