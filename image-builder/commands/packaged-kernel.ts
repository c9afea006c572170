// Owns `kernel --from`: a ready-made kernel to the same files as a compiled one, and its modules beside them. Must never compile.
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { cached, keyOf, lookup, type Entry } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { ensureFolder } from "../lib/folder.js";
import type { Json } from "../lib/hash.js";
import { writeSection } from "../lib/manifest.js";
import { publish } from "../lib/publish.js";
import { run } from "../lib/run.js";
import { findKernel } from "../steps/find-kernel.js";
import { kernelPackage } from "../steps/kernel-package.js";

/** Raised when what is made of a package changes. */
const RECIPE_VERSION = 1;

const PUBLISHED = [["bzImage", "bzImage"], ["vmlinux", "vmlinux"], ["config", "kernel.config"]] as const;
const MODULES = "modules.tar";
/** In the published folder of modules: the sum of what it was made of, so that an equal one is left alone. */
const STAMP = ".made-of";

/** Makes bzImage, vmlinux, kernel.config and modules/RELEASE in `output`, as far as the kernel has them, and tells which it is, and `more`. The answer is what --json prints. */
export async function packagedKernel(context: Context, from: readonly string[], output: string, more = ""): Promise<Json> {
  const inputs = (source: Json): { readonly [key: string]: Json } => ({ recipe: RECIPE_VERSION, packaged: source });
  const isBuilt = async (sha256: string): Promise<boolean> => (await lookup(context, "kernel", keyOf("kernel", inputs(sha256)))) !== undefined;
  const source = await kernelPackage(context, from, isBuilt);
  const entry = await cached(context, "kernel", inputs(source.sha256), ["bzImage?", "vmlinux?", "config?", `${MODULES}?`, "release"], async (dir) => {
    const tree = await source.unpack(join(dir, "unpacked"));
    const found = await findKernel(context, tree, from.join(", "));
    if (found.image.boot !== undefined) await writeFile(join(dir, "bzImage"), found.image.boot);
    if (found.image.vmlinux !== undefined) await writeFile(join(dir, "vmlinux"), found.image.vmlinux);
    if (found.config !== undefined) await writeFile(join(dir, "config"), found.config);
    if (found.modules !== undefined) await pack(context, found.modules, found.release, join(dir, MODULES));
    await writeFile(join(dir, "release"), found.release);
  });
  const release = await readFile(join(entry.dir, "release"), "utf8");
  const changed: string[] = [];
  const outputs: Record<string, Entry["files"][string]> = {};
  for (const [name, to] of PUBLISHED) {
    const sum = entry.files[name];
    if (sum === undefined) await rm(join(output, to), { force: true });
    else {
      outputs[to] = sum;
      if (await publish(join(entry.dir, name), join(output, to), sum)) changed.push(to);
    }
  }
  const modules = entry.files[MODULES];
  if (modules === undefined) await removeModules(output);
  else {
    outputs["modules"] = modules;
    if (await publishModules(context, join(entry.dir, MODULES), output, modules.sha256)) changed.push("modules");
  }
  await writeSection(context, output, "kernel", { key: entry.key, inputs: inputs({ origin: source.origin, sha256: source.sha256, release }), outputs });
  context.progress.note(`kernel: ${source.origin}, release ${release}${modules === undefined ? ", without modules" : ""}; ${entry.cached ? "nothing to unpack" : "unpacked"}${more}`);
  return { key: entry.key, cached: entry.cached, changed, source: source.origin, release, outputs: outputs as unknown as Json };
}

/** A compiled kernel has no modules: those of another kernel beside it would be taken for its own. */
export async function removeModules(output: string): Promise<void> {
  await rm(join(output, "modules"), { recursive: true, force: true });
}

/** The modules as one file whose bytes depend on nothing but them. */
async function pack(context: Context, folder: string, release: string, to: string): Promise<void> {
  context.progress.step("packing the modules");
  await run("tar", ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", "--format=ustar", "--exclude=./build", "--exclude=./source",
    `--transform=s,^\\./*,${release}/,r`, "-C", folder, "-cf", to, "."], { signal: context.signal, package: "tar" });
}

async function publishModules(context: Context, tar: string, output: string, sum: string): Promise<boolean> {
  const to = join(output, "modules");
  if ((await readFile(join(to, STAMP), "utf8").catch(() => "")) === sum) return false;
  context.progress.step("unpacking the modules");
  await ensureFolder(dirname(to));
  const temp = await mkdtemp(join(output, `.${basename(to)}-`));
  try {
    await mkdir(join(temp, "new"));
    await run("tar", ["-xf", tar, "-C", join(temp, "new"), "--no-same-owner"], { signal: context.signal, package: "tar" });
    await writeFile(join(temp, "new", STAMP), sum);
    await rename(to, join(temp, "old")).catch(() => undefined);
    await rename(join(temp, "new"), to);
    return true;
  } finally {
    await rm(temp, { recursive: true, force: true });
  }
}
