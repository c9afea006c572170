/*
 * The part of the driver that starts, times and ends programs, and sets the driver apart from the machine. Included by drive.c only.
 */
#ifndef BENCH_PROGRAMS_H
#define BENCH_PROGRAMS_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
/* Why the last command failed. */
static char trouble[512];

static int fail(const char *what, const char *why)
{
    snprintf(trouble, sizeof trouble, "%s: %s", what, why);
    return -1;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Starts argv with nothing on its standard input and output; -1 with `trouble`. Errors go to `log`. */
static pid_t start(char **argv, const char *log)
{
    posix_spawn_file_actions_t a;
    pid_t pid;
    int e;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_addopen(&a, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&a, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&a, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    e = posix_spawn(&pid, argv[0], &a, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&a);
    if (e)
        return fail(argv[0], strerror(e));
    return pid;
}

/* run LOG PROGRAM ARG...: a program from start to end; its time. Anything but exit code 0 is an error. */
static int cmd_run(char **w)
{
    int status = 0;
    int64_t t = now();
    pid_t pid = start(w + 2, w[1]);
    if (pid < 0)
        return -1;
    waitpid(pid, &status, 0);
    t = now() - t;
    if (status) {
        snprintf(trouble, sizeof trouble, "%s: wait status %d", w[2], status);
        return -1;
    }
    printf("ok\t%lld\n", (long long)t);
    return 0;
}

/* spawn LOG PROGRAM ARG...: in the background; its process id. */
static int cmd_spawn(char **w)
{
    pid_t pid = start(w + 2, w[1]);
    if (pid < 0)
        return -1;
    printf("ok\t%d\n", pid);
    return 0;
}

/* end PID: asks it to end, insists after 5 s, and waits until it has ended. */
static int cmd_end(char **w)
{
    pid_t pid = atoi(w[1]);
    int64_t until = now() + 5000000000;
    if (pid < 2)
        return fail(w[1], "no process of mine");
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (now() > until)
            kill(pid, SIGKILL);
        poll(NULL, 0, 2);
    }
    puts("ok");
    return 0;
}

/* memory PID: resident and anonymous bytes. */
static int cmd_memory(char **w)
{
    char path[64], line[256];
    long long resident = -1, anonymous = -1;
    FILE *f;
    snprintf(path, sizeof path, "/proc/%d/status", atoi(w[1]));
    if (!(f = fopen(path, "re")))
        return fail(path, strerror(errno));
    while (fgets(line, sizeof line, f)) {
        sscanf(line, "VmRSS: %lld", &resident);
        sscanf(line, "RssAnon: %lld", &anonymous);
    }
    fclose(f);
    printf("ok\t%lld\t%lld\n", resident * 1024, anonymous * 1024);
    return 0;
}

/*
 * A pid namespace, so that nothing that is started here outlives the driver; a mount namespace that shows only the unified cgroup
 * tree and an empty /run, so that nothing is left in the machine's own. Only the new namespace's first process returns.
 */
static int apart(void)
{
    int status = 0;
    pid_t pid;
    if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0 || (pid = fork()) < 0)
        return -1;
    if (pid > 0) {
        waitpid(pid, &status, 0);
        _exit(status != 0);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0
        || mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0)
        return -1;
    while (umount2("/sys/fs/cgroup", MNT_DETACH) == 0)
        ;
    return mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}
#endif
