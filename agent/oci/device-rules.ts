// Device rules (linux.resources.devices): which of them count, and the program that version 2 is given for them
// (BPF_PROG_TYPE_CGROUP_DEVICE, kernel include/uapi/linux/bpf.h); version 1 is in device-lines.ts. Pure. The base is always
// "deny all": a list without an explicit denial must not open what it does not name (GHSA-g54h-m393-cpwq).
import type { DeviceRule } from "./spec.js";

export interface Rule { readonly allow: boolean; readonly type: "a" | "b" | "c"; readonly major: number; readonly minor: number; readonly access: string }
export const ANY = -1;

/** What every container may do, after its own rules: make any node, use the standard devices and its terminals. */
const ALWAYS: readonly Rule[] = [
  ["c", ANY, ANY, "m"], ["b", ANY, ANY, "m"], ["c", 1, 3, "rwm"], ["c", 1, 5, "rwm"], ["c", 1, 7, "rwm"], ["c", 1, 8, "rwm"], ["c", 1, 9, "rwm"],
  ["c", 5, 0, "rwm"], ["c", 5, 1, "rwm"], ["c", 5, 2, "rwm"], ["c", 136, ANY, "rwm"], ["c", 10, 200, "rwm"],
].map(([type, major, minor, access]) => ({ allow: true, type, major, minor, access }) as Rule);

function normal(rule: DeviceRule): Rule {
  const type = rule.type === "b" || rule.type === "c" ? rule.type : "a";
  return { allow: rule.allow, type, major: rule.major ?? ANY, minor: rule.minor ?? ANY, access: rule.access || "rwm" };
}

/** r, w and m as the kernel's bits. */
export const accessBits = (access: string): number => (access.includes("m") ? 1 : 0) | (access.includes("r") ? 2 : 0) | (access.includes("w") ? 4 : 0);

/** A rule for everything ends what came before it. */
const total = (r: Rule): boolean => r.type === "a" && r.major === ANY && r.minor === ANY && accessBits(r.access) === 7;

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

const LDX_W = 0x61, MOV_K = 0xb7, MOV_X = 0xbf, AND_K = 0x57, RSH_K = 0x77, JNE_K = 0x55, JNE_X = 0x5d, EXIT = 0x95;
const TYPE_BITS = { b: 1, c: 2 } as const;

/** struct bpf_insn: code, dst and src, 16-bit offset, 32-bit immediate. */
function assemble(list: readonly (readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(list.length * 8);
  const view = new DataView(bytes.buffer);
  list.forEach(([code = 0, dst = 0, src = 0, off = 0, imm = 0], i) => {
    bytes[i * 8] = code;
    bytes[i * 8 + 1] = dst | (src << 4);
    view.setInt16(i * 8 + 2, off, true);
    view.setInt32(i * 8 + 4, imm, true);
  });
  return bytes;
}

/** One rule as instructions: falls through to the next rule when it does not match. r2 type, r3 access, r4 major, r5 minor. */
function block(rule: Rule): number[][] {
  const tests: number[][] = [];
  if (rule.type !== "a") tests.push([JNE_K, 2, 0, 0, TYPE_BITS[rule.type]]);
  const bits = accessBits(rule.access);
  if (bits !== 7) {
    tests.push([MOV_X, 1, 3], [AND_K, 1, 0, 0, bits]);
    // an allowance must cover all that is asked for; a denial takes effect when it names any part of it
    if (rule.allow) tests.push([JNE_X, 1, 3]);
    else tests.push([0x15, 1, 0, 0, 0]); // jump when equal: none of the denied kinds is asked for
  }
  if (rule.major !== ANY) tests.push([JNE_K, 4, 0, 0, rule.major]);
  if (rule.minor !== ANY) tests.push([JNE_K, 5, 0, 0, rule.minor]);
  const body = [[MOV_K, 0, 0, 0, rule.allow ? 1 : 0], [EXIT]];
  tests.forEach((t, i) => {
    if ([JNE_K, JNE_X, 0x15].includes(t[0] as number)) t[3] = tests.length + body.length - i - 1;
  });
  return [...tests, ...body];
}

/** The program of version 2, newest rule first; undefined when everything is allowed and none is needed. */
export function deviceProgram(rules: readonly DeviceRule[]): Uint8Array | undefined {
  const { list, open } = effective(rules);
  if (open && list.every((r) => r.allow)) return undefined;
  const code: number[][] = [
    [LDX_W, 2, 1, 0], [AND_K, 2, 0, 0, 0xffff], // r2 = context.access_type & 0xffff
    [LDX_W, 3, 1, 0], [RSH_K, 3, 0, 0, 16], // r3 = context.access_type >> 16
    [LDX_W, 4, 1, 4], [LDX_W, 5, 1, 8], // major, minor
  ];
  for (let i = list.length - 1; i >= 0; i--) code.push(...block(list[i] as Rule));
  code.push([MOV_K, 0, 0, 0, open ? 1 : 0], [EXIT]);
  return assemble(code);
}
