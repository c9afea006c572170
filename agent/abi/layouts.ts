// Where the members of the kernel's structures lie, in bytes, and how large the structures are, for those that are read or written by
// place and not by sys/struct.ts. An enum is a structure's name without underscores, a member C's own. See abi/flags.ts.

/** openat2(2). */
export const enum OpenHow { SIZE = 24, flags = 0, mode = 8, resolve = 16 }
/** statx(2). */
export const enum Statx {
  SIZE = 256, stx_nlink = 16, stx_uid = 20, stx_gid = 24, stx_mode = 28, stx_ino = 32, stx_size = 40, "stx_ctime.tv_sec" = 96, "stx_ctime.tv_nsec" = 104,
  "stx_mtime.tv_sec" = 112, "stx_mtime.tv_nsec" = 120, stx_rdev_major = 128, stx_rdev_minor = 132, stx_dev_major = 136, stx_dev_minor = 140, stx_mnt_id = 144,
}
/** getdents64(2). */
export const enum LinuxDirent64 { d_reclen = 16, d_type = 18, d_name = 19 }
/** mount_setattr(2). */
export const enum MountAttr { SIZE = 32, attr_set = 0, attr_clr = 8, propagation = 16, userns_fd = 24 }
/** ioctl_tty(2): the kernel's, which is smaller than the C library's. */
export const enum Termios { SIZE = 36, c_iflag = 0, c_oflag = 4, c_cflag = 8, c_lflag = 12, c_cc = 17 }
/** getrlimit(2). */
export const enum Rlimit64 { SIZE = 16, rlim_cur = 0, rlim_max = 8 }
/** clock_gettime(2), ppoll(2); all members are 64 bits wide. */
export const enum KernelTimespec { SIZE = 16, tv_sec = 0, tv_nsec = 8 }
/** settimeofday(2); both members are 64 bits wide. */
export const enum Timeval { SIZE = 16, tv_sec = 0, tv_usec = 8 }
/** poll(2). */
export const enum Pollfd { SIZE = 8, fd = 0, events = 4, revents = 6 }
/** rt_sigaction(2): the kernel's. */
export const enum Sigaction { SIZE = 32 }
/** signal(7): what the kernel's calls are told of the size of a set. */
export const enum Sigset { SIZE = 8 }
/** signalfd(2). */
export const enum SignalfdSiginfo { SIZE = 128, ssi_signo = 0, ssi_pid = 12 }
/** inotify(7). */
export const enum InotifyEvent { SIZE = 16, wd = 0, mask = 4, cookie = 8, len = 12 }
/** netdevice(7). */
export const enum Ifreq { SIZE = 40, ifr_name = 0, ifr_flags = 16 }
/** capset(2), version 3: two of the data. */
export const enum CapData { SIZE = 12, effective = 0, permitted = 4, inheritable = 8 }
/** statfs(2): the whole; what is read of it is in sys/file.ts. */
export const enum Statfs { SIZE = 120 }
/** unix(7). */
export const enum SockaddrUn { SIZE = 110, sun_path = 2 }
/** socket(2): room for any address. */
export const enum SockaddrStorage { SIZE = 128 }

/** seccomp(2). */
export const enum SockFilter { SIZE = 8, code = 0, jt = 2, jf = 3, k = 4 }
export const enum SockFprog { SIZE = 16, len = 0, filter = 8 }
export const enum SeccompData { SIZE = 64, nr = 0, arch = 4, instruction_pointer = 8, args = 16 }
/** seccomp_rule_add(3), libseccomp's. */
export const enum ScmpArgCmp { SIZE = 24, arg = 0, op = 4, datum_a = 8, datum_b = 16 }
/** bpf(2): an instruction of extended BPF, the context of a device program, and the arguments of the calls that the agent makes. */
export const enum BpfInsn { SIZE = 8, code = 0, off = 2, imm = 4 }
export const enum BpfCgroupDevCtx { access_type = 0, major = 4, minor = 8 }
export const enum BpfAttr {
  prog_type = 0, insn_cnt = 4, insns = 8, license = 16,
  target_fd = 0, attach_bpf_fd = 4, attach_type = 8, attach_flags = 12, replace_bpf_fd = 16,
  prog_id = 0, "query.target_fd" = 0, "query.attach_type" = 4, "query.prog_ids" = 16, "query.prog_cnt" = 24,
}
/** elf(5). */
export const enum Elf64Ehdr { SIZE = 64 }
export const enum Elf64Phdr { SIZE = 56 }

/** The arguments of sched_setattr(2), times in nanoseconds. */
export interface SchedAttr {
  readonly policy: number;
  readonly flags: number;
  readonly nice: number;
  readonly priority: number;
  readonly runtime: number | bigint;
  readonly deadline: number | bigint;
  readonly period: number | bigint;
}
