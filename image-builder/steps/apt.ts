// Owns fetching one pinned binary package with the machine's apt-get under a private configuration: own lists, own archives, own
// sources, all below the cache. Must never change the system's apt state nor run its hooks. Source: apt.conf(5), apt-get(8).
import { mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.js";
import { lock } from "../lib/cache.js";
import { BuildError, explainDisk } from "../lib/errors.js";
import { sha256File } from "../lib/hash.js";
import { run } from "../lib/run.js";
import { rewriteSources, type SourceFile, type Suites } from "./apt-sources.js";
import { ensureFolder } from "../lib/folder.js";

export interface PackagePin {
  readonly package: string;
  readonly suites: Suites;
  /** Accepted versions, the preferred one first. */
  readonly versions: readonly { readonly version: string; readonly sha256: string }[];
}

export interface Fetched {
  readonly file: string;
  readonly version: string;
  readonly sha256: string;
}

/**
 * The package file of the first pinned version that the cache or the archive has. Throws BuildError "fetch" when no Debian
 * archive is configured, the archive cannot be reached, no pinned version is left in it, or the file's sum is not the pinned one.
 */
export async function fetchPackage(context: Context, pin: PackagePin): Promise<Fetched> {
  const store = join(context.cache, "downloads");
  const local = async (): Promise<Fetched | undefined> => {
    for (const want of pin.versions) {
      const file = join(store, `${want.sha256}.deb`);
      if ((await stat(file).catch(() => undefined)) === undefined) continue;
      if ((await sha256File(file)) === want.sha256) return { file, ...want };
      await rm(file, { force: true });
    }
    return undefined;
  };
  const have = await local();
  if (have !== undefined) return have;
  const unlock = await lock(context, "downloads", pin.package);
  try {
    return (await local()) ?? (await download(context, pin, store));
  } catch (error) {
    throw explainDisk(error, store);
  } finally {
    await unlock();
  }
}

async function download(context: Context, pin: PackagePin, store: string): Promise<Fetched> {
  const conf = await privateConfig(context, pin);
  const env = { APT_CONFIG: conf };
  const apt = { env, signal: context.signal, package: "apt" };
  context.progress.step("reading the package lists of the Debian archive");
  // one suite that is gone or out of reach must not hide the others: what counts is whether a pinned version is offered
  const trouble = await fetching(run("apt-get", ["-q", "update"], apt), "the package lists of the Debian archive").then(() => undefined, (error: unknown) => error);
  if (trouble instanceof BuildError && trouble.failure !== "fetch") throw trouble;
  const offered = new Set((await run("apt-cache", ["madison", pin.package], apt)).split("\n").map((l) => l.split("|")[1]?.trim() ?? ""));
  const want = pin.versions.find((v) => offered.has(v.version));
  if (want === undefined) {
    if (trouble !== undefined) throw trouble;
    const there = [...offered].filter((v) => v !== "").join(", ");
    throw new BuildError("fetch", `none of the pinned versions of ${pin.package} (${pin.versions.map((v) => v.version).join(", ")}) is in the Debian archive any more; it has ${there === "" ? "none" : there}`,
      "give a kernel source by hand (kernel --source TARBALL|DIR), or put a version the archive has, with the SHA-256 that\n`apt-cache show` tells, into image-builder/pins.json");
  }
  const temp = await mkdtemp(join(store, ".fetch-"));
  const timer = setInterval(() => void shown(context, temp, pin.package), 500);
  try {
    await fetching(run("apt-get", ["-q", "download", `${pin.package}=${want.version}`], { ...apt, cwd: temp }), `${pin.package} ${want.version}`);
    const name = (await readdir(temp)).find((n) => n.endsWith(".deb"));
    if (name === undefined) throw new BuildError("fetch", `apt-get downloaded no package file for ${pin.package} ${want.version}`);
    const sum = await sha256File(join(temp, name));
    if (sum !== want.sha256) {
      throw new BuildError("fetch", `${pin.package} ${want.version} has SHA-256 ${sum}, pinned is ${want.sha256}`, "do not use this file; if the archive really changed, correct image-builder/pins.json");
    }
    const file = join(store, `${want.sha256}.deb`);
    await rename(join(temp, name), file);
    return { file, ...want };
  } finally {
    clearInterval(timer);
    await rm(temp, { recursive: true, force: true });
  }
}

async function fetching(work: Promise<string>, what: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof BuildError) || error.failure !== "failed") throw error;
    throw new BuildError("fetch", `cannot fetch ${what}: ${error.message}`, "check the network and /etc/apt, or give a kernel source by hand (kernel --source TARBALL|DIR)", { cause: error });
  }
}

/** Shows the size of the file that arrives. */
async function shown(context: Context, dir: string, what: string): Promise<void> {
  let bytes = 0;
  for (const name of await readdir(dir).catch(() => [])) bytes += (await stat(join(dir, name)).catch(() => ({ size: 0 }))).size;
  if (bytes > 0) context.progress.step(`fetching ${what}, ${Math.floor(bytes / 1e6)} MB`);
}

async function privateConfig(context: Context, pin: PackagePin): Promise<string> {
  const base = join(context.cache, "apt", "image-builder");
  for (const dir of ["lists/partial", "archives/partial", "etc"]) await ensureFolder(join(base, dir));
  const sources = rewriteSources(await systemSources("/etc/apt"), await codename(), pin.suites);
  if (sources === "") {
    throw new BuildError("fetch", "no Debian archive is configured on this machine, so there is nowhere to fetch the kernel source from", "give it by hand: kernel --source TARBALL|DIR (a Linux 6.12 tree)");
  }
  await writeFile(join(base, "etc/sources.list"), sources);
  const conf = join(base, "apt.conf");
  await writeFile(conf, `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
Dir::Etc::sourcelist "${base}/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::State::lists "${base}/lists";
Dir::Cache "${base}";
Dir::Cache::archives "${base}/archives";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
`);
  return conf;
}

async function systemSources(dir: string): Promise<SourceFile[]> {
  const parts = (await readdir(join(dir, "sources.list.d")).catch(() => [])).filter((n) => /\.(list|sources)$/.test(n)).sort().map((n) => `sources.list.d/${n}`);
  const files: SourceFile[] = [];
  for (const name of ["sources.list", ...parts]) {
    const text = await readFile(join(dir, name), "utf8").catch(() => undefined);
    if (text !== undefined) files.push({ name, text });
  }
  return files;
}

async function codename(): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^VERSION_CODENAME=(.+)$/m.exec(release)?.[1]?.replaceAll('"', "") ?? "stable";
}
