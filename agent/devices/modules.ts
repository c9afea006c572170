// Kernel modules of the guest's image, for kernels whose drivers are not built in. The image builder's index (its form:
// image-builder/steps/stage-modules.ts) tells what a module needs before it, and for which names the kernel asks; parameters come
// from the kernel's command line, as modprobe(8) takes them. See init_module(2), Documentation/admin-guide/kernel-parameters.rst.
import { E } from "../abi/errno.js";
import { O } from "../abi/flags.js";
import { NR } from "../abi/nr.js";
import { sys, SysError } from "../sys/call.js";
import { exists, open } from "../sys/file.js";
import { AppError, messageOf } from "../lib/errors.js";
import { readText, readTextIf } from "../lib/fs.js";
import { lines, words } from "../lib/text.js";
import { namesIn } from "./sysfs.js";

/** The modules to load before it, in that order (undefined: it is built in), and the names it answers to. */
interface Module { readonly before: readonly string[] | undefined; readonly aliases: readonly string[] }

const HOME = "/lib/modules";
const BUSES = ["pci", "platform", "virtio", "scsi", "nd"];

const release = (): string => readText("/proc/sys/kernel/osrelease").trim();
const plain = (name: string): string => name.split("-").join("_");

let index: Map<string, Module> | undefined;

/** The index; empty when the image has none for this kernel. */
function modules(): Map<string, Module> {
  if (index !== undefined) return index;
  index = new Map();
  for (const line of lines(readTextIf(`${HOME}/${release()}/kata-modules`) ?? "")) {
    const [name = "", before = "-", ...aliases] = line.split(" ");
    if (name === "=") for (const one of [before, ...aliases]) index.set(one, { before: undefined, aliases: [] });
    else index.set(name, { before: before === "-" ? [] : before.split(","), aliases });
  }
  return index;
}

/** Has the image modules for this kernel? Throws AppError when it has some for other kernels only. */
export function haveModules(): boolean {
  if (modules().size > 0) return true;
  const others = namesIn(HOME);
  if (others.length > 0) throw new AppError("internal", `the kernel modules in the image are for ${others.join(", ")}, this kernel is ${release()}: none can be loaded`);
  return false;
}

/** Does the pattern, in which "*" stands for any text, fit? */
function fits(pattern: string, text: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - at >= last.length && text.endsWith(last);
}

/** What the command line says to a module: `NAME.parameter=value`. */
const told = (name: string): string[] => words(readText("/proc/cmdline")).flatMap((word) => {
  const dot = word.indexOf(".");
  return dot > 0 && plain(word.slice(0, dot)) === name ? [word.slice(dot + 1)] : [];
});

function loadOne(name: string, parameters: readonly string[]): boolean {
  if (exists(`/sys/module/${name}`)) return false;
  const path = `${HOME}/${release()}/${name}.ko`;
  let r: number;
  try {
    using fd = open(path, O.RDONLY);
    r = sys(NR.finit_module, fd.n, parameters.join(" "), 0);
  } catch (error) {
    throw new AppError("internal", `the kernel module ${name} cannot be loaded: ${path}: ${messageOf(error)}`);
  }
  if (r >= 0 || r === -E.EEXIST) return r >= 0;
  const hint = r === -E.ENOEXEC ? ` (it was not made for this kernel, ${release()})` : "";
  throw new AppError("internal", `the kernel refuses the module ${name}${parameters.length > 0 ? ` with "${parameters.join(" ")}"` : ""}: ${new SysError("finit_module", -r).message}${hint}`);
}

/**
 * Loads a module and what it needs; true when it was not there. What is built in or loaded is there already. Throws AppError: the
 * image has no such module, or the kernel refuses one of them.
 */
export function loadModule(name: string, parameters: readonly string[] = []): boolean {
  const key = plain(name);
  const module = modules().get(key);
  if (module === undefined && (key.includes("/") || !exists(`/sys/module/${key}`))) throw new AppError("internal", `there is no kernel module ${name} in the image`);
  if (module?.before === undefined) return false;
  for (const one of module.before) loadOne(one, told(one));
  return loadOne(key, [...told(key), ...parameters]);
}

/** Loads every module that answers to a name of the kernel (fs-erofs, virtio:d00000002v...); undefined when there is none, else whether one was loaded. */
export function loadFor(alias: string, trouble: (error: unknown) => void): boolean | undefined {
  const wanted = plain(alias);
  let loaded: boolean | undefined;
  for (const [name, { aliases }] of modules()) {
    if (name !== wanted && !aliases.some((one) => fits(one, wanted))) continue;
    loaded ??= false;
    try {
      if (loadModule(name)) loaded = true;
    } catch (error) {
      trouble(error);
    }
  }
  return loaded;
}

/** Loads the drivers of all devices that are there, and of those that come to light by it. `trouble` is told of each that fails. */
export function loadForDevices(trouble: (error: unknown) => void): void {
  const seen = new Set<string>();
  for (let more = true; more;) {
    more = false;
    for (const bus of BUSES) {
      for (const device of namesIn(`/sys/bus/${bus}/devices`)) {
        const alias = readTextIf(`/sys/bus/${bus}/devices/${device}/modalias`)?.trim() ?? "";
        if (alias === "" || seen.has(alias)) continue;
        seen.add(alias);
        if (loadFor(alias, trouble) === true) more = true;
      }
    }
  }
}
