// The validation suite of runtime-tools, fetched through the Go module proxy at the pinned version and built into the cache
// outside the tree. It owns that folder: runtimetest, the programs validation/NAME/NAME.t and the root file system they unpack.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../tools/places.js";

interface Pins {
  runtimeTools: { module: string; version: string; sum: string };
  crun: { suites: string[]; packages: { name: string; version: string; sha256: string }[] };
}

/** What is fetched from elsewhere, with versions and sums. */
export const PINS = JSON.parse(readFileSync(new URL("pins.json", import.meta.url), "utf8")) as Pins;

/** Below the cache: everything the conformance run fetches or builds. */
export const conformanceCache = (): string => {
  const folder = join(cacheFolder(), "conformance");
  mkdirSync(folder, { recursive: true });
  return folder;
};

export interface Suite {
  folder: string;
  version: string;
  /** Names of the programs, in order. */
  programs: string[];
}

// Static, so that the same files run in a VM that holds nothing else.
const GO = { GOTOOLCHAIN: "local", CGO_ENABLED: "0", GOFLAGS: "-mod=mod -buildvcs=false -trimpath" };

/** Throws Error when there is no Go that can build the suite. */
const needGo = (): void => {
  const { stdout } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", env: { ...process.env, ...GO } });
  const [, minor] = /^go1\.(\d+)/.exec(stdout ?? "") ?? [];
  if (minor === undefined || Number(minor) < 21) throw new Error(`building the validation suite needs Go 1.21 or newer on PATH; ${minor === undefined ? "there is none" : `this is ${stdout.trim()}`} (Debian 12: golang-1.23-go of bookworm-backports)`);
};

const programsOf = (folder: string): string[] =>
  readdirSync(join(folder, "validation"), { withFileTypes: true }).filter((e) => e.isDirectory() && e.name !== "util").map((e) => e.name).sort();

const build = (folder: string, say: (line: string) => void): void => {
  const go = (...args: string[]): void => void execFileSync("go", args, { cwd: folder, env: { ...process.env, ...GO }, stdio: ["ignore", "ignore", "inherit"] });
  say("building runtimetest and the validation programs");
  const small = ["-ldflags", "-s -w"];
  go("build", ...small, "-tags", "netgo osusergo", "-o", "runtimetest", "./cmd/runtimetest");
  for (const name of programsOf(folder)) go("build", ...small, "-o", `validation/${name}/${name}.t`, `./validation/${name}/${name}.go`);
};

/** The built suite, made when the cache does not hold it. Throws Error when Go or the module proxy is missing or the sum differs. */
export const validationSuite = (say: (line: string) => void): Suite => {
  const pin = PINS.runtimeTools;
  const folder = join(conformanceCache(), `runtime-tools-${pin.version}`);
  if (!existsSync(folder)) {
    needGo();
    say(`fetching ${pin.module} ${pin.version}`);
    const told = JSON.parse(execFileSync("go", ["mod", "download", "-json", `${pin.module}@${pin.version}`], { cwd: "/", encoding: "utf8", env: { ...process.env, ...GO } })) as { Dir: string; Sum: string };
    if (told.Sum !== pin.sum) throw new Error(`${pin.module} ${pin.version} has the sum ${told.Sum}, pinned is ${pin.sum}`);
    const work = mkdtempSync(join(conformanceCache(), ".runtime-tools-"));
    try {
      cpSync(told.Dir, work, { recursive: true });
      execFileSync("chmod", ["-R", "u+w,go+rX", work]);
      // the module's zip has an empty vendor folder, which would keep the build from its dependencies
      rmSync(join(work, "vendor"), { recursive: true, force: true });
      build(work, say);
      renameSync(work, folder);
    } catch (error) {
      rmSync(work, { recursive: true, force: true });
      throw error;
    }
  }
  return { folder, version: pin.version, programs: programsOf(folder) };
};
