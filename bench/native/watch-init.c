/*
 * Stands before the real init in the memory measurement: leaves a child behind, then becomes /init, which so stays process 1 and
 * knows nothing of it. The child mounts what it needs in a namespace of its own, waits for one byte on the second virtio-serial
 * port and answers with /proc/1/status, as often as it is asked.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void watch(void)
{
    static char text[8192];
    int port = -1;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        _exit(1);
    mkdir("/bench", 0755), mkdir("/bench/dev", 0755), mkdir("/bench/proc", 0755);
    if (mount("dev", "/bench/dev", "devtmpfs", 0, NULL) < 0 || mount("proc", "/bench/proc", "proc", 0, NULL) < 0)
        _exit(1);
    while ((port = open("/bench/dev/vport0p2", O_RDWR | O_CLOEXEC)) < 0)
        poll(NULL, 0, 50);
    for (;;) {
        ssize_t n = read(port, text, 1);
        if (n < 1) {
            poll(NULL, 0, 50);
            continue;
        }
        int fd = open("/bench/proc/1/status", O_RDONLY | O_CLOEXEC);
        n = read(fd, text, sizeof text);
        close(fd);
        if (n > 0 && write(port, text, (size_t)n) < 0)
            _exit(1);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    if (fork() == 0)
        watch();
    argv[0] = "/init";
    execv("/init", argv);
    return 1;
}
