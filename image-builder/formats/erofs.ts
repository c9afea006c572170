// Owns making an erofs image from a folder with mkfs.erofs: fixed times, id and owner, so that equal trees give equal bytes.
// Not compressed by default: the tree is one program, and it can then be mapped directly (DAX). Source: mkfs.erofs(1).
import type { Context } from "../lib/context.js";
import { run } from "../lib/run.js";

export interface ErofsOptions {
  readonly mtime: number;
  readonly uuid: string;
  readonly lz4: boolean;
}

/** The release of erofs-utils, for the cache key. Throws BuildError "missing" when it is not installed. */
export async function erofsVersion(context: Context): Promise<string> {
  // mkfs.erofs of this age has no version option, its sister has; both come from one package
  return (await run("fsck.erofs", ["-V"], { signal: context.signal, package: "erofs-utils" })).trim();
}

/** Writes the image of folder `dir` to `image` and lets fsck.erofs read it whole. */
export async function makeErofs(context: Context, dir: string, image: string, options: ErofsOptions): Promise<void> {
  const args = ["--quiet", `-T${options.mtime}`, `-U${options.uuid}`, "--all-root", ...(options.lz4 ? ["-zlz4hc,12"] : []), image, dir];
  await run("mkfs.erofs", args, { signal: context.signal, package: "erofs-utils" });
  await run("fsck.erofs", ["--extract", image], { signal: context.signal, package: "erofs-utils" });
}
