// Owns the runtimes that are called as commands: our own through a link (as tools that only take a path do), crun and runc. Each
// gets the same bundle, the same words and the same clock: from posix_spawn of the command to its end. Knows nothing of the RPC agent.
import { mkdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import type { Key } from "./keys.js";

/** Who is called: "oci" is our own binary. */
export type Runtime = "oci" | "crun" | "runc";

/** Key of what a runtime's `run` and `exec` take. */
export const RUN_KEY = { oci: "oci_run_ms", crun: "run_ms_crun", runc: "run_ms_runc" } as const satisfies Record<Runtime, Key>;
export const EXEC_KEY = { oci: "oci_exec_ms", crun: "oci_exec_ms_crun", runc: "oci_exec_ms_runc" } as const satisfies Record<Runtime, Key>;

/** A runtime's program and global options. */
export interface CommandLine {
  readonly runtime: Runtime;
  readonly words: readonly string[];
}

/**
 * The command line of each runtime there is. `home`: a folder to be made for the link; `programs`: their paths. State lives below
 * /run/NAME, a tmpfs as it would be in use (in the driver's own mount namespace).
 */
export const commandLines = (home: string, programs: Readonly<Partial<Record<Runtime, string>>>): CommandLine[] => {
  mkdirSync(home);
  return (Object.entries(programs) as [Runtime, string][]).map(([runtime, program]) => {
    const called = join(home, "kata-oci");
    if (runtime === "oci") symlinkSync(program, called);
    return { runtime, words: [runtime === "oci" ? called : program, ...(runtime === "crun" ? ["--cgroup-manager=cgroupfs"] : []), "--root", `/run/${basename(home)}-${runtime}`] };
  });
};
