// The last step of a command line's child. Until its execve a process can be reached as /proc/self/exe, and a container whose
// program is that link (or a script for it) would run the engine's own file and could write to it later (CVE-2019-5736). So the
// child first becomes these few instructions in a sealed memory file: they mark the channel close-on-exec, load the seccomp
// program if there is one, and become the program. What fails is told as two bytes, 0 and the errno. See elf(5), execve(2).
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { F, fcntl } from "../sys/file.js";
import { sealedProgram } from "../sys/memfd.js";
import { execve, execveat } from "../sys/process.js";
import { struct } from "../sys/struct.js";

export interface LastFilter { readonly program: Uint8Array; readonly flags: number }

const BASE = 0x10000;
const EHDR = struct({
  magic: "u32", class: "u8", data: "u8", version: "u8", abi: "u8", _z0: "u64", type: "u16", machine: "u16", version2: "u32", entry: "u64", phoff: "u64", shoff: "u64", flags: "u32", ehsize: "u16", phentsize: "u16",
  phnum: "u16", shentsize: "u16", shnum: "u16", shstrndx: "u16",
});
const PHDR = struct({ type: "u32", flags: "u32", offset: "u64", vaddr: "u64", paddr: "u64", filesz: "u64", memsz: "u64", align: "u64" });
const FPROG = struct({ length: "u64", filter: "u64" }); // struct sock_fprog: u16 and padding, then the pointer
const HEAD = 64 + 56 + 16;

const le32 = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >>> 24) & 255];

/** x86_64. The stack holds argc, argv[0] (unused), argv[1] (the path), argv[2...] (the program's argv), NULL, envp. */
function x86(channel: number, filter: LastFilter | undefined): Uint8Array {
  const call = [0x0f, 0x05];
  const eax = (n: number): number[] => [0xb8, ...le32(n)], edi = (n: number): number[] => [0xbf, ...le32(n)], esi = (n: number): number[] => [0xbe, ...le32(n)], edx = (n: number): number[] => [0xba, ...le32(n)];
  const become = [0x48, 0x8b, 0x7c, 0x24, 0x10, 0x48, 0x8d, 0x74, 0x24, 0x18, 0x48, 0x8b, 0x0c, 0x24, 0x48, 0x8d, 0x54, 0xcc, 0x10, ...eax(59), ...call];
  const load = filter === undefined ? [] : [...eax(317), ...edi(1), ...esi(filter.flags), ...edx(BASE + 120), ...call, 0x85, 0xc0, 0x75, become.length]; // test eax, eax; jnz behind `become`
  const tell = [0xf7, 0xd8, 0xc1, 0xe0, 0x08, 0x50, ...eax(1), ...edi(channel), 0x48, 0x89, 0xe6, ...edx(2), ...call, ...eax(231), ...edi(127), ...call];
  return new Uint8Array([...eax(72), ...edi(channel), ...esi(2), ...edx(1), ...call, ...load, ...become, ...tell]);
}

/** aarch64: the same in its words. */
function arm(channel: number, filter: LastFilter | undefined): Uint8Array {
  const CALL = 0xd4000001;
  const set = (register: number, n: number): number[] => [0xd2800000 | ((n & 0xffff) << 5) | register, 0xf2a00000 | ((n >>> 16) << 5) | register];
  const become = [0xf9400000 | (31 << 5) | 3, 0xf9400800 | (31 << 5), 0x91006000 | (31 << 5) | 1, 0x91004000 | (31 << 5) | 2, 0x8b030c42, ...set(8, 221), CALL];
  const load = filter === undefined ? [] : [...set(8, 277), ...set(0, 1), ...set(1, filter.flags), ...set(2, BASE + 120), CALL, 0xb5000000 | ((become.length + 1) << 5)]; // cbnz x0
  const tell = [0x4b0003e0, 0x53185c00, 0xb81f0fe0, ...set(0, channel), 0x910003e1, ...set(2, 2), ...set(8, 64), CALL, ...set(8, 94), ...set(0, 127), CALL];
  return new Uint8Array(new Int32Array([...set(8, 25), ...set(0, channel), ...set(1, 2), ...set(2, 1), CALL, ...load, ...become, ...tell]).buffer);
}

/** The whole file: ELF header, one segment, struct sock_fprog, code, filter. */
export function stubImage(channel: number, filter: LastFilter | undefined, arch: "x86_64" | "aarch64" = __ARCH__): Uint8Array {
  const code = arch === "x86_64" ? x86(channel, filter) : arm(channel, filter);
  const at = (HEAD + code.length + 7) & ~7;
  const image = new Uint8Array(at + (filter?.program.length ?? 0));
  image.set(EHDR.make({ magic: 0x464c457f, class: 2, data: 1, version: 1, type: 2, machine: arch === "x86_64" ? 62 : 183, version2: 1, entry: BASE + HEAD, phoff: 64, ehsize: 64, phentsize: 56, phnum: 1 }));
  image.set(PHDR.make({ type: 1, flags: 5, vaddr: BASE, paddr: BASE, filesz: image.length, memsz: image.length, align: 4096 }), 64);
  image.set(FPROG.make({ length: (filter?.program.length ?? 0) / 8, filter: BASE + at }), 120);
  image.set(code, HEAD);
  if (filter !== undefined) image.set(filter.program, at);
  return image;
}

/** Makes the stub; `channel` is the number under which it will find its end of the channel. */
export function makeStub(channel: number, filter: LastFilter | undefined): Fd {
  return sealedProgram("stub", stubImage(channel, filter));
}

/**
 * Becomes the program by way of the stub, or without it after `alone`, where the system has no execveat. Returns only the
 * negative errno of what failed before.
 */
export function becomeByStub(file: Fd, channel: Fd, program: string, argv: readonly string[], env: readonly string[], alone: () => void): number {
  fcntl(channel, F.SETFD, 0);
  const r = execveat(file, ["stub", program, ...argv], env);
  fcntl(channel, F.SETFD, 1);
  if (r !== -E.EPERM && r !== -E.ENOSYS) return r;
  alone(); // the call is forbidden
  return execve(program, argv, env);
}
