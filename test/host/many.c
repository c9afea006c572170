/*
 * Folders in numbers that nobody wants, in the working directory. "deep N LENGTH": one in the other, names of LENGTH bytes;
 * "wide N": one beside the other; "comb N DEPTH": N of them, each with DEPTH below it. With a further word each gets a file in it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int below(const char *name, int file) {
  if (mkdir(name, 0755) || chdir(name)) return perror(name), 1;
  return file && close(open("file", O_CREAT | O_WRONLY, 0644)) ? (perror("file"), 1) : 0;
}

int main(int argc, char **argv) {
  char name[256];
  int count = atoi(argv[2]), depth = argc > 3 ? atoi(argv[3]) : 0, file = argc > 4;
  int top = open(".", O_RDONLY | O_DIRECTORY);
  memset(name, 'd', sizeof name);
  if (!strcmp(argv[1], "deep")) {
    name[depth] = 0;
    for (int i = 0; i < count; i++) if (below(name, file)) return 1;
    return 0;
  }
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "w%d", i);
    if (strcmp(argv[1], "comb")) {
      if (mkdir(name, 0755)) return perror(name), 1;
      continue;
    }
    if (below(name, file)) return 1;
    for (int j = 0; j < depth; j++) if (below("d", file)) return 1;
    if (fchdir(top)) return 1;
  }
  return 0;
}
