// Identity and privilege: setresuid(2), setresgid(2), setgroups(2), capset(2), and prctl(2)'s capability calls.
import { CapData } from "../abi/layouts.js";
import { CAPABILITY, PR } from "../abi/flags.js";
import { must, sys } from "./call.js";
import { NR } from "../abi/nr.js";

/** setresuid(2): real, effective and saved. */
export function setresuid(uid: number): void {
  must("setresuid", NR.setresuid, uid, uid, uid);
}
/** setresgid(2): real, effective and saved. */
export function setresgid(gid: number): void {
  must("setresgid", NR.setresgid, gid, gid, gid);
}
/** setgroups(2): exactly these supplementary groups. */
export function setgroups(gids: readonly number[]): void {
  must("setgroups", NR.setgroups, gids.length, gids.length === 0 ? null : (new Uint32Array(gids).buffer as ArrayBuffer));
}
/** prctl(PR_SET_KEEPCAPS): keep the permitted set when the uid stops being 0. */
export function setKeepCaps(on: boolean): void {
  must("prctl(PR_SET_KEEPCAPS)", NR.prctl, PR.SET_KEEPCAPS, on ? 1 : 0, 0, 0, 0);
}

/** A set of capabilities: bits 0 to 31 and 32 to 63. */
export interface CapMask { readonly low: number; readonly high: number }

/** struct __user_cap_data_struct, of which version 3 has two. */
const enum CapWord { ALL = CapData.SIZE / 4, EFFECTIVE = CapData.effective / 4, PERMITTED = CapData.permitted / 4, INHERITABLE = CapData.inheritable / 4 }

/** capset(2), version 3, for this thread. */
export function capset(effective: CapMask, permitted: CapMask, inheritable: CapMask): void {
  const header = new Uint32Array([CAPABILITY._LINUX_CAPABILITY_VERSION_3, 0]);
  const data = new Uint32Array([effective.low, permitted.low, inheritable.low, effective.high, permitted.high, inheritable.high]);
  must("capset", NR.capset, header.buffer as ArrayBuffer, data.buffer as ArrayBuffer);
}

/** capget(2), version 3, of this thread. */
export function capget(): { readonly effective: CapMask; readonly permitted: CapMask; readonly inheritable: CapMask } {
  const data = new Uint32Array(2 * CapWord.ALL);
  must("capget", NR.capget, new Uint32Array([CAPABILITY._LINUX_CAPABILITY_VERSION_3, 0]).buffer as ArrayBuffer, data.buffer as ArrayBuffer);
  const mask = (i: number): CapMask => ({ low: data[i] as number, high: data[i + CapWord.ALL] as number });
  return { effective: mask(CapWord.EFFECTIVE), permitted: mask(CapWord.PERMITTED), inheritable: mask(CapWord.INHERITABLE) };
}

/** prctl(PR_CAPBSET_DROP); the answer is 0 or the negative errno (EINVAL: beyond the kernel's last capability). */
export function dropBounding(cap: number): number {
  return sys(NR.prctl, PR.CAPBSET_DROP, cap, 0, 0, 0);
}
/** prctl(PR_CAP_AMBIENT): clears all, or raises one; the answer is 0 or the negative errno. */
export function clearAmbient(): number {
  return sys(NR.prctl, PR.CAP_AMBIENT, PR.CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}
/** prctl(PR_CAP_AMBIENT_RAISE) of one capability; the answer is 0 or the negative errno. */
export function raiseAmbient(cap: number): number {
  return sys(NR.prctl, PR.CAP_AMBIENT, PR.CAP_AMBIENT_RAISE, cap, 0, 0);
}
