// Builds the agent: TypeScript -> ES module chunks (esbuild) -> QuickJS bytecode (qjsc) -> one static musl binary.
// QuickJS and libseccomp are compiled once and kept in the cache by the hash of their sources and flags.
//   node agent/native/build.mjs [--debug] [--entry FILE] [--out FILE] [--json]
// --debug makes the twin with ASAN and UBSAN (glibc, dynamic). Sources come from Debian (pins.json) or from
// QUICKJS_SRC / LIBSECCOMP_SRC.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync, copyFileSync, chmodSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cacheRoot, debianSource } from "../../tools/debian-source.mjs";
import { bundle } from "./bundle.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const agent = dirname(here);
const root = dirname(agent);
const pins = JSON.parse(readFileSync(join(here, "pins.json"), "utf8"));
const say = (text) => process.stderr.write(`  ${text}\n`);

const { values: opt } = parseArgs({
  options: { debug: { type: "boolean" }, entry: { type: "string" }, out: { type: "string" }, json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
});
if (opt.help) {
  process.stdout.write("usage: build.mjs [--debug] [--entry FILE] [--out FILE] [--json]\n  --debug  the ASAN/UBSAN twin (dist/kata-agent.debug)\n  --entry  main module (default agent/init/main.ts)\n  --out    result (default dist/kata-agent)\n  --json   print sizes as JSON\n");
  process.exit(0);
}

/** Runs a program to its end; rejects with its whole output and a line that can be pasted. */
function run(cmd, args, options = {}) {
  return new Promise((done, fail) => {
    const child = spawn(cmd, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.on("data", (d) => (text += d));
    child.stderr.on("data", (d) => (text += d));
    child.on("error", (e) => fail(new Error(e.code === "ENOENT" ? `${cmd} is not installed (tools/deps.sh installs what the build needs)` : String(e))));
    child.on("close", (code) => (code === 0 ? done(text) : fail(new Error(`${cmd} ${args.join(" ")}\nexit ${code}\n${text}`))));
  });
}

const ARCH = process.env.TARGET_ARCH ?? "x86_64";
const VERSION = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
const WARN = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-sign-compare"];
/** Bytecode has a mapping of its own: the kernel maps the pages around one that is read, and constants in use would keep its own in memory. */
const SECTION = "bytecode"; // a C name: the linker tells where it begins and ends
const flavour = opt.debug
  ? { cc: "gcc", flags: ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"], link: ["-fsanitize=address,undefined", "-lm", "-lpthread"] }
  : { cc: "musl-gcc", flags: ["-O2", "-fno-plt", "-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-ffunction-sections", "-fdata-sections", "-fno-pie"], link: ["-static", "-no-pie", "-Wl,--gc-sections", "-Wl,-z,norelro", `-Wl,--section-start=${SECTION}=0x1000000`, "-Wl,--build-id=none", "-s", "-lm"] };

/** Paths in the binary (of assertions, of debug information) are the same wherever the sources lie. */
const mapped = (from, to) => `-ffile-prefix-map=${from}=${to}`;

/** Returns a cached folder made by `make(dir)`; the key covers everything that decides the bytes. */
async function cached(name, key, make) {
  const id = createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 20);
  const dir = join(cacheRoot(), "obj", `${name}-${id}`);
  if (existsSync(dir)) return dir;
  mkdirSync(dirname(dir), { recursive: true });
  const tmp = mkdtempSync(`${dir}.`);
  try {
    say(`compiling ${name}${opt.debug ? " (debug)" : ""}`);
    await make(tmp);
    if (!existsSync(dir)) renameSync(tmp, dir);
  } finally {
    rmSync(tmp, { recursive: true, force: true });
  }
  return dir;
}

/** A folder with only the kernel's headers: the C library's own must not be seen by musl-gcc. */
function kernelHeaders(dir) {
  mkdirSync(dir, { recursive: true });
  const multiarch = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/asm`;
  for (const [name, from] of [["linux", "/usr/include/linux"], ["asm-generic", "/usr/include/asm-generic"], ["asm", existsSync(multiarch) ? multiarch : "/usr/include/asm"]]) {
    if (!existsSync(join(dir, name))) symlinkSync(from, join(dir, name));
  }
  return dir;
}

const compilerId = async (cc) => (await run(cc, ["--version"])).split("\n")[0];

async function archive(dir, name, sources, flags) {
  const objects = [];
  const jobs = sources.map((src) => async () => {
    const object = join(dir, basename(src).replace(/\.c$/, ".o"));
    await run(flavour.cc, [...flavour.flags, ...flags, "-c", src, "-o", object]);
    objects.push(object);
  });
  await Promise.all([0, 1].map(async () => { for (let j = jobs.shift(); j; j = jobs.shift()) await j(); }));
  await run("ar", ["rcs", join(dir, name), ...objects.sort()]);
}

/**
 * The program that a container's process is for its last steps (stub.c): bare code for the address at which engine/child/exec-stub.ts puts
 * it, a character for each byte. It has no C library, so every compiler of the architecture makes the same.
 */
async function stub(dir) {
  const code = join(dir, "stub.bin");
  await run("gcc", ["-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-pic", "-no-pie", "-Os", "-fno-stack-protector", "-fno-toplevel-reorder", "-fno-asynchronous-unwind-tables", "-fno-jump-tables", "-fcf-protection=none",
    ...WARN, join(here, "stub.c"), "-o", code, "-Wl,--build-id=none,-Ttext=0x10088,-e,_start,--oformat=binary"]);
  return readFileSync(code).toString("latin1");
}

const QJS_FILES = ["quickjs.c", "libregexp.c", "libunicode.c", "cutils.c", "dtoa.c"];

async function quickjs() {
  const src = process.env.QUICKJS_SRC ? resolve(process.env.QUICKJS_SRC) : await debianSource(pins.quickjs, say);
  const defs = [mapped(src, "quickjs"), "-D_GNU_SOURCE", `-DCONFIG_VERSION="${readFileSync(join(src, "VERSION"), "utf8").trim()}"`];
  const lib = await cached("quickjs", [src, defs, flavour, await compilerId(flavour.cc)], (dir) => archive(dir, "libquickjs.a", QJS_FILES.map((f) => join(src, f)), [...defs, "-w"]));
  const qjsc = await cached("qjsc", [src, await compilerId("gcc")], (dir) =>
    run("gcc", ["-O1", "-w", ...defs, ...[...QJS_FILES, "qjsc.c", "quickjs-libc.c"].map((f) => join(src, f)), "-o", join(dir, "qjsc"), "-lm", "-ldl", "-lpthread"]));
  return { src, lib: join(lib, "libquickjs.a"), qjsc: join(qjsc, "qjsc") };
}

/**
 * libseccomp's table of system calls holds the numbers of 18 architectures, of which this program can ever meet two or three:
 * the columns of the others are left out (some 65 KB), and their fields share the first one's place. oci/seccomp.ts leaves
 * such architectures out of every filter.
 */
const SECCOMP_ARCHS = { x86_64: ["x86", "x86_64", "x32"], aarch64: ["arm", "aarch64"] };
function slimSyscalls(src, dir, arch) {
  const header = readFileSync(join(src, "syscalls.h"), "utf8");
  const [whole, body] = /struct arch_syscall_table \{([^}]*)\};/.exec(header);
  const names = [...body.matchAll(/^\s*int (\w+);\s*enum scmp_kver \1_kver;/gm)].map((m) => m[1]);
  const kept = SECCOMP_ARCHS[arch];
  const others = names.filter((n) => !kept.includes(n));
  const fields = kept.map((n, i) => (i === 0 ? `union { int ${[n, ...others].join(", ")}; };` : `int ${n};`)).join(" ");
  writeFileSync(join(dir, "syscalls.h"), header.replace(whole, `struct arch_syscall_table { int name; int index; ${fields} enum scmp_kver ${names.map((n) => `${n}_kver`).join(", ")}; };`.replace(/enum scmp_kver (.*); \};$/, "union { enum scmp_kver $1; }; };")));
  let rows = 0;
  const table = readFileSync(join(src, "syscalls.perf.c"), "utf8").replace(/^(\s*\{\(int\)\(size_t\)&[^,]+,\d+),(.*)\}(,?)$/gm, (_, head, rest, comma) => {
    const cells = rest.split(",");
    if (cells.length !== names.length * 2) throw new Error("libseccomp's table of system calls has another form than expected");
    rows++;
    return `${head},${kept.map((n) => cells[names.indexOf(n) * 2]).join(",")},SCMP_KV_UNDEF}${comma}`;
  });
  if (rows < 400) throw new Error("libseccomp's table of system calls was not found");
  writeFileSync(join(dir, "syscalls.perf.c"), table);
}

async function libseccomp() {
  const src = process.env.LIBSECCOMP_SRC ? resolve(process.env.LIBSECCOMP_SRC) : await debianSource(pins.libseccomp, say);
  const dir = await cached("libseccomp", [src, flavour, await compilerId(flavour.cc), ARCH, "-Os", "mapped", String(slimSyscalls)], async (tmp) => {
    const [major, minor, micro] = pins.libseccomp.version.split(/[.-]/);
    const header = readFileSync(join(src, "include/seccomp.h.in"), "utf8").replace("@VERSION_MAJOR@", major).replace("@VERSION_MINOR@", minor).replace("@VERSION_MICRO@", micro);
    writeFileSync(join(tmp, "seccomp.h"), header);
    copyFileSync(join(src, "include/seccomp-syscalls.h"), join(tmp, "seccomp-syscalls.h"));
    writeFileSync(join(tmp, "configure.h"), "#define HAVE_LINUX_SECCOMP_H 1\n");
    const names = readdirSync(join(src, "src")).filter((f) => f.endsWith(".c") && !/^(arch-syscall|python)/.test(f) && f !== "syscalls.perf");
    const copy = join(tmp, "src"); // the sources look for their headers beside them first
    cpSync(join(src, "src"), copy, { recursive: true });
    slimSyscalls(join(src, "src"), copy, ARCH);
    // made small: it runs once for a profile, and is 20 KB less
    await archive(tmp, "libseccomp.a", names.map((f) => join(copy, f)), ["-w", ...(opt.debug ? [] : ["-Os"]), mapped(tmp, "libseccomp"), mapped(src, "libseccomp"), "-D_GNU_SOURCE", `-I${tmp}`, `-I${join(src, "include")}`, ...(opt.debug ? [] : [`-I${kernelHeaders(join(tmp, "kernel"))}`])]);
  });
  return { include: dir, lib: join(dir, "libseccomp.a") };
}

async function main() {
  const out = resolve(opt.out ?? join(root, opt.debug ? "dist/kata-agent.debug" : "dist/kata-agent"));
  const entry = resolve(opt.entry ?? join(agent, "init/main.ts"));
  if (!existsSync(entry)) throw new Error(`no such entry: ${entry}`);
  const qjs = await quickjs();
  const scmp = await libseccomp();
  const dir = mkdtempSync(join(cacheRoot(), "build-"));
  try {
    const files = await bundle(dir, { agent, entry, arch: ARCH, version: VERSION, debug: opt.debug === true, stub: await stub(dir) });
    const table = await compileChunks(dir, files, qjs.qjsc);
    await run(flavour.cc, [...flavour.flags, ...WARN, mapped(root, "."), mapped(dir, "build"), mapped(qjs.src, "quickjs"), mapped(scmp.include, "libseccomp"), "-D_GNU_SOURCE", `-DSMALL=${opt.debug ? 0 : 512}`, `-I${here}`, `-I${qjs.src}`, `-I${scmp.include}`, ...(opt.debug ? [] : [`-I${kernelHeaders(join(dir, "kernel"))}`]),
      join(here, "main.c"), join(here, "native.c"), table.source, qjs.lib, scmp.lib, ...flavour.link, "-o", join(dir, "agent")]);
    mkdirSync(dirname(out), { recursive: true });
    chmodSync(join(dir, "agent"), 0o755);
    rmSync(out, { force: true });
    copyFileSync(join(dir, "agent"), `${out}.new`);
    renameSync(`${out}.new`, out);
    const sizes = { binary: statSync(out).size, bytecode: table.sizes };
    if (opt.json) process.stdout.write(`${JSON.stringify(sizes)}\n`);
    else say(`${relative(root, out)}: ${sizes.binary} bytes, of them ${Object.values(table.sizes).reduce((a, b) => a + b, 0)} bytecode in ${Object.keys(table.sizes).length} modules (${table.sizes["main.js"]} in the main one)`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** One C array for each chunk, plus `chunks[]`. qjsc takes along what those that it is given import. */
async function compileChunks(dir, files, qjsc) {
  const names = files.map((f) => f.replace(/\//g, "__"));
  const imported = new Set();
  for (const [i, name] of names.entries()) {
    // imports between chunks are relative paths; flat names keep qjsc's C names unique and the loader's lookup trivial
    const text = readFileSync(join(dir, files[i]), "utf8").replace(/(from|import)\s*"(\.{1,2}\/[^"]+)"/g, (_, word, spec) => {
      const other = relative(dir, resolve(dirname(join(dir, files[i])), spec)).replace(/\//g, "__");
      imported.add(other);
      return `${word}"./${other}"`;
    });
    if (files[i] !== name) rmSync(join(dir, files[i]));
    writeFileSync(join(dir, name), text);
  }
  await run(qjsc, ["-c", "-m", ...(opt.debug ? [] : ["-s"]), "-o", "bytecode.c", ...names.filter((name) => !imported.has(name))], { cwd: dir });
  let text = readFileSync(join(dir, "bytecode.c"), "utf8");
  const sizes = {};
  const rows = [];
  for (const name of names) {
    const symbol = `qjsc_${name.replace(/\.js$/, "").replace(/[^A-Za-z0-9]/g, "_")}`;
    const size = new RegExp(`const uint32_t ${symbol}_size = (\\d+);`).exec(text)?.[1];
    if (!size) throw new Error(`qjsc made no bytecode for ${name}`);
    sizes[name] = Number(size);
    rows.push(`    { "${name}", ${symbol}, ${size} },`);
  }
  text = text.replace(/^const uint8_t (qjsc_\w+)\[/gm, `__attribute__((section("${SECTION}"))) const uint8_t $1[`);
  text += `\n#include "native.h"\nconst struct chunk chunks[] = {\n${rows.join("\n")}\n};\nconst unsigned chunk_count = ${rows.length};\n`;
  writeFileSync(join(dir, "bytecode.c"), text);
  return { source: join(dir, "bytecode.c"), sizes };
}

main().catch((error) => {
  process.stderr.write(`agent build failed: ${error.message}\n`);
  process.exit(1);
});
