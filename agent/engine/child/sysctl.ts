// Sysctls of a container, written from within its namespaces through the agent's own /proc, before the mount tree is built.
import { writeProc } from "../../lib/procfs.js";
import { sysctlPath } from "../../oci/sysctl.js";

/** Writes one; the key has been checked. Throws SysError that names the file. */
export function applySysctl(key: string, value: string): void {
  writeProc(`sys/${sysctlPath(key)}`, value);
}
