// Namespaces: those that are there already, by path, and those that a child is to be born in. See namespaces(7).
import { O } from "../abi/flags.js";
import type { Fd } from "../sys/fd.js";
import { open } from "../sys/file.js";
import { attempt } from "../lib/errors.js";
import type { Maps } from "./birth/user-namespace.js";

/** Opens a namespace by its path; never waits, whatever else the path leads to. */
export function openNamespace(path: string): Fd {
  return attempt(`open the namespace ${path}`, () => open(path, O.RDONLY | O.NONBLOCK));
}

export interface SpawnPlace {
  /** CLONE_NEW* flags. */
  readonly flags: number;
  /** Namespaces (ipc, uts, network) to be born in: with a new user namespace the child may no longer join them itself. */
  readonly joined?: readonly { readonly type: string; readonly path: string; readonly kind: number }[];
  /** The maps that a user namespace among `joined` is expected to have. */
  readonly maps?: Maps | undefined;
  /** A cgroup v2 folder to be born in. */
  readonly cgroup?: Fd | undefined;
  /** What the maker of the child does on itself first, since only a child can be born with it (its CPUs). What it throws, `spawn` throws. */
  readonly before?: (() => void) | undefined;
}
