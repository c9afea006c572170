// Owns where the kernel's source comes from: the pinned Debian package, or a tarball or folder the user names. Answers with a
// content hash for the cache key before anything is unpacked. Must never write into a folder that the user gave.
import { readFile, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fetchPackage, type PackagePin } from "./apt.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { sha256File, sha256Tree } from "../lib/hash.js";
import { run } from "../lib/run.js";
import { ensureFolder } from "../lib/folder.js";

export interface KernelPin extends PackagePin {
  readonly series: string;
  /** The tarball's path inside the package. */
  readonly tarball: string;
}

export interface KernelSource {
  /** For the manifest: package and version, or "tarball" and "folder". */
  readonly origin: string;
  readonly sha256: string;
  /** The tree, unpacked into `into` unless it is a folder already. */
  unpack(into: string): Promise<string>;
}

export interface Pins {
  /** The source that our own kernel is compiled from. */
  readonly kernel: KernelPin;
  /** The ready-made kernel of Debian. */
  readonly debian: PackagePin;
}

/** One pin of the pins file. Throws BuildError "config" when it is not there. */
export async function readPin<K extends keyof Pins>(root: string, name: K): Promise<Pins[K]> {
  const path = join(root, "image-builder/pins.json");
  const pin = (JSON.parse(await readFile(path, "utf8")) as Partial<Pins>)[name];
  if (pin === undefined || pin.versions.length === 0) throw new BuildError("config", `${path} pins no version of "${name}"`, "restore the file from the repository");
  return pin;
}

/**
 * The source to build: `given` (a tarball or folder) or, without it, the pinned package. `isBuilt` tells whether the cache has the
 * kernel of a source with this sum: then nothing is fetched before it is unpacked. Throws BuildError "missing" or "fetch".
 */
export async function kernelSource(context: Context, given: string | undefined, isBuilt: (sha256: string) => Promise<boolean>): Promise<KernelSource> {
  if (given === undefined) return fromPackage(context, await readPin(context.root, "kernel"), isBuilt);
  const path = resolve(given);
  const st = await stat(path).catch(() => undefined);
  if (st === undefined) throw new BuildError("missing", `the kernel source ${given} does not exist`, "--source takes a Linux tarball or an unpacked tree");
  if (!st.isDirectory()) {
    context.progress.step(`reading ${given}`);
    return { origin: "tarball", sha256: await sha256File(path), unpack: (into) => untar(context, path, into) };
  }
  await checkTree(path, given);
  context.progress.step(`hashing the tree ${given}`);
  return { origin: "folder", sha256: await sha256Tree(path), unpack: () => Promise.resolve(path) };
}

async function fromPackage(context: Context, pin: KernelPin, isBuilt: (sha256: string) => Promise<boolean>): Promise<KernelSource> {
  const from = (only: KernelPin): KernelSource => {
    const { version, sha256 } = only.versions[0] as KernelPin["versions"][number];
    return {
      origin: `${pin.package} ${version}`,
      sha256,
      async unpack(into) {
        const deb = await fetchPackage(context, only);
        const stage = `${into}.deb`;
        await ensureFolder(stage);
        context.progress.step(`unpacking ${pin.package} ${version}`);
        await run("dpkg-deb", ["-x", deb.file, stage], { signal: context.signal, package: "dpkg" });
        return untar(context, join(stage, pin.tarball), into);
      },
    };
  };
  for (const version of pin.versions) if (await isBuilt(version.sha256)) return from({ ...pin, versions: [version] });
  const { version, sha256 } = await fetchPackage(context, pin);
  return from({ ...pin, versions: [{ version, sha256 }] });
}

async function untar(context: Context, tarball: string, into: string): Promise<string> {
  await ensureFolder(into);
  context.progress.step("unpacking the kernel source");
  try {
    await run("tar", ["-xf", tarball, "-C", into], { signal: context.signal, package: "tar xz-utils" });
  } catch (error) {
    if (!(error instanceof BuildError) || error.failure !== "failed") throw error;
    throw new BuildError("missing", `${tarball} cannot be unpacked: ${error.message}`, "is it a whole tar file? fetch it again", { cause: error });
  }
  const inside = await readdir(into);
  const tree = inside.length === 1 ? join(into, inside[0] as string) : into;
  await checkTree(tree, tarball);
  return tree;
}

async function checkTree(tree: string, named: string): Promise<void> {
  for (const file of ["Makefile", "Kconfig"]) {
    if ((await stat(join(tree, file)).catch(() => undefined)) === undefined) {
      throw new BuildError("missing", `${named} holds no Linux source: there is no ${file} in it`, "--source takes a Linux tarball or an unpacked tree");
    }
  }
}
