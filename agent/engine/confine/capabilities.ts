// Capabilities that cannot be given: the kernel would refuse the whole set, so they are left out, each with a warning, as the
// runtime specification says. Loaded where that may be so: by commands, which may lack some themselves, and for sets that do not
// go together. (capabilities(7), transformation of sets by capset(2); prctl(2), PR_CAP_AMBIENT)
import { capget } from "../../sys/cred.js";
import { Level, log } from "../../lib/log.js";
import { and, capNames, type CapabilitySets, type Mask, without } from "../../oci/caps.js";

function warn(mask: Mask, words: (name: string) => string): void {
  for (const name of capNames(mask)) log(Level.WARN, words(name));
}

/** The sets with what can be had of them. `own`: no more than this process has (outside a user namespace of the container's). */
export function settle(caps: CapabilitySets, own: boolean): CapabilitySets {
  const mine = own ? capget().permitted : undefined;
  const had = (mask: Mask): Mask => (mine === undefined ? mask : and(mask, mine));
  const permitted = had(caps.permitted);
  const effective = and(had(caps.effective), permitted);
  const inheritable = and(had(caps.inheritable), caps.bounding);
  const ambient = and(had(caps.ambient), and(permitted, inheritable));
  warn(without(caps.permitted, permitted), (name) => `process.capabilities.permitted: ${name} is left out: the engine has not got it itself`);
  warn(without(and(caps.effective, caps.permitted), effective), (name) => `process.capabilities.effective: ${name} is left out: the engine has not got it itself`);
  warn(without(caps.effective, caps.permitted), (name) => `process.capabilities.effective: ${name} is left out: it is not permitted`);
  warn(without(caps.inheritable, inheritable), (name) => `process.capabilities.inheritable: ${name} is left out: it is not in the bounding set`);
  warn(without(caps.ambient, ambient), (name) => `can't raise ambient capability ${name}: operation not permitted: it is not permitted and inheritable`);
  return { ...caps, permitted, effective, inheritable, ambient };
}
