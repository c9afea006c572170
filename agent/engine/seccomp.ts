// A seccomp profile compiled by libseccomp. The last programs are kept: containers of one host mostly have the same profile,
// and compiling it takes longer than everything else in a container's birth.
import { SysError } from "../sys/call.js";
import { E } from "../sys/errno.js";
import { addArchitecture, addRule, ATTRIBUTE, exportFilter, newFilter, releaseFilter, resolveSyscall, setAttribute } from "../sys/seccomp.js";
import { because } from "../lib/errors.js";
import { filterPlan, type FilterRule } from "../oci/seccomp.js";
import type { Seccomp } from "../oci/spec.js";

export { seccompFlags } from "../oci/seccomp.js";

const KEPT = 2;
const MANY_RULES = 32;
const ALLOWING = [0x7fff0000, 0x7ffc0000]; // SCMP_ACT_ALLOW, SCMP_ACT_LOG
const kept: { readonly key: string; readonly program: Uint8Array }[] = []; // newest first

function addRules(rules: readonly FilterRule[]): void {
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = resolveSyscall(name);
      if (number === undefined) continue; // a profile may name calls that this kernel's headers do not know yet
      for (const comparisons of rule.comparisons) {
        const r = addRule(rule.action, number, comparisons);
        // EDOM: not on this architecture; EEXIST: an earlier rule says so already
        if (r < 0 && r !== -E.EDOM && r !== -E.EEXIST) throw because(`seccomp rule for ${name}`, new SysError("seccomp_rule_add", -r));
      }
    }
  }
}

/** Calls newer than the profile knows answer ENOSYS, so that a libc falls back, instead of the default's errno. Goes before the program. */
function newerCalls(largest: number): Uint8Array {
  const NATIVE = __ARCH__ === "x86_64" ? 0xc000003e : 0xc00000b7;
  const X32_BIT = 0x40000000;
  const bytes = new Uint8Array(6 * 8);
  const view = new DataView(bytes.buffer);
  // struct sock_filter: u16 code, u8 jump if true, u8 jump if false, u32 value; 4 and 0 are struct seccomp_data's arch and nr
  const code: readonly (readonly [number, number, number, number])[] = [
    [0x20, 0, 0, 4], [0x15, 0, 4, NATIVE], [0x20, 0, 0, 0], [0x35, 2, 0, X32_BIT], [0x25, 0, 1, largest], [0x06, 0, 0, 0x50000 + E.ENOSYS],
  ];
  code.forEach(([op, yes, no, value], i) => {
    view.setUint16(i * 8, op, true);
    bytes[i * 8 + 2] = yes;
    bytes[i * 8 + 3] = no;
    view.setUint32(i * 8 + 4, value, true);
  });
  return bytes;
}

function build(s: Seccomp): Uint8Array {
  const plan = filterPlan(s);
  newFilter(plan.defaultAction);
  try {
    setAttribute(ATTRIBUTE.NNP, 0); // whether no_new_privs is set is the process's own matter
    for (const token of plan.architectures) addArchitecture(token);
    if (plan.rules.reduce((n, r) => n + r.names.length, 0) > MANY_RULES) setAttribute(ATTRIBUTE.OPTIMIZE, 2);
    addRules(plan.rules);
    const program = exportFilter();
    if (ALLOWING.includes(plan.defaultAction)) return program;
    let largest = -1;
    for (const { names } of s.syscalls ?? []) for (const name of names) largest = Math.max(largest, resolveSyscall(name) ?? -1);
    if (largest < 0) return program;
    const first = newerCalls(largest);
    const whole = new Uint8Array(first.length + program.length);
    whole.set(first);
    whole.set(program, first.length);
    return whole;
  } finally {
    releaseFilter();
  }
}

/** The program (struct sock_filter, 8 bytes each). Throws AppError "invalid" naming a field. */
export function compileSeccomp(s: Seccomp): Uint8Array {
  const key = JSON.stringify(s, (_key, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
  const found = kept.findIndex((k) => k.key === key);
  const entry = found >= 0 ? (kept.splice(found, 1)[0] as (typeof kept)[0]) : { key, program: build(s) };
  kept.unshift(entry);
  if (kept.length > KEPT) kept.pop();
  return entry.program;
}
