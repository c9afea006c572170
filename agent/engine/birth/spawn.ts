// Making a child of the agent in the right cgroup, with new namespaces. What has to be done in other namespaces, or with other CPUs, is
// done by a helper that makes the child (spawn-inside.ts): the agent itself never leaves its own. See clone3(2).
import { CLONE } from "../../abi/flags.js";
import { sys, SysError } from "../../sys/call.js";
import { NR } from "../../abi/nr.js";
import { clone3, type Cloned, exitGroup, setDumpable } from "../../sys/process.js";
import { lazy } from "../../lib/lazy.js";
import type { SpawnPlace } from "../namespace.js";

const inside = lazy<typeof import("./spawn-inside.js")>("engine/birth/spawn-inside.js");

let undumpable = false;

/** Clones; the child runs `child` and never comes back. Throws SysError of clone3, or what a helper says. */
export function spawn(place: SpawnPlace, child: () => never): Cloned {
  if (!undumpable) {
    undumpable = true;
    // children inherit it, so that none is ever traceable from within a container before its execve, which resets it (CVE-2016-9962)
    setDumpable(false);
  }
  if ((place.joined?.length ?? 0) > 0 || place.before !== undefined) return inside().spawnInside(place, child);
  // who is not root can write a child's id maps only while it may look into the child; nobody else is in its new pid namespace
  const rootless = (place.flags & CLONE.NEWUSER) !== 0 && sys(NR.geteuid) !== 0;
  if (rootless) setDumpable(true);
  let made: Cloned | number;
  try {
    made = clone3(place.flags, place.cgroup);
    if (made === 0) {
      native.shortLived(); // looking for cycles would write to every page of the heap, each a copy of the parent's
      try {
        child();
      } finally {
        exitGroup(127);
      }
    }
  } finally {
    if (rootless) setDumpable(false);
  }
  if (typeof made !== "number") return made;
  throw new SysError("clone3", -made);
}
