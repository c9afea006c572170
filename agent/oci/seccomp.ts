// The seccomp section of a spec to what libseccomp is told: numbers only, every name checked. Pure.
// Sources: runtime-spec config-linux.md "Seccomp", seccomp(2), libseccomp's include/seccomp.h.
import { ScmpArgCmp } from "../abi/layouts.js";
import { AUDIT_ARCH, BPF, SECCOMP, X32 } from "../abi/filter.js";
import { E } from "../abi/errno.js";
import { named, refusing } from "./field.js";
import type { Seccomp, SeccompArg, SeccompRule } from "./spec.js";

const NOTIFIES = "SCMP_ACT_NOTIFY";

/** The names that a section may use, with the numbers behind them. */
export const ACTIONS: { readonly [name: string]: number } = {
  SCMP_ACT_KILL: SECCOMP.RET_KILL_THREAD, SCMP_ACT_KILL_THREAD: SECCOMP.RET_KILL_THREAD, SCMP_ACT_KILL_PROCESS: SECCOMP.RET_KILL_PROCESS, SCMP_ACT_TRAP: SECCOMP.RET_TRAP,
  SCMP_ACT_ERRNO: SECCOMP.RET_ERRNO, SCMP_ACT_TRACE: SECCOMP.RET_TRACE, SCMP_ACT_LOG: SECCOMP.RET_LOG, SCMP_ACT_ALLOW: SECCOMP.RET_ALLOW, SCMP_ACT_NOTIFY: SECCOMP.RET_USER_NOTIF,
};
export const OPERATORS: { readonly [name: string]: number } = {
  SCMP_CMP_NE: 1, SCMP_CMP_LT: 2, SCMP_CMP_LE: 3, SCMP_CMP_EQ: 4, SCMP_CMP_GE: 5, SCMP_CMP_GT: 6, SCMP_CMP_MASKED_EQ: 7,
};
/** Audit architecture tokens. */
export const ARCHITECTURES: { readonly [name: string]: number } = {
  SCMP_ARCH_X86: AUDIT_ARCH.I386, SCMP_ARCH_X86_64: AUDIT_ARCH.X86_64, SCMP_ARCH_X32: X32.TOKEN, SCMP_ARCH_ARM: AUDIT_ARCH.ARM, SCMP_ARCH_AARCH64: AUDIT_ARCH.AARCH64,
  SCMP_ARCH_MIPS: AUDIT_ARCH.MIPS, SCMP_ARCH_MIPS64: AUDIT_ARCH.MIPS64, SCMP_ARCH_MIPS64N32: AUDIT_ARCH.MIPS64N32, SCMP_ARCH_MIPSEL: AUDIT_ARCH.MIPSEL,
  SCMP_ARCH_MIPSEL64: AUDIT_ARCH.MIPSEL64, SCMP_ARCH_MIPSEL64N32: AUDIT_ARCH.MIPSEL64N32, SCMP_ARCH_PPC: AUDIT_ARCH.PPC, SCMP_ARCH_PPC64: AUDIT_ARCH.PPC64,
  SCMP_ARCH_PPC64LE: AUDIT_ARCH.PPC64LE, SCMP_ARCH_S390: AUDIT_ARCH.S390, SCMP_ARCH_S390X: AUDIT_ARCH.S390X, SCMP_ARCH_RISCV64: AUDIT_ARCH.RISCV64,
  SCMP_ARCH_PARISC: AUDIT_ARCH.PARISC, SCMP_ARCH_PARISC64: AUDIT_ARCH.PARISC64, SCMP_ARCH_LOONGARCH64: AUDIT_ARCH.LOONGARCH64, SCMP_ARCH_M68K: AUDIT_ARCH.M68K,
};
export const FLAGS: { readonly [name: string]: number } = {
  SECCOMP_FILTER_FLAG_TSYNC: SECCOMP.FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG: SECCOMP.FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW: SECCOMP.FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: SECCOMP.FILTER_FLAG_WAIT_KILLABLE_RECV,
};

export interface FilterRule {
  readonly names: readonly string[];
  readonly action: number;
  /** Packed struct scmp_arg_cmp, 24 bytes each, one list for each rule to add: several lists are alternatives. */
  readonly comparisons: readonly (Uint8Array | undefined)[];
}
export interface FilterPlan {
  readonly defaultAction: number;
  /** Tokens besides the machine's own. */
  readonly architectures: readonly number[];
  readonly rules: readonly FilterRule[];
}

const SECTION = "linux.seccomp";
const refuse = refusing(SECTION);

const lookUp = (table: { readonly [name: string]: number }, field: string, what: string, name: string): number => named(`${SECTION}.${field}`, what, table, name, "unknown");

const MAX_ERRNO = 4095; // of the kernel (include/linux/err.h)

/** An action with its number: errno for ERRNO (default EPERM), the tracer's message for TRACE. */
function action(field: string, name: string, errnoField: string, value: number | undefined): number {
  const base = lookUp(ACTIONS, field, "action", name);
  const takesValue = base === SECCOMP.RET_ERRNO || base === SECCOMP.RET_TRACE;
  if (!takesValue && value) refuse(errnoField, `has no meaning with ${name}`);
  if (!takesValue) return base;
  const code = value ?? E.EPERM;
  if (code < 0 || code > (base === SECCOMP.RET_ERRNO ? MAX_ERRNO : SECCOMP.RET_DATA)) refuse(errnoField, `errno ${code} is out of range`);
  return base + code;
}

/** Several struct scmp_arg_cmp. */
function pack(field: string, args: readonly SeccompArg[]): Uint8Array {
  const bytes = new Uint8Array(args.length * ScmpArgCmp.SIZE);
  const view = new DataView(bytes.buffer);
  const put64 = (at: number, value: number | bigint): void => view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
  args.forEach((arg, i) => {
    if (arg.index < 0 || arg.index > 5) refuse(`${field}.args[${i}].index`, `${arg.index} is not between 0 and 5`);
    const at = i * ScmpArgCmp.SIZE;
    view.setUint32(at + ScmpArgCmp.arg, arg.index, true);
    view.setUint32(at + ScmpArgCmp.op, lookUp(OPERATORS, `${field}.args[${i}].op`, "operator", arg.op), true);
    put64(at + ScmpArgCmp.datum_a, arg.value);
    put64(at + ScmpArgCmp.datum_b, arg.valueTwo ?? 0);
  });
  return bytes;
}

/** All conditions of one entry must hold; an argument that is named twice makes them alternatives. */
function comparisons(field: string, args: readonly SeccompArg[] | undefined): readonly (Uint8Array | undefined)[] {
  if (args === undefined || args.length === 0) return [undefined];
  const twice = new Set(args.map((a) => a.index)).size < args.length;
  if (!twice) return [pack(field, args)];
  return args.map((arg) => pack(field, [arg]));
}

function rule(entry: SeccompRule, i: number): FilterRule {
  const field = `syscalls[${i}]`;
  if (entry.names.length === 0) refuse(`${field}.names`, "is empty");
  if (entry.action === NOTIFIES && entry.names.includes("write")) refuse(`${field}.action`, "SCMP_ACT_NOTIFY cannot be used for the write syscall: the engine writes while nobody answers yet");
  return { names: entry.names, action: action(`${field}.action`, entry.action, `${field}.errnoRet`, entry.errnoRet), comparisons: comparisons(field, entry.args) };
}

/** Calls with conditions that a section may list, each alternative counted: many more than any filter has room for. */
const MOST_RULES = 16_384;

/** How many calls with conditions a section lists, alternatives counted. Throws AppError "invalid" where no filter has room for them. */
export function countRules({ syscalls = [] }: Seccomp): { readonly rules: number; readonly withArguments: number } {
  let rules = 0;
  let withArguments = 0;
  for (const { names, args } of syscalls) {
    const given = args?.length ?? 0;
    rules += names.length * Math.max(1, given);
    withArguments += names.length * given;
    if (rules > MOST_RULES) refuse("syscalls", `more than ${MOST_RULES} rules, and a filter has room for ${BPF.MAXINSNS} instructions`);
  }
  return { rules, withArguments };
}

/** Checks a seccomp section and puts it into numbers, in a time that grows with its size alone. Throws AppError "invalid" naming the field. */
export function filterPlan(s: Seccomp): FilterPlan {
  countRules(s);
  const defaultAction = action("defaultAction", s.defaultAction, "defaultErrnoRet", s.defaultErrnoRet);
  if (s.defaultAction === NOTIFIES) refuse("defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action");
  if (s.listenerMetadata && !s.listenerPath) refuse("listenerMetadata", "needs a listenerPath");
  if (notifies(s) && !s.listenerPath) refuse("listenerPath", "is needed for SCMP_ACT_NOTIFY");
  seccompFlags(s);
  return {
    defaultAction,
    architectures: (s.architectures ?? []).map((name, i) => lookUp(ARCHITECTURES, `architectures[${i}]`, "architecture", name)),
    // a rule that says what happens anyway is refused by libseccomp
    rules: (s.syscalls ?? []).map(rule).filter((r) => r.action !== defaultAction),
  };
}

/** Does the filter ask somebody about calls? */
export function notifies(s: Seccomp): boolean {
  return s.syscalls?.some((r) => r.action === NOTIFIES) ?? false;
}

/** Flags for seccomp(2). Without a list it is [SPEC_ALLOW], as other engines have it; TSYNC is moot for one thread. */
export function seccompFlags(s: Seccomp): number {
  let flags = s.flags === undefined ? SECCOMP.FILTER_FLAG_SPEC_ALLOW : 0;
  s.flags?.forEach((name, i) => (flags |= lookUp(FLAGS, `flags[${i}]`, "flag", name)));
  flags &= ~SECCOMP.FILTER_FLAG_TSYNC;
  return notifies(s) ? flags | SECCOMP.FILTER_FLAG_NEW_LISTENER : flags & ~SECCOMP.FILTER_FLAG_WAIT_KILLABLE_RECV; // which is about listeners
}
