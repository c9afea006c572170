// Owns where a ready-made kernel comes from: the pinned package of a distribution, package files, or a folder that the user names.
// Answers with a content hash for the cache key before anything is unpacked. Must never install a package, run its scripts, nor write into a
// folder that the user gave.
import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fetchPackage } from "./apt.js";
import { readPin, type KernelSource } from "./kernel-source.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { ensureFolder } from "../lib/folder.js";
import { sha256, sha256File, sha256Tree } from "../lib/hash.js";
import { run } from "../lib/run.js";

const BY_HAND = "name a package file or a folder (kernel --from FILE.deb|DIR)";

/**
 * The kernel that `from` names: `debian` for the pinned package, package files (a kernel and its modules may be in several), or one
 * folder. `isBuilt` tells whether the cache has what is made of a source with this sum: then nothing is fetched. Throws BuildError.
 */
export async function kernelPackage(context: Context, from: readonly string[], isBuilt: (sha256: string) => Promise<boolean>): Promise<KernelSource> {
  if (from.length === 1 && from[0] === "debian") return fromDebian(context, isBuilt);
  const paths = from.map((path) => resolve(path));
  const folders: boolean[] = [];
  for (const [i, path] of paths.entries()) {
    const st = await stat(path).catch(() => undefined);
    if (st === undefined) throw new BuildError("missing", `${from[i]} does not exist`, "--from takes debian, a package file (.deb) or a folder with a kernel and its modules");
    folders.push(st.isDirectory());
  }
  if (folders.includes(true)) {
    if (paths.length > 1) throw new BuildError("usage", "--from takes one folder, or package files", "give either of them");
    const [path] = paths as [string];
    context.progress.step(`hashing the folder ${from[0]}`);
    return { origin: "folder", sha256: await sha256Tree(path), unpack: () => Promise.resolve(path) };
  }
  return fromFiles(context, paths);
}

async function fromDebian(context: Context, isBuilt: (sha256: string) => Promise<boolean>): Promise<KernelSource> {
  const pin = await readPin(context.root, "debian");
  const source = (name: string, version: string, sha: string, file: string | undefined): KernelSource => ({
    origin: `${name} ${version}`,
    sha256: sha256(sha),
    async unpack(into) {
      if (file === undefined) throw new BuildError("failed", `${name} is to be unpacked and was not fetched`);
      await unpackDeb(context, file, into);
      return into;
    },
  });
  for (const { package: name, version, sha256: sha } of pin.versions) if (await isBuilt(sha256(sha))) return source(name ?? pin.package, version, sha, undefined);
  const deb = await fetchPackage(context, pin, BY_HAND);
  return source(deb.package, deb.version, deb.sha256, deb.file);
}

async function fromFiles(context: Context, paths: readonly string[]): Promise<KernelSource> {
  const sums: string[] = [];
  const origins: string[] = [];
  for (const path of paths) {
    const fields = await run("dpkg-deb", ["-f", path, "Package", "Version"], { signal: context.signal, package: "dpkg" }).catch((error: unknown) => {
      if (!(error instanceof BuildError) || error.failure !== "failed") throw error;
      throw new BuildError("missing", `${basename(path)} is no Debian package`, "--from takes debian, a package file (.deb) or a folder with a kernel and its modules", { cause: error });
    });
    origins.push(["Package", "Version"].map((name) => new RegExp(`^${name}: (.*)$`, "m").exec(fields)?.[1] ?? "").join(" "));
    sums.push(await sha256File(path));
  }
  return {
    origin: origins.join(", "),
    sha256: sha256([...sums].sort().join("\n")),
    async unpack(into) {
      for (const path of paths) await unpackDeb(context, path, into);
      return into;
    },
  };
}

async function unpackDeb(context: Context, file: string, into: string): Promise<void> {
  context.progress.step("unpacking the kernel's package");
  await ensureFolder(into);
  await run("dpkg-deb", ["-x", file, into], { signal: context.signal, package: "dpkg" });
}
