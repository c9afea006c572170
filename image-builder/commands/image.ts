// Owns the command `image`: the guest's root as a disk image without partitions, erofs or ext4, with the agent as its init. No
// root, no loop device, no mount. Boot it with root=/dev/vda rootfstype=erofs ro init=/init.
import { mkdir } from "node:fs/promises";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { canonical, sha256, type Json } from "../lib/hash.js";
import { erofsVersion, makeErofs } from "../formats/erofs.js";
import { ext4Version, makeExt4 } from "../formats/ext4.js";
import { layOut } from "../formats/tree.js";
import { rootOutput, type RootOutputOptions } from "./root-output.js";

export interface ImageOptions extends RootOutputOptions {
  readonly fs: string;
  readonly lz4?: boolean;
}

/** Runs the command; the returned value is what --json prints. */
export async function image(context: Context, options: ImageOptions): Promise<Json> {
  if (options.fs !== "erofs" && options.fs !== "ext4") throw new BuildError("usage", `unknown file system ${options.fs}`, "known: erofs, ext4");
  const lz4 = options.lz4 === true;
  if (lz4 && options.fs === "ext4") throw new BuildError("usage", "--lz4 is for erofs only", "leave it out for ext4");
  const tool = options.fs === "erofs" ? await erofsVersion(context) : await ext4Version(context);
  const how: Json = { recipe: 1, format: options.fs, lz4, tool };
  return rootOutput(context, "image", options, how, async (root, file, mtime) => {
    const tree = `${file}.tree`;
    await mkdir(tree);
    await layOut(root.nodes, tree, mtime);
    const uuid = toUuid(sha256(canonical(root.inputs)));
    if (options.fs === "erofs") await makeErofs(context, tree, file, { mtime, uuid, lz4 });
    else await makeExt4(context, tree, file, root.nodes, { mtime, uuid });
  });
}

/** A version 8 UUID (RFC 9562: free content) from a hash: equal trees have equal ids, different ones do not. */
export function toUuid(hash: string): string {
  const variant = ((Number.parseInt(hash.slice(16, 17), 16) & 3) | 8).toString(16);
  return [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `${variant}${hash.slice(17, 20)}`, hash.slice(20, 32)].join("-");
}
