// A seccomp profile compiled by libseccomp. The last programs are kept: containers of one host mostly have the same profile,
// and compiling it takes longer than everything else in a container's birth, with many conditions far longer than all others may
// wait. An agent lets a helper do it (`readyFilter`), with a limit of time and memory; a command does it itself.
import { SeccompData, SockFilter } from "../../abi/layouts.js";
import { BPF, BPF_CODE, SECCOMP, X32 } from "../../abi/filter.js";
import { ARCH, RLIMIT } from "../../abi/flags.js";
import { must, SysError } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { addArchitecture, addRule, ATTRIBUTE, exportFilter, newFilter, releaseFilter, resolveSyscall, setAttribute } from "../../sys/seccomp.js";
import { NR } from "../../abi/nr.js";
import { AppError, because } from "../../lib/errors.js";
import { aside } from "../../lib/foreign.js";
import { readText } from "../../lib/fs.js";
import { words } from "../../lib/text.js";
import { countRules, filterPlan, type FilterRule, notifies } from "../../oci/seccomp.js";
import type { Seccomp } from "../../oci/spec.js";
import type { Listener } from "../container.js";

export { seccompFlags } from "../../oci/seccomp.js";

/** Who is to be asked about calls, when the profile asks anybody. */
export function listenerOf(s: Seccomp): Listener | undefined {
  return notifies(s) && s.listenerPath !== undefined ? { path: s.listenerPath, metadata: s.listenerMetadata ?? "" } : undefined;
}

const KEPT = 2;
/** A longer profile is compiled each time: its text would be kept in memory to recognise it by. */
const MOST_KEPT = 2048;
const MANY_RULES = 32;
/** So little is compiled at once, in less than a millisecond. */
const FEW = { rules: 64, withArguments: 16 };
const COMPILE_MS = 10_000;
const COMPILE_BYTES = 64 << 20;
const ALLOWING: readonly number[] = [SECCOMP.RET_ALLOW, SECCOMP.RET_LOG];
const kept: { readonly key: string; readonly program: Uint8Array }[] = []; // newest first

/** Each once: what is there already makes the compiler look at everything that it has. */
function addRules(rules: readonly FilterRule[]): void {
  const added = new Set<string>();
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = resolveSyscall(name);
      if (number === undefined) continue; // a profile may name calls that this kernel's headers do not know yet
      for (const comparisons of rule.comparisons) {
        const key = comparisons === undefined ? String(number) : `${number} ${rule.action} ${comparisons.join()}`;
        if (added.has(key)) continue;
        added.add(key);
        if (added.size > BPF.MAXINSNS) throw tooLong(`more than ${BPF.MAXINSNS} rules`); // each takes one at least
        const r = addRule(rule.action, number, comparisons);
        // EDOM: not on this architecture; EEXIST: an earlier rule says so already
        if (r < 0 && r !== -E.EDOM && r !== -E.EEXIST) throw because(`seccomp rule for ${name}`, new SysError("seccomp_rule_add", -r));
      }
    }
  }
}

/**
 * Calls newer than the profile knows answer ENOSYS, so that a libc falls back, instead of the default's errno. Goes before the
 * program. `largest`: for each architecture (audit token) the largest number that the profile names.
 */
export function newerCalls(largest: readonly (readonly [number, number])[]): Uint8Array {
  // of struct sock_filter: code, jump if true, jump if false, value
  const code: (readonly [number, number, number, number])[] = [];
  for (const [token, number] of largest) {
    code.push(
      [BPF_CODE.LD_W_ABS, 0, 0, SeccompData.arch], [BPF_CODE.JEQ_K, 0, 4, token],
      [BPF_CODE.LD_W_ABS, 0, 0, SeccompData.nr], [BPF_CODE.JGE_K, 2, 0, X32.SYSCALL_BIT], [BPF_CODE.JGT_K, 0, 1, number], [BPF_CODE.RET_K, 0, 0, SECCOMP.RET_ERRNO + E.ENOSYS],
    );
  }
  const bytes = new Uint8Array(code.length * SockFilter.SIZE);
  const view = new DataView(bytes.buffer);
  code.forEach(([op, yes, no, value], i) => {
    const at = i * SockFilter.SIZE;
    view.setUint16(at + SockFilter.code, op, true);
    bytes[at + SockFilter.jt] = yes;
    bytes[at + SockFilter.jf] = no;
    view.setUint32(at + SockFilter.k, value, true);
  });
  return bytes;
}

/** The largest number among the calls that a profile names, for those architectures whose numbers the agent can ask for. */
function largestNumbers(s: Seccomp, architectures: readonly number[]): [number, number][] {
  const tokens = [ARCH.NATIVE, ...architectures.filter((t) => t === ARCH.SIBLING).slice(0, 1)];
  return tokens.map((token): [number, number] => {
    let largest = -1;
    for (const { names } of s.syscalls ?? []) for (const name of names) largest = Math.max(largest, resolveSyscall(name, token === ARCH.NATIVE ? 0 : token) ?? -1);
    return [token, largest];
  }).filter(([, largest]) => largest >= 0);
}

/** What a machine of this kind can run: x86_64, x86 and x32, or aarch64 and arm. Others never come to a filter, and the compiler's table has left them out. */
const MET: readonly number[] = [ARCH.NATIVE, ARCH.SIBLING, ARCH.NARROW];

function build(s: Seccomp): Uint8Array {
  const plan = filterPlan(s);
  newFilter(plan.defaultAction);
  try {
    setAttribute(ATTRIBUTE.NNP, 0); // whether no_new_privs is set is the process's own matter
    for (const token of plan.architectures) if (MET.includes(token)) addArchitecture(token);
    if (plan.rules.reduce((n, r) => n + r.names.length, 0) > MANY_RULES) setAttribute(ATTRIBUTE.OPTIMIZE, 2);
    addRules(plan.rules);
    const program = exportFilter();
    if (ALLOWING.includes(plan.defaultAction)) return fitting(program);
    const first = newerCalls(largestNumbers(s, plan.architectures));
    const whole = new Uint8Array(first.length + program.length);
    whole.set(first);
    whole.set(program, first.length);
    return fitting(whole);
  } finally {
    releaseFilter();
  }
}

const tooLong = (what: string): AppError => new AppError("invalid", `linux.seccomp.syscalls: ${what}, and a filter has room for ${BPF.MAXINSNS} instructions`);

function fitting(program: Uint8Array): Uint8Array {
  const count = program.length / SockFilter.SIZE;
  if (count > BPF.MAXINSNS) throw tooLong(`a filter of ${count} instructions`);
  return program;
}

/** What `readyFilter` leaves for `compileSeccomp`; goes with the profile. */
const ready = new WeakMap<Seccomp, { readonly key: string | undefined; readonly program: Uint8Array }>();

function keyOf(s: Seccomp): string | undefined {
  return countRules(s).rules > MOST_KEPT ? undefined : JSON.stringify(s, (_key, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
}

/** A program that is kept, which becomes the newest. */
function find(key: string | undefined): Uint8Array | undefined {
  const found = key === undefined ? -1 : kept.findIndex((k) => k.key === key);
  return found < 0 ? undefined : (kept.splice(found, 1)[0] as (typeof kept)[0]).program;
}

/** In the helper: what it may take besides what it has now. See getrlimit(2), RLIMIT_DATA; proc_pid_statm(5). */
function limitMemory(bytes: number): void {
  const data = Number(words(readText("/proc/self/statm"))[5]) * 4096 + bytes;
  const limit = new BigUint64Array([BigInt(data), BigInt(data)]);
  must("prlimit64", NR.prlimit64, 0, RLIMIT.DATA, limit.buffer as ArrayBuffer, null);
}

/**
 * Has the program compiled by a helper, unless that takes no time: `compileSeccomp` finds it then. Rejects with
 * AppError "invalid" naming a field, or "deadline".
 */
export async function readyFilter(s: Seccomp): Promise<void> {
  const { rules, withArguments } = countRules(s);
  if (rules * (1 + (s.architectures?.length ?? 0)) <= FEW.rules && withArguments <= FEW.withArguments) return;
  const key = keyOf(s);
  let program = find(key);
  if (program === undefined) {
    const numbers = await aside("compile linux.seccomp", COMPILE_MS, (_off) => {
      limitMemory(COMPILE_BYTES);
      return Array.from(new Uint32Array(build(s).slice().buffer));
    });
    program = new Uint8Array(new Uint32Array(numbers).buffer);
  }
  ready.set(s, { key, program });
}

/** The program (struct sock_filter, 8 bytes each). Throws AppError "invalid" naming a field. */
export function compileSeccomp(s: Seccomp): Uint8Array {
  const { key, program } = ready.get(s) ?? madeHere(s);
  ready.delete(s);
  if (key !== undefined) kept.unshift({ key, program });
  if (kept.length > KEPT) kept.pop();
  return program;
}

function madeHere(s: Seccomp): { readonly key: string | undefined; readonly program: Uint8Array } {
  const key = keyOf(s);
  return { key, program: find(key) ?? build(s) };
}
