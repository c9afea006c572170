// hostile COMMAND [WORDS]: finds the command, runs it, says "done" and stays.
#include "hostile.h"

double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

void tell(const char *key, long value) {
  char line[128];
  int n = snprintf(line, sizeof line, "%s %ld\n", key, value);
  if (write(1, line, n) < 0) return;
}

int put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
  close(fd);
  return r;
}

long number(int argc, char **argv, int i, long otherwise) { return i < argc ? atol(argv[i]) : otherwise; }

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  signal(SIGPIPE, SIG_IGN);
  const Command *all[] = {floods, watches, quotas, trees, groups};
  for (size_t k = 0; k < sizeof all / sizeof *all; k++)
    for (const Command *c = all[k]; c->name; c++)
      if (strcmp(c->name, argv[1]) == 0) {
        int r = c->run(argc - 1, argv + 1);
        if (r >= 0) {
          if (write(1, "done\n", 5) < 0) return 1;
          for (;;) pause();
        }
        return 1;
      }
  fprintf(stderr, "unknown command %s\n", argv[1]);
  return 2;
}
