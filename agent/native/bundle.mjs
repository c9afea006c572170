// From TypeScript to the chunks that become bytecode: esbuild makes an entry of each module that is loaded by name, and of each set of
// modules that several need a chunk; rollup then joins the chunks that are always loaded together. A chunk costs some 50 us to
// load and a table of all names in it: joined, the agent is 30 KB smaller, and a command of the command line 0.7 ms faster.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { build as esbuild, transform } from "esbuild";
import { rollup } from "rollup";

const IDLE = ["init/agent.js", "init/arguments.js", "init/toml.js", "init/machine.js"];
const SANDBOX = ["rpc/services/sandbox.js", "storage/mount-all.js", "storage/ephemeral.js"];
/** What is loaded by name on the usual errands. A module goes into one chunk with all others that the same errands need. */
const ERRANDS = {
  idle: [...IDLE],
  sandbox: [...IDLE, ...SANDBOX],
  container: [...IDLE, ...SANDBOX, "rpc/services/container.js", "rpc/services/stdio.js", "engine/child/run.js", "engine/child/go-inside.js", "engine/stdio/streams.js", "engine/child/cgroup-mount.js"],
  command: ["init/command-line.js"],
  run: ["init/command-line.js", "cli/create.js", "engine/birth/own-namespaces.js", "engine/cgroup/strict.js", "engine/confine/capabilities.js", "engine/child/run.js", "engine/child/exec-stub.js", "engine/child/cgroup-mount.js"],
  exec: ["init/command-line.js", "cli/exec.js", "engine/confine/capabilities.js", "engine/child/run.js", "engine/child/go-inside.js", "engine/child/exec-stub.js"],
};

/** Every `lazy<typeof import("./x.js")>("layer/x.js")` in the sources names an entry of its own: its name and path. */
function lazyEntries(agent) {
  const found = new Map([["sys/errno-text.js", join(agent, "sys/errno-text.ts")]]); // sys/call.ts loads it itself
  for (const entry of readdirSync(agent, { withFileTypes: true, recursive: true })) {
    if (!entry.name.endsWith(".ts") || entry.name.endsWith(".d.ts")) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    for (const m of readFileSync(path, "utf8").matchAll(/lazy<typeof import\("([^"]+)"\)>\("([^"]+)"\)/g)) {
      const target = resolve(dirname(path), m[1].replace(/\.js$/, ".ts"));
      const name = relative(agent, target).replace(/\.ts$/, ".js");
      const file = relative(dirname(agent), path);
      if (name !== m[2]) throw new Error(`${file}: lazy("${m[2]}") must be named "${name}"`);
      if (!existsSync(target)) throw new Error(`${file}: lazy module ${m[1]} does not exist`);
      found.set(name, target);
    }
  }
  return found;
}

/** abi/nr.ts holds x86_64's numbers; another architecture has a file of its own beside it. */
const archTables = (arch) => ({
  name: "arch-tables",
  setup(b) {
    if (arch !== "x86_64") b.onResolve({ filter: /\/nr\.js$/ }, (args) => ({ path: join(resolve(args.resolveDir, dirname(args.path)), `nr-${arch}.ts`) }));
  },
});

/**
 * esbuild's helper for `using` has a branch for `await using`, by which its closure holds itself: a cycle for each use, which stays
 * until cycles are looked for. There is no `await using` here, so the branch goes.
 */
const withoutCycles = (count) => ({
  name: "without-cycles",
  transform(code) {
    const text = code.replace(/if \(it\[0\]\) return Promise\.resolve\(result\)\.then\(next, \(e\) => \(fail\(e\), next\(\)\)\);/g, () => (count.found++, ""));
    return text === code ? null : { code: text, map: null };
  },
});

/** For each file that an errand loads, by path: the errands, as bits. */
function errandsOf(dir, outputs) {
  const bits = new Map();
  Object.entries(ERRANDS).forEach(([errand, names], n) => {
    const seen = new Set();
    const visit = (file) => {
      if (seen.has(file)) return;
      seen.add(file);
      bits.set(file, (bits.get(file) ?? 0) | (1 << n));
      for (const { kind, path } of outputs.get(file).imports) if (kind === "import-statement") visit(resolve(path));
    };
    for (const name of ["main.js", ...names]) {
      if (!outputs.has(join(dir, name))) throw new Error(`the errand ${errand} names ${name}, which is not loaded by name`);
      visit(join(dir, name));
    }
  });
  return bits;
}

/** Writes the chunks to `dir` and returns their names; "main.js" is the one of `entry`. */
export async function bundle(dir, { agent, entry, arch, version, debug, stub }) {
  const split = mkdtempSync(join(dir, "split-"));
  const entries = lazyEntries(agent);
  const { metafile } = await esbuild({
    entryPoints: [{ in: entry, out: "main" }, ...[...entries].map(([name, path]) => ({ in: path, out: name.replace(/\.js$/, "") }))],
    bundle: true, splitting: true, plugins: [archTables(arch)], format: "esm", platform: "neutral", target: "es2022", outdir: split, chunkNames: "chunk-[hash]",
    minifySyntax: !debug, legalComments: "none", metafile: true, logLevel: "warning", charset: "utf8",
    define: { __ARCH__: JSON.stringify(arch), __VERSION__: JSON.stringify(version), __DEBUG__: String(debug), __STUB__: JSON.stringify(stub) },
  });
  const main = join(split, "main.js");
  const outputs = new Map(Object.entries(metafile.outputs).map(([file, output]) => [resolve(file), output]));
  const bits = errandsOf(split, outputs);
  const commands = (file) => Object.keys(outputs.get(file).inputs).some((input) => input.includes("agent/cli/")); // never beside what the agent may load
  const helpers = { found: 0 };
  const joined = await rollup({ plugins: [withoutCycles(helpers)], input: Object.fromEntries(["main.js", ...entries.keys()].map((name) => [name.replace(/\.js$/, ""), join(split, name)])), preserveEntrySignatures: "strict" });
  if (helpers.found === 0) throw new Error("esbuild's helper for `using` has another form than expected");
  const { output } = await joined.generate({
    format: "es", compact: true, chunkFileNames: "chunk-[hash].js", hoistTransitiveImports: false,
    // main.js loads others by name while it is evaluated: what those import must have been evaluated by then
    manualChunks: (id) => (bits.has(id) && id !== main ? `${bits.get(id)}${commands(id) ? "-command" : ""}` : undefined),
  });
  for (const { fileName, code } of output) {
    const small = await transform(code, { minify: !debug, format: "esm", target: "es2022", charset: "utf8", legalComments: "none" });
    mkdirSync(dirname(join(dir, fileName)), { recursive: true });
    writeFileSync(join(dir, fileName), small.code);
  }
  rmSync(split, { recursive: true });
  return output.map(({ fileName }) => fileName).sort();
}
