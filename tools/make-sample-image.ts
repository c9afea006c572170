// Makes a small real container image in OCI layout: Debian's static busybox with its applets, and the few files a userland needs.
// Run as `tsx tools/make-sample-image.ts [folder]`; the folder is dist/sample-image unless named. Equal busybox, equal bytes. Nothing of it needs root.
// Sources: OCI image-spec image-layout.md, manifest.md, config.md.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { hostArchitecture } from "../ctl/image/config.js";
import { Tree, type TreeNode } from "../ctl/image/tree.js";
import { tarOf } from "../ctl/image/write-tar.js";
import { distFile } from "./places.js";

const FILES: Readonly<Record<string, string>> = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
  "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
  "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
  "etc/os-release": "ID=sample\nNAME=\"busybox sample\"\n",
};

const FOLDERS: Readonly<Record<string, number>> = {
  bin: 0o755, dev: 0o755, etc: 0o755, home: 0o755, mnt: 0o755, proc: 0o555, root: 0o700, run: 0o755, sbin: 0o755, sys: 0o555, tmp: 0o1777, usr: 0o755,
  "usr/bin": 0o755, "usr/sbin": 0o755, var: 0o755,
};

const base = { uid: 0, gid: 0, mtime: 0, xattrs: new Map<string, Buffer>() };

/** True for an ELF program without an interpreter. */
const isStatic = (file: string): boolean => {
  const head = Buffer.alloc(4096);
  const fd = openSync(file, "r");
  readSync(fd, head, 0, head.length, 0);
  closeSync(fd);
  const entries = head.readUInt16LE(56);
  const size = head.readUInt16LE(54);
  const at = Number(head.readBigUInt64LE(32));
  const INTERPRETER = 3;
  return head.readUInt32BE(0) === 0x7f454c46 && !Array.from({ length: entries }, (_, i) => head.readUInt32LE(at + i * size)).includes(INTERPRETER);
};

/** A static busybox: the installed one, else the one in Debian's package, unpacked into `work`. */
const findBusybox = (work: string): string => {
  for (const file of ["/bin/busybox", "/usr/bin/busybox"]) if (existsSync(file) && isStatic(file)) return file;
  try {
    execFileSync("apt-get", ["download", "busybox-static"], { cwd: work, stdio: ["ignore", "ignore", "pipe"] });
    execFileSync("sh", ["-c", "dpkg-deb -x busybox-static_*.deb unpacked"], { cwd: work });
  } catch (error) {
    throw new Error(`no static busybox: install the Debian package busybox-static (${(error as Error).message.split("\n")[0]})`, { cause: error });
  }
  const file = ["bin/busybox", "usr/bin/busybox"].map((path) => join(work, "unpacked", path)).find((path) => existsSync(path));
  if (file === undefined) throw new Error("the package busybox-static holds no busybox");
  return file;
};

const buildTree = (busybox: string, work: string): Tree => {
  const tree = new Tree();
  tree.nextLayer();
  for (const [path, mode] of Object.entries(FOLDERS)) tree.put(path, { ...base, kind: "directory", mode });
  for (const [path, text] of Object.entries(FILES)) {
    const file = join(work, path.replace("/", "-"));
    writeFileSync(file, text);
    tree.put(path, { ...base, kind: "file", mode: 0o644, content: { file, offset: 0, size: text.length } });
  }
  const program: TreeNode = { ...base, kind: "file", mode: 0o755, content: { file: busybox, offset: 0, size: statSync(busybox).size } };
  tree.put("bin/busybox", program);
  const applets = execFileSync(busybox, ["--list-full"], { encoding: "utf8" }).trim().split("\n").sort();
  for (const applet of applets) if (applet !== "" && tree.lookup(applet, false) === undefined) tree.put(applet, { ...base, kind: "symlink", mode: 0o777, target: "/bin/busybox" });
  return tree;
};

const collect = async (tree: Tree): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  for await (const piece of tarOf(tree)) pieces.push(piece);
  return Buffer.concat(pieces);
};

const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

/** Write the image to `folder`, replacing what is there only when all of it is ready. Returns the digest of its manifest. */
export const makeSampleImage = async (folder: string): Promise<string> => {
  mkdirSync(dirname(resolve(folder)), { recursive: true });
  const half = mkdtempSync(`${resolve(folder)}.half-`);
  const work = mkdtempSync(join(tmpdir(), "sample-image-"));
  try {
    const layer = await collect(buildTree(findBusybox(work), work));
    const blobs = join(half, "blobs", "sha256");
    mkdirSync(blobs, { recursive: true });
    const put = (data: Buffer, kind: string): { mediaType: string; digest: string; size: number } => {
      writeFileSync(join(blobs, sha256(data)), data);
      return { mediaType: `application/vnd.oci.image.${kind}`, digest: `sha256:${sha256(data)}`, size: data.length };
    };
    const json = (value: object, kind: string): ReturnType<typeof put> => put(Buffer.from(JSON.stringify(value)), `${kind}.v1+json`);
    const config = json({
      architecture: hostArchitecture(), os: "linux", config: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: ["sh"], WorkingDir: "/" },
      rootfs: { type: "layers", diff_ids: [`sha256:${sha256(layer)}`] },
    }, "config");
    const manifest = json({ schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config, layers: [put(gzipSync(layer, { level: 6 }), "layer.v1.tar+gzip")] }, "manifest");
    const annotations = { "org.opencontainers.image.ref.name": "sample" };
    writeFileSync(join(half, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, platform: { architecture: hostArchitecture(), os: "linux" }, annotations }] }));
    writeFileSync(join(half, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    rmSync(folder, { recursive: true, force: true });
    renameSync(half, folder);
    return manifest.digest;
  } finally {
    rmSync(half, { recursive: true, force: true });
    rmSync(work, { recursive: true, force: true });
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2] ?? distFile("sample-image");
  process.stdout.write(`${folder} ${await makeSampleImage(folder)}\n`);
}
