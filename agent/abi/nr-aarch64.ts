// Linux system call numbers of aarch64, by the names of the kernel's own table (include/uapi/asm-generic/unistd.h).
// A const enum: the bundler puts the numbers in place, so the table costs no byte. The build swaps in the file of its
// architecture; both must name the same calls (test/rules).
export const enum NR {
  read = 63, write = 64, close = 57, lseek = 62, mmap = 222, munmap = 215, mprotect = 226, madvise = 233, ioctl = 29,
  pread64 = 67, pwrite64 = 68, readv = 65, writev = 66, pipe2 = 59, dup3 = 24, fcntl = 25, fsync = 82, ftruncate = 46,
  getdents64 = 61, getcwd = 17, chdir = 49, fchdir = 50, umask = 166, getpid = 172, getppid = 173, gettid = 178, getuid = 174,
  geteuid = 175, getgid = 176, getegid = 177, setsid = 157, setpgid = 154, getpgid = 155, kill = 129, tgkill = 131, wait4 = 260, waitid = 95,
  clone = 220, clone3 = 435, execve = 221, execveat = 281, exit = 93, exit_group = 94, openat = 56, openat2 = 437,
  newfstatat = 79, statx = 291, readlinkat = 78, symlinkat = 36, linkat = 37, unlinkat = 35, mkdirat = 34, mknodat = 33,
  renameat2 = 276, fchmod = 52, fchmodat = 53, fchown = 55, fchownat = 54, faccessat2 = 439, utimensat = 88, statfs = 43,
  fstatfs = 44, lgetxattr = 9, lsetxattr = 6, fgetxattr = 10, fsetxattr = 7, setxattr = 5, mount = 40, umount2 = 39,
  pivot_root = 41, chroot = 51, open_tree = 428, move_mount = 429, mount_setattr = 442, fsopen = 430, fsconfig = 431,
  fsmount = 432, fspick = 433, swapon = 224, swapoff = 225, sync = 81, syncfs = 267, unshare = 97, setns = 268,
  sethostname = 161, setdomainname = 162, uname = 160, reboot = 142, settimeofday = 170, clock_gettime = 113,
  clock_settime = 112, getrandom = 278, sysinfo = 179, setresuid = 147, setresgid = 149, setgroups = 159, getgroups = 158,
  capget = 90, capset = 91, prctl = 167, prlimit64 = 261, personality = 92, sched_setattr = 274, sched_setaffinity = 122,
  sched_getaffinity = 123, ioprio_set = 30, set_mempolicy = 237, setpriority = 140, sched_yield = 124, epoll_create1 = 20, epoll_ctl = 21,
  epoll_pwait = 22, eventfd2 = 19, signalfd4 = 74, timerfd_create = 85, timerfd_settime = 86, rt_sigprocmask = 135,
  rt_sigaction = 134, ppoll = 73, pidfd_open = 434, pidfd_send_signal = 424, pidfd_getfd = 438, inotify_init1 = 26,
  inotify_add_watch = 27, inotify_rm_watch = 28, socket = 198, socketpair = 199, bind = 200, listen = 201, accept4 = 242,
  connect = 203, sendto = 206, recvfrom = 207, sendmsg = 211, recvmsg = 212, shutdown = 210, getsockopt = 209, setsockopt = 208,
  getsockname = 204, getpeername = 205, close_range = 436, memfd_create = 279, copy_file_range = 285, sendfile = 71, splice = 76,
  seccomp = 277, bpf = 280, keyctl = 219, finit_module = 273, delete_module = 106, flock = 32,
}
