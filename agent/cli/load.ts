// A container of an earlier command, as the engine wants it: its record read, its status found out, its descriptors opened.
import type { Container } from "../engine/container.js";
import { reopenCgroup } from "../engine/cgroup/open.js";
import { reviveContainer } from "../engine/revive.js";
import { checkId } from "../oci/check.js";
import type { Spec } from "../oci/spec.js";
import type { Context } from "./context.js";
import { type Entry, find, type FullStatus, type Saved, statusNow } from "./store.js";

export interface Known { readonly entry: Entry; readonly saved: Saved; readonly status: FullStatus }

function isFrozen(saved: Saved): boolean {
  return saved.cgroup !== "" && reopenCgroup(saved.cgroup, [], saved, saved.apart).frozen();
}

/** The record of a container, and its status now. Throws "not-found". */
export function look(entry: Entry): Known {
  const saved = entry.read();
  return { entry, saved, status: statusNow(entry, saved, () => isFrozen(saved)) };
}

/** The same by id; `locked`: no other command changes it until this one ends. */
export function known(context: Context, id: string, locked: boolean): Known {
  const entry = find(context.root, checkId(id));
  return look(locked ? entry.lock() : entry);
}

/** The container for the engine's calls. With `startSocket` a connection to one that waits; with its configuration as `whole` all that a further process takes over. */
export function revive({ entry, saved, status }: Known, options: { readonly startSocket?: boolean; readonly whole?: Spec } = {}): Container {
  const startSocket = options.startSocket === true && status === "created" ? entry.connectToStart() : undefined;
  const spec = options.whole ?? { ociVersion: saved.ociVersion, ...(saved.hooks === undefined ? {} : { hooks: saved.hooks }), ...(saved.annotations === undefined ? {} : { annotations: saved.annotations }) };
  return reviveContainer({
    id: saved.id, pid: status === "stopped" ? 0 : saved.pid, startTime: saved.startTime, bundle: saved.bundle, status: status === "creating" ? "stopped" : status, cgroup: saved.cgroup, madeParents: saved.madeParents, apart: saved.apart, newKeyring: saved.newKeyring, resctrl: saved.resctrl, spec, startSocket: startSocket,
  }, options.whole !== undefined);
}
