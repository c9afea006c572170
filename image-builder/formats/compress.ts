// Owns the compressions the kernel can unpack an initrd from, and how each is made so that equal input gives equal bytes: one
// thread, no name, no time. lz4 is the legacy frame, the only one the kernel reads; zstd keeps its window within 8 MiB.
import { constants, gzipSync } from "node:zlib";
import { readFile, writeFile } from "node:fs/promises";
import { BuildError } from "../lib/errors.js";
import { run } from "../lib/run.js";

export const COMPRESSIONS = ["raw", "lz4", "zstd", "gzip"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** The name as given on the command line. Throws BuildError "usage" for one that is not known. */
export function toCompression(name: string): Compression {
  const found = COMPRESSIONS.find((c) => c === name);
  if (found === undefined) throw new BuildError("usage", `unknown compression ${name}`, `known: ${COMPRESSIONS.join(", ")}`);
  return found;
}

/** The version of what makes the bytes, for the cache key. Throws BuildError "missing" when the program is not installed. */
export async function compressionVersion(compression: Compression): Promise<string> {
  if (compression === "raw") return "";
  if (compression === "gzip") return `zlib ${process.versions["zlib"] ?? ""}`;
  return (await run(compression, ["--version"], { package: compression })).trim();
}

/** Writes `to` as the compressed form of `from`. */
export async function compress(compression: Compression, from: string, to: string, signal: AbortSignal): Promise<void> {
  switch (compression) {
    case "raw": await writeFile(to, await readFile(from)); break;
    case "gzip": await writeFile(to, gzipSync(await readFile(from), { level: constants.Z_BEST_COMPRESSION })); break;
    case "lz4": await run("lz4", ["-q", "-f", "-l", "-9", from, to], { signal, package: "lz4" }); break;
    case "zstd": await run("zstd", ["-q", "-f", "-19", "--single-thread", "--no-progress", from, "-o", to], { signal, package: "zstd" }); break;
  }
}
