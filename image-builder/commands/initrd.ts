// Owns the command `initrd`: the guest's root as a newc archive, compressed or not. No root, no temporary tree: the archive is
// written from the list of nodes.
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Context } from "../lib/context.js";
import type { Json } from "../lib/hash.js";
import { newc } from "../formats/cpio.js";
import { compress, compressionVersion, toCompression } from "../formats/compress.js";
import { rootOutput, type RootOutputOptions } from "./root-output.js";

export interface InitrdOptions extends RootOutputOptions {
  readonly compress: string;
}

/** Runs the command; the returned value is what --json prints. */
export async function initrd(context: Context, options: InitrdOptions): Promise<Json> {
  const method = toCompression(options.compress);
  const how: Json = { recipe: 1, format: "newc", compress: method, tool: await compressionVersion(method) };
  return rootOutput(context, "initrd", options, how, async (root, file, mtime) => {
    const raw = `${file}.raw`;
    await pipeline(Readable.from(newc(root.nodes, mtime)), createWriteStream(raw), { signal: context.signal });
    await compress(method, raw, file, context.signal);
    await rm(raw);
  });
}
