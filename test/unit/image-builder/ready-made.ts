// Ready-made kernels for tests: a bzImage with a release and a packed ELF kernel, modules with what modinfo(8) reads, laid out as a
// distribution does, and package files of them. Nothing of it is ever run.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { temp, write } from "./stage.js";

export const RELEASE = "6.1.0-9-test";

/** An ELF kernel that tells its release, with `config` inside when given. */
export function elfKernel(release = RELEASE, config?: string): Buffer {
  const inside = config === undefined ? Buffer.alloc(0) : Buffer.concat([Buffer.from("IKCFG_ST"), gzipSync(config), Buffer.from("IKCFG_ED")]);
  return Buffer.concat([Buffer.from("\x7fELF\x02\x01\x01", "latin1"), Buffer.alloc(57), Buffer.from(`Linux version ${release} (a@b) #1\n\0`), inside]);
}

/** A bzImage whose payload is `elf`, packed by the command `pack` (which Linux follows by the size, but for gzip). */
export function bzImage(elf = elfKernel(), release = RELEASE, pack: readonly string[] = ["gzip", "-9n"]): Buffer {
  const packed = execFileSync(pack[0] as string, pack.slice(1), { input: elf, stdio: ["pipe", "pipe", "ignore"] });
  const size = Buffer.alloc(4);
  size.writeUInt32LE(elf.length);
  const payload = pack[0] === "gzip" ? packed : Buffer.concat([packed, size]);
  const head = Buffer.alloc(1024);
  head.writeUInt8(1, 0x1f1);
  head.write("HdrS", 0x202, "latin1");
  head.writeUInt16LE(0x300 - 512, 0x20e);
  head.write(`${release} (a@b) #1 SMP\0`, 0x300, "latin1");
  head.writeUInt32LE(0, 0x248);
  head.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([head, payload]);
}

export interface FakeModule {
  readonly depends?: readonly string[];
  readonly alias?: readonly string[];
  readonly softdep?: string;
  readonly vermagic?: string;
  /** How the file is packed, and what its name ends in. */
  readonly pack?: readonly [ending: string, ...command: string[]];
}

/** A module's ELF file: a section .modinfo, and the names of the sections. */
export function moduleFile(name: string, about: FakeModule = {}): Buffer {
  const info = [...(about.alias ?? []).map((a) => `alias=${a}`), ...(about.softdep === undefined ? [] : [`softdep=${about.softdep}`]), `depends=${(about.depends ?? []).join(",")}`,
    `name=${name.replaceAll("-", "_")}`, `vermagic=${about.vermagic ?? RELEASE} SMP preempt mod_unload `];
  const modinfo = Buffer.from(`${info.join("\0")}\0`, "latin1");
  const names = Buffer.from("\0.modinfo\0.shstrtab\0", "latin1");
  const head = Buffer.alloc(64);
  head.write("\x7fELF\x02\x01\x01", "latin1");
  head.writeUInt16LE(1, 16);
  head.writeUInt16LE(62, 18);
  head.writeBigUInt64LE(BigInt(64 + modinfo.length + names.length), 40);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(3, 60);
  head.writeUInt16LE(2, 62);
  const section = (nameAt: number, offset: number, size: number): Buffer => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(nameAt, 0);
    bytes.writeBigUInt64LE(BigInt(offset), 24);
    bytes.writeBigUInt64LE(BigInt(size), 32);
    return bytes;
  };
  return Buffer.concat([head, modinfo, names, Buffer.alloc(64), section(1, 64, modinfo.length), section(10, 64 + modinfo.length, names.length)]);
}

export interface FakeTree {
  readonly release?: string;
  readonly image?: Buffer;
  readonly config?: string;
  readonly modules?: Readonly<Record<string, FakeModule>>;
  /** Names of modules that are built in. */
  readonly builtin?: readonly string[];
}

/** A folder with boot/ and lib/modules/ as a kernel package has them. */
export function kernelTree({ release = RELEASE, image = bzImage(elfKernel(release), release), config = "CONFIG_A=y\nCONFIG_M=m\n", modules = { virtio: {} }, builtin = [] }: FakeTree = {}): string {
  const tree = temp();
  write(join(tree, `boot/vmlinuz-${release}`), image);
  if (config !== "") write(join(tree, `boot/config-${release}`), config);
  const folder = join(tree, "lib/modules", release);
  write(join(folder, "modules.builtin"), builtin.map((name) => `kernel/x/${name}.ko\n`).join(""));
  for (const [name, about] of Object.entries(modules)) {
    const [ending = "", ...pack] = about.pack ?? [];
    const bytes = moduleFile(name, about);
    write(join(folder, `kernel/drivers/${name}.ko${ending}`), pack.length === 0 ? bytes : execFileSync(pack[0] as string, pack.slice(1), { input: bytes }));
  }
  return tree;
}

/** A package file with what is in `tree`. */
export function deb(name: string, tree: string, version = "1.0-1"): string {
  mkdirSync(join(tree, "DEBIAN"), { recursive: true });
  write(join(tree, "DEBIAN/control"), `Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a kernel\n`);
  const file = join(temp(), `${name}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-b", tree, file], { stdio: "ignore" });
  return file;
}
