// The private apt sources, and what is told when the archive does not give what is pinned (with a stand-in for apt-get).
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { BuildError } from "../../../image-builder/lib/errors.js";
import { fetchPackage, type PackagePin } from "../../../image-builder/steps/apt.js";
import { rewriteSources } from "../../../image-builder/steps/apt-sources.js";
import { context, removeTemps, temp, write } from "./stage.js";

afterEach(() => {
  vi.unstubAllEnvs();
  removeTemps();
});

const wanted = { archive: ["trixie", "bookworm-backports"], security: ["trixie-security"] };

describe("private sources", () => {
  it("come from the deb822 stanzas that serve this release, third-party archives left out", () => {
    const debian = "Types: deb\n# a note\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/d.gpg\n\nTypes: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: /keys/d.gpg\n";
    const node = "Types: deb\nURIs: https://third.example/node\nSuites: nodistro\nComponents: main\n";
    expect(rewriteSources([{ name: "debian.sources", text: debian }, { name: "node.sources", text: node }], "bookworm", wanted)).toBe(
      "deb [signed-by=/keys/d.gpg] http://mirror.example/debian trixie main\ndeb [signed-by=/keys/d.gpg] http://mirror.example/debian bookworm-backports main\ndeb [signed-by=/keys/d.gpg] http://mirror.example/debian-security trixie-security main\n");
  });
  it("come from one-line entries too, each once", () => {
    const text = "deb http://m.example/debian bookworm main contrib\ndeb-src http://m.example/debian bookworm main\n# deb http://old.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://s.example/sec bookworm-security main\ndeb http://cloud.example/apt cloud-sdk-bookworm main\n";
    expect(rewriteSources([{ name: "sources.list", text }], "bookworm", { archive: ["trixie"], security: ["trixie-security"] }))
      .toBe("deb http://m.example/debian trixie main\ndeb [signed-by=/k.gpg] http://s.example/sec trixie-security main\n");
  });
  it("know suites by their class names, continuation lines, and stanzas that are off", () => {
    const text = "Types: deb\nURIs: http://a.example/debian\n http://b.example/debian\nSuites: stable\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: stable\n";
    expect(rewriteSources([{ name: "x.sources", text }], "bookworm", { archive: ["trixie"], security: [] })).toBe("deb http://a.example/debian trixie main\ndeb http://b.example/debian trixie main\n");
  });
  it("are empty when nothing serves Debian", () => expect(rewriteSources([{ name: "sources.list", text: "deb http://u.example/ubuntu noble main\n" }], "noblest", wanted)).toBe(""));
});

describe("fetching a pinned package", () => {
  const body = "a package";
  const sum = createHash("sha256").update(body).digest("hex");
  const pin = (...versions: [string, string][]): PackagePin => ({ package: "linux-source-x", suites: wanted, versions: versions.map(([version, sha256]) => ({ version, sha256 })) });
  /** apt-get and apt-cache that offer one version and note how they were called. */
  const apt = (offered: string, update = "exit 0"): string => {
    const bin = temp();
    const log = join(bin, "log");
    write(join(bin, "apt-get"), `#!/bin/sh\necho "$APT_CONFIG $*" >> ${log}\ncase "$2" in update) ${update};; download) printf '%s' '${body}' > linux-source-x_1_all.deb;; esac\n`, 0o755);
    write(join(bin, "apt-cache"), `#!/bin/sh\necho ' linux-source-x | ${offered} | http://m.example trixie/main amd64 Packages'\n`, 0o755);
    vi.stubEnv("PATH", `${bin}:${process.env["PATH"] ?? ""}`);
    return log;
  };
  const failure = async (work: Promise<unknown>): Promise<BuildError> => work.then(() => { throw new Error("did not fail"); }, (e: BuildError) => e);

  it("takes the first pinned version the archive has, checks it, keeps it, and asks no second time", async () => {
    const log = apt("1.0-2");
    const at = context();
    const pins = pin(["1.0-3", "00"], ["1.0-2", sum]);
    const got = await fetchPackage(at, pins);
    expect([got.version, readFileSync(got.file, "utf8")]).toEqual(["1.0-2", body]);
    const config = readFileSync(join(at.cache, "apt/image-builder/apt.conf"), "utf8");
    for (const line of ["Dir::Etc::sourceparts \"/dev/null\"", `Dir::State::lists "${at.cache}/`, `Dir::Cache "${at.cache}/`]) expect(config).toContain(line);
    expect(readFileSync(log, "utf8")).toContain(join(at.cache, "apt/image-builder/apt.conf"));
    const calls = readFileSync(log, "utf8");
    await fetchPackage(at, pins);
    expect(readFileSync(log, "utf8")).toBe(calls);
  });
  it("asks for a version under its own package's name, where the name tells the version", async () => {
    const log = apt("1.0-2");
    const own = { ...pin(["1.0-2", "00"]), package: "meta", versions: [{ package: "other", version: "1.0-2", sha256: "00" }, { package: "linux-source-x", version: "1.0-2", sha256: sum }] };
    expect(await fetchPackage(context(), own)).toMatchObject({ package: "linux-source-x", version: "1.0-2" });
    expect(readFileSync(log, "utf8")).toContain("download linux-source-x=1.0-2");
  });
  it("says which versions there are when the pinned one has left the archive, and how to go on", async () => {
    apt("9.9-1");
    const error = await failure(fetchPackage(context(), pin(["1.0-2", sum])));
    expect(error).toMatchObject({ failure: "fetch", message: "none of the pinned versions of linux-source-x (1.0-2) is in the Debian archive any more; it has 9.9-1" });
    expect(error.hint).toMatch(/--source TARBALL\|DIR[\s\S]*pins\.json/);
  });
  it("refuses a file with another sum and keeps nothing of it", async () => {
    apt("1.0-2");
    const at = context();
    const error = await failure(fetchPackage(at, pin(["1.0-2", "ab".repeat(32)])));
    expect(error.message).toMatch(`has SHA-256 ${sum}, pinned is abab`);
    expect(readdirSync(join(at.cache, "downloads"))).toEqual([]);
  });
  it("fetches again what the cache holds damaged", async () => {
    apt("1.0-2");
    const at = context();
    write(join(at.cache, `downloads/${sum}.deb`), "rotten");
    expect(readFileSync((await fetchPackage(at, pin(["1.0-2", sum]))).file, "utf8")).toBe(body);
  });
  it("goes on when one suite is out of reach and another has the version", async () => {
    apt("1.0-2", "echo 'E: no Release file' >&2; exit 100");
    expect(await fetchPackage(context(), pin(["1.0-2", sum]))).toMatchObject({ version: "1.0-2" });
  });
  it("tells when the archive cannot be reached", async () => {
    apt("", "echo 'E: Could not resolve m.example' >&2; exit 100");
    expect(await failure(fetchPackage(context(), pin(["1.0-2", sum])))).toMatchObject({ failure: "fetch", message: expect.stringMatching(/cannot fetch the package lists of the Debian archive: [\s\S]*Could not resolve/) as string });
  });
  it("names apt when there is none", async () => {
    vi.stubEnv("PATH", temp());
    const at = context();
    expect(await failure(fetchPackage(at, pin(["1.0-2", sum])))).toMatchObject({ failure: "missing", message: "apt-get is not installed" });
    expect(existsSync(join(at.cache, `downloads/.lock-linux-source-x`))).toBe(false);
  });
});
