// The guest's root: from files.json, the overlay and the agent to an initrd and a disk image; twice the same input, the same bytes.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, closeSync, cpSync, existsSync, ftruncateSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { decompress as unzstd } from "fzstd";
import { afterEach, describe, expect, it, vi } from "vitest";
import { image, toUuid, type ImageOptions } from "../../../image-builder/commands/image.js";
import { initrd, type InitrdOptions } from "../../../image-builder/commands/initrd.js";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import { readManifest } from "../../../image-builder/lib/manifest.js";
import { projectRoot } from "../../../tools/places.js";
import { clean } from "../../../image-builder/commands/clean.js";
import { cli, context, entries, leftovers, removeTemps, staticProgram, temp, write } from "./stage.js";
import { having, skip } from "../../helpers/suite.js";

afterEach(() => {
  vi.unstubAllEnvs();
  removeTemps();
});

const agent = (payload = "the agent"): string => write(join(temp(), "agent"), staticProgram(payload), 0o755);
const rootfs = (list: unknown = JSON.parse(readFileSync(join(projectRoot, "rootfs/files.json"), "utf8"))): string => {
  const dir = temp();
  write(join(dir, "files.json"), typeof list === "string" ? list : JSON.stringify(list));
  cpSync(join(projectRoot, "rootfs/overlay"), join(dir, "overlay"), { recursive: true });
  return dir;
};
const forInitrd = (more: Partial<InitrdOptions> = {}): InitrdOptions => ({ agent: agent(), rootfs: join(projectRoot, "rootfs"), output: join(temp(), "initrd.img"), arch: "x86_64", compress: "raw", ...more });
const forImage = (more: Partial<ImageOptions> = {}): ImageOptions => ({ agent: agent(), rootfs: join(projectRoot, "rootfs"), output: join(temp(), "rootfs.img"), arch: "x86_64", fs: "erofs", ...more });
const failure = async (work: Promise<unknown>): Promise<BuildError> => work.then(() => { throw new Error("did not fail"); }, (e: BuildError) => e);

describe("initrd", () => {
  it("holds the agent as /init and the agent's mount points, all owned by root", async () => {
    const options = forInitrd();
    await initrd(context(), options);
    const list = execFileSync("cpio", ["-tvn", "--quiet"], { input: readFileSync(options.output), encoding: "utf8", env: { ...process.env, LC_ALL: "C" } }).trim().split("\n").map((l) => l.split(/\s+/));
    const modes = Object.fromEntries(list.map((f) => [f.slice(8).join(" "), `${f[0]} ${f[2]}:${f[3]}`]));
    expect(modes).toMatchObject({ init: "-rwxr-xr-x 0:0", "sbin/init -> /init": "lrwxrwxrwx 0:0", proc: "dr-xr-xr-x 0:0", sys: "dr-xr-xr-x 0:0", dev: "drwxr-xr-x 0:0", run: "drwxr-xr-x 0:0", tmp: "drwxrwxrwt 0:0", "etc/passwd": "-rw-r--r-- 0:0", "etc/resolv.conf": "-rw-r--r-- 0:0" });
    const out = temp();
    execFileSync("cpio", ["-id", "--quiet", "--no-preserve-owner", "init"], { input: readFileSync(options.output), cwd: out });
    expect(readFileSync(join(out, "init"))).toEqual(readFileSync(options.agent));
  });

  it("has the same bytes from another folder, with other times and another umask", async () => {
    const [a, b] = [rootfs(), rootfs()];
    for (const name of readdirSync(join(b, "overlay/etc"))) {
      utimesSync(join(b, "overlay/etc", name), 1, 1);
      chmodSync(join(b, "overlay/etc", name), 0o600);
    }
    const [one, two] = [forInitrd({ rootfs: a }), forInitrd({ rootfs: b })];
    const sums = [await initrd(context(), one), await initrd(context(), two)] as { key: string }[];
    expect(readFileSync(one.output).equals(readFileSync(two.output))).toBe(true);
    expect(sums[0]?.key).toBe(sums[1]?.key);
  });

  it.each([["gzip", gunzipSync], ["zstd", (b: Buffer) => Buffer.from(unzstd(b))], ["lz4", (b: Buffer) => execFileSync("lz4", ["-dc"], { input: b })]] as const)("as %s unpacks to the raw archive, in a form the kernel knows", async (compress, unpack) => {
    const file = agent("x".repeat(70_000));
    const [raw, packed, again] = [forInitrd({ agent: file }), forInitrd({ agent: file, compress }), forInitrd({ agent: file, compress })];
    for (const o of [raw, packed, again]) await initrd(context(), o);
    const bytes = readFileSync(packed.output);
    expect(bytes.subarray(0, 4).toString("hex")).toMatch({ gzip: /^1f8b/, zstd: /^28b52ffd/, lz4: /^02214c18/ }[compress]);
    expect(unpack(bytes).equals(readFileSync(raw.output))).toBe(true);
    expect(bytes.equals(readFileSync(again.output))).toBe(true);
  });

  it("is not built again when nothing changed, and is when the agent did", async () => {
    const at = context();
    const options = forInitrd();
    expect(await initrd(at, options)).toMatchObject({ cached: false, changed: true });
    const before = statSync(options.output).mtimeMs;
    expect(await initrd(at, options)).toMatchObject({ cached: true, changed: false });
    expect(statSync(options.output).mtimeMs).toBe(before);
    writeFileSync(options.agent, staticProgram("another agent"));
    expect(await initrd(at, options)).toMatchObject({ cached: false, changed: true });
    expect(leftovers(at.cache, "initrd")).toEqual([]);
  });

  it("writes inputs, sizes and sums of itself and the agent into dist/manifest.json", async () => {
    const at = context();
    const dist = join(at.root, "dist");
    const program = write(join(dist, "kata-agent"), staticProgram("a"), 0o755);
    await initrd(at, forInitrd({ agent: program, output: join(dist, "initrd.img") }));
    await initrd(at, forInitrd({ agent: program, output: join(dist, "initrd.zst"), compress: "zstd" }));
    const manifest = await readManifest(dist);
    expect(Object.keys(manifest)).toEqual(["agent", "initrd", "initrd.zst"]);
    const sum = (name: string): unknown => ({ bytes: statSync(join(dist, name)).size, sha256: execFileSync("sha256sum", [join(dist, name)], { encoding: "utf8" }).slice(0, 64) });
    expect(manifest["initrd"]?.outputs).toEqual({ "initrd.img": sum("initrd.img") });
    expect(manifest["agent"]?.outputs).toEqual({ "kata-agent": sum("kata-agent") });
    expect(JSON.stringify(manifest)).not.toContain(at.root);
    rmSync(join(dist, "initrd.zst"));
    await initrd(at, forInitrd({ agent: program, output: join(dist, "initrd.img"), compress: "gzip" }));
    expect(Object.keys(await readManifest(dist))).toEqual(["agent", "initrd"]);
    write(join(dist, "mine"), "stays");
    await clean(at, { output: dist, cache: true });
    expect(readdirSync(dist).sort()).toEqual(["mine"]);
    expect(entries(at.cache, "initrd")).toEqual([]);
  });

  it("SOURCE_DATE_EPOCH sets the times and is part of the key", async () => {
    const at = context();
    const options = forInitrd();
    const first = await initrd(at, options) as { key: string };
    vi.stubEnv("SOURCE_DATE_EPOCH", "1000000000");
    expect((await initrd(at, options) as { key: string }).key).not.toBe(first.key);
    expect(readFileSync(options.output).subarray(46, 54).toString()).toBe("3b9aca00");
    vi.stubEnv("SOURCE_DATE_EPOCH", "yesterday");
    expect(await failure(initrd(at, options))).toMatchObject({ failure: "usage" });
  });
});

describe.each(["erofs", "ext4"] as const)("image %s", (fs) => {
  having("program:mkfs.erofs")("has the same bytes twice, and holds the root with the agent as init", async () => {
    const payload = agent("y".repeat(100_000));
    const [one, two] = [forImage({ fs, agent: payload }), forImage({ fs, agent: payload, rootfs: rootfs() })];
    await image(context(), one);
    await image(context(), two);
    expect(readFileSync(one.output).equals(readFileSync(two.output))).toBe(true);
    const out = temp();
    if (fs === "erofs") execFileSync("fsck.erofs", [`--extract=${join(out, "root")}`, "--no-preserve-owner", one.output]);
    else execFileSync("debugfs", ["-R", `rdump / ${mkdir(join(out, "root"))}`, one.output], { stdio: "ignore" });
    expect(readFileSync(join(out, "root/init"))).toEqual(readFileSync(payload));
    expect(readdirSync(join(out, "root")).filter((n) => n !== "lost+found").sort()).toEqual(["dev", "etc", "init", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "var"]);
    if (fs === "ext4") {
      const stat = execFileSync("debugfs", ["-R", "stat /init", one.output], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, TZ: "UTC" } });
      expect(stat).toMatch(/Mode:\s+0755[\s\S]*User:\s+0\s+Group:\s+0[\s\S]*ctime: 0x12cea600:00000000/);
      expect(execFileSync("e2fsck", ["-fn", one.output], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })).toMatch(/0\.0% non-contiguous|files/);
    }
  });
  it("changes with the tree, its id too", async () => {
    const at = context();
    const [one, two] = [forImage({ fs, agent: agent("1") }), forImage({ fs, agent: agent("2") })];
    await image(at, one);
    await image(at, two);
    const id = (file: string): string => readFileSync(file).subarray(fs === "erofs" ? 1024 + 48 : 1024 + 104).subarray(0, 16).toString("hex");
    expect(id(one.output)).not.toBe(id(two.output));
    expect(id(one.output)).toMatch(/^.{12}8.{3}[89ab]/);
  });
  it("grows with what is in it", async () => {
    const options = forImage({ fs, agent: write(join(temp(), "agent"), staticProgram(Buffer.alloc(9_000_000, 7)), 0o755) });
    await image(context(), options);
    expect(statSync(options.output).size).toBeGreaterThan(9_000_000);
    expect(statSync(options.output).size).toBeLessThan(9_000_000 * 1.15 + (1 << 20));
  });
  it("refuses device nodes and foreign owners, naming them", async () => {
    const list = (entry: object): string => rootfs({ entries: [{ path: "init", type: "file", from: "agent" }, { path: "etc", type: "dir" }, entry] });
    expect((await failure(image(context(), forImage({ fs, rootfs: list({ path: "null", type: "char", major: 1, minor: 3 }) })))).message).toBe("null: a disk image takes no char node");
    expect((await failure(image(context(), forImage({ fs, rootfs: list({ path: "home", type: "dir", uid: 5 }) })))).message).toMatch(/home: .*not to 5:0/);
  });
});

function mkdir(path: string): string {
  mkdirSync(path);
  return path;
}

describe("ids", () => {
  it("are version 8 UUIDs", () => expect(toUuid("0123456789abcdef".repeat(4))).toBe("01234567-89ab-8def-8123-456789abcdef"));
});

describe("bad inputs", () => {
  const refused = async (options: Partial<InitrdOptions>): Promise<BuildError> => failure(initrd(context(), forInitrd(options)));
  it("no agent", async () => {
    const error = await refused({ agent: "/nowhere/agent" });
    expect([error.failure, error.message]).toEqual(["missing", "the agent /nowhere/agent does not exist"]);
    expect(error.hint).toMatch(/make agent/);
  });
  it.each([
    ["a script", "#!/bin/sh\n".padEnd(100), /it is not an ELF program/],
    ["an empty file", "", /it is not an ELF program/],
    ["a program that needs a loader", readFileSync(process.execPath).subarray(0, 8192), /dynamically|cut off/],
    ["a program for another machine", staticProgram("", (b) => b.writeUInt16LE(183, 18)), /it is for aarch64, the guest is x86_64/],
    ["a program cut off", staticProgram("", (b) => b.writeBigUInt64LE(5000n, 64 + 32)), /it is cut off/],
    ["a 32-bit program", staticProgram("", (b) => { b[4] = 1; }), /not a 64-bit/],
    ["an object file", staticProgram("", (b) => b.writeUInt16LE(1, 16)), /not an executable/],
    ["a dynamic program", staticProgram("", (b) => b.writeUInt32LE(3, 64)), /linked dynamically/],
  ])("an agent that is %s", async (_, bytes, why) => {
    const error = await refused({ agent: write(join(temp(), "agent"), bytes) });
    expect(error.failure).toBe("missing");
    expect(error.message).toMatch(why);
  });
  it("an agent that is a folder", async () => expect((await refused({ agent: temp() })).message).toMatch(/is a folder/));
  it("a file of 4 GiB, by its size alone", async () => {
    const dir = rootfs({ entries: [{ path: "init", type: "file", from: "agent" }, { path: "etc", type: "dir" }, { path: "big", type: "file", from: "big" }] });
    const fd = openSync(join(dir, "big"), "w");
    ftruncateSync(fd, 2 ** 32);
    closeSync(fd);
    expect((await refused({ rootfs: dir })).message).toMatch(/big has 4294967296 bytes; a file in the root has to be below 4 GiB/);
  });
  it.each([
    ["that is not JSON", "{", /files.json is not JSON/],
    ["without entries", {}, /holds no "entries" list/],
    ["with an unknown type", { entries: [{ path: "a", type: "door" }] }, /entry 1 \(a\): unknown type "door" \(known: dir/],
    ["with an unknown field", { entries: [{ path: "a", type: "dir", perm: "0755" }] }, /entry 1 \(a\): unknown field "perm"/],
    ["with a mode that is no octal text", { entries: [{ path: "a", type: "dir", mode: 755 }] }, /"mode" is not an octal string/],
    ["with a path out of the root", { entries: [{ path: "../a", type: "dir" }] }, /"..\/a" is not a plain relative name/],
    ["with a name twice", { entries: [{ path: "a", type: "dir" }, { path: "a", type: "dir" }] }, /names a twice/],
    ["with a file of nothing", { entries: [{ path: "a", type: "file" }] }, /needs either "from" or "content"/],
    ["with a file that is not there", { entries: [{ path: "a", type: "file", from: "gone" }] }, /gone does not exist/],
    ["with a node without numbers", { entries: [{ path: "a", type: "char" }] }, /needs "major" and "minor"/],
    ["without a parent", { entries: [{ path: "no/a", type: "dir" }] }, /"no\/a" has no parent directory/],
  ])("a file list %s", async (_, list, why) => expect((await refused({ rootfs: rootfs(list) })).message).toMatch(why));
  it("an overlay with something odd in it", async () => {
    const dir = rootfs();
    execFileSync("mkfifo", [join(dir, "overlay/pipe")]);
    expect((await refused({ rootfs: dir })).message).toMatch(/pipe is neither file, folder nor symbolic link/);
  });
  it("an overlay link is kept as a link", async () => {
    const dir = rootfs();
    symlinkSync("/etc/passwd", join(dir, "overlay/etc/link"));
    const options = forInitrd({ rootfs: dir });
    await initrd(context(), options);
    expect(execFileSync("cpio", ["-tv", "--quiet"], { input: readFileSync(options.output), encoding: "utf8" })).toMatch(/etc\/link -> \/etc\/passwd/);
  });
  it("unknown compression, file system and command line mistakes", async () => {
    expect(await refused({ compress: "xz" })).toMatchObject({ failure: "usage", message: "unknown compression xz", hint: "known: raw, lz4, zstd, gzip" });
    expect(await failure(image(context(), forImage({ fs: "ntfs" })))).toMatchObject({ failure: "usage" });
    const missing = await cli(["initrd", "--agent", "/nowhere/agent", "--output", join(temp(), "i")], { KATA_CACHE: temp() });
    expect([missing.code, missing.stdout]).toEqual([3, ""]);
    expect(missing.stderr).toMatch(/^image-builder: the agent \/nowhere\/agent does not exist\n {2}-> /);
  });
  it("a cache or output that cannot be a folder, or is one", async () => {
    const [place, options] = [temp(), forInitrd()];
    const blocked = join(write(join(place, "file"), ""), "below");
    expect(await failure(initrd(context(temp(), blocked), options))).toMatchObject({ failure: "failed", message: expect.stringMatching(/below\/initrd.* cannot be used as a folder/) as string });
    expect(await failure(initrd(context(temp(), "/proc/nowhere"), options))).toMatchObject({ failure: "failed", message: expect.stringMatching(/^\/proc\/nowhere\/initrd.* cannot be made/) as string });
    expect(await failure(initrd(context(), { ...options, output: join(blocked, "i") }))).toMatchObject({ failure: "failed", message: expect.stringMatching(/below cannot be used as a folder/) as string });
    expect(await failure(initrd(context(), { ...options, output: place }))).toMatchObject({ failure: "usage", message: expect.stringMatching(/is a folder/) as string });
    expect(readdirSync(place)).toEqual(["file"]);
  });
  it("a missing mkfs names its package", async () => {
    vi.stubEnv("PATH", temp());
    expect(await failure(image(context(), forImage()))).toMatchObject({ failure: "missing", message: "fsck.erofs is not installed", hint: "apt-get install erofs-utils" });
  });
});

describe("a full disk", () => {
  const small = join(temp(), "small");
  const mounted = (): boolean => {
    mkdirSync(small, { recursive: true });
    return spawnSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", small]).status === 0;
  };
  const unmount = (): void => { spawnSync("umount", ["-l", small]); };
  it("is told, and leaves nothing behind, in the cache and at the output", async (test) => {
    if (!mounted()) return skip(test, "needs the right to mount a tmpfs");
    try {
      const big = agent("z".repeat(600_000));
      const full = await failure(initrd(context(temp(), small), forInitrd({ agent: big })));
      expect([full.failure, full.message]).toEqual(["failed", `no space left on the disk that holds ${join(small, "initrd")}`]);
      expect(full.hint).toMatch(/KATA_CACHE/);
      expect([entries(small, "initrd"), leftovers(small, "initrd")]).toEqual([[], []]);
      const output = join(small, "out.img");
      expect((await failure(initrd(context(), forInitrd({ agent: big, output })))).message).toBe(`no space left on the disk that holds ${small}`);
      expect(existsSync(output)).toBe(false);
      expect(readdirSync(small)).toEqual(["initrd"]);
      const disk = await failure(image(context(temp(), small), forImage({ agent: big })));
      expect(disk.message).toMatch(/no space left/);
    } finally {
      unmount();
    }
  });
});
