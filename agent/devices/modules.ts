// Kernel modules of the guest's image, for kernels whose drivers are not built in. The image builder's index (its form:
// image-builder/steps/stage-modules.ts) tells what a module needs before it, and for which names the kernel asks; parameters come
// from the kernel's command line, as modprobe(8) takes them. See init_module(2), Documentation/admin-guide/kernel-parameters.rst.
// A path is made of names of the index alone. The index is read when it is needed and not kept: PID 1 needs it when it boots.
import { E } from "../abi/errno.js";
import { O } from "../abi/flags.js";
import { NR } from "../abi/nr.js";
import { sys, SysError } from "../sys/call.js";
import { exists, open } from "../sys/file.js";
import { AppError, messageOf } from "../lib/errors.js";
import { readText, readTextIf } from "../lib/fs.js";
import { keyValue, lines, words } from "../lib/text.js";
import { namesIn } from "./sysfs.js";

const HOME = "/lib/modules";
const BUSES = ["pci", "acpi", "platform", "virtio", "scsi", "nd"];

interface Index {
  readonly release: string;
  /** The modules of the image, and what is loaded before each, in that order. */
  readonly before: ReadonlyMap<string, readonly string[]>;
  /** Which modules answer to a name: their own, and their aliases. */
  readonly names: ReadonlyMap<string, readonly string[]>;
  /** Aliases in which "*" stands for any text, split there, and the module that answers. */
  readonly patterns: readonly (readonly [parts: readonly string[], name: string])[];
  readonly builtin: ReadonlySet<string>;
  /** The words of the kernel's command line. */
  readonly told: readonly string[];
}

/** What happens to a module that cannot be loaded, where more than one may be wanted. */
export interface Asker {
  /** Told of each that fails. */
  readonly trouble: (error: unknown, name: string) => void;
  /** Those that are not even tried. */
  readonly skip?: (name: string) => boolean;
}

const release = (): string => readText("/proc/sys/kernel/osrelease").trim();
const indexPath = (of: string): string => `${HOME}/${of}/kata-modules`;
const plain = (name: string): string => name.split("-").join("_");

/** Is it a name that a module can have? Everything else, "..", say, never becomes part of a path. */
function isName(name: string): boolean {
  for (const c of name) if (!((c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || (c >= "0" && c <= "9") || c === "_")) return false;
  return name !== "";
}

/** The index for this kernel; undefined when the image has none. */
function readIndex(): Index | undefined {
  const running = release();
  const text = readTextIf(indexPath(running));
  if (text === undefined) return undefined;
  const before = new Map<string, readonly string[]>();
  const names = new Map<string, string[]>();
  const patterns: [string[], string][] = [];
  const builtin = new Set<string>();
  for (const line of lines(text)) {
    const [name = "", first = "-", ...aliases] = line.split(" ");
    if (name === "=") for (const one of [first, ...aliases]) builtin.add(one);
    else {
      before.set(name, first === "-" ? [] : first.split(","));
      for (const alias of [name, ...aliases]) {
        if (alias.includes("*")) patterns.push([alias.split("*"), name]);
        else names.set(alias, [...(names.get(alias) ?? []), name]);
      }
    }
  }
  return { release: running, before, names, patterns, builtin, told: words(readText("/proc/cmdline")) };
}

/** Has the image modules of ours for this kernel? */
export const haveModules = (): boolean => exists(indexPath(release()));

/** The kernels that the image has modules for, when this one is not among them. */
export function otherKernels(): string[] {
  const others = namesIn(HOME);
  return others.includes(release()) ? [] : others;
}

/** The kernel's own name of this release, for what is told. */
export const runningKernel = release;

function fits([first = "", ...rest]: readonly string[], text: string): boolean {
  if (!text.startsWith(first)) return false;
  const last = rest.pop() ?? "";
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - at >= last.length && text.endsWith(last);
}

/** The modules that answer to a name, each once. */
const answering = (index: Index, name: string): Set<string> =>
  new Set([...(index.names.get(name) ?? []), ...index.patterns.filter(([parts]) => fits(parts, name)).map(([, one]) => one)]);

/** What the command line says to a module: `NAME.parameter=value`. */
const toldTo = (index: Index, name: string): string[] => index.told.flatMap((word) => {
  const dot = word.indexOf(".");
  return dot > 0 && plain(word.slice(0, dot)) === name ? [word.slice(dot + 1)] : [];
});

/** As modprobe(8) hands a parameter on: a value with spaces in quotes. */
function quoted(parameter: string): string {
  const [name, value] = keyValue(parameter);
  return value === undefined || !value.includes(" ") || value.startsWith('"') ? parameter : `${name}="${value}"`;
}

const NOT_NOW: readonly number[] = [E.ENOMEM, E.EAGAIN, E.EBUSY, E.EINTR, E.EMFILE, E.ENFILE];
const HINTS: readonly (readonly [number, string])[] = [[E.ENOENT, "a symbol or parameter that it does not know, see the kernel's log"], [E.EKEYREJECTED, "its signature"]];

function refused(index: Index, name: string, parameters: string, errno: number): AppError {
  const hint = errno === E.ENOEXEC ? `it was not made for this kernel, ${index.release}` : HINTS.find(([n]) => n === errno)?.[1];
  return new AppError(NOT_NOW.includes(errno) ? "unavailable" : "internal",
    `the kernel refuses the module ${name}${parameters === "" ? "" : ` with "${parameters}"`}: ${new SysError("finit_module", errno).message}${hint === undefined ? "" : ` (${hint})`}`);
}

function loadOne(index: Index, name: string, parameters: readonly string[]): boolean {
  // one that another process is loading is not there yet: finit_module(2) waits for it
  if (readTextIf(`/sys/module/${name}/initstate`) === "live\n") return false;
  const path = `${HOME}/${index.release}/${name}.ko`;
  const text = parameters.map(quoted).join(" ");
  let r: number;
  try {
    using fd = open(path, O.RDONLY);
    r = sys(NR.finit_module, fd.n, text, 0);
  } catch (error) {
    throw new AppError("internal", `the kernel module ${name} cannot be loaded: ${path}: ${messageOf(error)}`);
  }
  if (r < 0 && r !== -E.EEXIST) throw refused(index, name, text, -r);
  return r >= 0;
}

/** Loads a module of the index and what it needs; true when it was not there. */
function loadWithNeeds(index: Index, name: string, parameters: readonly string[] = []): boolean {
  for (const one of index.before.get(name) ?? []) loadOne(index, one, toldTo(index, one));
  return loadOne(index, name, [...toldTo(index, name), ...parameters]);
}

/**
 * Loads the modules that answer to a name (one, as a rule), and what they need; true when one was not there. What is built in or loaded is
 * there already. Throws AppError: the image has no such module, or the kernel refuses one of them ("unavailable" when it may not another time).
 */
export function loadModule(name: string, parameters: readonly string[] = []): boolean {
  const key = plain(name);
  const index = readIndex();
  const wanted = index === undefined ? [] : [...answering(index, key)];
  if (index !== undefined && wanted.length > 0) return wanted.filter((one) => loadWithNeeds(index, one, parameters)).length > 0;
  if (index?.builtin.has(key) === true || (isName(key) && exists(`/sys/module/${key}`))) return false;
  throw new AppError("internal", `there is no kernel module ${name} in the image`);
}

/** Loads every module that answers to a name of the kernel (fs-erofs, virtio:d00000002v...); undefined when there is none, else whether one was loaded. */
export function loadFor(alias: string, asker: Asker, index: Index | undefined = readIndex()): boolean | undefined {
  let loaded: boolean | undefined;
  if (index === undefined) return loaded;
  for (const name of answering(index, plain(alias))) {
    if (asker.skip?.(name) === true) continue;
    loaded ??= false;
    try {
      if (loadWithNeeds(index, name)) loaded = true;
    } catch (error) {
      asker.trouble(error, name);
    }
  }
  return loaded;
}

/** Loads the drivers of all devices that are there, and of those that come to light by it. */
export function loadForDevices(asker: Asker): void {
  const index = readIndex();
  const seen = new Set<string>();
  for (let more = index !== undefined; more;) {
    more = false;
    for (const bus of BUSES) {
      for (const device of namesIn(`/sys/bus/${bus}/devices`)) {
        const alias = readTextIf(`/sys/bus/${bus}/devices/${device}/modalias`)?.trim() ?? "";
        if (alias === "" || seen.has(alias)) continue;
        seen.add(alias);
        if (loadFor(alias, asker, index) === true) more = true;
      }
    }
  }
}
