// The capabilities that an engine without all of them can give: what it has not is left out, with a warning, as the runtime
// specification says. In a user namespace of the container's own a process may have any. Loaded by command lines only.
import { capget } from "../sys/cred.js";
import { Level, log } from "../lib/log.js";
import type { CapabilitySets, Mask } from "../oci/caps.js";

/** The sets without what this process has not itself. */
export function grantable(caps: CapabilitySets): CapabilitySets {
  const { permitted: own } = capget();
  const cut = (m: Mask): Mask => ({ low: (m.low & own.low) >>> 0, high: (m.high & own.high) >>> 0 });
  const all = [caps.effective, caps.permitted, caps.inheritable, caps.ambient];
  if (all.every((m) => (m.low & ~own.low) === 0 && (m.high & ~own.high) === 0)) return caps;
  log(Level.WARN, "process.capabilities: some are left out that this process has not itself");
  return { ...caps, effective: cut(caps.effective), permitted: cut(caps.permitted), inheritable: cut(caps.inheritable), ambient: cut(caps.ambient) };
}
