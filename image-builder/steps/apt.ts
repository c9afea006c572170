// Owns fetching one pinned package, binary or source, with the machine's apt-get under a private configuration: own lists, own archives, own
// sources, all below the cache. Must never change the system's apt state nor run its hooks. Source: apt.conf(5), apt-get(8).
import { mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.js";
import { lock } from "../lib/cache.js";
import { BuildError, errnoCode, explainDisk } from "../lib/errors.js";
import { sha256File } from "../lib/hash.js";
import { run, type RunOptions } from "../lib/run.js";
import { rewriteSources, type SourceFile, type SourceType, type Suites } from "./apt-sources.js";
import { ensureFolder } from "../lib/folder.js";
import type { Progress } from "../lib/progress.js";

export interface PackagePin {
  /** What is wanted, for messages, and the package's name unless a version has its own. */
  readonly package: string;
  readonly suites: Suites;
  /** Accepted versions, the preferred one first. */
  readonly versions: readonly PinnedVersion[];
}

export interface PinnedVersion {
  /** The package that has this version, where its name tells the version too (linux-image-VERSION-amd64). */
  readonly package?: string;
  readonly version: string;
  readonly sha256: string;
}

export interface Fetched {
  readonly file: string;
  readonly package: string;
  readonly version: string;
  readonly sha256: string;
}

export interface SourcePin {
  readonly package: string;
  readonly version: string;
  readonly suites: Suites;
  /** The files that are used, each with its SHA-256. */
  readonly files: Readonly<Record<string, string>>;
}

/** One use of apt: what its sources are for, and what to do when it cannot help. */
interface Use {
  readonly type: SourceType;
  readonly suites: Suites;
  readonly what: string;
  readonly otherwise: string;
}

/** What is on its way, and how large it is, where that is known. */
interface Coming {
  readonly what: string;
  readonly bytes: number | undefined;
}

const KERNEL_OTHERWISE = "give a kernel source by hand (kernel --source TARBALL|DIR)";
const PINS = "image-builder/pins.json";

/**
 * The package file of the first pinned version that the cache or the archive has. Throws BuildError "fetch" when no Debian
 * archive is configured, the archive cannot be reached, no pinned version is left in it, or the file's sum is not the pinned one;
 * `otherwise` tells how to go on without the archive.
 */
export async function fetchPackage(context: Context, pin: PackagePin, otherwise = KERNEL_OTHERWISE): Promise<Fetched> {
  const store = join(context.cache, "downloads");
  const local = async (): Promise<Fetched | undefined> => {
    for (const want of pin.versions) {
      const file = join(store, `${want.sha256}.deb`);
      if (await isWhole(file, want.sha256)) return { package: pin.package, file, ...want };
    }
    return undefined;
  };
  return fetchOnce(context, pin.package, local, () => download(context, pin, store, otherwise));
}

/**
 * The pinned files of a source package: name to path in the cache. Throws BuildError "fetch" as fetchPackage does; `otherwise` tells
 * how to go on without the archive.
 */
export async function fetchSource(context: Context, pin: SourcePin, otherwise: string): Promise<ReadonlyMap<string, string>> {
  const store = join(context.cache, "downloads");
  const paths = new Map(Object.entries(pin.files).map(([name, sum]) => [name, join(store, `${sum}.source`)]));
  const local = async (): Promise<typeof paths | undefined> => {
    for (const [name, path] of paths) if (!(await isWhole(path, pin.files[name] as string))) return undefined;
    return paths;
  };
  return fetchOnce(context, pin.package, local, async () => {
    const use: Use = { type: "deb-src", suites: pin.suites, what: `the source of ${pin.package} ${pin.version}`, otherwise };
    await withApt(context, use, async (apt, trouble) => {
      await inFolder(context, store, { what: pin.package, bytes: undefined }, async (temp) => {
        const get = run("apt-get", ["-q", "--download-only", "source", `${pin.package}=${pin.version}`], { ...apt, cwd: temp });
        await fetching(get, use).catch((error: unknown) => { throw trouble ?? error; });
        for (const [name, path] of paths) await keep(join(temp, name), path, pin.files[name] as string, `${name} of ${pin.package} ${pin.version}`);
      });
    });
    return paths;
  });
}

/** What `local` finds, or what `fetch` brings; two who want the same wait for each other. */
async function fetchOnce<T>(context: Context, name: string, local: () => Promise<T | undefined>, fetch: () => Promise<T>): Promise<T> {
  const have = await local();
  if (have !== undefined) return have;
  const unlock = await lock(context, "downloads", name);
  try {
    return (await local()) ?? (await fetch());
  } catch (error) {
    throw explainDisk(error, join(context.cache, "downloads"));
  } finally {
    await unlock();
  }
}

/** Whether the file is there with that sum; one with another sum is removed. */
async function isWhole(file: string, sha256: string): Promise<boolean> {
  if ((await stat(file).catch(() => undefined)) === undefined) return false;
  if ((await sha256File(file)) === sha256) return true;
  await rm(file, { force: true });
  return false;
}

async function download(context: Context, pin: PackagePin, store: string, otherwise: string): Promise<Fetched> {
  const use: Use = { type: "deb", suites: pin.suites, what: pin.package, otherwise };
  const packages = [...new Set(pin.versions.map((v) => v.package ?? pin.package))];
  return withApt(context, use, async (apt, trouble) => {
    const offered = (await run("apt-cache", ["madison", ...packages], apt)).split("\n").map((l) => l.split("|").map((word) => word.trim()));
    const want = pin.versions.find((v) => offered.some(([name, version]) => version === v.version && name === (v.package ?? pin.package)));
    if (want === undefined) {
      if (trouble !== undefined) throw trouble;
      const there = [...new Set(offered.flatMap(([name, version]) => (version === undefined ? [] : [name === pin.package ? version : `${name} ${version}`])))].join(", ");
      const pinned = pin.versions.map((v) => v.version).join(", ");
      throw new BuildError("fetch", `none of the pinned versions of ${pin.package} (${pinned}) is in the Debian archive any more; it has ${there === "" ? "none" : there}`,
        `${use.otherwise}, or put a version the archive has, with the SHA-256 that\n\`apt-cache show\` tells, into ${PINS}`);
    }
    const name = want.package ?? pin.package;
    const what = `${name} ${want.version}`;
    return inFolder(context, store, { what: name, bytes: await sizeOf(name, want.version, apt) }, async (temp) => {
      await fetching(run("apt-get", ["-q", "download", `${name}=${want.version}`], { ...apt, cwd: temp }), { ...use, what });
      const arrived = (await readdir(temp)).find((n) => n.endsWith(".deb"));
      if (arrived === undefined) throw new BuildError("fetch", `apt-get downloaded no package file for ${what}`);
      const file = join(store, `${want.sha256}.deb`);
      await keep(join(temp, arrived), file, want.sha256, what);
      return { package: name, file, ...want };
    });
  });
}

/**
 * Runs `work` with apt's private configuration and fresh lists. `trouble` is what went wrong with the lists: one suite that is gone
 * or out of reach must not hide the others, what counts is whether a pinned version is offered.
 */
async function withApt<T>(context: Context, use: Use, work: (apt: RunOptions, trouble: unknown) => Promise<T>): Promise<T> {
  const unlock = await lock(context, "apt", use.type);
  try {
    const apt = { env: { APT_CONFIG: await privateConfig(context, use) }, signal: context.signal, package: "apt" };
    return await work(apt, await refresh(context, apt, use));
  } finally {
    await unlock();
  }
}

/** Which lists this run has read already: parts of it that go on together have the same progress. */
const fresh = new WeakMap<Progress, Set<string>>();

async function refresh(context: Context, apt: RunOptions, use: Use): Promise<unknown> {
  const read = fresh.get(context.progress) ?? new Set();
  const lists = JSON.stringify([use.type, use.suites]);
  if (read.has(lists)) return undefined;
  context.progress.step("reading the package lists of the Debian archive");
  const what = "the package lists of the Debian archive";
  const trouble = await fetching(run("apt-get", ["-q", "update"], apt), { ...use, what }).then(() => undefined, (error: unknown) => error);
  if (trouble instanceof BuildError && trouble.failure !== "fetch") throw trouble;
  if (trouble === undefined) fresh.set(context.progress, read.add(lists));
  return trouble;
}

/** Runs `work` in a folder of its own beside the downloads, telling how much has arrived there. */
async function inFolder<T>(context: Context, store: string, coming: Coming, work: (temp: string) => Promise<T>): Promise<T> {
  const temp = await mkdtemp(join(store, ".fetch-"));
  const timer = setInterval(() => void shown(context, temp, coming), 500);
  try {
    return await work(temp);
  } finally {
    clearInterval(timer);
    await rm(temp, { recursive: true, force: true });
  }
}

/** Moves a file that has arrived to its place, if it is what is pinned. */
async function keep(from: string, to: string, sha256: string, what: string): Promise<void> {
  const sum = await sha256File(from).catch((error: unknown) => {
    throw errnoCode(error) === "ENOENT" ? new BuildError("fetch", `apt-get downloaded no ${what}`, `the pins in ${PINS} name the files of another version`) : error;
  });
  if (sum !== sha256) {
    throw new BuildError("fetch", `${what} has SHA-256 ${sum}, pinned is ${sha256}`, `do not use this file; if the archive really changed, correct ${PINS}`);
  }
  await rename(from, to);
}

async function fetching(work: Promise<string>, use: Use): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof BuildError) || error.failure !== "failed") throw error;
    throw new BuildError("fetch", `cannot fetch ${use.what}: ${error.message}`, `check the network and /etc/apt, or ${use.otherwise}`, { cause: error });
  }
}

/** Shows the size of the file that arrives. */
async function shown(context: Context, dir: string, coming: Coming): Promise<void> {
  const megabytes = (n: number): number => Math.ceil(n / 1e6);
  let bytes = 0;
  for (const name of await readdir(dir).catch(() => [])) bytes += (await stat(join(dir, name)).catch(() => ({ size: 0 }))).size;
  if (bytes > 0) context.progress.step(`fetching ${coming.what}, MB`, megabytes(bytes), coming.bytes === undefined ? undefined : megabytes(coming.bytes));
}

/** The package file's bytes as the archive's list tells them; undefined when it does not. */
async function sizeOf(name: string, version: string, apt: RunOptions): Promise<number | undefined> {
  const said = await run("apt-cache", ["show", `${name}=${version}`], apt).catch(() => "");
  const size = Number(/^Size: (\d+)$/m.exec(said)?.[1]);
  return size > 0 ? size : undefined;
}

/** Where apt keeps what belongs to each kind of sources, below apt/ in the cache. */
const FOLDERS: Readonly<Record<SourceType, string>> = { deb: "image-builder", "deb-src": "sources" };

async function privateConfig(context: Context, use: Use): Promise<string> {
  const base = join(context.cache, "apt", FOLDERS[use.type]);
  for (const dir of ["lists/partial", "archives/partial", "etc"]) await ensureFolder(join(base, dir));
  const sources = rewriteSources(await systemSources("/etc/apt"), await codename(), use.suites, use.type);
  if (sources === "") throw new BuildError("fetch", `no Debian archive is configured on this machine, so there is nowhere to fetch ${use.what} from`, use.otherwise);
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
