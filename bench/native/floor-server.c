/*
 * The floor under check_us, stdout_mb_per_s and stdin_mb_per_s: one thread, one epoll, no memory of its own beyond two buffers.
 * It answers Check, ReadStdout and WriteStdin over a unix socket from and to the pipes of two child programs, and says "done" to
 * every other call. It is no agent: it checks nothing. Usage: floor-server SOCKET SPEW SINK
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <fcntl.h>
#include "wire.h"

extern char **environ;
static int from_spew, to_sink;
static uint8_t in[FRAME_MAX + HEADER + 65536], out[FRAME_MAX + 64];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Starts `program` with the other end of a pipe as descriptor `end`; returns our end, not blocking. */
static int child(const char *program, int end)
{
    int p[2];
    pid_t pid;
    char *argv[] = { (char *)program, NULL };
    posix_spawn_file_actions_t actions;
    if (pipe2(p, O_CLOEXEC) < 0)
        die("pipe2");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, p[end], end);
    errno = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    if (errno)
        die(program);
    close(p[end]);
    fcntl(p[!end], F_SETFL, O_NONBLOCK);
    return p[!end];
}

static void wait_for(int fd, short events)
{
    struct pollfd p = { fd, events, 0 };
    poll(&p, 1, -1);
}

static void reply(int fd, uint32_t stream, const uint8_t *payload, size_t n)
{
    uint8_t head[HEADER + 8];
    size_t h = HEADER;
    if (n) {
        head[h++] = 0x12;
        h += put_varint(head + h, n);
        memcpy(head + h, payload, n);
        h += n;
    }
    put_header(head, (uint32_t)(h - HEADER), stream, RESPONSE);
    if (write_all(fd, head, h) < 0)
        die("write");
}

/* Data is read into its place behind the room for header, envelope and field, so that all leaves in one write. */
static void read_stdout(int fd, uint32_t stream, const uint8_t *at, const uint8_t *end)
{
    struct field f;
    size_t want = 32768, room = 32, head;
    ssize_t n;
    uint8_t inner[12], outer[12];
    while (next_field(&at, end, &f) > 0)
        if (f.number == 3 && f.value < FRAME_MAX - 64)
            want = f.value;
    while ((n = read(from_spew, out + room, want)) < 0) {
        if (errno != EAGAIN)
            die("read");
        wait_for(from_spew, POLLIN);
    }
    inner[0] = 0x0a;
    size_t ni = 1 + put_varint(inner + 1, (uint64_t)n);
    outer[0] = 0x12;
    size_t no = 1 + put_varint(outer + 1, (uint64_t)n + ni);
    head = room - ni - no - HEADER;
    memcpy(out + room - ni, inner, ni);
    memcpy(out + room - ni - no, outer, no);
    put_header(out + head, (uint32_t)(no + ni + (size_t)n), stream, RESPONSE);
    if (write_all(fd, out + head, HEADER + no + ni + (size_t)n) < 0)
        die("write");
}

static void write_stdin(int fd, uint32_t stream, const uint8_t *at, const uint8_t *end)
{
    struct field f;
    uint8_t payload[12] = { 0x08 };
    size_t total = 0;
    while (next_field(&at, end, &f) > 0) {
        if (f.number != 3)
            continue;
        for (size_t done = 0; done < f.value;) {
            ssize_t n = write(to_sink, f.data + done, f.value - done);
            if (n > 0)
                done += (size_t)n;
            else if (errno == EAGAIN)
                wait_for(to_sink, POLLOUT);
            else
                die("write to sink");
        }
        total = f.value;
    }
    reply(fd, stream, payload, 1 + put_varint(payload + 1, total));
}

static void answer(int fd, uint32_t stream, const uint8_t *at, const uint8_t *end)
{
    struct field f, method = { 0, 0, 0, at }, payload = { 0, 0, 0, at };
    static const uint8_t serving[2] = { 0x08, 0x01 };
    while (next_field(&at, end, &f) > 0) {
        if (f.number == 2)
            method = f;
        else if (f.number == 3)
            payload = f;
    }
#define IS(name) (method.value == sizeof name - 1 && !memcmp(method.data, name, sizeof name - 1))
    if (IS("Check"))
        reply(fd, stream, serving, 2);
    else if (IS("ReadStdout"))
        read_stdout(fd, stream, payload.data, payload.data + payload.value);
    else if (IS("WriteStdin"))
        write_stdin(fd, stream, payload.data, payload.data + payload.value);
    else
        reply(fd, stream, NULL, 0);
}

/* All whole frames that are there; what is left moves to the front. One client is enough here, so one buffer is too. */
static int serve(int fd)
{
    static size_t have;
    ssize_t n = read(fd, in + have, sizeof in - have);
    size_t at = 0;
    if (n <= 0) {
        have = 0;
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
    have += (size_t)n;
    while (have - at >= HEADER) {
        uint32_t length = get32(in + at);
        if (length > FRAME_MAX)
            return -1;
        if (have - at < HEADER + length)
            break;
        answer(fd, get32(in + at + 4), in + at + HEADER, in + at + HEADER + length);
        at += HEADER + length;
    }
    memmove(in, in + at, have - at);
    have -= at;
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct epoll_event e = { .events = EPOLLIN };
    int listener, ep;
    if (argc != 4 || strlen(argv[1]) >= sizeof address.sun_path)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    from_spew = child(argv[2], 1);
    to_sink = child(argv[3], 0);
    strcpy(address.sun_path, argv[1]);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8) < 0)
        die(argv[1]);
    ep = epoll_create1(EPOLL_CLOEXEC);
    e.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        if (epoll_wait(ep, &e, 1, -1) < 1)
            continue;
        if (e.data.fd == listener) {
            e.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e);
        } else if (serve(e.data.fd) < 0)
            close(e.data.fd);
    }
}
