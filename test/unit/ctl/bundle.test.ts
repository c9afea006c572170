// A bundle folder comes out as it lies on the disk: names in bytes, attributes, holes, owners, devices.
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { headOf } from "../../../ctl/image/content.js";
import { makeDisk } from "../../../ctl/image/make-disk.js";
import { openImage } from "../../../ctl/image/open-image.js";
import { lostIn } from "../../../ctl/image/write-tar.js";
import { digest } from "../../helpers/reference-tar.js";
import { suite } from "../../helpers/suite.js";

let folder: string;
let rootfs: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bundle-"));
  rootfs = join(folder, "rootfs");
  mkdirSync(rootfs);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ root: { path: "rootfs" } }));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const python = (program: string): void => void execFileSync("python3", ["-c", program], { cwd: rootfs });
const CAPABILITY = "0100000200200000000000000000000000000000";

const attributes = (): string | undefined =>
  spawnSync("python3", ["-c", "import os, tempfile; f = tempfile.NamedTemporaryFile(); os.setxattr(f.name, 'user.a', b'')"]).status === 0 ? undefined : "needs a file system with extended attributes";

suite("a bundle folder", { needs: ["root", "program:python3", attributes] }, () => {
  it("keeps extended attributes, names that are not UTF-8, links, devices, modes and times", async () => {
    python(`
import os, socket
os.mkdir(b'd\\xff')
for name in (b'ping', b'd\\xff/n\\xe9\\n'): open(name, 'wb').write(b'data')
os.setxattr('ping', 'security.capability', bytes.fromhex('${CAPABILITY}'))
os.setxattr('ping', 'user.bytes', bytes(range(256)))
os.setxattr('ping', 'user.empty', b'')
os.setxattr('ping', b'user.n\\xff', b'x')
os.setxattr(b'd\\xff', 'trusted.t', b'dir')
os.symlink(b'/to/\\xfe\\xff', 'soft')
os.setxattr('soft', 'trusted.s', b'link', follow_symlinks=False)
os.link('ping', 'pong')
os.chmod('ping', 0o6755); os.chown('ping', 12, 4000000000); os.utime('ping', (0, 1e9)); os.chmod('ping', 0o6755)
os.setxattr('ping', 'security.capability', bytes.fromhex('${CAPABILITY}'))
os.mkfifo('fifo')
socket.socket(socket.AF_UNIX).bind('sock')
try: os.mknod('null', 0o20666, os.makedev(1, 3))
except PermissionError: pass
`);
    const image = await openImage(folder, folder);
    const at = (path: string): ReturnType<typeof image.tree.lookup> => image.tree.lookup(path, false);
    expect(Object.fromEntries([...(at("ping")?.xattrs ?? [])].map(([key, value]) => [key, value.toString("hex")]))).toEqual({
      "security.capability": CAPABILITY, "user.bytes": Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("hex"), "user.empty": "", "user.n\u00ff": "78",
    });
    expect(at("ping")).toMatchObject({ mode: 0o6755, uid: 12, gid: 4_000_000_000, mtime: 1_000_000_000 });
    expect(at("pong")).toBe(at("ping"));
    expect(at("d\u00ff")?.xattrs.get("trusted.t")?.toString()).toBe("dir");
    const inner = at("d\u00ff/n\u00e9\n")?.content;
    expect(inner === undefined ? "" : headOf(inner, 9).toString()).toBe("data");
    expect(at("soft")).toMatchObject({ kind: "symlink", target: "/to/\u00fe\u00ff", xattrs: new Map([["trusted.s", Buffer.from("link")]]) });
    expect(at("fifo")?.kind).toBe("fifo");
    expect(at("sock")).toBeUndefined();
    expect(image.notes).toEqual(["a socket is left out of the container's disk: sock"]);

    await makeDisk(image.tree, join(folder, "disk.img"));
    execFileSync("unsquashfs", ["-q", "-d", join(folder, "out"), join(folder, "disk.img")], { stdio: "ignore" });
    const look = "import os, sys; os.chdir(sys.argv[1]); print([(p, n, os.getxattr(p, n, follow_symlinks=False), os.lstat(p).st_mode, os.lstat(p).st_gid) for p in (b'ping', b'd\\xff', b'soft') for n in sorted(os.listxattr(p, follow_symlinks=False))], os.readlink(b'soft'), os.path.samefile('ping', 'pong'), open(b'd\\xff/n\\xe9\\n').read())";
    const [before, after] = [rootfs, join(folder, "out")].map((top) => execFileSync("python3", ["-c", look, top]).toString());
    expect(after).toBe(before);
  });

  it("keeps holes, at every place of a file", async () => {
    for (const [name, places] of [["none", []], ["begin", [0]], ["end", [(16 << 20) - 4096]], ["both", [0, 9 << 20, (16 << 20) - 100]]] as [string, number[]][]) {
      const fd = openSync(join(rootfs, name), "w");
      ftruncateSync(fd, 16 << 20);
      for (const place of places) writeSync(fd, "data", place);
      closeSync(fd);
    }
    const { tree } = await openImage(folder, folder);
    for (const name of ["none", "begin", "end", "both"]) {
      const content = tree.lookup(name)?.content;
      expect(content?.size).toBe(16 << 20);
      expect(content?.pieces?.reduce((sum, piece) => sum + piece.size, 0)).toBeLessThan(1 << 20);
      expect(content === undefined ? "" : await digest(content)).toBe(execFileSync("sha256sum", [join(rootfs, name)]).toString().slice(0, 64));
    }
    await makeDisk(tree, join(folder, "disk.img"));
    execFileSync("unsquashfs", ["-q", "-d", join(folder, "out"), join(folder, "disk.img")], { stdio: "ignore" });
    execFileSync("diff", ["-r", rootfs, join(folder, "out")]);
    expect(Number(execFileSync("du", ["-k", join(folder, "disk.img")]).toString().split("\t")[0])).toBeLessThan(2048);
  });

  it("says what a disk cannot hold", async () => {
    writeFileSync(join(rootfs, "f"), "");
    writeFileSync(join(rootfs, "g"), "");
    python("import os; [os.setxattr(f, 'user.a=b', b'x') for f in 'fg']; os.setxattr('.', 'user.root', b'x')");
    const { tree } = await openImage(folder, folder);
    expect(lostIn(tree)).toEqual([
      "extended attribute user.root of / is left out: the container's disk cannot hold it", "extended attribute user.a=b of /f and 1 more is left out: the container's disk cannot hold it",
    ]);
    await makeDisk(tree, join(folder, "disk.img"));
  });

  it("does not follow how deep folders lie, and says when they lie too deep", async () => {
    python("import os\nfor i in range(600): os.mkdir('d'); os.chdir('d')");
    const { tree } = await openImage(folder, folder);
    expect(tree.lookup("d/".repeat(600))?.kind).toBe("directory");
    python("import os\nfor i in range(600): os.chdir('d')\nfor i in range(1500): os.mkdir('d'); os.chdir('d')");
    await expect(openImage(folder, folder)).rejects.toThrow(/the root file system .* cannot be read|path longer than 4095 bytes|extended attributes below/);
    execFileSync("rm", ["-rf", rootfs]);
  });
});

it("refuses a config.json that is not UTF-8", async () => {
  writeFileSync(join(folder, "config.json"), Buffer.from('{"root":{"path":"r\xff"}}', "latin1"));
  await expect(openImage(folder, folder)).rejects.toThrow(/config\.json is no UTF-8 text/);
});
