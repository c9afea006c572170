// The suite on this machine's kernel, in a mount namespace of its own without the unified hierarchy: pure cgroup v1 for engines.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Engine } from "./engines.js";
import { readOutcomes, type Run } from "./results.js";
import type { Suite } from "./suite.js";

/** The same script on the host and in the VM. */
export const LOOP = fileURLToPath(new URL("loop.sh", import.meta.url));

/** Seconds that one program may take. */
const LIMIT = 90;

/** Why the run on cgroup v1 cannot be, or undefined. */
export const v1Missing = (): string | undefined => {
  if (process.getuid?.() !== 0) return "needs root";
  const mounts = readFileSync("/proc/mounts", "utf8");
  return / \S*\/memory cgroup /.test(mounts) ? undefined : "this machine has no cgroup v1 hierarchies (boot with cgroup v1 to run this part)";
};

/** Runs `programs` with `engine`; what they print goes into a folder that is removed, or kept as `keep`/ENGINE. */
export const runOnHost = (suite: Suite, engine: Engine, programs: readonly string[], keep?: string): Run => {
  const work = mkdtempSync(join(tmpdir(), "conformance-"));
  const out = keep === undefined ? join(work, "out") : join(keep, `${engine.name}-v1`);
  const scratch = join(work, "tmp");
  mkdirSync(out, { recursive: true });
  mkdirSync(scratch);
  chmodSync(work, 0o755); // mapped users have to get through
  try {
    const script = 'mount --make-rprivate /; umount /sys/fs/cgroup/unified 2>/dev/null; mount -t tmpfs none "$TMPDIR"; exec "$@"';
    spawnSync("unshare", ["-m", "sh", "-c", script, "sh", LOOP, engine.path, out, String(LIMIT), ...programs], {
      cwd: suite.folder, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, TMPDIR: scratch },
    });
    return { engine: engine.name, version: engine.version, ours: engine.ours, cgroups: "v1", outcomes: readOutcomes(out, programs) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
