// As much as possible of one kind, as fast as possible, for some seconds: connections, processes, ends of processes, output, events.
#include "hostile.h"
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <dirent.h>

struct vm_address { unsigned short family, reserved; unsigned port, cid; unsigned char rest[4]; };

static int vsock_once(unsigned cid, unsigned port, int nonblock) {
  int fd = socket(40, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0) return -errno;
  struct vm_address to = {.family = 40, .port = port, .cid = cid};
  int r = connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? -errno : 0;
  close(fd);
  return r;
}

// vsock CID PORT SECONDS: connects in a loop.
static int vsock(int argc, char **argv) {
  unsigned cid = number(argc, argv, 1, 1), port = number(argc, argv, 2, 1024);
  double end = now() + number(argc, argv, 3, 2);
  long tries = 0, made = 0;
  int last = 0;
  for (; now() < end; tries++) if ((last = vsock_once(cid, port, 0)) == 0) made++;
  tell("tries", tries), tell("connected", made), tell("errno", -last);
  return 0;
}

// vsock-everyone PORT: every CID that could be somebody, once.
static int vsock_everyone(int argc, char **argv) {
  unsigned port = number(argc, argv, 1, 1024);
  const unsigned some[] = {0, 1, 2, 0xffffffffu, 0xfffffffeu, 0x7fffffffu};
  long made = 0, tries = 0;
  for (size_t i = 0; i < sizeof some / sizeof *some; i++, tries++) made += vsock_once(some[i], port, 1) == 0;
  for (unsigned cid = 3; cid < 70000; cid++, tries++) made += vsock_once(cid, port, 1) == 0;
  tell("tries", tries), tell("connected", made);
  return 0;
}

// unix PATH|@NAME SECONDS
static int unix_flood(int argc, char **argv) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  const char *path = argc > 1 ? argv[1] : "/s";
  size_t n = strlen(path) < sizeof to.sun_path ? strlen(path) : sizeof to.sun_path - 1;
  memcpy(to.sun_path, path, n);
  if (*path == '@') to.sun_path[0] = 0;
  double end = now() + number(argc, argv, 2, 2);
  long tries = 0, made = 0;
  for (; now() < end; tries++) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    made += fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(short) + n) == 0;
    if (fd >= 0) close(fd);
  }
  tell("tries", tries), tell("connected", made);
  return 0;
}

// forks: every process makes others, for ever.
static int forks(int argc, char **argv) {
  (void)argc, (void)argv;
  if (write(1, "up\n", 3) < 0) return -1;
  for (;;) fork();
}

// exits SECONDS: orphans that end at once, so that whoever reaps them has work; every second generation ends before its parent.
static int exits(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 2);
  long made = 0;
  for (; now() < end; made++) {
    pid_t first = vfork();
    if (first == 0) {
      if (fork() == 0) _exit(made & 0x7f);
      _exit(0);
    }
    if (first > 0) waitpid(first, NULL, 0);
    while (waitpid(-1, NULL, WNOHANG) > 0);
  }
  tell("ends", 2 * made);
  return 0;
}

// orphans N: N sleeping processes whose parents have ended.
static int orphans(int argc, char **argv) {
  long want = number(argc, argv, 1, 10000), made = 0, failed = 0;
  for (long i = 0; i < want; i++) {
    pid_t first = fork();
    if (first == 0) {
      pid_t second = fork();
      if (second == 0) for (;;) pause();
      _exit(second < 0);
    }
    int status = 1 << 8;
    if (first > 0) waitpid(first, &status, 0);
    if (first > 0 && status == 0) made++;
    else if (++failed > 50) break;
  }
  tell("orphans", made);
  return 0;
}

// zombies N: ended children that nobody waits for.
static int zombies(int argc, char **argv) {
  long want = number(argc, argv, 1, 1000), made = 0;
  signal(SIGCHLD, SIG_DFL);
  for (long i = 0; i < want; i++) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    if (pid < 0) break;
    made++;
  }
  tell("zombies", made);
  return 0;
}

// output: both streams, as fast as they are taken.
static int output(int argc, char **argv) {
  (void)argc, (void)argv;
  static char block[1 << 16];
  memset(block, 'x', sizeof block);
  if (fork() == 0) for (;;) if (write(2, block, sizeof block) < 0) _exit(1);
  for (;;) if (write(1, block, sizeof block) < 0) return -1;
}

static long trigger(const char *dir, int depth) {
  char path[4096];
  snprintf(path, sizeof path, "%s/uevent", dir);
  long n = put(path, "add") == 0;
  if (depth == 0) return n;
  DIR *d = opendir(dir);
  if (!d) return n;
  for (struct dirent *e; (e = readdir(d));) {
    if (e->d_type != DT_DIR || e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    n += trigger(path, depth - 1);
  }
  closedir(d);
  return n;
}

// uevents SECONDS: makes the kernel tell of devices again and again; a sysfs of its own when the one here is read-only.
static int uevents(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 2);
  syscall(SYS_mkdirat, AT_FDCWD, "/tmp/sys", 0755);
  syscall(SYS_mount, "sysfs", "/tmp/sys", "sysfs", 0, NULL);
  syscall(SYS_mount, "sysfs", "/sys", NULL, 32 | 4096, NULL); // MS_REMOUNT | MS_BIND
  long n = 0;
  const char *places[] = {"/sys/class/mem/null", "/sys/devices/virtual/mem/null", "/tmp/sys/devices/virtual/mem/null", "/sys/devices", "/tmp/sys/devices"};
  for (int deep = 0; now() < end; deep++)
    for (size_t i = 0; i < sizeof places / sizeof *places && now() < end; i++) n += trigger(places[i], i >= 3 && deep % 50 == 0 ? 5 : 0);
  tell("events", n);
  return 0;
}

// oom SECONDS MB: children that take more memory than there is, one after the other.
static int oom(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 2);
  long size = number(argc, argv, 2, 64), killed = 0;
  for (; now() < end;) {
    pid_t pid = fork();
    if (pid == 0) {
      put("/proc/self/oom_score_adj", "1000");
      for (long i = 0; i < size; i++) {
        char *p = malloc(1 << 20);
        if (p) memset(p, 1, 1 << 20);
      }
      _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    killed += WIFSIGNALED(status);
  }
  tell("killed", killed);
  return 0;
}

// kmsg SECONDS: lines for whoever reads the kernel's log, and for the console.
static int kmsg(int argc, char **argv) {
  double end = now() + number(argc, argv, 1, 2);
  long n = 0;
  mknod("/tmp/kmsg", S_IFCHR | 0600, 0x10b);
  mknod("/tmp/console", S_IFCHR | 0600, 0x501);
  int log = open("/tmp/kmsg", O_WRONLY | O_NONBLOCK), console = open("/tmp/console", O_WRONLY | O_NONBLOCK | O_NOCTTY);
  static const char line[] = "<0>kata-agent: not from the agent at all, but the console is full of it, line after line after line\n";
  for (; now() < end; n++) {
    if (log >= 0 && write(log, line, sizeof line - 1) < 0 && errno == EPERM) break;
    if (console >= 0 && write(console, line + 3, sizeof line - 4) < 0) continue;
    if (log < 0 && console < 0) break;
  }
  tell("lines", n), tell("kmsg", log >= 0), tell("console", console >= 0);
  return 0;
}

const Command floods[] = {{"vsock", vsock}, {"vsock-everyone", vsock_everyone}, {"unix", unix_flood}, {"forks", forks}, {"exits", exits}, {"orphans", orphans},
  {"zombies", zombies}, {"output", output}, {"uevents", uevents}, {"oom", oom}, {"kmsg", kmsg}, {0}};
