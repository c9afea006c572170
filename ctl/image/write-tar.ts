// Writes a tree as one pax tar stream: what image makers (sqfstar) read. Names, targets and attribute values go out byte for
// byte; hard links stay links. Entries are sorted, so equal trees give equal bytes. Source: pax(1), POSIX ustar header.
import { readContent } from "./read-layer.js";
import { ImageError, shown, type Tree, type TreeNode } from "./tree.js";

const TYPE_FLAG = { "file": "0", "symlink": "2", "character-device": "3", "block-device": "4", "directory": "5", "fifo": "6" } as const;
const HARD_LINK = "1";
const PAX = "x";

const octal = (value: number, width: number): string => value.toString(8).padStart(width - 1, "0") + "\0";

/** One 512-byte ustar header. Numbers that do not fit must come by pax records; they are written as 0 here. */
const ustar = (name: Buffer, flag: string, size: number, node: TreeNode, link: Buffer): Buffer => {
  const block = Buffer.alloc(512);
  const fit = (value: number, width: number): string => octal(value < 8 ** (width - 1) ? value : 0, width);
  name.copy(block, 0, 0, 100);
  block.write(octal(node.mode, 8), 100, "latin1");
  block.write(fit(node.uid, 8), 108, "latin1");
  block.write(fit(node.gid, 8), 116, "latin1");
  block.write(fit(size, 12), 124, "latin1");
  block.write(fit(node.mtime, 12), 136, "latin1");
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

const records = (name: Buffer, size: number, node: TreeNode, link: Buffer, linked: boolean): Buffer => {
  const out: Buffer[] = [];
  if (name.length > 100) out.push(paxRecord("path", name));
  if (link.length > 100) out.push(paxRecord("linkpath", link));
  for (const [key, value, limit] of [["uid", node.uid, 8 ** 7], ["gid", node.gid, 8 ** 7], ["size", size, 8 ** 11], ["mtime", node.mtime, 8 ** 11]] as const) {
    if (value >= limit) out.push(paxRecord(key, Buffer.from(String(value))));
  }
  // A hard link shares the attributes of what it points to.
  if (!linked) for (const [key, value] of [...node.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) out.push(paxRecord(`SCHILY.xattr.${key}`, value));
  return Buffer.concat(out);
};

const headers = (path: string, node: TreeNode, flag: string, size: number, target: string): Buffer => {
  const name = Buffer.from(flag === TYPE_FLAG.directory ? `${path}/` : path, "latin1");
  const link = Buffer.from(target, "latin1");
  const pax = records(name, size, node, link, flag === HARD_LINK);
  const own = ustar(name, flag, size, node, link);
  if (pax.length === 0) return own;
  const plain: TreeNode = { kind: "file", mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: new Map() };
  return Buffer.concat([ustar(Buffer.from("pax"), PAX, pax.length, plain, Buffer.alloc(0)), pax, padding(pax.length), own]);
};

async function* entry(path: string, node: TreeNode, seen: Map<TreeNode, string>): AsyncGenerator<Buffer> {
  const first = seen.get(node);
  if (first !== undefined) return yield headers(path, node, HARD_LINK, 0, first);
  if (node.kind !== "directory") seen.set(node, path);
  const size = node.content?.size ?? 0;
  yield headers(path, node, TYPE_FLAG[node.kind], size, node.target ?? "");
  if (node.content === undefined) return;
  let read = 0;
  for await (const piece of readContent(node.content)) {
    read += (piece as Buffer).length;
    yield piece as Buffer;
  }
  if (read !== size) throw new ImageError(`'${shown(path)}' has ${read} bytes where ${size} were announced: the archive is cut short`);
  yield padding(size);
}

async function* walk(path: string, node: TreeNode, seen: Map<TreeNode, string>): AsyncGenerator<Buffer> {
  if (path !== "") yield* entry(path, node, seen);
  const names = [...(node.children?.keys() ?? [])].sort();
  for (const name of names) {
    const child = node.children?.get(name)?.node;
    if (child !== undefined) yield* walk(path === "" ? name : `${path}/${name}`, child, seen);
  }
}

/** The whole tree as a tar stream, without an entry for the root itself. */
export async function* tarOf(tree: Tree): AsyncGenerator<Buffer> {
  yield* walk("", tree.root, new Map());
  yield Buffer.alloc(1024);
}
