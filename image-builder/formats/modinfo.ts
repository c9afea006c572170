// Owns what a kernel module's file tells about itself: the strings in its section .modinfo, as modinfo(8) shows them. Pure. Sources:
// elf(5), include/linux/module.h, scripts/mod/modpost.c (which puts `depends` and the aliases of device tables there).
import { BuildError } from "../lib/errors.js";

export interface ModuleInfo {
  /** Modules whose symbols this one uses, by their names with "_". */
  readonly depends: readonly string[];
  /** Modules that have to be there before, though no symbol says so. */
  readonly before: readonly string[];
  readonly aliases: readonly string[];
  /** The release of the kernel that the module was made for; empty when it does not tell. */
  readonly release: string;
}

/** A module's name as the kernel has it: files and users may write "-" for "_". */
export const moduleName = (text: string): string => text.replaceAll("-", "_");

/** Reads the file of the module that messages call `name`. Throws BuildError "missing" for what is no module. */
export function readModinfo(name: string, bytes: Buffer): ModuleInfo {
  const strings = section(name, bytes, ".modinfo").toString("latin1").split("\0");
  const all = (key: string): string[] => strings.flatMap((s) => (s.startsWith(`${key}=`) ? [s.slice(key.length + 1)] : []));
  return {
    depends: (all("depends")[0] ?? "").split(",").filter((d) => d !== "").map(moduleName),
    before: all("softdep").flatMap((text) => /^pre: *([^:]*?)(?: *post:.*)?$/.exec(text)?.[1]?.split(/\s+/) ?? []).filter((d) => d !== "").map(moduleName),
    aliases: all("alias"),
    release: (all("vermagic")[0] ?? "").split(" ")[0] ?? "",
  };
}

function section(name: string, bytes: Buffer, wanted: string): Buffer {
  const bad = (): never => {
    throw new BuildError("missing", `${name} is no kernel module of a 64-bit machine`, "is the package whole?");
  };
  try {
    if (bytes.toString("latin1", 0, 6) !== "\x7fELF\x02\x01") bad();
    const [table, size, count, names] = [Number(bytes.readBigUInt64LE(40)), bytes.readUInt16LE(58), bytes.readUInt16LE(60), bytes.readUInt16LE(62)];
    const at = (i: number): { readonly name: number; readonly offset: number; readonly size: number } => {
      const start = table + i * size;
      return { name: bytes.readUInt32LE(start), offset: Number(bytes.readBigUInt64LE(start + 24)), size: Number(bytes.readBigUInt64LE(start + 32)) };
    };
    const text = at(names);
    for (let i = 0; i < count; i++) {
      const one = at(i);
      const start = text.offset + one.name;
      if (bytes.toString("latin1", start, bytes.indexOf(0, start)) === wanted) return bytes.subarray(one.offset, one.offset + one.size);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return bad();
}
