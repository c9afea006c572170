// The seccomp section of a spec to what libseccomp is told: numbers only, every name checked. Pure.
// Sources: runtime-spec config-linux.md "Seccomp", seccomp(2), libseccomp's include/seccomp.h.
import { AppError } from "../lib/errors.js";
import type { Seccomp, SeccompArg, SeccompRule } from "./spec.js";

const KILL_PROCESS = 0x80000000, KILL_THREAD = 0, TRAP = 0x30000, ERRNO = 0x50000, TRACE = 0x7ff00000, LOG = 0x7ffc0000, ALLOW = 0x7fff0000, NOTIFY = 0x7fc00000;
const EPERM = 1;
const NOTIFIES = "SCMP_ACT_NOTIFY";

/** The names that a section may use, with the numbers behind them. */
export const ACTIONS: { readonly [name: string]: number } = {
  SCMP_ACT_KILL: KILL_THREAD, SCMP_ACT_KILL_THREAD: KILL_THREAD, SCMP_ACT_KILL_PROCESS: KILL_PROCESS, SCMP_ACT_TRAP: TRAP, SCMP_ACT_ERRNO: ERRNO,
  SCMP_ACT_TRACE: TRACE, SCMP_ACT_LOG: LOG, SCMP_ACT_ALLOW: ALLOW, SCMP_ACT_NOTIFY: NOTIFY,
};
export const OPERATORS: { readonly [name: string]: number } = {
  SCMP_CMP_NE: 1, SCMP_CMP_LT: 2, SCMP_CMP_LE: 3, SCMP_CMP_EQ: 4, SCMP_CMP_GE: 5, SCMP_CMP_GT: 6, SCMP_CMP_MASKED_EQ: 7,
};
/** Audit architecture tokens (include/uapi/linux/audit.h; x32 is libseccomp's own). */
export const ARCHITECTURES: { readonly [name: string]: number } = {
  SCMP_ARCH_X86: 0x40000003, SCMP_ARCH_X86_64: 0xc000003e, SCMP_ARCH_X32: 0x4000003e, SCMP_ARCH_ARM: 0x40000028, SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_MIPS: 8, SCMP_ARCH_MIPS64: 0x80000008, SCMP_ARCH_MIPS64N32: 0xa0000008, SCMP_ARCH_MIPSEL: 0x40000008, SCMP_ARCH_MIPSEL64: 0xc0000008,
  SCMP_ARCH_MIPSEL64N32: 0xe0000008, SCMP_ARCH_PPC: 20, SCMP_ARCH_PPC64: 0x80000015, SCMP_ARCH_PPC64LE: 0xc0000015, SCMP_ARCH_S390: 22,
  SCMP_ARCH_S390X: 0x80000016, SCMP_ARCH_RISCV64: 0xc00000f3, SCMP_ARCH_PARISC: 15, SCMP_ARCH_PARISC64: 0x8000000f, SCMP_ARCH_LOONGARCH64: 0xc0000102, SCMP_ARCH_M68K: 4,
};
export const FLAGS: { readonly [name: string]: number } = {
  SECCOMP_FILTER_FLAG_TSYNC: 1, SECCOMP_FILTER_FLAG_LOG: 2, SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 0x20,
};
const TSYNC = 1, SPEC_ALLOW = 4, NEW_LISTENER = 8, WAIT_KILLABLE_RECV = 0x20;

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

const refuse = (field: string, why: string): never => {
  throw new AppError("invalid", `linux.seccomp.${field}: ${why}`);
};

function lookUp(table: { readonly [name: string]: number }, field: string, what: string, name: string): number {
  return Object.hasOwn(table, name) ? (table[name] as number) : refuse(field, `unknown ${what} "${name}"`);
}

/** An action with its number: errno for ERRNO (default EPERM), the tracer's message for TRACE. */
function action(field: string, name: string, errnoField: string, value: number | undefined): number {
  const base = lookUp(ACTIONS, field, "action", name);
  const takesValue = base === ERRNO || base === TRACE;
  if (!takesValue && value) refuse(errnoField, `has no meaning with ${name}`);
  if (!takesValue) return base;
  const code = value ?? EPERM;
  if (code < 0 || code > (base === ERRNO ? 4095 : 0xffff)) refuse(errnoField, `errno ${code} is out of range`);
  return base + code;
}

/** struct scmp_arg_cmp: u32 arg, u32 op, u64 datum_a, u64 datum_b. */
function pack(field: string, args: readonly SeccompArg[]): Uint8Array {
  const bytes = new Uint8Array(args.length * 24);
  const view = new DataView(bytes.buffer);
  args.forEach((arg, i) => {
    if (arg.index < 0 || arg.index > 5) refuse(`${field}.args[${i}].index`, `${arg.index} is not between 0 and 5`);
    view.setUint32(i * 24, arg.index, true);
    view.setUint32(i * 24 + 4, lookUp(OPERATORS, `${field}.args[${i}].op`, "operator", arg.op), true);
    put64(view, i * 24 + 8, arg.value);
    put64(view, i * 24 + 16, arg.valueTwo ?? 0);
  });
  return bytes;
}

function put64(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === "bigint") return view.setBigUint64(at, BigInt.asUintN(64, value), true);
  const high = Math.floor(value / 4294967296);
  view.setUint32(at, value - high * 4294967296, true);
  view.setUint32(at + 4, high >>> 0, true);
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
    if (rules > MOST_RULES) refuse("syscalls", `more than ${MOST_RULES} rules, and a filter has room for 4096 instructions`);
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
  let flags = s.flags === undefined ? SPEC_ALLOW : 0;
  s.flags?.forEach((name, i) => (flags |= lookUp(FLAGS, `flags[${i}]`, "flag", name)));
  flags &= ~TSYNC;
  return notifies(s) ? flags | NEW_LISTENER : flags & ~WAIT_KILLABLE_RECV; // which is about listeners
}
