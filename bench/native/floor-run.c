/*
 * The floor under run_ms: the least that a container of the bench's bundle asks of the kernel, done in C by a process that is
 * already there: one clone3 with the bundle's namespaces, its mounts, nodes and links, pivot_root, the host name, execve of the
 * program, wait. No cgroup, no capabilities, no checks. It reads the steps from a file that bench/bundle.ts makes of the same
 * config.json, then answers each line on standard input with the time of one run in nanoseconds.
 * Usage: floor-run STEPS ROOTFS HOSTNAME PROGRAM FLAGS(hex)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif

struct clone_args { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup; };
/* kind: m mount, r bind on itself and make read-only, o make read-only, x mask a file or a folder, n node, l link */
struct step { char kind; char *target, *source, *type, *data; unsigned long flags, major, minor; };
static struct step steps[128];
static int step_count;

static void die(const char *what, const char *target)
{
    fprintf(stderr, "floor-run: %s %s: %s\n", what, target, strerror(errno));
    _exit(1);
}

static char *word(char **at)
{
    char *p = strsep(at, "\t\n");
    return p ? strdup(p) : NULL;
}

/* A line: kind, target, source, type, data, flags, major, minor. */
static void read_steps(const char *path)
{
    char line[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        die("open", path);
    while (fgets(line, sizeof line, f) && step_count < 128) {
        char *at = line;
        struct step *s = &steps[step_count++];
        s->kind = *word(&at);
        s->target = word(&at), s->source = word(&at), s->type = word(&at), s->data = word(&at);
        s->flags = strtoul(word(&at), NULL, 10), s->major = strtoul(word(&at), NULL, 10), s->minor = strtoul(word(&at), NULL, 10);
    }
    fclose(f);
}

/* Targets are relative to the new root, which is the working directory until pivot_root. */
static void apply(const struct step *s)
{
    switch (s->kind) {
    case 'm':
        if (mkdir(s->target, 0755) < 0 && errno != EEXIST)
            die("mkdir", s->target);
        if (mount(s->source, s->target, s->type, s->flags, *s->data ? s->data : NULL) < 0)
            die("mount", s->target);
        break;
    case 'r':
        if (mount(s->target, s->target, NULL, MS_BIND | MS_REC, NULL) < 0) {
            if (errno == ENOENT)
                break;
            die("bind", s->target);
        }
        if (mount(NULL, s->target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | s->flags, NULL) < 0)
            die("remount", s->target);
        break;
    case 'o':
        if (mount(NULL, s->target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | s->flags, NULL) < 0)
            die("remount", s->target);
        break;
    case 'x':
        if (mount("/dev/null", s->target, NULL, MS_BIND, NULL) < 0 && errno != ENOENT
            && (errno != ENOTDIR || mount("tmpfs", s->target, "tmpfs", MS_RDONLY, "size=0k") < 0))
            die("mask", s->target);
        break;
    case 'n':
        if (mknod(s->target, S_IFCHR | 0666, makedev(s->major, s->minor)) < 0 || chmod(s->target, 0666) < 0)
            die("mknod", s->target);
        break;
    case 'l':
        if (symlink(s->source, s->target) < 0)
            die("symlink", s->target);
        break;
    }
}

static void child(char **argv)
{
    static char *env[] = { "PATH=/bin", NULL };
    char *program[] = { argv[4], NULL };
    const char *root = argv[2];
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 || mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(root) < 0)
        die("prepare", root);
    umask(0);
    for (int i = 0; i < step_count; i++)
        apply(&steps[i]);
    umask(022);
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        die("pivot_root", root);
    if (mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0 || sethostname(argv[3], strlen(argv[3])) < 0)
        die("finish", root);
    execve(program[0], program, env);
    die("execve", program[0]);
}

int main(int argc, char **argv)
{
    char line[64];
    if (argc != 6)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    read_steps(argv[1]);
    while (fgets(line, sizeof line, stdin)) {
        struct clone_args a = { .flags = strtoull(argv[5], NULL, 16), .exit_signal = SIGCHLD };
        struct timespec t, u;
        int status = -1;
        clock_gettime(CLOCK_MONOTONIC, &t);
        long pid = syscall(SYS_clone3, &a, sizeof a);
        if (pid == 0)
            child(argv);
        if (pid > 0)
            waitpid((pid_t)pid, &status, 0);
        clock_gettime(CLOCK_MONOTONIC, &u);
        if (status)
            printf("error\tone bare run failed (%s)\n", pid < 0 ? strerror(errno) : "see standard error");
        else
            printf("ok\t%lld\n", (long long)(u.tv_sec - t.tv_sec) * 1000000000 + u.tv_nsec - t.tv_nsec);
    }
    return 0;
}
