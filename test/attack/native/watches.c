// Looks at every new process of this pid namespace as fast as it can: what of it can be reached while it is still the engine's?
// A process is the engine's as long as its program is none of the container's, which all lie in /bin.
#include "hostile.h"
#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { SEEN, PROBES, ROOT, CWD, EXE, FD, MEM, MAPS, ENVIRON, PTRACE, PIDFD, CAPS, KINDS };
static const char *const names[] = {"seen", "probes", "root", "cwd", "exe", "fd", "mem", "maps", "environ", "ptrace", "pidfd", "caps"};
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

/** The engine's: its program can be named, and is none of the container's; or it cannot be named although we may trace. */
static int is_engines(long pid) {
  char path[64], exe[256];
  snprintf(path, sizeof path, "/proc/%ld/exe", pid);
  int n = readlink(path, exe, sizeof exe - 1);
  return n > 0 && strncmp(exe, "/bin/", 5) != 0;
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
  if (caps & ~own_caps) count[CAPS]++;
  if (is_engines(pid)) {
    count[EXE]++;
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *d = opendir(path);
    if (d) {
      for (struct dirent *e; (e = readdir(d));) {
        char link[512], to[256];
        snprintf(link, sizeof link, "/proc/%ld/fd/%s", pid, e->d_name);
        if (e->d_name[0] != '.' && readlink(link, to, sizeof to) > 0) count[FD]++;
      }
      closedir(d);
    }
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
  if (!attach || ptrace(PTRACE_ATTACH, pid, 0, 0) != 0) return;
  int status;
  if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
    if (is_engines(pid)) count[PTRACE]++;
    ptrace(PTRACE_DETACH, pid, 0, 0);
  }
}

// pids SECONDS MARK [attach]: the next number is tried again and again; a new process is looked at until it is the container's.
static int pids(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 5);
  if (argc > 2) mark = argv[2];
  int attach = argc > 3;
  own_caps = caps_of("/proc/self/status");
  tell("own-caps", (long)own_caps);
  pid_t probe = fork(); // the last number given out
  if (probe == 0) _exit(0);
  waitpid(probe, NULL, 0);
  long last = probe;
  if (write(1, "up\n", 3) < 0) return -1;
  while (now() < end) {
    for (long pid = last + 1; pid <= last + 4; pid++) {
      char path[64], exe[256];
      if (kill(pid, 0) != 0) continue;
      last = pid;
      count[SEEN]++;
      snprintf(path, sizeof path, "/proc/%ld/exe", pid);
      for (int i = 0; i < 400 && kill(pid, 0) == 0; i++) {
        look(pid, attach && i % 3 == 0);
        int n = readlink(path, exe, sizeof exe);
        if (n > 5 && strncmp(exe, "/bin/", 5) == 0) break;
      }
      look(pid, attach);
      break;
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
  pid_t probe = fork();
  if (probe == 0) _exit(0);
  waitpid(probe, NULL, 0);
  long last = probe, sent = 0;
  if (write(1, "up\n", 3) < 0) return -1;
  while (now() < end)
    for (long pid = last + 1; pid <= last + 4; pid++)
      if (kill(pid, signal) == 0) sent++, last = pid;
  tell("sent", sent);
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

const Command watches[] = {{"pids", pids}, {"stop", stop}, {"walk", walk}, {0}};
