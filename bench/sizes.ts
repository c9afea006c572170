// Owns the file sizes among the results. The zstd size is that of the raw archive made by the same compressor settings as the
// image builder's, without writing anything to dist/.
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { projectRoot } from "../tools/places.js";
import type { Key, Results } from "./keys.js";

const call = promisify(execFile);
const FILES = { agent_binary_bytes: "kata-agent", initrd_bytes: "initrd.img", bzimage_bytes: "bzImage", vmlinux_bytes: "vmlinux" } as const;

/** Sizes of what is in dist/; `failed` is told what is missing. */
export const measureSizes = async (dist: string, failed: (keys: readonly Key[], why: string) => void): Promise<Results> => {
  const results: Results = {};
  for (const [key, name] of Object.entries(FILES) as [keyof typeof FILES, string][]) {
    const file = join(dist, name);
    if (existsSync(file)) results[key] = statSync(file).size;
    else failed([key], `dist/${name} is not there: make ${name === "kata-agent" ? "agent" : name === "initrd.img" ? "initrd" : "kernel"}`);
  }
  const folder = mkdtempSync(join(tmpdir(), "kata-bench-"));
  try {
    const out = join(folder, "initrd.zst");
    await call(join(projectRoot, "node_modules/.bin/tsx"), [join(projectRoot, "image-builder/main.ts"), "initrd", "--compress", "zstd", "--agent", join(dist, "kata-agent"), "--output", out]);
    results.initrd_zstd_bytes = statSync(out).size;
  } catch (error) {
    failed(["initrd_zstd_bytes"], `image-builder initrd --compress zstd: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return results;
};
