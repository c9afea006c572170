// What of the kernel's interface is x86_64's own; abi/arch-aarch64.ts is its twin, and the build takes one of them (test/unit/abi holds
// both to the same names and to the kernel's headers). Others import it as part of abi/flags.ts.

/** openat(2), arch/x86/include/uapi/asm and include/uapi/asm-generic/fcntl.h. */
export const enum O {
  RDONLY = 0, WRONLY = 1, RDWR = 2, CREAT = 0o100, EXCL = 0o200, NOCTTY = 0o400, TRUNC = 0o1000, APPEND = 0o2000, NONBLOCK = 0o4000,
  DIRECTORY = 0o200000, NOFOLLOW = 0o400000, CLOEXEC = 0o2000000, PATH = 0o10000000, TMPFILE = 0o20200000,
}
/** struct epoll_event (epoll_ctl(2)) is packed here, and only here. */
export const enum EpollEvent { SIZE = 12, events = 0, data = 4 }
/**
 * Tokens of the machine's calls in a filter (include/uapi/linux/audit.h): its own; those of the same machine with numbers of their
 * own, i386; and those with narrow pointers, x32, which is libseccomp's number.
 */
export const enum ARCH { NATIVE = 0xc000003e, SIBLING = 0x40000003, NARROW = 0x4000003e }
/** e_machine of elf(5). */
export const enum EM { NATIVE = 62 }
