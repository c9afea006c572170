// Writes a tree as one pax tar stream: what image makers (sqfstar) read. Names, targets and attribute values go out byte for
// byte; hard links stay links, holes stay holes. Entries are sorted, so equal trees give equal bytes. Sources: pax(1), POSIX ustar
// header, GNU tar's manual ("Storing Sparse Files", PAX 1.0).
import { readContent, type Content, type Piece } from "./content.js";
import { ImageError, shown, type Tree, type TreeNode } from "./tree.js";

const TYPE_FLAG = { "file": "0", "symlink": "2", "character-device": "3", "block-device": "4", "directory": "5", "fifo": "6" } as const;
const HARD_LINK = "1";
const PAX = "x";

const octal = (value: number, width: number): string => value.toString(8).padStart(width - 1, "0") + "\0";

/** The time as disk images hold it: 32 bits, none before 1970. */
export const timeOf = (node: TreeNode): number => Math.min(Math.max(0, node.mtime), 0xffffffff);

/** One 512-byte ustar header. Numbers that do not fit must come by pax records; they are written as 0 here. */
const ustar = (name: Buffer, flag: string, size: number, node: TreeNode, link: Buffer): Buffer => {
  const block = Buffer.alloc(512);
  const fit = (value: number, width: number): string => octal(value < 8 ** (width - 1) ? value : 0, width);
  name.copy(block, 0, 0, 100);
  block.write(octal(node.mode, 8), 100, "latin1");
  block.write(fit(node.uid, 8), 108, "latin1");
  block.write(fit(node.gid, 8), 116, "latin1");
  block.write(fit(size, 12), 124, "latin1");
  block.write(fit(timeOf(node), 12), 136, "latin1");
  block.write("        ", 148, "latin1");
  block.write(flag, 156, "latin1");
  link.copy(block, 157, 0, 100);
  block.write("ustar\u000000", 257, "latin1");
  block.write(fit(node.major ?? 0, 8), 329, "latin1");
  block.write(fit(node.minor ?? 0, 8), 337, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(octal(sum, 7) + " ", 148, "latin1");
  return block;
};

/** One pax record: its own length, a blank, key=value and a newline. */
export const paxRecord = (key: string, value: Buffer): Buffer => {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, "latin1"), value, Buffer.from("\n")]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
};

const padding = (size: number): Buffer => Buffer.alloc((512 - (size % 512)) % 512);

// What squashfs and the tar reader of its tools can hold: no access lists (`system.`), no name with `=` in it.
const keepsXattr = (name: string): boolean => /^(user|trusted|security)\.[^=]+$/s.test(name);

interface Written {
  name: Buffer;
  link: Buffer;
  /** Bytes of data behind the header. */
  size: number;
  /** Holes: whole size of the file. */
  realSize?: number;
  linked: boolean;
}

const records = (node: TreeNode, { name, link, size, realSize, linked }: Written): Buffer => {
  const out: Buffer[] = [];
  if (name.length > 100) out.push(paxRecord("path", name));
  if (link.length > 100) out.push(paxRecord("linkpath", link));
  for (const [key, value, limit] of [["uid", node.uid, 8 ** 7], ["gid", node.gid, 8 ** 7], ["size", size, 8 ** 11]] as const) {
    if (value >= limit) out.push(paxRecord(key, Buffer.from(String(value))));
  }
  if (realSize !== undefined) {
    for (const [key, value] of [["major", "1"], ["minor", "0"], ["realsize", String(realSize)]] as const) out.push(paxRecord(`GNU.sparse.${key}`, Buffer.from(value)));
    out.push(paxRecord("GNU.sparse.name", name));
  }
  // A hard link shares the attributes of what it points to.
  const kept = linked ? [] : [...node.xattrs].filter(([key]) => keepsXattr(key)).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, value] of kept) out.push(paxRecord(`SCHILY.xattr.${key}`, value));
  return Buffer.concat(out);
};

const PLAIN: TreeNode = { kind: "file", mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: new Map() };

const headers = (node: TreeNode, flag: string, written: Written): Buffer => {
  const pax = records(node, written);
  const own = ustar(written.name, flag, written.size, node, written.link);
  if (pax.length === 0) return own;
  return Buffer.concat([ustar(Buffer.from("pax"), PAX, pax.length, PLAIN, Buffer.alloc(0)), pax, padding(pax.length), own]);
};

/** Where the data of a sparse file is, as it stands in front of the data. A piece at the very end says where that is. */
const sparseMap = (content: Content, pieces: readonly Piece[]): Buffer => {
  const all = [...pieces, ...(pieces.at(-1)?.at === content.size ? [] : [{ at: content.size, size: 0 }])];
  const text = Buffer.from([all.length, ...all.flatMap(({ at, size }) => [at, size])].join("\n") + "\n");
  return Buffer.concat([text, padding(text.length)]);
};

async function* data(path: string, content: Content): AsyncGenerator<Buffer> {
  let read = 0;
  for await (const piece of readContent(content)) {
    read += (piece as Buffer).length;
    yield piece as Buffer;
  }
  if (read !== content.size) throw new ImageError(`'${shown(path)}' has ${read} bytes where ${content.size} were announced: the archive is cut short`);
}

async function* entry(path: string, node: TreeNode, seen: Map<TreeNode, string>): AsyncGenerator<Buffer> {
  const first = seen.get(node);
  const name = Buffer.from(node.kind === "directory" ? `${path}/` : path, "latin1");
  if (first !== undefined) return yield headers(node, HARD_LINK, { name, link: Buffer.from(first, "latin1"), size: 0, linked: true });
  if (node.kind !== "directory") seen.set(node, path);
  const { content } = node;
  const pieces = content?.pieces;
  const map = content === undefined || pieces === undefined ? undefined : sparseMap(content, pieces);
  const size = map === undefined ? (content?.size ?? 0) : map.length + (pieces ?? []).reduce((sum, piece) => sum + piece.size, 0);
  const link = Buffer.from(node.target ?? "", "latin1");
  yield headers(node, TYPE_FLAG[node.kind], { name, link, size, linked: false, ...(map === undefined ? {} : { realSize: content?.size ?? 0 }) });
  if (content === undefined) return;
  if (map !== undefined) yield map;
  const stored = pieces?.map((piece): Content => ({ file: content.file, offset: content.offset + piece.offset, size: piece.size })) ?? [content];
  for (const part of stored) yield* data(path, part);
  yield padding(size);
}

/** Every node with its path; directories before what is in them, names in order. */
function* nodesOf(tree: Tree): Generator<[path: string, node: TreeNode]> {
  const left: [string, TreeNode][] = [["", tree.root]];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    yield next;
    const [path, node] = next;
    const names = [...(node.children ?? [])].sort(([a], [b]) => (a < b ? 1 : -1));
    for (const [name, link] of names) left.push([path === "" ? name : `${path}/${name}`, link.node]);
  }
}

/** The whole tree as a tar stream, without an entry for the root itself. */
export async function* tarOf(tree: Tree): AsyncGenerator<Buffer> {
  const seen = new Map<TreeNode, string>();
  for (const [path, node] of nodesOf(tree)) if (path !== "") yield* entry(path, node, seen);
  yield Buffer.alloc(1024);
}

/** What of the tree the disk image cannot hold, in words for the user: one line for each extended attribute's name. */
export const lostIn = (tree: Tree): string[] => {
  const lost = new Map<string, { first: string; count: number }>();
  for (const [path, node] of nodesOf(tree)) {
    for (const name of node.xattrs.keys()) {
      if (path !== "" && keepsXattr(name)) continue;
      const known = lost.get(name);
      if (known === undefined) lost.set(name, { first: path, count: 1 });
      else known.count += 1;
    }
  }
  return [...lost].map(([name, { first, count }]) => `extended attribute ${shown(name)} of /${shown(first)}${count > 1 ? ` and ${count - 1} more` : ""} is left out: the container's disk cannot hold it`);
};
