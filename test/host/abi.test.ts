// The agent's numbers of the kernel's interface against the C headers: each constant, size and offset is an assertion in a unit of C,
// which is compiled for x86_64 with this system's headers, and for aarch64 with those of Debian's cross packages: the same compiler
// without its own headers, since the kernel's say what they say by macros and layouts that both architectures have in common
// (little-endian, 64 bits wide). Nothing of it is run.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import * as errno from "../../agent/abi/errno.js";
import { capNumber } from "../../agent/oci/caps.js";
import { errnoName } from "../../agent/sys/errno-text.js";
import { fetchPackage, type PackagePin } from "../../image-builder/steps/apt.js";
import type { Context } from "../../image-builder/lib/context.js";
import { ensureFolder } from "../../image-builder/lib/folder.js";
import { progress } from "../../image-builder/lib/progress.js";
import { cacheFolder, distFolder, projectRoot } from "../../tools/places.js";
import { type Arch, type Claim, claims, membersOf, OF_ARCH, probe, untrue } from "../helpers/abi-claims.js";

/** Compilers' headers (stddef.h and the like) say nothing of an architecture. */
const own = execFileSync("gcc", ["-print-file-name=include"], { encoding: "utf8" }).trim();

/** The errors of a compiler that is shown these folders and no others. */
function errors(source: string, folders: readonly string[], more: readonly string[] = []): string {
  const { status, stderr, error } = spawnSync("gcc", ["-fsyntax-only", "-w", "-fmax-errors=0", "-nostdinc", ...more, ...folders.flatMap((dir) => ["-isystem", dir]), "-x", "c", "-"], { input: source, encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
  if (error !== undefined) throw error;
  return status === 0 ? "" : stderr;
}

const fake = [{ what: "a", expression: "PROT_READ + 1", value: 0, libc: false, newer: false }, { what: "b", expression: "NO_SUCH", value: 0, libc: false, newer: false }] satisfies Claim[];

const PINS: readonly PackagePin[] = [
  { package: "linux-libc-dev-arm64-cross", suites: { archive: ["bookworm"], security: [] }, versions: [{ version: "6.1.4-1cross1", sha256: "66457f015d16b7d372db6591cff38db0da928362ff2ea1fa75491e28f6904d81" }] },
  { package: "libc6-dev-arm64-cross", suites: { archive: ["bookworm"], security: [] }, versions: [{ version: "2.36-8cross1", sha256: "5e4cf6abf0e89e89c4b3006bb8b7dc47aa831df25d94df9134929b8b968cacb4" }] },
];

/** A folder with the packages' headers, unpacked once into the cache; nothing is installed. */
async function crossHeaders(): Promise<string> {
  const context: Context = { root: projectRoot, dist: distFolder, cache: cacheFolder(), progress: progress(true), signal: new AbortController().signal };
  const dir = join(context.cache, "headers", PINS.map((pin) => pin.versions[0]?.sha256.slice(0, 12)).join("-"));
  const include = join(dir, "usr/aarch64-linux-gnu/include");
  if (existsSync(include)) return include;
  await ensureFolder(join(context.cache, "headers"));
  const temp = await mkdtemp(`${dir}.`);
  try {
    for (const pin of PINS) execFileSync("dpkg-deb", ["-x", (await fetchPackage(context, pin)).file, temp]);
    await rename(temp, dir).catch(() => undefined); // somebody else was first
  } finally {
    await rm(temp, { recursive: true, force: true });
  }
  return include;
}

function check(arch: Arch, folders: readonly string[], more: readonly string[] = []): void {
  const all = claims(arch);
  expect(all.length).toBeGreaterThan(800);
  for (const libc of [false, true]) expect(untrue(all, errors(probe(all, libc), folders, more))).toEqual({ claims: [], other: [] });
}

describe("the kernel's interface", () => {
  const x86 = [own, "/usr/include/x86_64-linux-gnu", "/usr/include"];
  it("on x86_64 is what this system's headers say", () => check("x86_64", x86));

  it("is checked by a compiler that sees what is not so", () => {
    expect(untrue(fake, errors("enum { PROT_READ = 1 };\n" + fake.map(({ expression, value }, i) => `#line 1 "claim ${i} "\n_Static_assert((${expression}) == ${value}, "");`).join("\n"), x86))).toEqual({
      claims: ["a: PROT_READ + 1 is not 0", "b: NO_SUCH is not known to the headers"], other: [],
    });
    const wrong = claims("x86_64").map((claim) => (claim.what === "MS.NOEXEC" || claim.what === "Statx.stx_uid" ? { ...claim, value: claim.value + 1 } : claim));
    expect(untrue(wrong, errors(probe(wrong, false), x86)).claims).toEqual(["MS.NOEXEC: MS_NOEXEC is not 9", "Statx.stx_uid: __builtin_offsetof(struct statx, stx_uid) is not 21"]);
  });

  describe("on aarch64", () => {
    let include = "";
    beforeAll(async () => void (include = await crossHeaders()), 300_000);
    it("is what Debian's cross headers say", () => check("aarch64", [own, include], ["-U__x86_64__", "-U__x86_64", "-D__aarch64__"]));
    it("differs: its open flags, packing and calls are not x86_64's", () => {
      const all = claims("x86_64");
      const said = untrue(all, errors(probe(all, false), [own, include], ["-U__x86_64__", "-U__x86_64", "-D__aarch64__"])).claims.join("\n");
      for (const what of ["O.DIRECTORY", "O.NOFOLLOW", "EpollEvent.SIZE", "NR.openat"]) expect(said).toContain(`${what}: `);
    });
  });

  it("knows every capability of these headers by its number", () => {
    const named = [...readFileSync("/usr/include/linux/capability.h", "utf8").matchAll(/^#define (CAP_\w+)\s+(\d+)$/gm)];
    expect(named.length).toBeGreaterThan(35);
    for (const [, name, number] of named) expect(capNumber(name as string), name).toBe(Number(number));
  });

  it("has errors by the names that messages tell", () => {
    for (const [name, number] of membersOf((errno as unknown as { readonly E: Readonly<Record<string, number>> }).E)) expect(errnoName(number)).toBe(name);
  });

  it("has the same names on both architectures", () => {
    const names = (arch: Arch): string[] => Object.entries(OF_ARCH[arch]).flatMap(([name, members]) => membersOf(members).map(([member]) => `${name}.${member}`)).sort();
    expect(names("aarch64")).toEqual(names("x86_64"));
  });
});
