// Makes the command's own file unreachable. A process of the container that may trace others (CAP_SYS_PTRACE) can open
// /proc/PID/exe of a further process before that becomes its program, and write to the file when nobody runs it any more
// (CVE-2019-5736; without that capability the kernel refuses: the process is not dumpable). So the command runs itself again
// from a sealed copy in memory. A read-only mount of the file would not do: the kernel counts who opens for writing before it
// looks at the mount, and in that moment nobody else could start the program (ETXTBSY).
import { callerArgs, callerEnv } from "../sys/arguments.js";
import { sealedCopy } from "../sys/memfd.js";
import { execveat } from "../sys/process.js";
import { SysError } from "../sys/call.js";
import { lazy } from "../lib/lazy.js";
import type { Process } from "../oci/spec.js";

const labels = lazy<typeof import("../engine/confine/labels.js")>("engine/confine/labels.js");

/** The same for a process that gets an LSM's label: with it the file is not left by way of a stub (see engine/child/run.ts). */
export function protectLabelled(process: Partial<Process> | undefined): void {
  if (labels().isLabelled(process)) protectSelf();
}

/** Comes back only when the program is a sealed copy already. To be called before anything is made. Throws SysError. */
export function protectSelf(): void {
  using copy = sealedCopy("kata-agent", "/proc/self/exe");
  if (copy !== undefined) throw new SysError("execveat", -execveat(copy, callerArgs(), callerEnv()));
}
