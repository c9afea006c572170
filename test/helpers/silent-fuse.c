/* A file system that never answers: mounts FUSE on argv[1], takes part in the opening exchange, says "ready", and then reads every
 * request without answering it (argv[2] "read": who waits for it cannot even be killed), or does not read any more. See fuse(4). */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static char buffer[1 << 20];
  char options[128];
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (argc < 3 || fd < 0) return 1;
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
  if (mount("silent", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) != 0) return 2;
  if (read(fd, buffer, sizeof buffer) < (ssize_t)sizeof(struct fuse_in_header)) return 3;
  struct { struct fuse_out_header header; struct fuse_init_out init; } answer;
  memset(&answer, 0, sizeof answer);
  answer.header.len = sizeof answer;
  answer.header.unique = ((struct fuse_in_header *)buffer)->unique;
  answer.init.major = FUSE_KERNEL_VERSION;
  answer.init.minor = FUSE_KERNEL_MINOR_VERSION;
  answer.init.max_write = 4096;
  if (write(fd, &answer, sizeof answer) != sizeof answer) return 4;
  puts("ready");
  fflush(stdout);
  while (strcmp(argv[2], "read") == 0 && read(fd, buffer, sizeof buffer) > 0) continue;
  for (;;) pause();
}
