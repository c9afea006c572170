// A seccomp profile compiled by libseccomp. The last programs are kept: containers of one host mostly have the same profile,
// and compiling it takes longer than everything else in a container's birth.
import { SysError } from "../sys/call.js";
import { addArchitecture, addRule, ATTRIBUTE, exportFilter, newFilter, releaseFilter, resolveSyscall, setAttribute } from "../sys/seccomp.js";
import { because } from "../lib/errors.js";
import { filterPlan, type FilterRule } from "../oci/seccomp.js";
import type { Seccomp } from "../oci/spec.js";

export { seccompFlags } from "../oci/seccomp.js";

const KEPT = 2;
const MANY_RULES = 32;
const EDOM = 33, EEXIST = 17;
const kept: { readonly key: string; readonly program: Uint8Array }[] = []; // newest first

function addRules(rules: readonly FilterRule[]): void {
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = resolveSyscall(name);
      if (number === undefined) continue; // a profile may name calls that this kernel's headers do not know yet
      for (const comparisons of rule.comparisons) {
        const r = addRule(rule.action, number, comparisons);
        // EDOM: not on this architecture; EEXIST: an earlier rule says so already
        if (r < 0 && r !== -EDOM && r !== -EEXIST) throw because(`seccomp rule for ${name}`, new SysError("seccomp_rule_add", -r));
      }
    }
  }
}

/** The program (struct sock_filter, 8 bytes each). Throws AppError "invalid" naming a field. */
export function compileSeccomp(s: Seccomp): Uint8Array {
  const plan = filterPlan(s);
  const key = JSON.stringify(s, (_key, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
  const found = kept.findIndex((k) => k.key === key);
  if (found >= 0) {
    const [entry] = kept.splice(found, 1);
    kept.unshift(entry as (typeof kept)[0]);
    return (entry as (typeof kept)[0]).program;
  }
  newFilter(plan.defaultAction);
  try {
    setAttribute(ATTRIBUTE.NNP, 0); // whether no_new_privs is set is the process's own matter
    for (const token of plan.architectures) addArchitecture(token);
    if (plan.rules.reduce((n, r) => n + r.names.length, 0) > MANY_RULES) setAttribute(ATTRIBUTE.OPTIMIZE, 2);
    addRules(plan.rules);
    const program = exportFilter();
    kept.unshift({ key, program });
    if (kept.length > KEPT) kept.pop();
    return program;
  } finally {
    releaseFilter();
  }
}
