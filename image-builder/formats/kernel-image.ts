// Owns what a kernel's boot file tells: its release, the configuration that CONFIG_IKCONFIG puts inside, and the ELF kernel in a
// bzImage (which boots in fewer instructions, and is what Firecracker takes). Sources: Documentation/arch/x86/boot.rst,
// kernel/configs.c, scripts/extract-vmlinux, scripts/extract-ikconfig.
import { gunzipSync } from "node:zlib";
import { BuildError } from "../lib/errors.js";
import { packingOf, unpacked } from "./decompress.js";

export interface KernelImage {
  /** The file is a bzImage; else it is the ELF kernel itself. */
  readonly boot: Buffer | undefined;
  /** The ELF kernel; undefined when it is packed in a way that nothing here unpacks. */
  readonly vmlinux: Buffer | undefined;
  /** What uname -r says there: the name of the folder of its modules. Empty when the file does not tell. */
  readonly release: string;
  /** The configuration inside; undefined where the kernel has none. */
  readonly config: string | undefined;
}

const SECTOR = 512;
const isElf = (bytes: Buffer): boolean => bytes.subarray(0, 4).toString("latin1") === "\x7fELF";
const isBzImage = (bytes: Buffer): boolean => bytes.length > 0x260 && bytes.subarray(0x202, 0x206).toString("latin1") === "HdrS";

/** Reads a bzImage, an ELF kernel, or one of them packed. Throws BuildError "missing" for what is no kernel. */
export async function readKernelImage(name: string, bytes: Buffer, signal: AbortSignal): Promise<KernelImage> {
  if (isBzImage(bytes)) {
    const vmlinux = await innerKernel(bytes, signal);
    return { boot: bytes, vmlinux, release: bzImageRelease(bytes), config: vmlinux === undefined ? undefined : innerConfig(vmlinux) };
  }
  const plain = packingOf(bytes) === "none" ? bytes : await unpacked(bytes, signal);
  if (!isElf(plain)) throw new BuildError("missing", `${name} is no kernel: neither a bzImage nor an ELF kernel`, "name the file that the boot loader loads (vmlinuz, bzImage, vmlinux)");
  return { boot: undefined, vmlinux: plain, release: elfRelease(plain), config: innerConfig(plain) };
}

function bzImageRelease(bytes: Buffer): string {
  const at = bytes.readUInt16LE(0x20e);
  if (at === 0) return "";
  const text = bytes.subarray(at + SECTOR, at + SECTOR + 256).toString("latin1");
  return text.slice(0, text.indexOf("\0")).split(" ")[0] ?? "";
}

function elfRelease(bytes: Buffer): string {
  return /^Linux version (\S+) \(/.exec(bytes.subarray(Math.max(0, bytes.indexOf("Linux version "))).subarray(0, 256).toString("latin1"))?.[1] ?? "";
}

/** The payload without the four bytes of its size behind it, which only gzip has as a part of its own. */
async function innerKernel(bytes: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
  const start = ((bytes.readUInt8(0x1f1) || 4) + 1) * SECTOR + bytes.readUInt32LE(0x248);
  const payload = bytes.subarray(start, start + bytes.readUInt32LE(0x24c));
  const packing = packingOf(payload);
  if (packing === "none") return undefined;
  try {
    const plain = await unpacked(packing === "gzip" ? payload : payload.subarray(0, -4), signal);
    return isElf(plain) ? plain : undefined;
  } catch (error) {
    if (error instanceof BuildError && error.failure === "interrupted") throw error;
    return undefined;
  }
}

function innerConfig(bytes: Buffer): string | undefined {
  const start = bytes.indexOf("IKCFG_ST\x1f\x8b", 0, "latin1");
  const end = start < 0 ? -1 : bytes.indexOf("IKCFG_ED", start, "latin1");
  if (end < 0) return undefined;
  try {
    return gunzipSync(bytes.subarray(start + 8, end)).toString("utf8");
  } catch {
    return undefined;
  }
}
