// Device rules (linux.resources.devices): which of them count, and the program that version 2 is given for them
// (BPF_PROG_TYPE_CGROUP_DEVICE, kernel include/uapi/linux/bpf.h); version 1 is in device-lines.ts. Pure. The base is always
// "deny all": a list without an explicit denial must not open what it does not name (GHSA-g54h-m393-cpwq).
import { BpfCgroupDevCtx } from "../abi/layouts.js";
import { BPF, EBPF_CODE } from "../abi/filter.js";
import { inRange } from "./field.js";
import type { DeviceRule } from "./spec.js";

export interface Rule { readonly allow: boolean; readonly type: "a" | "b" | "c"; readonly major: number; readonly minor: number; readonly access: string }
export const ANY = -1;

/** What every container may do, after its own rules: make any node, use the standard devices and its terminals. */
const ALWAYS: readonly Rule[] = [
  ["c", ANY, ANY, "m"], ["b", ANY, ANY, "m"], ["c", 1, 3, "rwm"], ["c", 1, 5, "rwm"], ["c", 1, 7, "rwm"], ["c", 1, 8, "rwm"], ["c", 1, 9, "rwm"],
  ["c", 5, 0, "rwm"], ["c", 5, 1, "rwm"], ["c", 5, 2, "rwm"], ["c", 136, ANY, "rwm"], ["c", 10, 200, "rwm"],
].map(([type, major, minor, access]) => ({ allow: true, type, major, minor, access }) as Rule);

const MOST = 4294967295; // of the 32 bits that the program compares

function normal(rule: DeviceRule, i: number): Rule {
  inRange(`linux.resources.devices[${i}].major`, rule.major, ANY, MOST);
  inRange(`linux.resources.devices[${i}].minor`, rule.minor, ANY, MOST);
  const type = rule.type === "b" || rule.type === "c" ? rule.type : "a";
  return { allow: rule.allow, type, major: rule.major ?? ANY, minor: rule.minor ?? ANY, access: rule.access || "rwm" };
}

/** r, w and m as the kernel's bits. */
export const accessBits = (access: string): number => (access.includes("m") ? BPF.DEVCG_ACC_MKNOD : 0) | (access.includes("r") ? BPF.DEVCG_ACC_READ : 0) | (access.includes("w") ? BPF.DEVCG_ACC_WRITE : 0);

const ALL_ACCESS = BPF.DEVCG_ACC_MKNOD | BPF.DEVCG_ACC_READ | BPF.DEVCG_ACC_WRITE;

/** A rule for everything ends what came before it. */
const total = (r: Rule): boolean => r.type === "a" && r.major === ANY && r.minor === ANY && accessBits(r.access) === ALL_ACCESS;

/** The rules that count, oldest first, and whether what none of them names is allowed. */
export function effective(rules: readonly DeviceRule[]): { list: Rule[]; open: boolean } {
  const all = rules.map(normal);
  let open = false;
  let from = 0;
  all.forEach((rule, i) => {
    if (!total(rule)) return;
    open = rule.allow;
    from = i + 1;
  });
  const list = all.slice(from);
  return { list: open ? list : [...list, ...ALWAYS], open };
}

const TYPE_BITS = { b: BPF.DEVCG_DEV_BLOCK, c: BPF.DEVCG_DEV_CHAR } as const;

/** struct bpf_insn as two words: code, dst and src (4 bits each), 16-bit offset; then the 32-bit immediate. */
const insn = (code: number, dst: number, src = 0, offset = 0): number => code | (dst << 8) | (src << 12) | (offset << 16);

/** One rule as instructions: falls through to the next rule when it does not match. r2 type, r3 access, r4 major, r5 minor. */
function block(code: number[], { type, access, major, minor, allow }: Rule): void {
  const bits = accessBits(access);
  // a jump goes behind the block, over its tests that are left and the two instructions of the verdict
  let left = (type === "a" ? 0 : 1) + (bits === ALL_ACCESS ? 0 : 3) + (major === ANY ? 0 : 1) + (minor === ANY ? 0 : 1) + 2;
  if (type !== "a") code.push(insn(EBPF_CODE.JNE_K, 2, 0, --left), TYPE_BITS[type]);
  if (bits !== ALL_ACCESS) {
    left -= 3;
    // an allowance must cover all that is asked for; a denial takes effect when it names any part of it
    code.push(insn(EBPF_CODE.MOV_X, 1, 3), 0, insn(EBPF_CODE.AND_K, 1), bits, allow ? insn(EBPF_CODE.JNE_X, 1, 3, left) : insn(EBPF_CODE.JEQ_K, 1, 0, left), 0);
  }
  if (major !== ANY) code.push(insn(EBPF_CODE.JNE_K, 4, 0, --left), major);
  if (minor !== ANY) code.push(insn(EBPF_CODE.JNE_K, 5, 0, --left), minor);
  code.push(insn(EBPF_CODE.MOV_K, 0), allow ? 1 : 0, insn(EBPF_CODE.EXIT, 0), 0);
}

/** The program of version 2, newest rule first; undefined when everything is allowed and none is needed. */
export function deviceProgram(rules: readonly DeviceRule[]): Uint8Array | undefined {
  const { list, open } = effective(rules);
  if (open && list.every((r) => r.allow)) return undefined;
  const code = [
    insn(EBPF_CODE.LDX_W, 2, 1, BpfCgroupDevCtx.access_type), 0, insn(EBPF_CODE.AND_K, 2), 0xffff, // r2 = context.access_type & 0xffff
    insn(EBPF_CODE.LDX_W, 3, 1, BpfCgroupDevCtx.access_type), 0, insn(EBPF_CODE.RSH_K, 3), 16, // r3 = context.access_type >> 16
    insn(EBPF_CODE.LDX_W, 4, 1, BpfCgroupDevCtx.major), 0, insn(EBPF_CODE.LDX_W, 5, 1, BpfCgroupDevCtx.minor), 0, // major, minor
  ];
  for (let i = list.length - 1; i >= 0; i--) block(code, list[i] as Rule);
  code.push(insn(EBPF_CODE.MOV_K, 0), open ? 1 : 0, insn(EBPF_CODE.EXIT, 0), 0);
  return new Uint8Array(new Int32Array(code).buffer);
}
