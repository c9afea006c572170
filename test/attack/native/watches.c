// Looks at every new process of this pid namespace as fast as it can: what of it can be reached while it is still the engine's?
// A process is the engine's as long as its program is none of the container's, which all lie in /bin.
#include "hostile.h"
#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { SEEN, PROBES, ROOT, CWD, EXE, FD, MEM, MAPS, ENVIRON, PTRACE, PIDFD, CAPS, STUBS, KINDS };
static const char *const names[] = {"seen", "probes", "root", "cwd", "exe", "fd", "mem", "maps", "environ", "ptrace", "pidfd", "caps", "stub"};
static long count[KINDS];
static unsigned long long own_caps;
static const char *mark = "none"; // a file that is there for the engine only

static unsigned long long caps_of(const char *path) {
  char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  int n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  const char *at = strstr(text, "CapEff:\t");
  if (strstr(text, "Seccomp:\t2")) return 0; // a filter says what may be done with them
  return at ? strtoull(at + 8, NULL, 16) : 0;
}

static int readable(const char *path) {
  char byte[64];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  int n = read(fd, byte, sizeof byte);
  close(fd);
  return n > 0;
}

enum { NOBODYS, CONTAINERS, STUB, ENGINES };

/**
 * Whose program runs: the container's lie in /bin; the stub, which has nothing of the engine in it but a way to say that it has failed,
 * is a file in memory of a few kilobytes.
 */
static int whose(long pid) {
  char path[64], exe[256];
  struct stat file;
  snprintf(path, sizeof path, "/proc/%ld/exe", pid);
  int fd = open(path, O_PATH | O_CLOEXEC); // one file for both questions: it may be another a moment later
  if (fd < 0) return NOBODYS;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int n = readlink(path, exe, sizeof exe - 1);
  int small = fstat(fd, &file) == 0 && file.st_size < 16384;
  close(fd);
  if (n <= 0) return NOBODYS;
  if (strncmp(exe, "/bin/", 5) == 0) return CONTAINERS;
  return strncmp(exe, "/memfd:", 7) == 0 && small ? STUB : ENGINES;
}

static int is_engines(long pid) { return whose(pid) == ENGINES; }

/** What the stub may have open: its streams, a terminal, its end of a pair of sockets, and a procfs to be of this very pid namespace. */
static int may_have(const char *link) {
  return strncmp(link, "pipe:", 5) == 0 || strncmp(link, "socket:", 7) == 0 || strncmp(link, "/dev/pts/", 9) == 0 || strcmp(link, "/dev/null") == 0 || strncmp(link, "/memfd:", 7) == 0 || strcmp(link, "anon_inode:[fscontext]") == 0;
}

static long last; // number of a process that was the newest

/** The last number given out in this pid namespace. See proc_loadavg(5). */
static long newest(void) {
  char text[128];
  static int fd = -1;
  if (fd < 0) fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
  int n = pread(fd, text, sizeof text - 1, 0);
  if (n <= 0) return last;
  text[n] = 0;
  char *at = strrchr(text, ' ');
  return at ? atol(at + 1) : last;
}

/** A process that is new, or 0. The next numbers are tried first: most tries cost one call. */
static long next_process(void) {
  static int spins;
  for (long pid = last + 1; pid <= last + 3; pid++) if (kill(pid, 0) == 0) return last = pid;
  if (++spins % 16) return 0;
  long now_last = newest();
  for (long pid = now_last > last + 8 ? now_last - 8 : last + 1; pid <= now_last; pid++) if (kill(pid, 0) == 0) return last = pid;
  if (now_last > last) last = now_last;
  return 0;
}

static int holds(long pid, const char *link) {
  char path[4400];
  snprintf(path, sizeof path, "/proc/%ld/%s/%s", pid, link, mark);
  return access(path, F_OK) == 0;
}

static void look(long pid, int attach) {
  char path[64];
  count[PROBES]++;
  count[ROOT] += holds(pid, "root");
  count[CWD] += holds(pid, "cwd");
  snprintf(path, sizeof path, "/proc/%ld/status", pid);
  unsigned long long caps = caps_of(path);
  // rights that we have not, in a process that we may reach
  if ((caps & ~own_caps) && whose(pid) != NOBODYS && count[CAPS]++ < 3) fprintf(stderr, "%ld has %llx (we %llx), whose %d\n", pid, caps, own_caps, whose(pid));
  int owner = whose(pid);
  if (owner == STUB) count[STUBS]++;
  if (owner == STUB || owner == ENGINES) {
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *d = opendir(path);
    if (d) {
      for (struct dirent *e; (e = readdir(d));) {
        char link[512], to[256];
        snprintf(link, sizeof link, "/proc/%ld/fd/%s", pid, e->d_name);
        int n = e->d_name[0] == '.' ? 0 : readlink(link, to, sizeof to - 1);
        if (n > 0) to[n] = 0;
        if (n > 0 && (owner == ENGINES || !may_have(to)) && whose(pid) == owner) {
          if (count[FD]++ < 3) fprintf(stderr, "%ld has %s on %s\n", pid, to, e->d_name);
        }
      }
      closedir(d);
    }
  }
  if (owner == ENGINES) {
    count[EXE]++;
    snprintf(path, sizeof path, "/proc/%ld/maps", pid), count[MAPS] += readable(path);
    snprintf(path, sizeof path, "/proc/%ld/environ", pid), count[ENVIRON] += readable(path);
    snprintf(path, sizeof path, "/proc/%ld/mem", pid);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) count[MEM]++, close(fd);
  }
  int pidfd = syscall(434, pid, 0); // pidfd_open
  if (pidfd >= 0) {
    for (int n = 0; n < 8; n++) {
      int got = syscall(438, pidfd, n, 0); // pidfd_getfd
      if (got < 0) continue;
      close(got);
      if (is_engines(pid)) count[PIDFD]++;
    }
    close(pidfd);
  }
  if (!attach || ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return; // leaves no SIGSTOP behind, as PTRACE_ATTACH may
  int status;
  if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
    if (is_engines(pid)) count[PTRACE]++;
    ptrace(PTRACE_DETACH, pid, 0, 0);
  }
}

// pids SECONDS MARK [attach]: the next number is tried again and again; a new process is looked at until it is the container's.
static int pids(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 5);
  if (argc > 2) mark = argv[2];
  int attach = argc > 3;
  own_caps = caps_of("/proc/self/status"); // 0 with a filter: then every right counts
  tell("own-caps", (long)own_caps);
  last = newest();
  if (write(1, "up\n", 3) < 0) return -1;
  while (now() < end) {
    long pid = next_process();
    if (pid > 0) {
      count[SEEN]++;
      for (int i = 0; i < 400 && kill(pid, 0) == 0 && whose(pid) != CONTAINERS; i++) look(pid, attach && i % 3 == 0);
      look(pid, attach);
    }
    waitpid(-1, NULL, WNOHANG);
  }
  for (int i = 0; i < KINDS; i++) tell(names[i], count[i]);
  return 0;
}

// stop SECONDS SIGNAL: every new process gets a signal at once, and again.
static int stop(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 5);
  int signal = number(argc, argv, 2, SIGSTOP);
  long sent = 0;
  last = newest();
  if (write(1, "up\n", 3) < 0) return -1;
  while (now() < end) {
    long pid = next_process();
    if (pid > 0 && kill(pid, signal) == 0) sent++;
  }
  tell("sent", sent);
  return 0;
}

/** The words of the engine's children, in the name of another: a process outside, a terminal, a listener, hooks, failures, garbage. */
static void forge(int channel, long i) {
  static const char *const words[] = {"{\"say\":\"ready\",\"ptmx\":0}", "{\"say\":\"notify\",\"fd\":1}", "{\"say\":\"hooks\"}", "{\"say\":\"failed\",\"kind\":\"none\",\"what\":{}}", "null", "[[[[", "{\"say\":\"ready\",\"ptmx\":\"x\"}", "{\"say\":\"born\",\"pid\":1}"};
  int born[4] = {channel, 0, 1 + i % 3, 0};
  if (i % 3 == 0) send(channel, born, sizeof born, MSG_DONTWAIT);
  else send(channel, words[i % 8], strlen(words[i % 8]), MSG_DONTWAIT);
}

// speak SECONDS: takes the sockets of new processes and speaks to the engine by them.
static int speak(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 5);
  long said = 0;
  last = newest();
  if (write(1, "up\n", 3) < 0) return -1;
  while (now() < end) {
      long pid = next_process();
      int pidfd = pid > 0 ? syscall(434, pid, 0) : -1;
      if (pidfd < 0) continue;
      for (int tries = 0, found = 0; tries < 100 && !found && kill(pid, 0) == 0; tries++)
        for (int n = 0; n < 64; n++) {
          int got = syscall(438, pidfd, n, 0), type = 0;
          socklen_t size = sizeof type;
          if (got < 0) continue;
          if (getsockopt(got, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET) forge(got, said++), found = 1;
          close(got);
        }
      close(pidfd);
  }
  tell("said", said);
  return 0;
}

// walk SECONDS: reads everything in /proc of everybody, again and again.
static int walk(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 2);
  static const char *const files[] = {"status", "maps", "smaps", "environ", "mountinfo", "cgroup", "stat", "sched", "auxv", "wchan", "stack"};
  long reads = 0;
  while (now() < end) {
    DIR *d = opendir("/proc");
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
      if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
      for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[320];
        snprintf(path, sizeof path, "/proc/%s/%s", e->d_name, files[i]);
        reads += readable(path);
      }
    }
    closedir(d);
  }
  tell("reads", reads);
  return 0;
}

const Command watches[] = {{"pids", pids}, {"speak", speak}, {"stop", stop}, {"walk", walk}, {0}};
