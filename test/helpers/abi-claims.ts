// What agent/abi and the structures of the agent claim about the kernel's interface, each as an expression of C and its value: every
// member of every enum there, every struct({...}) in the agent. A name that no table here knows is checked under its own name, so
// whatever is added is checked too.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";
import * as errno from "../../agent/abi/errno.js";
import * as filter from "../../agent/abi/filter.js";
import * as flags from "../../agent/abi/flags.js";
import * as layouts from "../../agent/abi/layouts.js";
import * as nrX86 from "../../agent/abi/nr.js";
import * as nrArm from "../../agent/abi/nr-aarch64.js";
import * as archArm from "../../agent/abi/arch-aarch64.js";
import * as archX86 from "../../agent/abi/arch.js";
import * as rtnl from "../../agent/abi/rtnl.js";
import { LAST_CAP } from "../../agent/oci/caps.js";
import { rlimitNumber } from "../../agent/oci/check-process.js";
import { struct } from "../../agent/sys/struct.js";

export type Arch = "x86_64" | "aarch64";
/** `libc`: the C library's headers name it, the kernel's do not. `newer`: headers that are older do not know it, and that is no fault. */
export interface Claim { readonly what: string; readonly expression: string; readonly value: number; readonly libc: boolean; readonly newer: boolean }

const agent = resolve(import.meta.dirname, "../../agent");
type Enum = Readonly<Record<string, number>>;
/** What belongs to one architecture, by the name of the enum. */
export const OF_ARCH: Readonly<Record<Arch, Readonly<Record<string, Enum>>>> = {
  x86_64: { ...nrX86, ...archX86 } as never,
  aarch64: { ...nrArm, ...archArm } as never,
};

/** What a member's name in the headers begins with, where that is not the enum's name and "_". */
const PREFIX: Readonly<Record<string, string>> = {
  E: "", NR: "__NR_", SIG: "SIG", SIGMASK: "SIG_", POLL: "POLL", EPOLL: "EPOLL", ACCESS: "", MAGIC: "", WAIT: "", CAPABILITY: "", IOCTL: "", TERMIOS: "", IF: "IF", ELF: "",
};
/** Instructions are put together of the parts of their names. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  LD_W_ABS: ["LD", "W", "ABS"], LD_IMM: ["LD", "IMM"], LD_MEM: ["LD", "MEM"], ST: ["ST"], AND_K: ["ALU", "AND", "K"], JA: ["JMP", "JA"], JEQ_K: ["JMP", "JEQ", "K"], JGT_K: ["JMP", "JGT", "K"],
  JGE_K: ["JMP", "JGE", "K"], JSET_K: ["JMP", "JSET", "K"], RET_K: ["RET", "K"], RET_A: ["RET", "A"],
};
const EXTENDED_PARTS: Readonly<Record<string, readonly string[]>> = {
  LDX_W: ["LDX", "MEM", "W"], MOV_K: ["ALU64", "MOV", "K"], MOV_X: ["ALU64", "MOV", "X"], AND_K: ["ALU64", "AND", "K"], RSH_K: ["ALU64", "RSH", "K"], JNE_K: ["JMP", "JNE", "K"], JNE_X: ["JMP", "JNE", "X"],
  JEQ_K: ["JMP", "JEQ", "K"], EXIT: ["JMP", "EXIT"],
};
const bpf = (parts: readonly string[] | undefined): string | undefined => parts?.map((part) => `BPF_${part}`).join(" | ");
/** Other expressions; "" where no header has it: what is left unchecked, and why. */
const EXPRESSION: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(PARTS).map(([name, parts]) => [`BPF_CODE.${name}`, bpf(parts) as string])),
  ...Object.fromEntries(Object.entries(EXTENDED_PARTS).map(([name, parts]) => [`EBPF_CODE.${name}`, bpf(parts) as string])),
  "NLA.TYPE_MASK": "NLA_TYPE_MASK & 0xffff",
  "ELF.MAGIC": "ELFMAG0 | ELFMAG1 << 8 | ELFMAG2 << 16 | ELFMAG3 << 24",
  "KEY.USR_SEARCH": "", "KEY.OTH_SEARCH": "", // include/linux/key.h, which is the kernel's own
  "SCHED.ISO": "", // "reserved but not implemented yet": a comment
  "X32.TOKEN": "", "ARCH.NARROW": "", "X32.SYSCALL_BIT": "", // libseccomp's; x86 alone has the bit
};
const OF_ONE_ARCH: Readonly<Record<Arch, Readonly<Record<string, string>>>> = {
  x86_64: { "ARCH.NATIVE": "AUDIT_ARCH_X86_64", "ARCH.SIBLING": "AUDIT_ARCH_I386", "X32.SYSCALL_BIT": "__X32_SYSCALL_BIT", "EM.NATIVE": "EM_X86_64" },
  aarch64: { "ARCH.NATIVE": "AUDIT_ARCH_AARCH64", "ARCH.SIBLING": "AUDIT_ARCH_ARM", "EM.NATIVE": "EM_AARCH64" },
};
/** What the C library tells of. linux/if.h itself asks for the library's sockets. */
const LIBC = ["AF", "SOCK", "SOL", "SCM", "MSG", "SHUT", "DT", "ACCESS", "MNT", "UMOUNT", "ST", "IF", "IFF", "Ifreq"];
const NEWER = ["MFD.EXEC", "MPOL.WEIGHTED_INTERLEAVE"]; // Linux 6.3, 6.9

function ofEnums(arch: Arch): Claim[] {
  const enums: Readonly<Record<string, Enum>> = { ...errno, ...filter, ...flags, ...rtnl, ...OF_ARCH[arch] } as never;
  const claims: Claim[] = [];
  for (const [name, members] of Object.entries(enums)) {
    if (name in STRUCTURES) continue;
    for (const [member, value] of membersOf(members)) {
      const full = `${name}.${member}`;
      const expression = OF_ONE_ARCH[arch][full] ?? EXPRESSION[full] ?? `${PREFIX[name] ?? `${name}_`}${member}`;
      if (expression !== "") claims.push({ what: full, expression, value, libc: LIBC.includes(name), newer: NEWER.includes(full) });
    }
  }
  return claims;
}

/** The names of an enum with their numbers; a number's way back to its name is left out. */
export const membersOf = (members: Enum): [string, number][] => Object.entries(members).filter((entry): entry is [string, number] => typeof entry[1] === "number");

/** The enums of agent/abi/layouts.ts: the structure, and what its members' names begin with there. */
const STRUCTURES: Readonly<Record<string, string>> = {
  OpenHow: "struct open_how", Statx: "struct statx", LinuxDirent64: "struct linux_dirent64", MountAttr: "struct mount_attr", Termios: "struct termios", Rlimit64: "struct rlimit64",
  KernelTimespec: "struct __kernel_timespec", Timeval: "struct timeval", Pollfd: "struct pollfd", Sigaction: "struct sigaction", Sigset: "sigset_t", SignalfdSiginfo: "struct signalfd_siginfo",
  InotifyEvent: "struct inotify_event", Ifreq: "struct ifreq", CapData: "struct __user_cap_data_struct", Statfs: "struct statfs", SockaddrUn: "struct sockaddr_un",
  SockaddrStorage: "struct __kernel_sockaddr_storage", SockFilter: "struct sock_filter", SockFprog: "struct sock_fprog", SeccompData: "struct seccomp_data", ScmpArgCmp: "", BpfInsn: "struct bpf_insn",
  BpfCgroupDevCtx: "struct bpf_cgroup_dev_ctx", BpfAttr: "union bpf_attr", Elf64Ehdr: "Elf64_Ehdr", Elf64Phdr: "Elf64_Phdr", EpollEvent: "struct epoll_event",
};

function ofLayouts(arch: Arch): Claim[] {
  const enums: Readonly<Record<string, Enum>> = { ...layouts, EpollEvent: OF_ARCH[arch]["EpollEvent"] } as never;
  return Object.entries(enums).flatMap(([name, members]) => {
    const type = STRUCTURES[name];
    if (type === undefined) throw new Error(`agent/abi/layouts.ts: ${name} has no structure in test/helpers/abi-claims.ts`);
    if (type === "") return []; // libseccomp's
    return membersOf(members).map(([member, value]) => ({ what: `${name}.${member}`, expression: member === "SIZE" ? `sizeof(${type})` : `__builtin_offsetof(${type}, ${member})`, value, libc: LIBC.includes(name), newer: false }));
  });
}

/** A structure of the agent: C's, what its members' names begin with, those that are called otherwise, and those that lie in a wider member or have padding behind them. `part`: only its beginning. */
interface Twin { readonly c: string; readonly prefix?: string; readonly names?: Readonly<Record<string, string>>; readonly wide?: readonly string[]; readonly libc?: true; readonly part?: true }
const TWINS: Readonly<Record<string, Twin>> = {
  "sys/process.ts ARGS": { c: "struct clone_args" },
  "sys/file.ts STATFS": { c: "struct statfs", prefix: "f_", part: true },
  "sys/netlink.ts SOCKADDR_NL": { c: "struct sockaddr_nl", prefix: "nl_" },
  "sys/schedule.ts SCHED_ATTR": { c: "struct sched_attr", prefix: "sched_", names: { size: "size" } },
  "sys/socket.ts SOCKADDR_VM": { c: "struct sockaddr_vm", prefix: "svm_", names: { reserved: "svm_reserved1" } },
  "sys/socket.ts MSGHDR": { c: "struct msghdr", prefix: "msg_", names: { nameLength: "msg_namelen", iovCount: "msg_iovlen", controlLength: "msg_controllen" }, wide: ["nameLength", "flags"], libc: true },
  "sys/socket.ts IOVEC": { c: "struct iovec", prefix: "iov_", names: { length: "iov_len" } },
  "sys/socket.ts CMSGHDR": { c: "struct cmsghdr", prefix: "cmsg_", names: { length: "cmsg_len" }, libc: true },
  "sys/poll.ts fd events revents": { c: "struct pollfd" },
  "sys/poll.ts sec nsec": { c: "struct __kernel_timespec", prefix: "tv_" },
  "engine/child/exec-stub.ts EHDR": { c: "Elf64_Ehdr", prefix: "e_", names: { magic: "e_ident[0]", class: "e_ident[4]", data: "e_ident[5]", version: "e_ident[6]", abi: "e_ident[7]", version2: "e_version" }, wide: ["magic"] },
  "engine/child/exec-stub.ts PHDR": { c: "Elf64_Phdr", prefix: "p_" },
  "engine/child/exec-stub.ts FPROG": { c: "struct sock_fprog", names: { length: "len" }, wide: ["length"] },
  "lib/rtnl-message.ts IFINFOMSG": { c: "struct ifinfomsg", prefix: "ifi_" },
  "lib/rtnl-message.ts IFADDRMSG": { c: "struct ifaddrmsg", prefix: "ifa_" },
  "lib/rtnl-message.ts RTMSG": { c: "struct rtmsg", prefix: "rtm_", names: { dstLen: "rtm_dst_len", srcLen: "rtm_src_len" } },
  "lib/rtnl-message.ts NDMSG": { c: "struct ndmsg", prefix: "ndm_" },
  "lib/rtnl-message.ts HEADER": { c: "struct nlmsghdr", prefix: "nlmsg_" },
};
const WIDTH: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, i64: 8 };
const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/** Every `struct({...})` of the agent by its file and name, or its members' names where it has none. */
export function structures(): Map<string, Readonly<Record<string, string>>> {
  const found = new Map<string, Readonly<Record<string, string>>>();
  for (const entry of readdirSync(agent, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.name.endsWith(".ts") || entry.name.endsWith(".d.ts")) continue;
    const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true);
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node) && node.expression.getText() === "struct") {
        const literal = node.arguments[0] as ts.ObjectLiteralExpression;
        const fields = Object.fromEntries(literal.properties.map((p) => [p.name?.getText() ?? "", ((p as ts.PropertyAssignment).initializer as ts.StringLiteral).text]));
        const name = ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : Object.keys(fields).join(" ");
        found.set(`${relative(agent, path)} ${name}`, fields);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

function ofStructures(): Claim[] {
  return [...structures()].flatMap(([where, fields]) => {
    const twin = TWINS[where];
    if (twin === undefined) throw new Error(`agent/${where} has no structure of C in test/helpers/abi-claims.ts`);
    const { size, offset } = struct(fields as never);
    const claim = (what: string, expression: string, value: number): Claim => ({ what: `${where}: ${what}`, expression, value, libc: twin.libc === true, newer: false });
    return [
      ...(twin.part === true ? [] : [claim("size", `sizeof(${twin.c})`, size)]),
      ...Object.entries(fields).filter(([name]) => !name.startsWith("_")).flatMap(([name, type]) => {
        const member = twin.names?.[name] ?? `${twin.prefix ?? ""}${snake(name)}`;
        const at = claim(name, `__builtin_offsetof(${twin.c}, ${member})`, (offset as Record<string, number>)[name] as number);
        return twin.wide?.includes(name) === true ? [at] : [at, claim(`width of ${name}`, `sizeof(((${twin.c} *)0)->${member})`, WIDTH[type] as number)];
      }),
    ];
  });
}

const LIMITS = ["CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"];

/** All that the agent claims on this architecture. */
export function claims(arch: Arch): Claim[] {
  const more = (what: string, expression: string, value: number): Claim => ({ what, expression, value, libc: false, newer: false });
  return [
    ...ofEnums(arch), ...ofLayouts(arch), ...ofStructures(),
    ...LIMITS.map((name) => more(`limit ${name}`, `RLIMIT_${name}`, rlimitNumber(`RLIMIT_${name}`))),
    more("number of limits", "RLIM_NLIMITS", LIMITS.length), more("the last capability", "CAP_LAST_CAP", LAST_CAP),
  ];
}

/** Instead of <sys/socket.h>, which linux/vm_sockets.h asks for and which does not go together with the kernel's headers. */
const STAND_IN = `#define _SYS_SOCKET_H 1
typedef unsigned short sa_family_t;
struct sockaddr { sa_family_t sa_family; char sa_data[14]; };
`;
const KERNEL = `${STAND_IN}#include <linux/types.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
${["asm/unistd", "asm/errno", "asm/signal", "asm/termbits", "asm/termios", "asm/ioctls", "asm/socket", "asm/statfs", "asm/poll", "linux/audit", "linux/bpf", "linux/bpf_common", "linux/capability", "linux/elf", "linux/elf-em",
    "linux/eventpoll", "linux/filter", "linux/fs", "linux/if_addr", "linux/if_link", "linux/inotify", "linux/ioprio", "linux/keyctl", "linux/magic", "linux/memfd", "linux/mempolicy", "linux/mount", "linux/neighbour", "linux/netlink",
    "linux/nsfs", "linux/openat2", "linux/personality", "linux/prctl", "linux/random", "linux/reboot", "linux/resource", "linux/rtnetlink", "linux/sched", "linux/sched/types", "linux/seccomp", "linux/signalfd", "linux/socket", "linux/sockios",
    "linux/time", "linux/time_types", "linux/uio", "linux/un", "linux/vm_sockets", "linux/wait"].map((name) => `#include <${name}.h>`).join("\n")}
/* getdents64(2): in no header */
struct linux_dirent64 { __u64 d_ino; __s64 d_off; unsigned short d_reclen; unsigned char d_type; char d_name[]; };
`;
const LIBRARY = `#define _GNU_SOURCE
${["dirent", "net/if", "sys/mount", "sys/statvfs", "sys/socket", "unistd"].map((name) => `#include <${name}.h>`).join("\n")}
`;

/**
 * A unit of C that compiles only where every claim holds. Each is told apart by the "file" that an error is in: the claim's number.
 * `libc`: those that the C library's headers tell of, which do not go together with the kernel's.
 */
export function probe(all: readonly Claim[], libc: boolean): string {
  const lines = all.flatMap((claim, i) => (claim.libc === libc ? `#line 1 "claim ${i} "\n_Static_assert((long long)(${claim.expression}) == ${claim.value}LL, "");` : []));
  return `${libc ? LIBRARY : KERNEL}${lines.join("\n")}\n`;
}

/** The claims that a compiler's errors are about, in words; `other`: errors that are about none. */
export function untrue(all: readonly Claim[], errors: string): { readonly claims: readonly string[]; readonly other: readonly string[] } {
  const wrong = new Map<Claim, string>();
  const other: string[] = [];
  for (const line of errors.split("\n").filter((l) => l.includes("error:"))) {
    const claim = all[Number(/^claim (\d+) :/.exec(line)?.[1] ?? -1)];
    if (claim === undefined) other.push(line);
    else if (!wrong.has(claim)) wrong.set(claim, line.includes("undeclared") || line.includes("has no member") ? "is not known to the headers" : `is not ${claim.value}`);
  }
  const told = [...wrong].filter(([{ newer }, how]) => !(newer && how.startsWith("is not known")));
  return { claims: told.map(([{ what, expression }, how]) => `${what}: ${expression} ${how}`), other };
}
