// Owns which kernel modules go into the guest's root, and the index that the agent reads instead of what depmod(8) makes. The modules
// are unpacked, so that the guest's kernel needs no decompressor, and lie in one folder. Same modules, same bytes.
//
// The index, lib/modules/RELEASE/kata-modules: a line for each module, sorted: its name, the modules to load before it in that order
// ("-": none; otherwise separated by ","), its aliases. A last line "=" names those that are built in. In names and aliases "-" is "_".
import { readFile, readdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { isFolder } from "../lib/folder.js";
import type { Node } from "../formats/cpio.js";
import { unpacked } from "../formats/decompress.js";
import { moduleName, readModinfo, type ModuleInfo } from "../formats/modinfo.js";
import { moduleFolders } from "./find-kernel.js";

export const INDEX = "kata-modules";

export interface ModuleOptions {
  /** A folder of modules (or one that holds lib/modules), "auto" for what `kernel --from` has put beside the output, or "none". */
  readonly modules: string;
  /** Further modules by name. */
  readonly module: readonly string[];
  /** The list of what the agent needs. */
  readonly list: string;
  /** The file that is made. */
  readonly output: string;
}

interface Found {
  readonly name: string;
  readonly bytes: Buffer;
  readonly info: ModuleInfo;
  /** What is loaded before it, in that order. */
  readonly order: readonly string[];
}

const FILE = /^(.+)\.ko(\.gz|\.xz|\.zst)?$/;

/** The nodes of the modules, none when there is no folder to take them from. Throws BuildError naming the module or the folder. */
export async function stageModules(context: Context, options: ModuleOptions): Promise<Node[]> {
  const folder = await findFolder(options);
  if (folder === undefined) {
    if (options.module.length > 0) throw new BuildError("usage", `there is no folder of modules to take ${options.module.join(", ")} from`, "name it with --modules DIR, or make it: kernel --from debian");
    return [];
  }
  const wanted = parseList(await readFile(options.list, "utf8").catch(() => {
    throw new BuildError("missing", `the list of modules ${options.list} cannot be read`, "restore it from the repository");
  }));
  const files = await moduleFiles(folder);
  const builtin = await builtinNames(folder);
  const found = new Map<string, Found>();
  for (const name of wanted) await take(context, name, files, builtin, found, []);
  for (const name of options.module.map(moduleName)) {
    if (!files.has(name) && !builtin.has(name)) throw new BuildError("missing", `this kernel has no module ${name}`, `looked in ${folder}`);
    await take(context, name, files, builtin, found, []);
  }
  const release = releaseOf(folder, [...found.values()]);
  const absent = wanted.filter((name) => !found.has(name) && !builtin.has(name));
  context.progress.note(`modules: ${found.size} for ${release}, ${[...found.values()].reduce((sum, m) => sum + m.bytes.length, 0)} bytes${absent.length === 0 ? "" : `; this kernel has no ${absent.join(", ")}`}`);
  return toNodes(release, [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), builtin);
}

async function findFolder({ modules, output }: ModuleOptions): Promise<string | undefined> {
  if (modules === "none") return undefined;
  const place = modules === "auto" ? join(dirname(resolve(output)), "modules") : modules;
  if (!(await isFolder(place))) {
    if (modules === "auto") return undefined;
    throw new BuildError("missing", `there is no folder ${modules} with modules`, "--modules takes a folder lib/modules/RELEASE (or what holds one), auto or none");
  }
  const folders = await moduleFolders(place);
  if (folders.length === 1) return folders[0];
  throw new BuildError("missing", folders.length === 0 ? `there are no kernel modules in ${modules === "auto" ? place : modules}` : `there are modules of ${folders.length} kernels in ${place}: ${folders.map((f) => basename(f)).join(", ")}`,
    "name the folder of one kernel: --modules .../lib/modules/RELEASE");
}

/** The names in the list, in its order: "#" begins a comment. */
export function parseList(text: string): string[] {
  return [...new Set(text.split("\n").flatMap((line) => (line.split("#")[0] ?? "").split(/\s+/)).filter((name) => name !== "").map(moduleName))];
}

async function moduleFiles(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const name = FILE.exec(entry.name)?.[1];
    const path = join(entry.parentPath, entry.name);
    if (name === undefined || !entry.isFile()) continue;
    const key = moduleName(name);
    // two files of one name: which depmod would take depends on its settings; the same one every time
    const other = files.get(key);
    if (other === undefined || path < other) files.set(key, path);
  }
  return files;
}

async function builtinNames(folder: string): Promise<Set<string>> {
  const text = await readFile(join(folder, "modules.builtin"), "utf8").catch(() => "");
  return new Set(text.split("\n").flatMap((line) => (FILE.exec(basename(line))?.[1] === undefined ? [] : [moduleName(FILE.exec(basename(line))?.[1] as string)])));
}

/** Reads a module and what it needs, depth first, so that the order is one that loads. `path` is how we came here. */
async function take(context: Context, name: string, files: ReadonlyMap<string, string>, builtin: ReadonlySet<string>, found: Map<string, Found>, path: readonly string[]): Promise<void> {
  if (found.has(name) || builtin.has(name)) return;
  const file = files.get(name);
  if (file === undefined) {
    if (path.length === 0) return; // asked for and not there: told by the caller
    throw new BuildError("missing", `the module ${path.at(-1) ?? ""} needs ${name}, which this kernel does not have`, "is the folder of modules whole? Some distributions keep them in several packages (kernel --from A.deb --from B.deb)");
  }
  if (path.includes(name)) throw new BuildError("failed", `modules need each other in a circle: ${[...path, name].join(" -> ")}`);
  const bytes = await unpacked(await readFile(file), context.signal);
  const info = readModinfo(basename(file), bytes);
  const order = new Set<string>();
  for (const [needs, must] of [[info.before, false], [info.depends, true]] as const) {
    for (const other of needs) {
      if (!must && !files.has(other)) continue; // a soft dependency may be an alias, or not there at all
      await take(context, other, files, builtin, found, [...path, name]);
      const there = found.get(other);
      if (there !== undefined) for (const one of [...there.order, other]) order.add(one);
    }
  }
  found.set(name, { name, bytes, info, order: [...order] });
}

function releaseOf(folder: string, found: readonly Found[]): string {
  const releases = [...new Set(found.map((m) => m.info.release).filter((r) => r !== ""))];
  if (releases.length > 1) {
    const odd = found.find((m) => m.info.release === releases[1]);
    throw new BuildError("missing", `the modules are of several kernels: ${releases.join(", ")} (${odd?.name ?? ""})`, "a kernel loads modules of its own release only");
  }
  return releases[0] ?? basename(folder);
}

/** Names that the kernel asks for and a module does not tell: PF_VSOCK is claimed by a transport that few machines have. */
const TOO: Readonly<Record<string, readonly string[]>> = { vsock: ["net_pf_40"] };

/** Aliases that the agent can match: "*" is all it knows of patterns. */
const aliasOf = (alias: string): string[] => (/[[?\s]/.test(alias) ? [] : [moduleName(alias)]);

function toNodes(release: string, found: readonly Found[], builtin: ReadonlySet<string>): Node[] {
  const home = `lib/modules/${release}`;
  const lines = found.map((m) => [m.name, m.order.length === 0 ? "-" : m.order.join(","), ...new Set([...m.info.aliases.flatMap(aliasOf), ...(TOO[m.name] ?? [])])].join(" "));
  const owner = { mode: 0o644, uid: 0, gid: 0 };
  const file = (name: string, bytes: Buffer): Node => ({ kind: "file", path: `${home}/${name}`, ...owner, content: { size: bytes.length, chunks: () => [bytes] } });
  return [
    ...["lib", "lib/modules", home].map((path): Node => ({ kind: "dir", path, mode: 0o755, uid: 0, gid: 0 })),
    ...found.map((m) => file(`${m.name}.ko`, m.bytes)),
    file(INDEX, Buffer.from([...lines, ["=", ...[...builtin].sort()].join(" "), ""].join("\n"), "latin1")),
  ];
}
