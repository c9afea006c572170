/* The init of the kernel test: looks at the kernel it runs on, prints one "name=value" line for each thing, and ends the machine.
 * It uses no part of the agent, so a failure here is the kernel's or the image's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static char text[65536];

static const char *slurp(const char *path) {
  int fd = open(path, O_RDONLY), n = fd < 0 ? -1 : (int)read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n < 0 ? 0 : n] = 0;
  return text;
}

static void words(const char *name, const char *path) {
  printf("%s=", name);
  for (const char *p = slurp(path); *p; p++) putchar(*p == '\n' || *p == '\t' ? ' ' : *p);
  putchar('\n');
}

static void names(const char *name, const char *dir) {
  DIR *d = opendir(dir);
  printf("%s=", name);
  for (struct dirent *e; d && (e = readdir(d));) if (e->d_name[0] != '.') printf("%s ", e->d_name);
  putchar('\n');
  if (d) closedir(d);
}

static void result(const char *name, int r) { printf("%s=%s\n", name, r < 0 ? strerror(errno) : "ok"); }

static void try_socket(const char *name, int family, int type, int protocol) {
  int fd = socket(family, type | SOCK_CLOEXEC, protocol);
  result(name, fd);
  if (fd >= 0) close(fd);
}

static void try_mount(const char *name, const char *source, const char *type, unsigned long flags, const char *data) {
  char at[64];
  snprintf(at, sizeof at, "/run/%s", name);
  mkdir(at, 0755);
  result(name, mount(source, at, type, flags, data));
}

static void full(void) {
  words("version", "/proc/version");
  words("filesystems", "/proc/filesystems");
  words("actions", "/proc/sys/kernel/seccomp/actions_avail");
  names("namespaces", "/proc/self/ns");
  names("net", "/sys/class/net");
  names("block", "/sys/block");
  names("dev", "/dev");
  mount("tmpfs", "/run", "tmpfs", 0, "mode=0755");
  try_mount("cgroup2", "none", "cgroup2", 0, 0);
  words("controllers", "/run/cgroup2/cgroup.controllers");
  umount("/run/cgroup2");
  try_mount("cgroup1", "none", "cgroup", 0, "memory");
  try_mount("ext4", "/dev/vda", "ext4", MS_RDONLY, 0);
  try_mount("erofs", "/dev/vdb", "erofs", MS_RDONLY, 0);
  try_mount("squashfs", "/dev/sda", "squashfs", MS_RDONLY, 0);
  try_mount("9p", "share", "9p", 0, "trans=virtio,version=9p2000.L");
  words("shared", "/run/9p/file");
  mkdir("/run/upper", 0755);
  mkdir("/run/work", 0755);
  try_mount("overlay", "none", "overlay", 0, "lowerdir=/run/erofs,upperdir=/run/upper,workdir=/run/work");
  try_socket("vsock", AF_VSOCK, SOCK_STREAM, 0);
  try_socket("nfnetlink", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  try_socket("rtnetlink", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  try_socket("inet6", AF_INET6, SOCK_STREAM, 0);
  words("meminfo", "/proc/meminfo");
}

int main(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  mount("proc", "/proc", "proc", 0, 0);
  mount("sysfs", "/sys", "sysfs", 0, 0);
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  int console = open("/dev/console", O_RDWR);
  if (console >= 0) for (int i = 0; i < 3; i++) dup2(console, i);
  setvbuf(stdout, 0, _IOLBF, 0);
  printf("instructions=%llu\n", ((unsigned long long)high << 32) | low);
  words("root", "/proc/mounts");
  struct stat st;
  result("resolv", stat("/etc/resolv.conf", &st));
  if (strstr(slurp("/proc/cmdline"), "probe.full")) full();
  puts("probe=done");
  sync();
  reboot(strstr(slurp("/proc/cmdline"), "probe.restart") ? RB_AUTOBOOT : RB_POWER_OFF);
  for (;;) pause();
}
