// Owns libseccomp for the agent: without the numbers of architectures that it can never meet, as a library with its two headers, in the
// cache. Must never change what the library does for the architectures that are kept.
import { cp, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import type { LibrarySource } from "../steps/debian-source.js";
import { kernelHeaders, makeArchive, type Compiler } from "./compiler.js";

/** What libseccomp calls the architectures whose system calls a guest of each architecture can make. */
const KEPT: Readonly<Record<string, readonly string[]>> = { x86_64: ["x86", "x86_64", "x32"], aarch64: ["arm", "aarch64"] };

/** Architectures the agent can be built for. */
export const ARCHES = Object.keys(KEPT);

const HEADERS = ["seccomp.h", "seccomp-syscalls.h"];

/** Raised when what is changed in the sources changes. */
const RECIPE = 1;

/** Folder with libseccomp.a, seccomp.h and seccomp-syscalls.h, from the cache or made. Throws BuildError as quickjs() does. */
export async function libseccomp(context: Context, compiler: Compiler, source: LibrarySource, arch: string): Promise<string> {
  const size = compiler.debug ? [] : ["-Os"]; // it runs once for a profile, and is 20 KB less
  const key = { recipe: RECIPE, source: source.key, compiler: compiler.key, arch, size };
  const entry = await cached(context, "libseccomp", key, ["libseccomp.a", ...HEADERS], async (dir) => {
    const at = join(dir, "libseccomp");
    await source.unpack(at);
    const text = (name: string): Promise<string> => readFile(join(at, name), "utf8").catch(() => {
      throw new BuildError("missing", `the source of libseccomp has no ${name}`, "name a folder with libseccomp 2.6 or one laid out as it is");
    });
    await writeFile(join(dir, "seccomp.h"), versioned(await text("include/seccomp.h.in"), await text("configure.ac")));
    await cp(join(at, "include/seccomp-syscalls.h"), join(dir, "seccomp-syscalls.h"));
    await writeFile(join(dir, "configure.h"), "#define HAVE_LINUX_SECCOMP_H 1\n");
    const slim = slimSyscalls(await text("src/syscalls.h"), await text("src/syscalls.perf.c"), KEPT[arch] ?? []);
    await writeFile(join(at, "src/syscalls.h"), slim.header);
    await writeFile(join(at, "src/syscalls.perf.c"), slim.table);
    const sources = (await readdir(join(at, "src"))).filter((name) => name.endsWith(".c") && !name.startsWith("arch-syscall")).sort();
    const flags = ["-w", ...size, "-D_GNU_SOURCE", "-I.", "-Ilibseccomp/include", ...(await kernelHeaders(compiler, dir))];
    await makeArchive(context, compiler, dir, "libseccomp.a", sources.map((name) => `libseccomp/src/${name}`), flags);
  });
  return entry.dir;
}

/** seccomp.h from its template, with the version that configure.ac gives: what `configure` does. */
export function versioned(template: string, configure: string): string {
  const version = /AC_INIT\(\[libseccomp\],\s*\[(\d+)\.(\d+)\.(\d+)\]\)/.exec(configure);
  if (version === null) throw otherForm("configure.ac");
  const [, major, minor, micro] = version as unknown as readonly [string, string, string, string];
  return template.replace("@VERSION_MAJOR@", major).replace("@VERSION_MINOR@", minor).replace("@VERSION_MICRO@", micro);
}

const otherForm = (what: string): BuildError =>
  new BuildError("failed", `libseccomp's ${what} has another form than expected`, "image-builder/agent/libseccomp.ts knows the form of version 2.6");

/**
 * libseccomp's table of system calls holds the numbers of 18 architectures, of which this program can ever meet two or three: the
 * columns of the others are left out (some 65 KB), and their fields share the first one's place. agent/sys/seccomp.ts leaves such
 * architectures out of every filter. Takes syscalls.h and syscalls.perf.c (gperf's), returns them changed; throws BuildError when they
 * have another form.
 */
export function slimSyscalls(header: string, table: string, kept: readonly string[]): { readonly header: string; readonly table: string } {
  const found = /struct arch_syscall_table \{([^}]*)\};/.exec(header);
  if (found === null) throw otherForm("struct arch_syscall_table");
  const [whole, body] = found as unknown as readonly [string, string];
  const names = [...body.matchAll(/^\s*int (\w+);\s*enum scmp_kver \1_kver;/gm)].map((m) => m[1] as string);
  const fields = [...body.matchAll(/^\s*(?:int|enum \w+) \w+;/gm)].length;
  if (kept.length === 0 || kept.some((name) => !names.includes(name)) || fields !== 2 + 2 * names.length) throw otherForm("struct arch_syscall_table");
  const others = names.filter((name) => !kept.includes(name));
  const numbers = kept.map((name, i) => (i === 0 ? `union { int ${[name, ...others].join(", ")}; };` : `int ${name};`)).join(" ");
  const struct = `struct arch_syscall_table { int name; int index; ${numbers} union { enum scmp_kver ${names.map((name) => `${name}_kver`).join(", ")}; }; };`;
  return { header: header.replace(whole, () => struct), table: slimTable(table, names, kept) };
}

/** The rows of gperf's table with the numbers of `kept` only, in the struct's order, and one kernel version for all. */
function slimTable(table: string, names: readonly string[], kept: readonly string[]): string {
  const columns = kept.map((name) => 2 * names.indexOf(name));
  let rows = 0;
  const slim = table.replace(/^(\s*\{\(int\)\(size_t\)&[^,]+,\d+),(.*)\}(,?)$/gm, (_row, head: string, rest: string, comma: string) => {
    const cells = rest.split(",");
    if (cells.length !== names.length * 2) throw otherForm("table of system calls");
    rows++;
    return `${head},${columns.map((column) => cells[column]).join(",")},SCMP_KV_UNDEF}${comma}`;
  });
  // a row that stayed as it was would give its numbers to other architectures, and the compiler would only warn
  if (rows === 0 || rows !== table.split("{(int)(size_t)&").length - 1) throw otherForm("table of system calls");
  return slim;
}
