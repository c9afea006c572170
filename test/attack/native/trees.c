// Folders and files that are a trouble to remove: deep, wide, with long names, immutable; and links where somebody may write.
#include "hostile.h"
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

static void named(char *out, int length, long i) {
  memset(out, 'n', length);
  out[length] = 0;
  int n = snprintf(NULL, 0, "%ld", i);
  if (n < length) {
    char digits[32];
    snprintf(digits, sizeof digits, "%ld", i);
    memcpy(out, digits, n);
  }
}

// nest DIR DEPTH LENGTH: folders in folders.
static int nest(int argc, char **argv) {
  if (argc < 3 || chdir(argv[1]) < 0) return -1;
  long depth = number(argc, argv, 2, 1500), i = 0;
  char name[256];
  for (named(name, number(argc, argv, 3, 1), 7); i < depth; i++)
    if (mkdir(name, 0755) < 0 || chdir(name) < 0) break;
  tell("deep", i);
  return chdir("/");
}

// wide DIR NUMBER LENGTH: folders side by side, each with a file.
static int wide(int argc, char **argv) {
  if (argc < 3 || chdir(argv[1]) < 0) return -1;
  long want = number(argc, argv, 2, 10000), i = 0;
  for (; i < want; i++) {
    char name[256];
    named(name, number(argc, argv, 3, 8), i);
    if (mkdir(name, 0755) < 0) break;
  }
  tell("wide", i);
  return chdir("/");
}

// flags DIR: a file that may not be changed, one that may only grow, and a folder that may not be changed, with something in it.
static int flags(int argc, char **argv) {
  if (argc < 2 || chdir(argv[1]) < 0) return -1;
  long set = 0;
  const struct { const char *name; int dir, flag; } all[] = {{"immutable", 0, 0x10}, {"append", 0, 0x20}, {"fixed", 1, 0x10}};
  for (int i = 0; i < 3; i++) {
    if (all[i].dir) {
      char inner[64];
      mkdir(all[i].name, 0755);
      snprintf(inner, sizeof inner, "%s/file", all[i].name);
      close(open(inner, O_CREAT | O_WRONLY, 0600));
    }
    int fd = open(all[i].name, all[i].dir ? O_RDONLY | O_DIRECTORY : O_CREAT | O_WRONLY, 0600), value = 0;
    if (fd < 0 || ioctl(fd, 0x80086601, &value) < 0) continue; // FS_IOC_GETFLAGS
    value |= all[i].flag;
    set += ioctl(fd, 0x40086602, &value) == 0;
    close(fd);
  }
  tell("flags", set);
  return chdir("/");
}

// masked FILE: what can be done to a file that is hidden from us.
static int masked(int argc, char **argv) {
  if (argc < 2) return -1;
  struct stat before, null, after;
  if (stat(argv[1], &before) < 0 || stat("/dev/null", &null) < 0) return -1;
  tell("chmod", chmod(argv[1], 0) == 0);
  tell("chown", chown(argv[1], 1234, 1234) == 0);
  tell("touch", utimensat(AT_FDCWD, argv[1], NULL, 0) == 0);
  tell("shared", before.st_ino == null.st_ino && before.st_dev == null.st_dev);
  stat("/dev/null", &after);
  tell("spilt", after.st_mode != null.st_mode || after.st_uid != null.st_uid);
  chmod(argv[1], 0666), chown(argv[1], 0, 0);
  return 0;
}

// fuse-hang DIR: a file system on DIR whose daemon (this process) never answers.
static int fuse_hang(int argc, char **argv) {
  char options[128];
  int fd = open("/dev/fuse", O_RDWR);
  if (argc < 2 || fd < 0) return -1;
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
  return mount("hang", argv[1], "fuse", 0, options);
}

// hold-pty: names a terminal on whose other side nobody reads.
static int hold_pty(int argc, char **argv) {
  (void)argc, (void)argv;
  int fd = posix_openpt(O_RDWR | O_NOCTTY);
  if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0) return -1;
  puts(ptsname(fd)), fflush(stdout);
  return 0;
}

const Command trees[] = {{"hold-pty", hold_pty}, {"fuse-hang", fuse_hang}, {"nest", nest}, {"wide", wide}, {"flags", flags}, {"masked", masked}, {0}};
