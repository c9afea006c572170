// A cgroup's path, and what one write to it is: what the engine needs whether or not a container has limits. Pure.
import { AppError } from "../lib/errors.js";
import type { Resources } from "./spec.js";

/** One write. `controller` names the folder on version 1 and what must be enabled on version 2. */
export interface Limit {
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  /** The file may be missing (a feature that is switched off), or the kernel may refuse a value that limits nothing. */
  readonly optional?: boolean;
  /** What to write instead when the file is missing. */
  readonly otherwise?: Limit;
  /** Where it comes from below linux.resources, when the controller does not tell. */
  readonly field?: string;
}

const FIELDS: { readonly [controller: string]: string } = { cpuset: "cpu", io: "blockIO", blkio: "blockIO", hugetlb: "hugepageLimits", net_cls: "network.classID", net_prio: "network.priorities" };

/** The field of the configuration that asks for a limit. */
export function fieldOf({ controller, field }: Limit): string {
  return `linux.resources.${field ?? FIELDS[controller] ?? controller}`;
}

/** Does it ask for more than device rules? Only then is cgroup-limits.ts needed. */
export function hasLimits(resources: Resources | undefined): resources is Resources {
  for (const name in resources) if (name !== "devices" && resources[name as keyof Resources] !== undefined) return true;
  return false;
}

/** A cgroup's path from linux.cgroupsPath: always absolute, ":" parts as folders, "/<id>" when it is not given. Throws "invalid". */
export function cgroupPath(given: string | undefined, id: string): string {
  return cleanGroup((given ?? "").split(":").join("/"), "linux.cgroupsPath") || `/${id}`;
}

/** A path between cgroups with one "/" before each part; "" for none. Throws "invalid" naming the field. */
export function cleanGroup(path: string, field: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.some((part) => part === ".." || part.includes("\0") || part.includes("\n"))) throw new AppError("invalid", `${field}: ${path} is not a sub cgroup path`);
  return parts.map((part) => `/${part}`).join("");
}
