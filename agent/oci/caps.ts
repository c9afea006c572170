// Capability names to masks (capabilities(7), include/uapi/linux/capability.h). Pure.
import { CAP } from "../abi/flags.js";
import type { Capabilities } from "./spec.js";

const NAMES = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE".split(" ");

const NUMBERS: ReadonlyMap<string, number> = new Map(NAMES.map((name, i) => [`CAP_${name}`, i]));

/** Number of capabilities this agent knows (0 to LAST_CAP). */
export const LAST_CAP = NAMES.length - 1;

export interface Mask { readonly low: number; readonly high: number }
/** `unknown`: names that are no capability's, each once; whoever applies the sets warns of them (runtime specification). */
export interface CapabilitySets { readonly unknown: readonly string[]; readonly bounding: Mask; readonly effective: Mask; readonly inheritable: Mask; readonly permitted: Mask; readonly ambient: Mask }

/** The number of a capability: "CAP_KILL", "KILL", any case, in JSON quotes or not; -1 when there is none of that name. */
export function capNumber(name: string): number {
  const known = NUMBERS.get(name);
  if (known !== undefined) return known;
  let plain = name.length > 1 && name.startsWith('"') && name.endsWith('"') ? name.slice(1, -1) : name;
  plain = plain.toUpperCase();
  return NAMES.indexOf(plain.startsWith("CAP_") ? plain.slice(4) : plain);
}

/** May a process with these sets, or what it executes, trace others? Any set counts: root gets what is in the bounding one. See capabilities(7), ptrace(2). */
export function mayTrace(caps: Capabilities | undefined): boolean {
  for (const set in caps) if (caps[set as keyof Capabilities]?.some((name) => capNumber(name) === CAP.SYS_PTRACE) === true) return true;
  return false;
}

const NONE: Mask = { low: 0, high: 0 };

function mask(names: readonly string[] | undefined, unknown: string[]): Mask {
  let low = 0;
  let high = 0;
  if (names === undefined || names.length === 0) return NONE;
  for (const name of names) {
    const n = capNumber(name);
    if (n < 0) {
      if (!unknown.includes(name)) unknown.push(name);
    } else if (n < 32) low |= 1 << n;
    else high |= 1 << (n - 32);
  }
  return { low: low >>> 0, high: high >>> 0 };
}

/** The five sets. A list that is absent is empty, and so is everything when the whole object is absent: the safe reading. */
export function capabilitySets(caps: Capabilities | undefined): CapabilitySets {
  const unknown: string[] = [];
  const of = (set: keyof Capabilities): Mask => mask(caps?.[set], unknown);
  return { unknown, bounding: of("bounding"), effective: of("effective"), inheritable: of("inheritable"), permitted: of("permitted"), ambient: of("ambient") };
}

/** What is in both. */
export const and = (a: Mask, b: Mask): Mask => ({ low: (a.low & b.low) >>> 0, high: (a.high & b.high) >>> 0 });
/** What is in the first only. */
export const without = (a: Mask, b: Mask): Mask => ({ low: (a.low & ~b.low) >>> 0, high: (a.high & ~b.high) >>> 0 });

/** Do the sets go together? capset(2) refuses them else. */
export function agree({ bounding, effective, inheritable, permitted, ambient }: CapabilitySets): boolean {
  return [without(effective, permitted), without(inheritable, bounding), without(ambient, and(permitted, inheritable))].every((m) => m.low === 0 && m.high === 0);
}

/** The names in a mask, as the kernel has them. */
export function capNames(m: Mask): string[] {
  return NAMES.filter((_, n) => hasCap(m, n)).map((name) => `CAP_${name}`);
}

/** Does the mask hold this capability? */
export function hasCap(m: Mask, n: number): boolean {
  return ((n < 32 ? m.low >>> n : m.high >>> (n - 32)) & 1) === 1;
}
