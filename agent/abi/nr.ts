// Linux system call numbers of x86_64, by the names of the kernel's own table (arch/x86/entry/syscalls/syscall_64.tbl).
// A const enum: the bundler puts the numbers in place, so the table costs no byte. The build swaps in the file of its
// architecture; both must name the same calls (test/rules/abi.test.ts).
export const enum NR {
  read = 0, write = 1, close = 3, lseek = 8, mmap = 9, munmap = 11, mprotect = 10, madvise = 28, ioctl = 16, pread64 = 17,
  pwrite64 = 18, readv = 19, writev = 20, pipe2 = 293, dup3 = 292, fcntl = 72, fsync = 74, ftruncate = 77, getdents64 = 217,
  getcwd = 79, chdir = 80, fchdir = 81, umask = 95, getpid = 39, getppid = 110, gettid = 186, getuid = 102, geteuid = 107,
  getgid = 104, getegid = 108, setsid = 112, setpgid = 109, getpgid = 121, kill = 62, tgkill = 234, wait4 = 61, waitid = 247, clone = 56,
  clone3 = 435, execve = 59, execveat = 322, exit = 60, exit_group = 231, openat = 257, openat2 = 437, newfstatat = 262,
  statx = 332, readlinkat = 267, symlinkat = 266, linkat = 265, unlinkat = 263, mkdirat = 258, mknodat = 259, renameat2 = 316,
  fchmod = 91, fchmodat = 268, fchown = 93, fchownat = 260, faccessat2 = 439, utimensat = 280, statfs = 137, fstatfs = 138,
  lgetxattr = 192, lsetxattr = 189, fgetxattr = 193, fsetxattr = 190, setxattr = 188, mount = 165, umount2 = 166,
  pivot_root = 155, chroot = 161, open_tree = 428, move_mount = 429, mount_setattr = 442, fsopen = 430, fsconfig = 431,
  fsmount = 432, fspick = 433, swapon = 167, swapoff = 168, sync = 162, syncfs = 306, unshare = 272, setns = 308,
  sethostname = 170, setdomainname = 171, uname = 63, reboot = 169, settimeofday = 164, clock_gettime = 228, clock_settime = 227,
  getrandom = 318, sysinfo = 99, setresuid = 117, setresgid = 119, setgroups = 116, getgroups = 115, capget = 125, capset = 126,
  prctl = 157, prlimit64 = 302, personality = 135, sched_setattr = 314, sched_setaffinity = 203, sched_getaffinity = 204,
  ioprio_set = 251, set_mempolicy = 238, setpriority = 141, sched_yield = 24, epoll_create1 = 291, epoll_ctl = 233, epoll_pwait = 281,
  eventfd2 = 290, signalfd4 = 289, timerfd_create = 283, timerfd_settime = 286, rt_sigprocmask = 14, rt_sigaction = 13,
  ppoll = 271, pidfd_open = 434, pidfd_send_signal = 424, pidfd_getfd = 438, inotify_init1 = 294, inotify_add_watch = 254,
  inotify_rm_watch = 255, socket = 41, socketpair = 53, bind = 49, listen = 50, accept4 = 288, connect = 42, sendto = 44,
  recvfrom = 45, sendmsg = 46, recvmsg = 47, shutdown = 48, getsockopt = 55, setsockopt = 54, getsockname = 51, getpeername = 52,
  close_range = 436, memfd_create = 319, copy_file_range = 326, sendfile = 40, splice = 275, seccomp = 317, bpf = 321,
  keyctl = 250, finit_module = 313, delete_module = 176, flock = 73,
}
