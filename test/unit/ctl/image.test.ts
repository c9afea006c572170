// The forms an image may come in, each in its good form and in broken ones.
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDisk } from "../../../ctl/image/make-disk.js";
import { openImage } from "../../../ctl/image/open-image.js";
import { sha256, tarball, writeLayout } from "../../helpers/tarball.js";
import { suite } from "../../helpers/suite.js";

let folder: string;
let work: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "image-"));
  work = join(folder, "work");
  mkdirSync(work);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const simple = (): Promise<Buffer> => tarball([{ name: "bin/sh", data: "#!", mode: 0o755 }]);
const config = { Env: ["A=b"], Entrypoint: ["/bin/sh"], Cmd: ["-c", "true"], User: "1:2", WorkingDir: "/tmp" };
const expected = { env: ["A=b"], entrypoint: ["/bin/sh"], cmd: ["-c", "true"], user: "1:2", workdir: "/tmp" };
const at = (name: string): string => join(folder, name);

describe("image forms", () => {
  it("reads an OCI layout folder and the same as a tar", async () => {
    writeLayout(at("layout"), [await simple()], { config });
    const image = await openImage(at("layout"), work);
    expect(image).toMatchObject({ kind: "oci-layout", config: expected });
    expect(image.tree.lookup("bin/sh")?.mode).toBe(0o755);
    execFileSync("tar", ["-C", at("layout"), "-cf", at("oci.tar"), "."]);
    expect(await openImage(at("oci.tar"), work)).toMatchObject({ kind: "oci-archive", config: expected });
    execFileSync("gzip", ["-k", at("oci.tar")]);
    expect(await openImage(at("oci.tar.gz"), work)).toMatchObject({ kind: "oci-archive", config: expected });
  });

  it("reads what docker save writes, also with layers that are links to others", async () => {
    const data = await simple();
    const document = JSON.stringify({ architecture: "amd64", os: "linux", config, rootfs: { diff_ids: [sha256(data), sha256(data)] } });
    writeFileSync(at("saved.tar"), await tarball([
      { name: "one/layer.tar", data }, { name: "two/layer.tar", type: "symlink", linkname: "../one/layer.tar" }, { name: "abc.json", data: document },
      { name: "manifest.json", data: JSON.stringify([{ Config: "abc.json", RepoTags: ["x:1"], Layers: ["one/layer.tar", "two/layer.tar"] }]) },
    ]));
    expect(await openImage(at("saved.tar"), work)).toMatchObject({ kind: "docker-archive", config: expected });
    await expect(openImage(at("saved.tar"), work, "y:2")).rejects.toThrow("the archive has no 'y:2'; it has: x:1");
  });

  it("reads a root file system tar", async () => {
    writeFileSync(at("rootfs.tar"), await simple());
    const image = await openImage(at("rootfs.tar"), work);
    expect(image.kind).toBe("rootfs-tar");
    expect(image.tree.lookup("bin/sh")?.kind).toBe("file");
  });

  it("reads a bundle folder with its symlinks and hard links", async () => {
    mkdirSync(at("bundle/rootfs/bin"), { recursive: true });
    writeFileSync(at("bundle/config.json"), JSON.stringify({ ociVersion: "1.0.2", root: { path: "rootfs" }, process: { args: ["x"] } }));
    writeFileSync(at("bundle/rootfs/bin/a"), "a", { mode: 0o755 });
    execFileSync("ln", [at("bundle/rootfs/bin/a"), at("bundle/rootfs/bin/b")]);
    symlinkSync("/etc/passwd", at("bundle/rootfs/leak"));
    const image = await openImage(at("bundle"), work);
    expect(image.spec?.["process"]).toEqual({ args: ["x"] });
    expect(image.tree.lookup("bin/b")).toBe(image.tree.lookup("bin/a"));
    expect(image.tree.lookup("leak", false)).toMatchObject({ kind: "symlink", target: "/etc/passwd" });
  });
});

describe("broken images", () => {
  const refused = (name: string, words: RegExp | string): Promise<void> => expect(openImage(at(name), work)).rejects.toThrow(words);

  it("names what is missing or of no kind", async () => {
    await refused("nothing", /no image at .*nothing/);
    mkdirSync(at("empty"));
    await refused("empty", /neither an OCI image layout .* nor a bundle/);
    writeFileSync(at("zero"), "");
    await refused("zero", /is empty/);
    symlinkSync("/nonexistent", at("dangling"));
    await refused("dangling", /symbolic link to nothing/);
    writeFileSync(at("text"), "this is no archive\n".repeat(200));
    await refused("text", /damaged or no tar archive/);
    writeFileSync(at("none.tar"), await tarball([]));
    await refused("none.tar", /empty archive/);
  });

  it("refuses a bundle whose root is a symlink, missing, or outside", async () => {
    for (const [name, root, words] of [["b1", "link", /symbolic link: refused/], ["b2", "gone", /does not exist/], ["b3", "../..", /leads out of the bundle/]] as const) {
      mkdirSync(at(name));
      symlinkSync("/", at(`${name}/link`));
      writeFileSync(at(`${name}/config.json`), JSON.stringify({ root: { path: root } }));
      await refused(name, words);
    }
    mkdirSync(at("b4"));
    writeFileSync(at("b4/config.json"), "{");
    await refused("b4", /is no JSON/);
  });

  it("checks every digest and size", async () => {
    writeLayout(at("l1"), [await simple()]);
    const blobs = at("l1/blobs/sha256");
    for (const name of readdirSync(blobs)) {
      const copy = at(`copy-${name.slice(0, 8)}`);
      execFileSync("cp", ["-r", at("l1"), copy]);
      const file = join(copy, "blobs/sha256", name);
      execFileSync("sh", ["-c", `printf X | dd of='${file}' bs=1 seek=20 conv=notrunc 2>/dev/null`]);
      await expect(openImage(copy, work)).rejects.toThrow(/is damaged: its bytes have the digest sha256:/);
      rmSync(file);
      await expect(openImage(copy, work)).rejects.toThrow(/is not in the image/);
    }
  });

  it("refuses digests that are paths, wrong layer counts and other processors", async () => {
    writeLayout(at("l2"), [await simple()], { manifest: (m) => (m.layers[0]!.digest = "sha256:../../../../etc/passwd") });
    await refused("l2", /no sha256 digest/);
    writeLayout(at("l3"), [await simple()], { manifest: (m) => m.layers.push(m.layers[0]!) });
    await refused("l3", /tells of 1 layers, the manifest of 2/);
    writeLayout(at("l4"), [await simple()], { architecture: "riscv64" });
    await refused("l4", /made for riscv64, this machine is/);
  });
});

/** Run `body` with a folder that holds one megabyte; the mount is taken away again. */
const withSmallDisk = async (body: (small: string) => Promise<void>): Promise<void> => {
  const small = at("small");
  mkdirSync(small);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "small", small]);
  try {
    await body(small);
  } finally {
    execFileSync("umount", [small]);
  }
};

suite("a full disk", { needs: ["root"] }, () => {
  it("is named when a layer is unpacked to it", async () => {
    writeLayout(at("layout"), [await tarball([{ name: "big", data: Buffer.alloc(3 << 20) }])]);
    await withSmallDisk((small) => expect(openImage(at("layout"), small)).rejects.toThrow(/no space left in .*small while unpacking layer 1/));
  });
  it("is named when the container's disk is made on it, and nothing half-made stays", async () => {
    writeFileSync(at("big.tar"), await tarball([{ name: "big", data: randomBytes(3 << 20) }]));
    const image = await openImage(at("big.tar"), work);
    await withSmallDisk(async (small) => {
      await expect(makeDisk(image.tree, join(small, "disk.img"))).rejects.toThrow(/cannot make the container's disk .*[Nn]o space left/);
      expect(readdirSync(small)).toEqual([]);
    });
  });
});

describe("disk image", () => {
  it("holds owners, modes, devices and links without being made as files here", async () => {
    writeFileSync(at("r.tar"), await tarball([
      { name: "bin/a", data: "a", mode: 0o4755, uid: 11, gid: 12 }, { name: "bin/b", type: "link", linkname: "bin/a" },
      { name: "l", type: "symlink", linkname: "bin/a" }, { name: "null", type: "character-device", devmajor: 1, devminor: 3, mode: 0o666 },
    ]));
    const image = await openImage(at("r.tar"), work);
    await makeDisk(image.tree, at("disk.img"));
    const list = execFileSync("unsquashfs", ["-lln", at("disk.img")]).toString();
    expect(list).toMatch(/drwxr-xr-x 0\/0 .* 1970-01-01 00:00 squashfs-root\n/);
    expect(list).toMatch(/-rwsr-xr-x 11\/12 +1 .* squashfs-root\/bin\/a/);
    expect(list).toMatch(/-rwsr-xr-x 11\/12 +1 .* squashfs-root\/bin\/b/);
    expect(list).toMatch(/crw-rw-rw- 0\/0 +1, +3 .* squashfs-root\/null/);
    await makeDisk(image.tree, at("again.img"));
    expect(execFileSync("cmp", [at("disk.img"), at("again.img")]).length).toBe(0);
  });

  it("says so and leaves nothing when it cannot write", async () => {
    writeFileSync(at("r.tar"), await simple());
    const image = await openImage(at("r.tar"), work);
    await expect(makeDisk(image.tree, at("no/such/folder/disk.img"))).rejects.toThrow(/cannot make the container's disk/);
  });
});
