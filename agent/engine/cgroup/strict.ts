// Control groups as a command line makes them: nothing that is asked for is passed over, the place is where the caller says, and
// who has no right to make groups goes without. What a sandbox's host asks for does not come here.
// Sources: runtime-spec config-linux.md (cgroupsPath); what runc does with its cgroupfs driver (container-engine 1.13).
import { isErrno, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { NR } from "../../abi/nr.js";
import { AppError, messageOf } from "../../lib/errors.js";
import { readText } from "../../lib/fs.js";
import { lazy } from "../../lib/lazy.js";
import { lines, words } from "../../lib/text.js";
import { cleanGroup, hasLimits } from "../../oci/cgroup.js";
import type { Linux, Resources } from "../../oci/spec.js";
import type { Cgroup } from "./group.js";
import { hierarchy } from "./hierarchy.js";

const none = lazy<typeof import("./none.js")>("engine/cgroup/none.js");
const limits = lazy<typeof import("../../oci/cgroup-limits.js")>("oci/cgroup-limits.js");
const checks = lazy<typeof import("../../oci/check-resources.js")>("oci/check-resources.js");
const v1 = lazy<typeof import("./v1.js")>("engine/cgroup/v1.js");
const v2 = lazy<typeof import("./v2.js")>("engine/cgroup/v2.js");

/** The caller's own group by controller; version 2's is "". See cgroups(7), /proc/self/cgroup. */
export function ownGroups(text: string): Map<string, string> {
  const own = new Map<string, string>();
  for (const line of lines(text)) {
    const [, names = "", ...path] = line.split(":");
    for (const name of names.split(",")) own.set(name, path.join(":"));
  }
  return own;
}

/** Without a path: "/ID". A relative one: version 2 beside the caller's own group (that one has processes in it), version 1 below it. */
function place(path: string | undefined, id: string): Cgroup {
  const { version, mounts } = hierarchy();
  const clean = cleanGroup(path ?? "", "linux.cgroupsPath") || `/${id}`;
  const relative = path !== undefined && path !== "" && !path.startsWith("/");
  const own = relative ? ownGroups(readText("/proc/self/cgroup")) : new Map<string, string>();
  if (version === 2) {
    const self = own.get("") ?? "";
    return v2().group(self.slice(0, Math.max(0, self.lastIndexOf("/"))) + clean);
  }
  const below = new Map<string, string>();
  for (const [controller, root] of mounts) {
    const self = own.get(controller) ?? "/";
    if (self !== "/") below.set(root, self);
  }
  return v1().group(clean, below);
}

/** In a user namespace, or as somebody else than root, the machine's groups are not ours. */
function unprivileged(): boolean {
  if (sys(NR.geteuid) !== 0) return true;
  const [inside, outside, size] = words(readText("/proc/self/uid_map"));
  return !(inside === "0" && outside === "0" && size === "4294967295");
}

function denied(error: unknown): boolean {
  let cause = error;
  while (cause instanceof AppError) cause = cause.why;
  return isErrno(cause, E.EACCES, E.EPERM, E.EROFS);
}

/** What the configuration wants limited, for a machine whose groups we cannot use. */
function wishes(resources: Resources): boolean {
  return hasLimits(resources) && (limits().limitsV2(resources).length > 0 || (resources.unified === undefined && limits().limitsV1(resources).length > 0));
}

/** Makes the group. Throws AppError "invalid" for what cannot be honoured. */
export function makeStrictly({ cgroupsPath, resources = {} }: Linux, id: string, owner: number | undefined, realtime: boolean): Cgroup {
  try {
    if (hasLimits(resources)) checks().checkResources(resources, hierarchy().version);
    const cgroup = place(cgroupsPath, id);
    cgroup.create(resources, owner, true, realtime);
    if (!cgroup.frozen()) return cgroup;
    cgroup.removeNow(); // a group above it is frozen: the container's first process would never run
    throw new AppError("precondition", `container's cgroup unexpectedly frozen: a group above ${cgroup.path}`);
  } catch (error) {
    const nowhere = error instanceof AppError && error.part === "cgroup hierarchy";
    if (!(nowhere || denied(error)) || !unprivileged()) throw error;
    if (wishes(resources)) throw new AppError("invalid", `linux.resources: no limits without the right to make a cgroup: ${messageOf(error)}`, error);
    return none().NONE;
  }
}
