// Kernel parameters of a container: which may be set, and where they lie below /proc/sys. Only what a namespace has for itself
// is let through: everything else is the machine's. Pure. (container-engine 1.11; namespaces(7), sysctl.d(5))
import { noNul, refuse } from "./field.js";
import type { Spec } from "./spec.js";

const IPC = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/**
 * A sysctl's path below /proc/sys. As sysctl.d(5) has it, the separator that comes first is the one that counts, and the other
 * is then part of a name: "net.ipv4.conf.eth0/1.forwarding" and "net/ipv4/conf/eth0.1/forwarding" are the same.
 */
export function sysctlPath(key: string): string {
  const slash = key.indexOf("/");
  const dot = key.indexOf(".");
  if (dot < 0 || (slash >= 0 && slash < dot)) return key;
  return key.split("/").map((part) => part.split(".").join("/")).join(".");
}

/** The kind of namespace that has this parameter for itself; undefined when none has. */
function namespaceOf(path: string): string | undefined {
  if (path.startsWith("net/")) return "network";
  if (path.startsWith("fs/mqueue/") || (path.startsWith("kernel/") && IPC.includes(path.slice(7)))) return "ipc";
  if (path === "kernel/domainname") return "uts";
  return path.startsWith("user/") ? "user" : undefined;
}

/**
 * Refuses what is not the container's to set. `own` says whether the container has such a namespace apart from the machine's.
 * Throws AppError "invalid" with the key.
 */
export function checkSysctls(spec: Spec, own: (type: string) => boolean): void {
  for (const key of Object.keys(spec.linux?.sysctl ?? {})) {
    const field = `linux.sysctl[${JSON.stringify(key)}]`;
    const path = sysctlPath(key);
    if (path.split("/").some((part) => part === "" || part === "." || part === "..") || path.includes("\0")) refuse(field, "is not a name");
    noNul(field, spec.linux?.sysctl?.[key]);
    const type = namespaceOf(path) ?? refuse(field, path === "kernel/hostname" ? "the hostname field sets it" : "is not namespaced");
    if (path === "kernel/domainname" && spec.domainname && spec.domainname !== spec.linux?.sysctl?.[key]) refuse(field, "conflicts with domainname");
    if (!own(type)) refuse(field, `needs ${type === "ipc" ? "an" : "a"} ${type} namespace of the container's own`);
  }
}
