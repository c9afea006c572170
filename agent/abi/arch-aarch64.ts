// What of the kernel's interface is aarch64's own; see abi/arch.ts.

/** openat(2), arch/arm64/include/uapi/asm/fcntl.h. */
export const enum O {
  RDONLY = 0, WRONLY = 1, RDWR = 2, CREAT = 0o100, EXCL = 0o200, NOCTTY = 0o400, TRUNC = 0o1000, APPEND = 0o2000, NONBLOCK = 0o4000,
  DIRECTORY = 0o40000, NOFOLLOW = 0o100000, CLOEXEC = 0o2000000, PATH = 0o10000000, TMPFILE = 0o20040000,
}
/** struct epoll_event (epoll_ctl(2)). */
export const enum EpollEvent { SIZE = 16, events = 0, data = 8 }
/** Tokens of the machine's calls in a filter: its own, those of 32-bit ARM; there are none with narrow pointers, so that is its own again. */
export const enum ARCH { NATIVE = 0xc00000b7, SIBLING = 0x40000028, NARROW = 0xc00000b7 }
/** e_machine of elf(5). */
export const enum EM { NATIVE = 183 }
