// Owns the source of a library that is compiled into the agent: the pinned Debian source package with Debian's patches, or a folder
// the user names. Answers with what decides its content before anything is unpacked. Must never write into a folder that the user
// gave. Source: deb-src-format in dpkg-source(1), quilt(1) for patches/series.
import { cp, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { ensureFolder, isFolder } from "../lib/folder.js";
import { sha256Tree, type Json } from "../lib/hash.js";
import { run } from "../lib/run.js";
import { fetchSource, type SourcePin } from "./apt.js";

export interface LibrarySource {
  /** What decides the content, for a cache key. */
  readonly key: Json;
  /** Puts the tree at `into`, which must not exist. Throws BuildError "fetch" when it cannot be had. */
  unpack(into: string): Promise<void>;
}

/** The folder `given`, or the pinned package without it; `option` names the command line's way to give one. Throws BuildError "missing". */
export async function librarySource(context: Context, pin: SourcePin, given: string | undefined, option: string): Promise<LibrarySource> {
  if (given === undefined) {
    return { key: { package: pin.package, files: pin.files }, unpack: (into) => unpackPackage(context, pin, into, `name an unpacked source of ${pin.package} (${option} DIR)`) };
  }
  const from = resolve(given);
  if (!(await isFolder(from))) throw new BuildError("missing", `${given} is no folder`, `${option} takes an unpacked source of ${pin.package}`);
  return { key: { tree: await sha256Tree(from) }, unpack: (into) => cp(from, into, { recursive: true }) };
}

async function unpackPackage(context: Context, pin: SourcePin, into: string, otherwise: string): Promise<void> {
  const files = await fetchSource(context, pin, otherwise);
  const tar = { signal: context.signal, package: "tar xz-utils" };
  await ensureFolder(into);
  for (const part of [".orig.tar.", ".debian.tar."]) {
    for (const [name, path] of files) {
      if (name.includes(part)) await run("tar", ["-xf", path, "-C", into, ...(part === ".orig.tar." ? ["--strip-components=1"] : [])], tar);
    }
  }
  const patches = join(into, "debian/patches");
  for (const name of seriesOf(await readFile(join(patches, "series"), "utf8").catch(() => ""))) {
    await run("patch", ["-s", "-p1", "-d", into, "-i", join(patches, name)], { signal: context.signal, package: "patch" });
  }
}

/** The patches of a series file in order: a line each, `#` begins a comment, options behind the name are of no use here. */
export function seriesOf(text: string): string[] {
  return text.split("\n").map((line) => line.replace(/#.*/, "").trim().split(/\s+/)[0] as string).filter((name) => name !== "");
}
