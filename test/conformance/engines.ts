// The engines that are compared: ours, called through a link as tools that only take a path do, and the newest crun of Debian,
// whose packages are unpacked with the libraries they were built for (the machine's own may be older). It owns what it unpacks.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { needed } from "../../ctl/vm/places.js";
import { cacheFolder, distFile } from "../../tools/places.js";
import { conformanceCache, PINS } from "./suite.js";

export interface Engine {
  name: string;
  version: string;
  /** What RUNTIME is set to; absolute. */
  path: string;
  /** Folders that it needs besides itself, for a VM. */
  needs: string[];
  ours: boolean;
}

const versionOf = (path: string): string => {
  const first = execFileSync(path, ["--version"], { encoding: "utf8" }).split("\n")[0] ?? "";
  return first.replace(/^.*version /, "");
};

/** dist/kata-agent by a link named kata-oci in `folder`. */
export const ourEngine = (folder: string): Engine => {
  const binary = needed(process.env["KATA_AGENT_BINARY"] ?? distFile("kata-agent"), "agent", "make it with `make agent`");
  const path = join(folder, "kata-oci");
  writeFileSync(path, readFileSync(binary));
  chmodSync(path, 0o755);
  return { name: "kata-oci", version: versionOf(path), path, needs: [], ours: true };
};

/** Any other engine, by its path. */
export const engineAt = (path: string): Engine => ({ name: basename(path), version: versionOf(path), path, needs: [], ours: false });

const privateApt = (): string => {
  const base = join(cacheFolder(), "apt", "conformance");
  for (const d of ["lists/partial", "archives/partial", "state"]) mkdirSync(join(base, d), { recursive: true });
  const uri = /https?:\/\/\S+\/debian\/?(?=\s|$)/m.exec(execFileSync("apt-get", ["indextargets", "--format", "$(REPO_URI)"], { encoding: "utf8" }))?.[0];
  if (uri === undefined) throw new Error("no Debian archive is configured in /etc/apt, so there is nowhere to fetch crun from: give one with --engine PATH and --without-crun");
  writeFileSync(join(base, "sources.list"), PINS.crun.suites.map((s) => `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${uri} ${s} main\n`).join(""));
  const conf = join(base, "apt.conf");
  writeFileSync(conf, `Dir::Etc::sourcelist "${base}/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
Dir::State "${base}/state"; Dir::State::lists "${base}/lists"; Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "${base}"; Dir::Cache::archives "${base}/archives"; APT::Sandbox::User "root"; Acquire::Retries "3"; Acquire::IndexTargets::deb::DEP-11 "";
`);
  return conf;
};

/** Downloads the pinned packages and unpacks them to `tree`; a version that the archive no longer has is replaced by its newest. */
const unpackCrun = (work: string, tree: string, say: (line: string) => void): void => {
  const env = { ...process.env, APT_CONFIG: privateApt() };
  say("fetching crun and its libraries (Debian packages)");
  execFileSync("apt-get", ["-q", "update"], { env, stdio: "ignore" });
  for (const pin of PINS.crun.packages) {
    const dir = join(work, pin.name);
    mkdirSync(dir);
    const pinned = spawnSync("apt-get", ["-q", "download", `${pin.name}=${pin.version}`], { cwd: dir, env });
    if (pinned.status !== 0) {
      say(`${pin.name} ${pin.version} is not in the archive any more: taking its newest version, checked by the archive's signature only`);
      execFileSync("apt-get", ["-q", "download", pin.name], { cwd: dir, env, stdio: "ignore" });
    }
    const file = join(dir, readdirSync(dir).find((n) => n.endsWith(".deb")) ?? "");
    const sum = createHash("sha256").update(readFileSync(file)).digest("hex");
    if (pinned.status === 0 && sum !== pin.sha256) throw new Error(`${pin.name} ${pin.version} has SHA-256 ${sum}, pinned is ${pin.sha256}`);
    execFileSync("dpkg-deb", ["-x", file, tree]);
  }
};

/** The newest crun of Debian, behind a launcher that gives it its own C library. Throws Error when it cannot be fetched. */
export const newestCrun = (say: (line: string) => void): Engine => {
  const key = createHash("sha256").update(JSON.stringify(PINS.crun)).digest("hex").slice(0, 16);
  const folder = join(conformanceCache(), `crun-${key}`);
  if (!existsSync(folder)) {
    const work = mkdtempSync(join(conformanceCache(), ".crun-"));
    try {
      const tree = join(work, "tree");
      mkdirSync(tree);
      unpackCrun(work, tree, say);
      writeFileSync(join(tree, "crun"), `#!/bin/sh\nexec ${folder}/usr/lib64/ld-linux-x86-64.so.2 --library-path ${folder}/usr/lib/x86_64-linux-gnu --argv0 crun ${folder}/usr/bin/crun "$@"\n`, { mode: 0o755 });
      renameSync(tree, folder);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  const path = join(folder, "crun");
  return { name: "crun", version: versionOf(path), path, needs: [folder], ours: false };
};
