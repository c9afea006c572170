// Owns the bench's own C programs: compiles bench/native/*.c to static binaries in the cache, keyed by source and compiler. Must
// never leave a half-made file there.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder, projectRoot } from "../tools/places.js";

const call = promisify(execFile);
const folder = join(projectRoot, "bench/native");
const FLAGS = ["-static", "-O2", "-s", "-Wall", "-Wextra", "-Werror"];

export type Tool = "drive" | "floor-server" | "floor-run" | "true" | "pause" | "spew" | "sink" | "poweroff-init" | "watch-init";

/** Path of a compiled tool by its name. */
export type Tools = Readonly<Record<Tool, string>>;

const compiler = async (): Promise<{ program: string; version: string }> => {
  for (const program of ["musl-gcc", "gcc"]) {
    try {
      return { program, version: (await call(program, ["--version"])).stdout };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new Error("no C compiler: apt-get install musl-tools");
};

/** All tools, compiled when they are not in the cache. Throws the compiler's message. */
export const nativeTools = async (): Promise<Tools> => {
  const names = readdirSync(folder).filter((name) => name.endsWith(".c")).sort();
  const cc = await compiler();
  const hash = createHash("sha256").update(cc.version).update(FLAGS.join(" "));
  for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(join(folder, name)));
  const home = join(cacheFolder(), "obj", `bench-${hash.digest("hex").slice(0, 20)}`);
  if (!existsSync(home)) {
    mkdirSync(join(cacheFolder(), "obj"), { recursive: true });
    const half = mkdtempSync(`${home}.`);
    try {
      for (const name of names) await call(cc.program, [...FLAGS, join(folder, name), "-o", join(half, name.slice(0, -2))]);
      if (!existsSync(home)) renameSync(half, home);
    } finally {
      rmSync(half, { recursive: true, force: true });
    }
  }
  return Object.fromEntries(names.map((name) => [name.slice(0, -2), join(home, name.slice(0, -2))])) as Tools;
};
