// What the hostile programs share. Each is a command of one static binary that runs inside a container with whatever rights it was
// given. It says "key value" lines on standard output, then "done", and stays: what it holds is held until it is killed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef struct { const char *name; int (*run)(int argc, char **argv); } Command;
extern const Command floods[], watches[], quotas[], trees[], groups[];

/** Monotonic seconds. */
double now(void);
/** "key value" on a line, at once. */
void tell(const char *key, long value);
/** Writes a text into a file; 0 or the negative errno. */
int put(const char *path, const char *text);
/** The number in argv[i], or `otherwise`. */
long number(int argc, char **argv, int i, long otherwise);
