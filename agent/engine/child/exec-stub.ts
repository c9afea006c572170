// The last steps of a container's process. Until its execve a process can be reached as /proc/self/exe and by those who may trace it,
// and a container whose program is that link would run the engine's own file (CVE-2019-5736). So the child first becomes a program
// of a few hundred bytes in a sealed memory file (native/stub.c), which has nothing of the engine's: it makes the system calls that
// are left, and becomes the container's program. What fails is told as three bytes: 0, the errno, the kind. See elf(5), execve(2).
import { Elf64Ehdr, Elf64Phdr, SockFilter } from "../../abi/layouts.js";
import { BPF, SECCOMP } from "../../abi/filter.js";
import { ELF, EM, F, FD } from "../../abi/flags.js";
import { E } from "../../abi/errno.js";
import type { Fd } from "../../sys/fd.js";
import { fcntl } from "../../sys/file.js";
import { sealedProgram } from "../../sys/memfd.js";
import { NR } from "../../abi/nr.js";
import { execve, execveat } from "../../sys/process.js";
import { setU64, struct, viewOf } from "../../sys/struct.js";
import { Failed } from "../handshake.js";

/**
 * An argument: a number, bytes (their address), a compiled filter (the address of its struct sock_fprog), or a result: `of` a step
 * its value, `at` a step the address of its 8 bytes.
 */
export type Argument = number | Uint8Array | { readonly filter: Uint8Array } | { readonly of: string } | { readonly at: string };

export interface LastStep {
  readonly call: number;
  readonly args: readonly Argument[];
  /** Under this name other steps know it. */
  readonly name?: string;
  readonly failed?: Failed;
  /** Goes on when the call fails. */
  readonly optional?: boolean;
  /** A result of 0 ends the process: the end of a file. */
  readonly endsAtZero?: boolean;
  /** Where a result of 0 goes on: the child of a clone. */
  readonly zeroGoesTo?: string;
}

const BASE = 0x10000;
const HEAD_AT = Elf64Ehdr.SIZE + Elf64Phdr.SIZE, CODE_AT = HEAD_AT + 16;
const EHDR = struct({
  magic: "u32", class: "u8", data: "u8", version: "u8", abi: "u8", _z0: "u64", type: "u16", machine: "u16", version2: "u32", entry: "u64", phoff: "u64", shoff: "u64", flags: "u32", ehsize: "u16", phentsize: "u16",
  phnum: "u16", shentsize: "u16", shnum: "u16", shstrndx: "u16",
});
const PHDR = struct({ type: "u32", flags: "u32", offset: "u64", vaddr: "u64", paddr: "u64", filesz: "u64", memsz: "u64", align: "u64" });
const FPROG = struct({ length: "u64", filter: "u64" }); // struct sock_fprog: u16 and padding, then the pointer
const STEP_BYTES = 64;
const enum Flag { OPTIONAL = 1, ZERO_ENDS = 2, BRANCH = 4 }

/** Results that are there from the start, by name: the program's path, its argv and envp; and bytes that nothing else is in. */
const GIVEN: { readonly [name: string]: number } = { path: 0, argv: 1, env: 2, buffer: 60 };
const FIRST_RESULT = 3, STEPS_MAX = 60 - FIRST_RESULT;

function machineCode(): Uint8Array {
  const code = new Uint8Array(__STUB__.length);
  for (let i = 0; i < code.length; i++) code[i] = __STUB__.charCodeAt(i);
  return code;
}

const align8 = (n: number): number => (n + 7) & ~7;

/** Bytes that the steps name by address, one behind the other. */
class Blobs {
  readonly parts: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  constructor(public end: number) {}
  /** Where the bytes will lie, as an address. */
  add(bytes: Uint8Array): number {
    const at = this.end;
    this.parts.push({ at, bytes });
    this.end = align8(at + bytes.length);
    return BASE + at;
  }
  filter(program: Uint8Array): number {
    const length = program.length / SockFilter.SIZE;
    if (length < 1 || length > BPF.MAXINSNS) throw new RangeError(`a seccomp filter of ${length} instructions`);
    return this.add(FPROG.make({ length, filter: this.add(program) }));
  }
}

function writeStep(step: LastStep, at: Uint8Array, blobs: Blobs, numberOf: (name: string) => number): void {
  const view = viewOf(at);
  let results = 0, addresses = 0;
  setU64(view, 0, step.call);
  step.args.forEach((argument, j) => {
    let value: number;
    if (typeof argument === "number") value = argument;
    else if (argument instanceof Uint8Array) value = blobs.add(argument);
    else if ("filter" in argument) value = blobs.filter(argument.filter);
    else if ("of" in argument) {
      results |= 1 << j;
      value = numberOf(argument.of);
    } else {
      addresses |= 1 << j;
      value = numberOf(argument.at);
    }
    setU64(view, 8 + 8 * j, value);
  });
  at[56] = results;
  at[57] = addresses;
  at[58] = (step.optional === true ? Flag.OPTIONAL : 0) | (step.endsAtZero === true ? Flag.ZERO_ENDS : 0) | (step.zeroGoesTo === undefined ? 0 : Flag.BRANCH);
  at[59] = step.failed ?? Failed.OTHER;
  if (step.zeroGoesTo !== undefined) view.setUint32(60, numberOf(step.zeroGoesTo) - FIRST_RESULT, true);
}

/** The whole file: ELF header, one segment, struct head, code, steps, what they name. `channel`: where failures are told. */
export function stubImage(channel: number, steps: readonly LastStep[], code: Uint8Array = machineCode()): Uint8Array {
  if (steps.length > STEPS_MAX) throw new RangeError(`${steps.length} last steps`);
  const numberOf = (name: string): number => {
    const given = GIVEN[name];
    if (given !== undefined) return given;
    const i = steps.findIndex((step) => step.name === name);
    if (i < 0) throw new RangeError(`no step ${name}`);
    return FIRST_RESULT + i;
  };
  const stepsAt = align8(CODE_AT + code.length);
  const blobs = new Blobs(stepsAt + steps.length * STEP_BYTES);
  const table = new Uint8Array(steps.length * STEP_BYTES);
  steps.forEach((step, i) => writeStep(step, table.subarray(i * STEP_BYTES, (i + 1) * STEP_BYTES), blobs, numberOf));
  const image = new Uint8Array(blobs.end);
  image.set(EHDR.make({
    magic: ELF.MAGIC, class: ELF.ELFCLASS64, data: ELF.ELFDATA2LSB, version: ELF.EV_CURRENT, type: ELF.ET_EXEC, machine: EM.NATIVE, version2: ELF.EV_CURRENT,
    entry: BASE + CODE_AT, phoff: Elf64Ehdr.SIZE, ehsize: Elf64Ehdr.SIZE, phentsize: Elf64Phdr.SIZE, phnum: 1,
  }));
  image.set(PHDR.make({ type: ELF.PT_LOAD, flags: ELF.PF_R | ELF.PF_X, vaddr: BASE, paddr: BASE, filesz: image.length, memsz: image.length, align: 4096 }), Elf64Ehdr.SIZE);
  setU64(viewOf(image), HEAD_AT, channel);
  setU64(viewOf(image), HEAD_AT + 8, BASE + stepsAt);
  image.set(code, CODE_AT);
  image.set(table, stepsAt);
  for (const { at, bytes } of blobs.parts) image.set(bytes, at);
  return image;
}

/** Makes the stub; `channel` is the number under which it will find its end of the channel. */
export function makeStub(channel: number, steps: readonly LastStep[]): Fd {
  return sealedProgram("stub", stubImage(channel, steps));
}

/** Becomes the stub, which finds `program`, its argv and env where execve(2) leaves them. Returns only the negative errno of what failed. */
export function becomeStub(file: Fd, kept: readonly Fd[], program: string, argv: readonly string[], env: readonly string[]): number {
  for (const fd of kept) fcntl(fd, F.SETFD, 0);
  const r = execveat(file, ["stub", program, ...argv], env);
  for (const fd of kept) fcntl(fd, F.SETFD, FD.CLOEXEC);
  return r;
}

/**
 * The same for who can do without: where the system has no execveat or its filter forbids the call, the program follows directly,
 * after `alone`.
 */
export function becomeByStub(file: Fd, channel: Fd, program: string, argv: readonly string[], env: readonly string[], alone: () => void): number {
  const r = becomeStub(file, [channel], program, argv, env);
  if (r !== -E.EPERM && r !== -E.ENOSYS) return r;
  alone(); // the call is forbidden
  return execve(program, argv, env);
}

/** The step that loads a filter. */
export function filterStep({ program, flags }: { readonly program: Uint8Array; readonly flags: number }): LastStep {
  return { call: NR.seccomp, args: [SECCOMP.SET_MODE_FILTER, flags, { filter: program }], failed: Failed.FILTER };
}

/** What every list of last steps ends with, after the filter if there is one: the execve closes the channel. */
export function programSteps(channel: number, filter?: { readonly program: Uint8Array; readonly flags: number }): LastStep[] {
  return [
    { call: NR.fcntl, args: [channel, F.SETFD, FD.CLOEXEC] },
    ...(filter === undefined ? [] : [filterStep(filter)]),
    { call: NR.execve, args: [{ of: "path" }, { of: "argv" }, { of: "env" }], failed: Failed.PROGRAM },
  ];
}
