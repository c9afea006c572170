// libseccomp's compiler as the host's C code offers it (native/native.c): one filter is built at a time, and the program
// comes out through a descriptor. See seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3).
import { SEEK } from "../abi/flags.js";
import { must, SysError } from "./call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "./fd.js";
import { memfdCreate, readRaw } from "./file.js";
import { NR } from "../abi/nr.js";

const enum OP { RESOLVE = 0, NEW = 1, ARCH = 2, ATTRIBUTE = 3, RULE = 4, EXPORT = 5, RELEASE = 6 }
export const enum ATTRIBUTE { NNP = 3, OPTIMIZE = 8 }

function check(call: string, r: number): void {
  if (r < 0) throw new SysError(call, -r);
}

/** The number of a system call by name (negative for one that the architecture, 0 for the own, has under another number only); undefined when nobody knows it. */
export function resolveSyscall(name: string, architecture = 0): number | undefined {
  const n = native.seccomp(OP.RESOLVE, architecture, name);
  return n === -1 ? undefined : n;
}

/** Begins a filter; it has to be released. */
export function newFilter(defaultAction: number): void {
  check("seccomp_init", native.seccomp(OP.NEW, defaultAction));
}
/** Adds an architecture; one that is there already is no error. */
export function addArchitecture(token: number): void {
  const r = native.seccomp(OP.ARCH, token);
  if (r !== -E.EEXIST) check("seccomp_arch_add", r);
}
/** Sets an attribute of the filter. */
export function setAttribute(attribute: number, value: number): void {
  check("seccomp_attr_set", native.seccomp(OP.ATTRIBUTE, attribute, value));
}
/** Adds a rule; returns 0 or the negative errno. `comparisons` are packed struct scmp_arg_cmp. */
export function addRule(action: number, syscall: number, comparisons: Uint8Array | undefined): number {
  return native.seccomp(OP.RULE, action, syscall, comparisons);
}
/** The program as an array of struct sock_filter. */
export function exportFilter(): Uint8Array {
  using file: Fd = memfdCreate("seccomp");
  check("seccomp_export_bpf", native.seccomp(OP.EXPORT, file.n));
  const size = must("lseek", NR.lseek, file.n, 0, SEEK.END);
  must("lseek", NR.lseek, file.n, 0, SEEK.SET);
  const program = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const n = readRaw(file.n, program, at, size - at);
    if (n <= 0) throw new SysError("read", n === 0 ? E.EIO : -n);
    at += n;
  }
  return program;
}
/** Lets go of the filter, if there is one. */
export function releaseFilter(): void {
  native.seccomp(OP.RELEASE);
}
