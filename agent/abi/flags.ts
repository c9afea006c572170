// Numbers of the kernel's interface by their names in its headers: files, mounts, processes, signals, waiting, sockets, terminals. An
// enum and a member make the name there: MS.RDONLY is MS_RDONLY. All are const enums: the bundler puts the numbers in place, so they
// cost no byte. test/unit/abi holds each to the headers of both architectures. What a filter is made of is in abi/filter.ts, what
// netlink says in abi/rtnl.ts, where the members of structures lie in abi/layouts.ts.
export { ARCH, EM, EpollEvent, O } from "./arch.js";

// ---- files: openat(2), openat2(2), statx(2), inode(7), getdents64(2), fcntl(2), lseek(2), access(2), flock(2), rename(2)
export const enum AT { FDCWD = -100, SYMLINK_NOFOLLOW = 0x100, REMOVEDIR = 0x200, EACCESS = 0x200, SYMLINK_FOLLOW = 0x400, EMPTY_PATH = 0x1000, RECURSIVE = 0x8000 }
export const enum RESOLVE { NO_XDEV = 1, NO_MAGICLINKS = 2, NO_SYMLINKS = 4, BENEATH = 8, IN_ROOT = 0x10 }
export const enum S {
  IFMT = 0o170000, IFSOCK = 0o140000, IFLNK = 0o120000, IFREG = 0o100000, IFBLK = 0o060000, IFDIR = 0o040000, IFCHR = 0o020000, IFIFO = 0o010000,
  ISUID = 0o4000, ISGID = 0o2000, ISVTX = 0o1000,
}
export const enum STATX { TYPE = 1, MODE = 2, BASIC_STATS = 0x7ff, MNT_ID = 0x1000 }
export const enum DT { UNKNOWN = 0, FIFO = 1, CHR = 2, DIR = 4, BLK = 6, REG = 8, LNK = 10, SOCK = 12 }
export const enum F {
  GETFD = 1, SETFD = 2, GETFL = 3, SETFL = 4, DUPFD_CLOEXEC = 1030, SETPIPE_SZ = 1031, ADD_SEALS = 1033, GET_SEALS = 1034,
  SEAL_SEAL = 1, SEAL_SHRINK = 2, SEAL_GROW = 4, SEAL_WRITE = 8,
}
export const enum FD { CLOEXEC = 1 }
export const enum SEEK { SET = 0, END = 2, DATA = 3, HOLE = 4 }
export const enum ACCESS { F_OK = 0, X_OK = 1 }
export const enum LOCK { SH = 1, EX = 2, NB = 4, UN = 8 }
export const enum RENAME { NOREPLACE = 1 }
export const enum MFD { CLOEXEC = 1, ALLOW_SEALING = 2, EXEC = 0x10 }
/** ioctl_iflags(2). */
export const enum FS { IOC_GETFLAGS = 0x80086601, IOC_SETFLAGS = 0x40086602, APPEND_FL = 0x20, IMMUTABLE_FL = 0x10 }
/** Bits of f_flags of statfs(2) that differ from those of mount(2), as statvfs(3) has them. */
export const enum ST { RELATIME = 0x1000 }
/** statfs(2), include/uapi/linux/magic.h. */
export const enum MAGIC {
  CGROUP_SUPER_MAGIC = 0x27e0eb, CGROUP2_SUPER_MAGIC = 0x63677270, DEVPTS_SUPER_MAGIC = 0x1cd1, NSFS_MAGIC = 0x6e736673, PROC_SUPER_MAGIC = 0x9fa0,
  RAMFS_MAGIC = 0x858458f6, SELINUX_MAGIC = 0xf97cff8c, TMPFS_MAGIC = 0x01021994,
}

// ---- mounts: mount(2), umount2(2), open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2)
export const enum MS {
  RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, SYNCHRONOUS = 0x10, REMOUNT = 0x20, MANDLOCK = 0x40, DIRSYNC = 0x80, NOSYMFOLLOW = 0x100,
  NOATIME = 0x400, NODIRATIME = 0x800, BIND = 0x1000, MOVE = 0x2000, REC = 0x4000, SILENT = 0x8000, UNBINDABLE = 0x20000, PRIVATE = 0x40000,
  SLAVE = 0x80000, SHARED = 0x100000, RELATIME = 0x200000, I_VERSION = 0x800000, STRICTATIME = 0x1000000, LAZYTIME = 0x2000000,
}
export const enum MNT { FORCE = 1, DETACH = 2 }
export const enum UMOUNT { NOFOLLOW = 8 }
export const enum OPEN_TREE { CLONE = 1, CLOEXEC = 0o2000000 }
export const enum MOVE_MOUNT { F_EMPTY_PATH = 4, T_EMPTY_PATH = 0x40 }
export const enum MOUNT_ATTR { RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, NOATIME = 0x10, STRICTATIME = 0x20, _ATIME = 0x70, NODIRATIME = 0x80, IDMAP = 0x100000, NOSYMFOLLOW = 0x200000 }
export const enum FSOPEN { CLOEXEC = 1 }
export const enum FSMOUNT { CLOEXEC = 1 }
export const enum FSCONFIG { SET_FLAG = 0, SET_STRING = 1, CMD_CREATE = 6 }

// ---- processes: clone3(2), ioctl_ns(2), wait4(2), prctl(2), capset(2), getrlimit(2), keyctl(2)
export const enum CLONE {
  NEWTIME = 0x80, FILES = 0x400, PIDFD = 0x1000, PARENT = 0x8000, NEWNS = 0x20000, NEWCGROUP = 0x2000000, NEWUTS = 0x4000000, NEWIPC = 0x8000000,
  NEWUSER = 0x10000000, NEWPID = 0x20000000, NEWNET = 0x40000000, CLEAR_SIGHAND = 0x100000000, INTO_CGROUP = 0x200000000,
}
export const enum NS { GET_PARENT = 0xb702, GET_NSTYPE = 0xb703 }
export const enum WAIT { WNOHANG = 1, __WALL = 0x40000000 }
export const enum PR {
  SET_PDEATHSIG = 1, SET_DUMPABLE = 4, SET_KEEPCAPS = 8, CAPBSET_DROP = 24, SET_CHILD_SUBREAPER = 36, SET_NO_NEW_PRIVS = 38,
  CAP_AMBIENT = 47, CAP_AMBIENT_RAISE = 2, CAP_AMBIENT_CLEAR_ALL = 4,
}
export const enum CAPABILITY { _LINUX_CAPABILITY_VERSION_3 = 0x20080522 }
export const enum CAP { SYS_PTRACE = 19, SYS_ADMIN = 21 }
export const enum RLIMIT { DATA = 2, NOFILE = 7 }
export const enum KEYCTL { JOIN_SESSION_KEYRING = 1, SETPERM = 5, DESCRIBE = 6 }
/** Rights over a key, of include/linux/key.h: "search" for its user and for everybody. */
export const enum KEY { USR_SEARCH = 0x80000, OTH_SEARCH = 0x8 }

// ---- how a thread runs: sched_setattr(2), ioprio_set(2), personality(2), set_mempolicy(2)
export const enum SCHED {
  NORMAL = 0, FIFO = 1, RR = 2, BATCH = 3, ISO = 4, IDLE = 5, DEADLINE = 6, FLAG_RESET_ON_FORK = 1, FLAG_RECLAIM = 2, FLAG_DL_OVERRUN = 4,
  FLAG_KEEP_POLICY = 8, FLAG_KEEP_PARAMS = 0x10, FLAG_UTIL_CLAMP_MIN = 0x20, FLAG_UTIL_CLAMP_MAX = 0x40, ATTR_SIZE_VER0 = 48,
}
export const enum IOPRIO { WHO_PROCESS = 1, CLASS_RT = 1, CLASS_BE = 2, CLASS_IDLE = 3, CLASS_SHIFT = 13 }
export const enum PER { LINUX = 0, LINUX32 = 8 }
export const enum MPOL {
  DEFAULT = 0, PREFERRED = 1, BIND = 2, INTERLEAVE = 3, LOCAL = 4, PREFERRED_MANY = 5, WEIGHTED_INTERLEAVE = 6,
  F_NUMA_BALANCING = 0x2000, F_RELATIVE_NODES = 0x4000, F_STATIC_NODES = 0x8000,
}

// ---- signals and waiting: signal(7), sigprocmask(2), poll(2), epoll_ctl(2), inotify(7)
export const enum SIG {
  HUP = 1, INT = 2, QUIT = 3, ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, USR1 = 10, SEGV = 11, PIPE = 13, TERM = 15, CHLD = 17, CONT = 18, STOP = 19,
  USR2 = 12, URG = 23, WINCH = 28, SYS = 31,
}
export const enum SIGMASK { BLOCK = 0, UNBLOCK = 1, SETMASK = 2 }
export const enum POLL { IN = 1, ERR = 8, HUP = 0x10, NVAL = 0x20 }
export const enum EPOLL { IN = 1, PRI = 2, OUT = 4, ERR = 8, HUP = 0x10, RDHUP = 0x2000, ONESHOT = 0x40000000, ET = 0x80000000 }
export const enum EPOLL_CTL { ADD = 1, DEL = 2, MOD = 3 }
export const enum IN { MODIFY = 2, CREATE = 0x100, DELETE = 0x200, DELETE_SELF = 0x400, Q_OVERFLOW = 0x4000, IGNORED = 0x8000 }

// ---- sockets: socket(2), unix(7), vsock(7), send(2), recv(2), netdevice(7)
export const enum AF { UNIX = 1, INET = 2, INET6 = 10, NETLINK = 16, VSOCK = 40 }
export const enum SOCK { STREAM = 1, DGRAM = 2, RAW = 3, SEQPACKET = 5, NONBLOCK = 0o4000, CLOEXEC = 0o2000000 }
export const enum SOL { SOCKET = 1, NETLINK = 270 }
export const enum SCM { RIGHTS = 1 }
export const enum MSG { PEEK = 2, TRUNC = 0x20, DONTWAIT = 0x40, NOSIGNAL = 0x4000, CMSG_CLOEXEC = 0x40000000 }
export const enum SHUT { RD = 0, WR = 1, RDWR = 2 }
export const enum VMADDR { CID_ANY = 0xffffffff, CID_HOST = 2 }

// ---- terminals and other devices: ioctl_tty(2), termios(3), random(4), netdevice(7)
export const enum IOCTL {
  TCGETS = 0x5401, TCSETS = 0x5402, TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414, FIONREAD = 0x541b,
  TIOCGPTN = 0x80045430, TIOCSPTLCK = 0x40045431, TIOCGPTPEER = 0x5441, RNDADDENTROPY = 0x40085203, RNDRESEEDCRNG = 0x5207,
  SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914,
}
/** Bits of c_iflag, c_oflag, c_cflag and c_lflag, and places in c_cc. */
export const enum TERMIOS {
  IGNBRK = 1, BRKINT = 2, PARMRK = 0o10, ISTRIP = 0o40, INLCR = 0o100, IGNCR = 0o200, ICRNL = 0o400, IXON = 0o2000, OPOST = 1, ONLCR = 4,
  CSIZE = 0o60, CS8 = 0o60, PARENB = 0o400, ISIG = 1, ICANON = 2, ECHO = 0o10, ECHONL = 0o100, IEXTEN = 0o100000, VEOF = 4,
}

// ---- programs: elf(5)
/** The magic number as a word; class, data, version and type of a program; type and flags of a segment. */
export const enum ELF { MAGIC = 0x464c457f, ELFCLASS64 = 2, ELFDATA2LSB = 1, EV_CURRENT = 1, ET_EXEC = 2, PT_LOAD = 1, PF_R = 4, PF_X = 1 }

// ---- the machine: clock_gettime(2), reboot(2)
export const enum CLOCK { REALTIME = 0, MONOTONIC = 1, BOOTTIME = 7 }
export const enum LINUX_REBOOT { MAGIC1 = 0xfee1dead, MAGIC2 = 0x28121969, CMD_RESTART = 0x01234567, CMD_POWER_OFF = 0x4321fedc, CMD_HALT = 0xcdef0123 }
