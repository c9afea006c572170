// Owns the list of what is in the guest's root: rootfs/files.json, then rootfs/overlay/, then the agent. Reads files, gives a
// list of nodes (formats/cpio.ts); writes nothing. Must never take owner or mode from the machine it runs on, beyond the x bit.
import { lstat, readFile, readdir, readlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BuildError, errnoCode } from "../lib/errors.js";
import { sha256, type Json } from "../lib/hash.js";
import { checkNodes, sortNodes, type Content, type Node } from "../formats/cpio.js";
import { checkProgram } from "./check-program.js";

export interface RootOptions {
  /** The folder with files.json and overlay/. */
  readonly rootfs: string;
  /** The program that becomes /init. */
  readonly agent: string;
  readonly arch: string;
  /** What is added where neither the list nor the overlay has that path: the kernel's modules. */
  readonly more?: readonly Node[];
}

export interface Root {
  readonly nodes: readonly Node[];
  /** What the nodes are, with sums instead of contents: the part of the cache key that this step answers for. */
  readonly inputs: Json;
  readonly agent: { readonly bytes: number; readonly sha256: string };
}

interface Raw {
  readonly path?: unknown; readonly type?: unknown; readonly mode?: unknown; readonly uid?: unknown; readonly gid?: unknown;
  readonly from?: unknown; readonly content?: unknown; readonly target?: unknown; readonly major?: unknown; readonly minor?: unknown;
}

const MAX_FILE = 0xffffffff;
const DEFAULT_MODE: Readonly<Record<string, number>> = { dir: 0o755, file: 0o644, symlink: 0o777, char: 0o600, block: 0o600, fifo: 0o600 };
const FIELDS = new Set(["path", "type", "mode", "uid", "gid", "from", "content", "target", "major", "minor"]);

/** Reads everything. Throws BuildError "missing" for an absent or unfit agent or file, "config" for a bad files.json. */
export async function stageRoot(options: RootOptions): Promise<Root> {
  const agent = await readInput(resolve(options.agent), "agent", "build it first (make agent), or name one with --agent FILE");
  checkProgram(options.agent, agent, options.arch);
  const nodes = new Map<string, Node>((options.more ?? []).map((node) => [node.path, node]));
  for (const node of await overlay(join(options.rootfs, "overlay"))) nodes.set(node.path, node);
  const named = new Set<string>();
  for (const [index, raw] of (await readList(join(options.rootfs, "files.json"))).entries()) {
    const node = await toNode(raw, `files.json: entry ${index + 1}`, options.rootfs, agent);
    if (named.has(node.path)) throw new BuildError("config", `files.json names ${node.path} twice`, "keep one of the two");
    named.add(node.path);
    nodes.set(node.path, node);
  }
  const sorted = sortNodes([...nodes.values()]);
  checkNodes(sorted);
  return { nodes: sorted, inputs: sorted.map(describe), agent: { bytes: agent.length, sha256: sha256(agent) } };
}

async function readList(path: string): Promise<Raw[]> {
  const text = (await readInput(path, "root file list", "--rootfs takes a folder laid out as rootfs/ is")).toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BuildError("config", `${path} is not JSON: ${error instanceof Error ? error.message : String(error)}`, "correct the file", { cause: error });
  }
  const entries = typeof value === "object" && value !== null && "entries" in value ? value.entries : undefined;
  if (!Array.isArray(entries)) throw new BuildError("config", `${path} holds no "entries" list`, "see rootfs/README.md");
  return entries as Raw[];
}

async function toNode(raw: Raw, where: string, rootfs: string, agent: Buffer): Promise<Node> {
  const fail = (why: string): never => {
    throw new BuildError("config", `${where}${typeof raw.path === "string" ? ` (${raw.path})` : ""}: ${why}`, "see rootfs/README.md");
  };
  for (const field of Object.keys(raw)) if (!FIELDS.has(field)) fail(`unknown field "${field}"`);
  const str = (name: "path" | "target"): string => (typeof raw[name] === "string" ? (raw[name] as string) : fail(`"${name}" is missing`));
  const num = (name: "uid" | "gid" | "major" | "minor"): number => (raw[name] === undefined ? 0 : Number.isInteger(raw[name]) ? (raw[name] as number) : fail(`"${name}" is not a number`));
  const kind = typeof raw.type === "string" ? raw.type : fail("\"type\" is missing");
  if (raw.mode !== undefined && !(typeof raw.mode === "string" && /^[0-7]{3,4}$/.test(raw.mode))) fail("\"mode\" is not an octal string like \"0755\"");
  const common = { path: str("path"), mode: raw.mode === undefined ? DEFAULT_MODE[kind] ?? 0 : Number.parseInt(raw.mode as string, 8), uid: num("uid"), gid: num("gid") };
  switch (kind) {
    case "dir": case "fifo": return { kind, ...common };
    case "symlink": return { kind, ...common, target: str("target") };
    case "link": return { kind, path: common.path, target: str("target") };
    case "char": case "block":
      if (raw.major === undefined || raw.minor === undefined) fail("a device node needs \"major\" and \"minor\"");
      return { kind, ...common, major: num("major"), minor: num("minor") };
    case "file": {
      if ((raw.from === undefined) === (raw.content === undefined)) fail("a file needs either \"from\" or \"content\"");
      if (raw.content !== undefined) return { kind, ...common, content: inMemory(Buffer.from(typeof raw.content === "string" ? raw.content : fail("\"content\" is not text"))) };
      const from = typeof raw.from === "string" ? raw.from : fail("\"from\" is not a path");
      if (from === "agent") return { kind, ...common, content: inMemory(agent) };
      return { kind, ...common, content: inMemory(await readInput(join(rootfs, from), `file for ${common.path}`, "correct \"from\" in files.json")) };
    }
    default: return fail(`unknown type "${kind}" (known: dir, file, symlink, link, char, block, fifo)`);
  }
}

async function overlay(dir: string): Promise<Node[]> {
  const nodes: Node[] = [];
  const walk = async (at: string, prefix: string): Promise<void> => {
    for (const name of await readdir(at).catch(() => [])) {
      const full = join(at, name);
      const path = prefix === "" ? name : `${prefix}/${name}`;
      const st = await lstat(full);
      const common = { path, mode: st.isDirectory() || (st.mode & 0o100) !== 0 ? 0o755 : 0o644, uid: 0, gid: 0 };
      if (st.isDirectory()) {
        nodes.push({ kind: "dir", ...common });
        await walk(full, path);
      } else if (st.isSymbolicLink()) nodes.push({ kind: "symlink", ...common, mode: 0o777, target: await readlink(full) });
      else if (st.isFile()) nodes.push({ kind: "file", ...common, content: inMemory(await readInput(full, "overlay file", "")) });
      else throw new BuildError("config", `${full} is neither file, folder nor symbolic link`, "name device nodes in files.json");
    }
  };
  await walk(dir, "");
  return nodes;
}

/** Reads a file that has to be there and has to fit into an archive (below 4 GiB), looking at its size first. */
async function readInput(path: string, what: string, hint: string): Promise<Buffer> {
  try {
    const st = await lstat(path);
    if (st.isDirectory()) throw new BuildError("missing", `the ${what} ${path} is a folder`, hint);
    if (st.size > MAX_FILE) throw new BuildError("failed", `the ${what} ${path} has ${st.size} bytes; a file in the root has to be below 4 GiB`, hint);
    return await readFile(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw new BuildError("missing", `the ${what} ${path} does not exist`, hint, { cause: error });
    if (errnoCode(error) === "EACCES") throw new BuildError("missing", `the ${what} ${path} may not be read`, hint, { cause: error });
    throw error;
  }
}

function inMemory(bytes: Buffer): Content {
  return { size: bytes.length, chunks: () => [bytes] };
}

function describe(node: Node): Json {
  if (node.kind !== "file") return { ...node };
  const { content, ...rest } = node;
  return { ...rest, bytes: content.size, sha256: sha256(Buffer.concat([...content.chunks()])) };
}
