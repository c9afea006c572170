// Owns finding a kernel in a folder as distributions lay it out: the boot file, its configuration and its modules, in the folder
// itself, in boot/ or beside the modules. Must never choose between two kernels for the user.
import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { isFolder } from "../lib/folder.js";
import { readKernelImage, type KernelImage } from "../formats/kernel-image.js";

export interface FoundKernel {
  readonly image: KernelImage;
  readonly release: string;
  /** The configuration's text, from a file or from inside the kernel; undefined when there is none. */
  readonly config: string | undefined;
  /** The folder with its modules (.../RELEASE); undefined when there is none. */
  readonly modules: string | undefined;
}

const MODULE_HOMES = ["", "lib/modules", "usr/lib/modules", "modules"];
const IMAGE = /^(vmlinuz|bzImage|vmlinux|Image)([-.].*)?$/;

async function names(dir: string): Promise<string[]> {
  return (await readdir(dir).catch(() => [])).sort();
}

/** Folders of modules in `tree`: `tree` itself, or those below lib/modules, usr/lib/modules, modules and `tree`. */
export async function moduleFolders(tree: string): Promise<string[]> {
  if (await isModules(tree)) return [tree];
  const found: string[] = [];
  for (const home of MODULE_HOMES) {
    for (const name of await names(join(tree, home))) if (await isModules(join(tree, home, name))) found.push(join(tree, home, name));
  }
  return found;
}

async function isModules(dir: string): Promise<boolean> {
  for (const mark of ["kernel", "modules.builtin", "modules.order", "modules.dep"]) {
    if (await stat(join(dir, mark)).then((st) => mark !== "kernel" || st.isDirectory(), () => false)) return true;
  }
  return false;
}

async function imageFiles(tree: string): Promise<string[]> {
  const found: string[] = [];
  for (const dir of [tree, join(tree, "boot"), ...(await moduleFolders(tree))]) {
    for (const name of await names(dir)) if (IMAGE.test(name) && !(await isFolder(join(dir, name)))) found.push(join(dir, name));
  }
  // one kernel in both forms, or under a second name, is one kernel
  const by = (what: RegExp): string[] => found.filter((path) => what.test(basename(path)));
  const bootable = by(/^(vmlinuz|bzImage)/);
  return bootable.length > 0 ? bootable : by(/^(vmlinux|Image)/);
}

/** The kernel in `tree`, which messages call `named`. Throws BuildError "missing" when there is none, or more than one. */
export async function findKernel(context: Context, tree: string, named: string): Promise<FoundKernel> {
  const files = await imageFiles(tree);
  if (files.length === 0) throw new BuildError("missing", `there is no kernel in ${named}`, "wanted: vmlinuz, bzImage or vmlinux, in it or in its boot/, and modules in lib/modules/RELEASE");
  const images = new Map<string, KernelImage & { readonly file: string }>();
  for (const file of files) {
    const image = await readKernelImage(basename(file), await readFile(file), context.signal);
    if (!images.has(image.release)) images.set(image.release, { ...image, file });
  }
  if (images.size > 1) throw new BuildError("usage", `there are ${images.size} kernels in ${named}: ${[...images.keys()].join(", ")}`, "name a folder or a package with one of them");
  const [image] = [...images.values()] as [KernelImage & { readonly file: string }];
  const folders = await moduleFolders(tree);
  const modules = folders.find((path) => basename(path) === image.release) ?? (image.release === "" && folders.length === 1 ? folders[0] : undefined);
  if (modules === undefined && folders.length > 0) {
    throw new BuildError("missing", `the modules in ${named} are for ${folders.map((path) => basename(path)).join(", ")}, its kernel is ${image.release}`, "a kernel loads modules of its own release only");
  }
  const release = image.release === "" ? basename(modules ?? "") : image.release;
  return { image, release, config: await configOf(tree, release, modules) ?? image.config, modules };
}

async function configOf(tree: string, release: string, modules: string | undefined): Promise<string | undefined> {
  const places = [join(tree, "boot", `config-${release}`), join(tree, `config-${release}`), ...(modules === undefined ? [] : [join(modules, "config")]), join(tree, "kernel.config"), join(tree, "config"), join(tree, ".config")];
  for (const path of places) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined && /^CONFIG_\w+=/m.test(text)) return text;
  }
  return undefined;
}
