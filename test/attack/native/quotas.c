// Takes as much as there is of what the kernel counts for a user or for the machine, in as many processes as that needs, and keeps it.
#include "hostile.h"
#include <mqueue.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static long *taken;   // of all processes; shared
static long most = 1L << 40; // one process takes no more

/** One more. False when it is enough. */
static int more(void) {
  static long own;
  __atomic_add_fetch(taken, 1, __ATOMIC_RELAXED);
  return ++own < most;
}

/**
 * Runs `take` in up to `processes` children until one takes nothing more; each keeps what it has. One that is ended for lack of memory
 * has lost all: the next ones take half as much.
 */
static long in_many(int processes, void (*take)(void)) {
  struct rlimit limit = {1 << 20, 1 << 20};
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  taken = mmap(NULL, sizeof *taken, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < processes; i++) {
    int ends[2];
    char byte;
    long before = *taken;
    if (pipe(ends) < 0) break;
    pid_t pid = fork();
    if (pid < 0) break;
    if (pid == 0) {
      close(ends[0]);
      put("/proc/self/oom_score_adj", "1000");
      take();
      if (write(ends[1], "", 1) < 0) _exit(1);
      close(ends[1]);
      for (;;) pause();
    }
    close(ends[1]);
    int held = read(ends[0], &byte, 1) == 1;
    close(ends[0]);
    if (!held) {
      if (most > *taken - before) most = *taken - before;
      most /= 2;
      *taken = before;
      if (most < 8) break;
    } else if (*taken == before) break;
  }
  return *taken;
}

static void take_epoll(void) {
  enum { SETS = 900 };
  int sets[SETS], made = 0, pair[2];
  if (pipe(pair) < 0) return;
  for (; made < SETS && (sets[made] = epoll_create1(0)) >= 0; made++);
  for (int i = 0; i < made; i++)
    for (int k = 0; k < made + 2; k++) {
      int fd = k == 0 ? pair[0] : k == 1 ? pair[1] : sets[k - 2];
      if (k >= 2) { // more files to watch: copies of the pipe
        fd = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) break;
      }
      struct epoll_event event = {.events = EPOLLIN};
      if (epoll_ctl(sets[i], EPOLL_CTL_ADD, fd, &event) == 0) {
        if (!more()) return;
      } else if (errno == ENOSPC || errno == ENOMEM) return;
    }
}

static void take_inotify(void) {
  for (int i = 0; i < 200; i++) {
    int fd = inotify_init1(0);
    if (fd < 0 || !more()) return;
    for (int k = 0; k < 20000; k++) {
      char path[64];
      snprintf(path, sizeof path, "/dev/shm/watched%d", k);
      if (i == 0) close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
      if (inotify_add_watch(fd, path, IN_MODIFY) < 0) break;
      if (!more()) return;
    }
  }
}

static void take_keys(void) {
  static char payload[32000];
  for (int i = 0; i < 2000000; i++) {
    char name[32];
    snprintf(name, sizeof name, "k%d-%d", getpid(), i);
    if (syscall(SYS_add_key, "user", name, payload, sizeof payload, -3) < 0) {
      if (syscall(SYS_add_key, "user", name, payload, 1, -3) < 0) return;
    }
    if (!more()) return;
  }
}

static void take_pipes(void) {
  for (int ends[2]; pipe(ends) == 0 && more();) {
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
  }
}

static void take_queues(void) {
  struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = 8192};
  for (int i = 0; i < 100000; i++) {
    char name[32];
    snprintf(name, sizeof name, "/q%d-%d", getpid(), i);
    if (syscall(SYS_mq_open, name + 1, O_CREAT | O_RDWR, 0600, &attr) < 0 || !more()) break;
  }
}

static void take_ptys(void) {
  while (open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0 && more());
}

static void take_sockets(void) {
  static char block[200000];
  for (int pair[2]; socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0 && more();)
    if (write(pair[0], block, sizeof block) < 0) continue;
}

static void take_netlink(void) {
  while (socket(AF_NETLINK, SOCK_RAW, 15) >= 0 && more()); // NETLINK_KOBJECT_UEVENT
}

static void take_files(void) {
  while (open("/", O_PATH | O_DIRECTORY) >= 0 && more());
}

static void take_vsock(void) {
  while (socket(40, SOCK_STREAM, 0) >= 0 && more());
}

// Rings of the kernel's own pages, as large as they can be had: packet(7), PACKET_RX_RING.
static void take_packets(void) {
  struct { unsigned block_size, block_nr, frame_size, frame_nr; } ring = {.block_size = 1 << 16, .block_nr = 64, .frame_size = 1 << 11}; // struct tpacket_req
  for (int fd; (fd = socket(AF_PACKET, SOCK_RAW, 0)) >= 0;) {
    for (;; ring.block_nr /= 2) {
      if (ring.block_nr == 0) return;
      ring.frame_nr = ring.block_nr * 32;
      if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) == 0) break;
    }
    for (unsigned i = 0; i < ring.block_nr; i++)
      if (!more()) return;
  }
}

static void take_namespaces(void) {
  for (int i = 0; i < 2000; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 && unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0) _exit(1);
      kill(getppid(), SIGCONT);
      for (;;) pause();
    }
    if (pid < 0 || !more()) break;
  }
}

static void take_mounts(void) {
  mkdir("/tmp/m", 0755);
  for (int i = 0; i < 10000; i++) // their superblocks are charged to nobody: without end the guest is out of memory, and no agent can help that
    if (mount("tmpfs", "/tmp/m", "tmpfs", 0, "size=4k,nr_inodes=4") < 0 || !more()) break;
}

static const struct { const char *name; void (*take)(void); int processes; } kinds[] = {
  {"epoll", take_epoll, 64}, {"inotify", take_inotify, 2}, {"keys", take_keys, 1}, {"pipes", take_pipes, 32}, {"queues", take_queues, 8}, {"ptys", take_ptys, 4},
  {"sockets", take_sockets, 8}, {"netlink", take_netlink, 8}, {"files", take_files, 8}, {"vsocks", take_vsock, 8}, {"packets", take_packets, 8}, {"namespaces", take_namespaces, 1}, {"mounts", take_mounts, 1},
};

// take KIND: all there is of it.
static int take(int argc, char **argv) {
  if (argc < 2) return -1;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kinds[i].name, argv[1]) == 0) {
      tell(kinds[i].name, in_many(kinds[i].processes, kinds[i].take));
      return 0;
    }
  return -1;
}

// fill FILE MB: memory by way of a file, in pieces.
static int fill(int argc, char **argv) {
  static char block[1 << 20];
  if (argc < 2) return -1;
  int fd = open(argv[1], O_CREAT | O_WRONLY, 0600);
  long n = 0, want = number(argc, argv, 2, 64);
  for (; fd >= 0 && n < want && write(fd, block, sizeof block) == sizeof block; n++);
  tell("megabytes", n);
  return 0;
}

const Command quotas[] = {{"take", take}, {"fill", fill}, {0}};
