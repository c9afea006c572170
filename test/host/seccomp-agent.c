/*
 * A seccomp agent: seccomp-agent SOCKET RECORDS ERRNO
 * Listens at SOCKET (@name: the abstract space), says "ready", and takes listeners of filters. The record that comes with each is
 * appended to RECORDS as a line. A trapped call fails with ERRNO; with 0 it goes on as if nobody had asked, with a line in RECORDS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct notif { uint64_t id; uint32_t pid, flags; int32_t nr; uint32_t arch; uint64_t ip, args[6]; }; /* linux/seccomp.h */
struct resp { uint64_t id; int64_t val; int32_t error; uint32_t flags; };
#define RECV _IOWR('!', 0, struct notif)
#define SEND _IOWR('!', 1, struct resp)

static int records;

static void serve(int fd, int error)
{
    struct pollfd p = { fd, POLLIN, 0 };
    while (poll(&p, 1, -1) >= 0 && !(p.revents & (POLLHUP | POLLERR))) {
        struct notif n = { 0 };
        if (ioctl(fd, RECV, &n) < 0)
            continue;
        struct resp r = { .id = n.id, .error = -error, .flags = error ? 0 : 1 };
        if (!error)
            dprintf(records, "call %d\n", n.nr);
        ioctl(fd, SEND, &r);
    }
}

/* The record to its end, and the descriptor that came with it. */
static int take(int from)
{
    char text[65536], control[CMSG_SPACE(sizeof(int))];
    size_t size = 0;
    int fd = -1;
    for (;;) {
        struct iovec iov = { text + size, sizeof text - size - 1 };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
        ssize_t n = recvmsg(from, &m, 0);
        if (n <= 0)
            break;
        size += (size_t)n;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (c->cmsg_type == SCM_RIGHTS)
                memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    text[size++] = '\n';
    if (write(records, text, size) != (ssize_t)size)
        exit(1);
    return fd;
}

int main(int argc, char **argv)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (argc != 4)
        return 2;
    strncpy(a.sun_path, argv[1], sizeof a.sun_path - 1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a.sun_path) + 1);
    if (*argv[1] == '@')
        a.sun_path[0] = 0, size--;
    records = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (bind(s, (struct sockaddr *)&a, size) || listen(s, 8) || records < 0)
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int c = accept(s, NULL, NULL);
        if (c < 0)
            return 1;
        int fd = take(c);
        close(c);
        if (fd >= 0 && fork() == 0) {
            serve(fd, atoi(argv[3]));
            _exit(0);
        }
        if (fd >= 0)
            close(fd);
    }
}
