// The control group of a container: made, or found again, by whichever version the machine has. Only what is in use is loaded.
import { lazy } from "../../lib/lazy.js";
import { cgroupPath } from "../../oci/cgroup.js";
import { hostId } from "../../oci/id-maps.js";
import type { Judgement } from "../../oci/judgement.js";
import type { Linux, Spec } from "../../oci/spec.js";
import type { Apart } from "../members.js";
import type { Identity } from "../process-identity.js";
import { adoptParents } from "./files.js";
import type { Cgroup } from "./group.js";
import { hierarchy } from "./hierarchy.js";

const v1 = lazy<typeof import("./v1.js")>("engine/cgroup/v1.js");
const v2 = lazy<typeof import("./v2.js")>("engine/cgroup/v2.js");

const place = lazy<typeof import("./strict.js")>("engine/cgroup/strict.js");
const none = lazy<typeof import("./none.js")>("engine/cgroup/none.js");

/** The group of a container; nothing is made yet. Throws "invalid" for a path that cannot be one. */
export function openCgroup(cgroupsPath: string | undefined, id: string): Cgroup {
  const path = cgroupPath(cgroupsPath, id);
  return hierarchy().version === 2 ? v2().group(path) : v1().group(path);
}

/** Who the container's own group is handed to: with a cgroup namespace of its own and a writable cgroup mount, its user. */
function ownerOf({ process, mounts, linux }: Spec): number | undefined {
  if (!mounts?.some((m) => m.type === "cgroup" && !m.options?.includes("ro")) || !linux?.namespaces?.some((n) => n.type === "cgroup" && !n.path)) return undefined;
  const uid = process?.user.uid ?? 0;
  const { uidMappings: maps = [] } = linux;
  return maps.length > 0 ? hostId(maps, uid) : uid;
}

/** Does its process want a real-time scheduler? See sched(7). */
const isRealtime = ({ process }: Spec): boolean => process?.scheduler?.policy === "SCHED_FIFO" || process?.scheduler?.policy === "SCHED_RR";

/**
 * Makes the group of a new container. Strict, as on a command line: wishes that cannot be honoured are refused, a relative
 * path begins at the caller's group, and who may make no groups goes without one if the configuration asks for no limits.
 */
export function makeCgroup(spec: Spec & { readonly linux: Linux }, id: string, { cgroups }: Judgement): Cgroup {
  const owner = ownerOf(spec);
  if (cgroups === "strict") return place().makeStrictly(spec.linux, id, owner, isRealtime(spec));
  const cgroup = openCgroup(spec.linux.cgroupsPath, id);
  cgroup.create(spec.linux.resources, owner, false, isRealtime(spec));
  return cgroup;
}

/** The group of a container that another process has made, with the folders that were made above it; without a path there is none, and its first process and `apart` tell who belongs to it. */
export function reopenCgroup(path: string, madeParents: readonly string[], init: Identity, apart: Apart | undefined): Cgroup {
  if (path === "") return none().noGroup(init, apart);
  adoptParents(madeParents);
  return hierarchy().version === 2 ? v2().group(path) : v1().reopen(path);
}
