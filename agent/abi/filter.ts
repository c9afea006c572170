// What filters are made of: seccomp(2), classic and extended BPF (include/uapi/linux/{bpf_common,bpf,seccomp,audit}.h). See abi/flags.ts.

export const enum SECCOMP {
  SET_MODE_FILTER = 1, FILTER_FLAG_TSYNC = 1, FILTER_FLAG_LOG = 2, FILTER_FLAG_SPEC_ALLOW = 4, FILTER_FLAG_NEW_LISTENER = 8, FILTER_FLAG_WAIT_KILLABLE_RECV = 0x20,
  RET_KILL_PROCESS = 0x80000000, RET_KILL_THREAD = 0, RET_TRAP = 0x30000, RET_ERRNO = 0x50000, RET_USER_NOTIF = 0x7fc00000, RET_TRACE = 0x7ff00000, RET_LOG = 0x7ffc0000,
  RET_ALLOW = 0x7fff0000, RET_ACTION_FULL = 0xffff0000, RET_DATA = 0xffff,
}
export const enum AUDIT_ARCH {
  I386 = 0x40000003, X86_64 = 0xc000003e, ARM = 0x40000028, AARCH64 = 0xc00000b7, MIPS = 8, MIPS64 = 0x80000008, MIPS64N32 = 0xa0000008, MIPSEL = 0x40000008,
  MIPSEL64 = 0xc0000008, MIPSEL64N32 = 0xe0000008, PPC = 20, PPC64 = 0x80000015, PPC64LE = 0xc0000015, S390 = 22, S390X = 0x80000016, RISCV64 = 0xc00000f3,
  PARISC = 15, PARISC64 = 0x8000000f, LOONGARCH64 = 0xc0000102, M68K = 4,
}
/** x86's bit of the calls with narrow pointers (arch/x86/include/uapi/asm/unistd.h), and libseccomp's token for them. */
export const enum X32 { SYSCALL_BIT = 0x40000000, TOKEN = 0x4000003e }

/** Instructions of classic BPF: class, size or operation, mode or source. */
export const enum BPF_CODE {
  LD_W_ABS = 0x20, LD_IMM = 0x00, LD_MEM = 0x60, ST = 0x02, AND_K = 0x54, JA = 0x05, JEQ_K = 0x15, JGT_K = 0x25, JGE_K = 0x35, JSET_K = 0x45, RET_K = 0x06, RET_A = 0x16,
}
/** Instructions of extended BPF. */
export const enum EBPF_CODE { LDX_W = 0x61, MOV_K = 0xb7, MOV_X = 0xbf, AND_K = 0x57, RSH_K = 0x77, JNE_K = 0x55, JNE_X = 0x5d, JEQ_K = 0x15, EXIT = 0x95 }
/** bpf(2). */
export const enum BPF {
  MAXINSNS = 4096, MEMWORDS = 16, PROG_LOAD = 5, PROG_ATTACH = 8, PROG_DETACH = 9, PROG_GET_FD_BY_ID = 13, PROG_QUERY = 16, PROG_TYPE_CGROUP_DEVICE = 15, CGROUP_DEVICE = 6,
  F_ALLOW_MULTI = 2, F_REPLACE = 4, DEVCG_ACC_MKNOD = 1, DEVCG_ACC_READ = 2, DEVCG_ACC_WRITE = 4, DEVCG_DEV_BLOCK = 1, DEVCG_DEV_CHAR = 2,
}
