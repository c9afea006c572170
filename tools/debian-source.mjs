// Fetches one Debian source package, pinned by version and by the SHA-256 of each of its files, into the content-keyed cache.
// It owns a private apt configuration (own lists and archives below the cache) that is derived from the machine's own apt
// source files with the suite name replaced; the system's apt state is never touched. Used by the agent build (QuickJS,
// libseccomp). See apt.conf(5), sources.list(5).
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync, createReadStream } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The cache folder outside the tree: KATA_CACHE, or ~/.cache/kata-agent. */
export function cacheRoot() {
  const dir = process.env.KATA_CACHE || join(homedir(), ".cache", "kata-agent");
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** SHA-256 of a file's bytes as lower-case hex. */
export async function sha256File(path) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** The machine's own archive locations: deb822 `URIs:` and one-line `deb` entries that serve the Debian archive itself. */
function archiveSources() {
  const found = [];
  const files = ["/etc/apt/sources.list"];
  if (existsSync("/etc/apt/sources.list.d")) for (const f of readdirSync("/etc/apt/sources.list.d")) files.push(join("/etc/apt/sources.list.d", f));
  for (const file of files) {
    if (!existsSync(file) || !/\.(list|sources)$/.test(file)) continue;
    const text = readFileSync(file, "utf8");
    const signed = /^Signed-By:\s*(\S+)/m.exec(text)?.[1];
    for (const m of text.matchAll(/^URIs:\s*(.+)$/gm)) for (const uri of m[1].trim().split(/\s+/)) found.push({ uri, signed });
    for (const m of text.matchAll(/^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+\S+/gm)) found.push({ uri: m[2], signed: /signed-by=(\S+)/.exec(m[1] ?? "")?.[1] });
  }
  return found.filter((s) => /\/debian\/?$/.test(s.uri));
}

/** Writes the private apt configuration for one suite and returns the path of its apt.conf; refreshes its lists. */
function privateApt(suite) {
  const base = join(cacheRoot(), "apt", suite);
  for (const d of ["lists/partial", "archives/partial", "etc", "state"]) mkdirSync(join(base, d), { recursive: true });
  const sources = archiveSources();
  if (sources.length === 0) throw new Error("no Debian archive found in /etc/apt: add one, or point QUICKJS_SRC and LIBSECCOMP_SRC at unpacked sources");
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const lines = new Set(sources.map((s) => `deb-src [signed-by=${s.signed?.startsWith("/") ? s.signed : keyring}] ${s.uri} ${suite} main`));
  writeFileSync(join(base, "etc/sources.list"), [...lines].join("\n") + "\n");
  const conf = join(base, "apt.conf");
  writeFileSync(conf, [
    `Dir::Etc::sourcelist "${base}/etc/sources.list";`, `Dir::Etc::sourceparts "-";`, `Dir::Etc::preferencesparts "-";`,
    `Dir::State "${base}/state";`, `Dir::State::lists "${base}/lists";`, `Dir::State::status "/var/lib/dpkg/status";`,
    `Dir::Cache "${base}";`, `Dir::Cache::archives "${base}/archives";`, `APT::Sandbox::User "root";`, `Acquire::Retries "3";`, "",
  ].join("\n"));
  return conf;
}

function apt(conf, args, cwd) {
  const r = spawnSync("apt-get", args, { cwd, env: { ...process.env, APT_CONFIG: conf }, encoding: "utf8" });
  if (r.status !== 0) throw new Error(`apt-get ${args.join(" ")} failed:\n${r.stderr}`);
}

/**
 * Returns the folder with the unpacked source of `pin` ({package, version, suite, files: {name: sha256}}), fetching and
 * checking it when the cache does not hold it. Throws with the package's name and the reason.
 */
export async function debianSource(pin, say = () => {}) {
  const key = createHash("sha256").update(JSON.stringify(pin)).digest("hex").slice(0, 16);
  const dest = join(cacheRoot(), "src", `${pin.package}-${key}`);
  if (existsSync(dest)) return dest;
  mkdirSync(join(cacheRoot(), "src"), { recursive: true });
  const work = mkdtempSync(join(cacheRoot(), "src", `.${pin.package}-`));
  try {
    say(`fetching ${pin.package} ${pin.version} (Debian source)`);
    const conf = privateApt(pin.suite);
    apt(conf, ["-q", "update"], work);
    apt(conf, ["-q", "--download-only", "source", `${pin.package}=${pin.version}`], work);
    for (const [name, want] of Object.entries(pin.files)) {
      const got = await sha256File(join(work, name));
      if (got !== want) throw new Error(`${pin.package}: ${name} has SHA-256 ${got}, pinned is ${want}`);
    }
    const tree = join(work, "tree");
    mkdirSync(tree);
    const orig = Object.keys(pin.files).find((n) => n.includes(".orig.tar."));
    execFileSync("tar", ["-xf", join(work, orig), "-C", tree, "--strip-components=1"]);
    const debian = Object.keys(pin.files).find((n) => n.includes(".debian.tar."));
    if (debian && pin.patches !== false) {
      execFileSync("tar", ["-xf", join(work, debian), "-C", tree]);
      const series = join(tree, "debian/patches/series");
      if (existsSync(series)) {
        for (const p of readFileSync(series, "utf8").split("\n").map((l) => l.trim()).filter((l) => l && !l.startsWith("#"))) {
          execFileSync("patch", ["-s", "-p1", "-d", tree, "-i", join(tree, "debian/patches", p.split(/\s/)[0])]);
        }
      }
    }
    renameSync(tree, dest);
  } catch (error) {
    throw new Error(`cannot get the source of ${pin.package} ${pin.version}: ${error.message}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return dest;
}
