// Other people's tar writers and readers, as the measure for ours: Python's tarfile (scripts below), GNU tar, bsdtar, busybox.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { readContent, type Content } from "../../ctl/image/content.js";
import { forEachEntry, type TarEntry } from "../../ctl/image/read-tar.js";

/** One entry in a form that both readers are brought to; byte strings are hexadecimal. */
export interface Listed {
  path: string;
  kind: string;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  link: string;
  size: number;
  digest: string;
  xattrs: Record<string, string>;
}

const LIST = `
import sys, json, tarfile, hashlib, math
def raw(text): return text.encode('utf-8', 'surrogateescape').hex()
kinds = {b'0': 'file', b'\\0': 'file', b'7': 'file', b'S': 'file', b'1': 'link', b'2': 'symlink', b'3': 'character-device', b'4': 'block-device', b'5': 'directory', b'6': 'fifo'}
out = []
for name in sys.argv[1:]:
    entries = []
    with tarfile.open(name, encoding='utf-8', errors='surrogateescape') as tar:
        for e in tar:
            digest = hashlib.sha256(tar.extractfile(e).read()).hexdigest() if e.isfile() else ''
            xattrs = {raw(k[13:]): raw(v) for k, v in e.pax_headers.items() if k.startswith('SCHILY.xattr.')}
            entries.append(dict(path=raw(e.name), kind=kinds[e.type], mode=e.mode & 0o7777, uid=e.uid, gid=e.gid, mtime=math.floor(e.mtime),
                link=raw(e.linkname) if e.type in (b'1', b'2') else '', size=e.size if e.isfile() else 0, digest=digest, xattrs=xattrs))
    out.append(entries)
json.dump(out, sys.stdout)`;

/** What Python's tarfile reads in each archive. */
export const pythonLists = (files: string[]): Listed[][] =>
  JSON.parse(execFileSync("python3", ["-c", LIST, ...files], { encoding: "utf8", maxBuffer: 1 << 28 })) as Listed[][];

const WRITE = `
import sys, json, tarfile, io
formats = dict(ustar=tarfile.USTAR_FORMAT, gnu=tarfile.GNU_FORMAT, pax=tarfile.PAX_FORMAT)
types = {'file': b'0', 'link': b'1', 'symlink': b'2', 'character-device': b'3', 'directory': b'5', 'fifo': b'6'}
def raw(text): return bytes.fromhex(text).decode('utf-8', 'surrogateescape')
for archive in json.load(sys.stdin):
    with tarfile.open(archive['file'], 'w', format=formats[archive['format']], encoding='utf-8', errors='surrogateescape') as tar:
        for e in archive['entries']:
            i = tarfile.TarInfo(raw(e['path']))
            i.type, i.mode, i.uid, i.gid, i.mtime, i.linkname = types[e['kind']], e['mode'], e['uid'], e['gid'], e['mtime'], raw(e['link'])
            if archive['format'] == 'pax': i.pax_headers = {'SCHILY.xattr.' + raw(k): raw(v) for k, v in e['xattrs'].items()}
            data = bytes.fromhex(e['data'])
            i.size = len(data)
            tar.addfile(i, io.BytesIO(data))`;

export interface Asked extends Omit<Listed, "size" | "digest"> {
  data: string;
}

/** Let Python's tarfile write archives. */
export const pythonWrites = (archives: { file: string; format: string; entries: Asked[] }[]): void =>
  void execFileSync("python3", ["-c", WRITE], { input: JSON.stringify(archives), stdio: ["pipe", "ignore", "inherit"] });

const hex = (text: string): string => Buffer.from(text, "latin1").toString("hex");

/** SHA-256 of a content in hexadecimal. */
export const digest = async (content: Content): Promise<string> => {
  const hash = createHash("sha256");
  for await (const piece of readContent(content)) hash.update(piece as Buffer);
  return hash.digest("hex");
};

/** What our reader says of an archive, in the same form. */
export const ourList = async (file: string): Promise<Listed[]> => {
  const entries: TarEntry[] = [];
  await forEachEntry({ file, offset: 0, size: statSync(file).size }, file, (entry) => entries.push(entry));
  return Promise.all(entries.map(async (entry): Promise<Listed> => ({
    // Python drops the slash at the end of a directory.
    path: hex(entry.path.replace(/\/+$/, "")), kind: entry.kind, mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime,
    link: entry.kind === "link" || entry.kind === "symlink" ? hex(entry.link) : "", size: entry.content?.size ?? 0,
    digest: entry.content === undefined ? "" : await digest(entry.content),
    xattrs: Object.fromEntries([...entry.xattrs].map(([key, value]) => [hex(key), value.toString("hex")])),
  })));
};
