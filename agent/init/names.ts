// Under which name the program was called decides what it is: the agent under its own names, else an OCI runtime.
import { AT } from "../abi/flags.js";
import { readlinkat } from "../sys/file.js";

/** What the kernel calls when it wants a module, in place of modprobe(8): PID 1's own program, wherever it lies in the image. */
export const HELPER = "/proc/1/exe";

/** Is it called as the kernel calls it: "/proc/1/exe -q -- NAME"? */
export const isHelper = (program: string, args: readonly string[]): boolean => program === HELPER && args.length === 3 && args[0] === "-q" && args[1] === "--";

/** Holds an empty file for each module that the helper was refused, so that it is told once and not tried again. */
export const REFUSED = "/run/kata-modules";

/** Names of the agent: what hosts and images call it by. */
const isAgents = (name: string): boolean => name === "" || name === "init" || name.startsWith("kata-agent") || name.startsWith("agent");

const last = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/**
 * The name and arguments of the OCI command line when the program is called as one: `kata-agent oci ...`, or through a link
 * (its name is not the file's), or as a file whose name ends in "runc", "crun" or "oci".
 */
export function ociName(program: string, args: readonly string[]): { readonly self: string; readonly args: readonly string[] } | undefined {
  const name = last(program);
  if (args[0] === "oci") return { self: `${name} oci`, args: args.slice(1) };
  if (isAgents(name)) return undefined;
  if (name.endsWith("runc") || name.endsWith("crun") || name.endsWith("oci")) return { self: name, args };
  return last(readlinkat(AT.FDCWD, "/proc/self/exe")) !== name ? { self: name, args } : undefined;
}
