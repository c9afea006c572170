/*
 * The light client: makes the calls and takes the times, so that no interpreter stands between the clock and the agent. It reads
 * one command a line from standard input (words parted by tabs) and answers each with one line: "ok", or "error" and a text, then
 * tab-parted values; times are nanoseconds. It holds no opinion about what is measured: bench/driver.ts documents the commands.
 * With --apart it and all it starts live in a pid and a mount namespace of their own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include "programs.h"
#include "wire.h"

enum { SLOTS = 64, WORDS = 64, SAMPLES = 100000, DEADLINE_S = 30 };

/* A frame made once; every place where the placeholder id stands is patched for each call. */
struct call { char name[40]; uint8_t *frame; size_t size; size_t ids[16]; int id_count; };
struct link { char name[16]; int fd; uint32_t stream; };
static struct call calls[SLOTS];
static struct link links[8];
static int call_count;
static uint8_t buffer[FRAME_MAX + 65536];

#define PLACE "@@@@@@@@"
enum { PLACE_SIZE = 8 };

static struct link *link_named(const char *name, int make)
{
    for (int i = 0; i < 8; i++)
        if (!strcmp(links[i].name, name))
            return &links[i];
    for (int i = 0; make && i < 8; i++)
        if (!links[i].name[0]) {
            snprintf(links[i].name, sizeof links[i].name, "%s", name);
            return &links[i];
        }
    fail(name, "no such connection");
    return NULL;
}

static struct call *call_named(const char *name)
{
    for (int i = 0; i < call_count; i++)
        if (!strcmp(calls[i].name, name))
            return &calls[i];
    fail(name, "no such call");
    return NULL;
}

/* One try; -1 with errno. */
static int dial(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct timeval limit = { DEADLINE_S, 0 };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

/* Tries until `until` (a moment of now()), giving the processor away in between. */
static int dial_until(const char *path, int64_t until)
{
    for (;;) {
        int fd = dial(path);
        if (fd >= 0)
            return fd;
        if (now() > until)
            return fail(path, strerror(errno));
        sched_yield();
    }
}

/* The status of a response: 0, or -1 with its text in `trouble`. `payload` gets field 2. */
static int look(const struct call *c, const uint8_t *at, const uint8_t *end, struct field *payload)
{
    struct field f, s;
    memset(payload, 0, sizeof *payload);
    while (next_field(&at, end, &f) > 0) {
        if (f.number == 2) {
            *payload = f;
        } else if (f.number == 1 && f.type == 2 && f.value > 0) {
            const uint8_t *p = f.data, *q = f.data + f.value;
            unsigned code = 0, length = 0;
            const char *text = "";
            while (next_field(&p, q, &s) > 0) {
                if (s.number == 1)
                    code = (unsigned)s.value;
                else if (s.number == 2)
                    text = (const char *)s.data, length = (unsigned)s.value;
            }
            if (code) {
                snprintf(trouble, sizeof trouble, "%s: code %u %.*s", c->name, code, (int)(length > 300 ? 300 : length), text);
                return -1;
            }
        }
    }
    return 0;
}

static int receive(struct link *l, const struct call *c, struct field *payload)
{
    size_t have = 0, need = HEADER;
    while (have < need) {
        ssize_t n = read(l->fd, buffer + have, sizeof buffer - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(c->name, n == 0 ? "connection closed" : errno == EAGAIN ? "no answer in time" : strerror(errno));
        have += (size_t)n;
        if (have >= HEADER)
            need = HEADER + get32(buffer);
        if (need > sizeof buffer)
            return fail(c->name, "answer too long");
    }
    if (have != need || get32(buffer + 4) != l->stream || buffer[8] != RESPONSE)
        return fail(c->name, "not the answer to this call");
    return look(c, buffer + HEADER, buffer + need, payload);
}

static int invoke(struct link *l, struct call *c, const char *id, struct field *payload)
{
    for (int i = 0; i < c->id_count; i++)
        memcpy(c->frame + c->ids[i], id, PLACE_SIZE);
    put32(c->frame + 4, l->stream += 2);
    if (write_all(l->fd, c->frame, c->size) < 0)
        return fail(c->name, strerror(errno));
    return receive(l, c, payload);
}

/* load NAME FILE: the file is a request's data (envelope included); ids in it are PLACE. */
static int cmd_load(char **w)
{
    struct call *c = &calls[call_count];
    struct stat st;
    int fd = open(w[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || call_count == SLOTS)
        return fail(w[2], fd < 0 ? strerror(errno) : "too many calls");
    snprintf(c->name, sizeof c->name, "%s", w[1]);
    c->size = HEADER + (size_t)st.st_size;
    c->frame = malloc(c->size);
    c->id_count = 0;
    if (read(fd, c->frame + HEADER, (size_t)st.st_size) != st.st_size)
        return fail(w[2], "short read");
    close(fd);
    put_header(c->frame, (uint32_t)st.st_size, 0, REQUEST);
    for (size_t i = HEADER; i + PLACE_SIZE <= c->size; i++)
        if (!memcmp(c->frame + i, PLACE, PLACE_SIZE) && c->id_count < 16)
            c->ids[c->id_count++] = i;
    call_count++;
    puts("ok");
    return 0;
}

/* connect NAME PATH SECONDS */
static int cmd_connect(char **w)
{
    struct link *l = link_named(w[1], 1);
    if (!l)
        return -1;
    l->fd = dial_until(w[2], now() + atoll(w[3]) * 1000000000);
    l->stream = (uint32_t)-1;
    if (l->fd < 0) {
        l->name[0] = 0;
        return -1;
    }
    puts("ok");
    return 0;
}

/* disconnect NAME */
static int cmd_disconnect(char **w)
{
    struct link *l = link_named(w[1], 0);
    if (!l)
        return -1;
    close(l->fd);
    l->name[0] = 0;
    puts("ok");
    return 0;
}

/* sequence NAME ID CALL...: the whole's time, then that of each call. On an error the calls after it are not made. */
static int cmd_sequence(char **w)
{
    struct link *l = link_named(w[1], 0);
    struct call *c[16];
    struct field payload;
    int64_t t[17];
    int n = 0;
    for (; n < 16 && w[3 + n]; n++)
        if (!(c[n] = call_named(w[3 + n])))
            return -1;
    if (!l)
        return -1;
    t[0] = now();
    for (int i = 0; i < n; i++) {
        if (invoke(l, c[i], w[2], &payload) < 0)
            return -1;
        t[i + 1] = now();
    }
    printf("ok\t%lld", (long long)(t[n] - t[0]));
    for (int i = 0; i < n; i++)
        printf("\t%lld", (long long)(t[i + 1] - t[i]));
    puts("");
    return 0;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* repeat NAME ID CALL COUNT: the median round trip. */
static int cmd_repeat(char **w)
{
    static int64_t took[SAMPLES];
    struct link *l = link_named(w[1], 0);
    struct call *c = call_named(w[3]);
    struct field payload;
    int n = atoi(w[4]);
    if (!l || !c || n < 1 || n > SAMPLES)
        return -1;
    for (int i = 0; i < n; i++) {
        int64_t t = now();
        if (invoke(l, c, w[2], &payload) < 0)
            return -1;
        took[i] = now() - t;
    }
    qsort(took, (size_t)n, sizeof took[0], by_value);
    printf("ok\t%lld\n", (long long)took[n / 2]);
    return 0;
}

/*
 * flow NAME ID CALL BYTES: calls until so many bytes have come (field 1 of the answer is data) or were taken (it is a number);
 * the time, the bytes and the count of calls.
 */
static int cmd_flow(char **w)
{
    struct link *l = link_named(w[1], 0);
    struct call *c = call_named(w[3]);
    struct field payload, f;
    uint64_t want = strtoull(w[4], NULL, 10), got = 0, count = 0;
    int64_t t = now();
    if (!l || !c)
        return -1;
    while (got < want) {
        if (invoke(l, c, w[2], &payload) < 0)
            return -1;
        const uint8_t *at = payload.data;
        if (next_field(&at, payload.data + payload.value, &f) < 1 || f.number != 1 || f.value == 0)
            return fail(c->name, "the stream ended");
        got += f.value, count++;
    }
    printf("ok\t%lld\t%llu\t%llu\n", (long long)(now() - t), (unsigned long long)got, (unsigned long long)count);
    return 0;
}

/* first SOCKET CALL LOG PROGRAM ARG...: from the start of a server to its first answered call; it is killed then. */
static int cmd_first(char **w)
{
    struct link l = { .stream = (uint32_t)-1 };
    struct call *c = call_named(w[2]);
    struct field payload;
    int r = -1;
    int64_t t;
    pid_t pid;
    if (!c)
        return -1;
    unlink(w[1]);
    t = now();
    if ((pid = start(w + 4, w[3])) < 0)
        return -1;
    l.fd = dial_until(w[1], t + 10000000000);
    if (l.fd >= 0)
        r = invoke(&l, c, "", &payload);
    t = now() - t;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (l.fd >= 0)
        close(l.fd);
    unlink(w[1]);
    if (r < 0)
        return -1;
    printf("ok\t%lld\n", (long long)t);
    return 0;
}

static const struct { const char *name; int least; int (*run)(char **); } commands[] = {
    { "load", 3, cmd_load }, { "connect", 4, cmd_connect }, { "disconnect", 2, cmd_disconnect }, { "sequence", 4, cmd_sequence },
    { "repeat", 5, cmd_repeat }, { "flow", 5, cmd_flow }, { "run", 3, cmd_run }, { "spawn", 3, cmd_spawn }, { "end", 2, cmd_end },
    { "first", 5, cmd_first }, { "memory", 2, cmd_memory },
};

static int obey(char *line)
{
    char *w[WORDS + 1] = { NULL };
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *p = line; p && n < WORDS; n++) {
        w[n] = p;
        if ((p = strchr(p, '\t')))
            *p++ = 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (!strcmp(commands[i].name, w[0]))
            return n < commands[i].least ? fail(w[0], "too few words") : commands[i].run(w);
    return fail(w[0], "no such command");
}

int main(int argc, char **argv)
{
    static char line[65536];
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc > 1 && !strcmp(argv[1], "--apart") && apart() < 0) {
        perror("namespaces of its own");
        return 1;
    }
    while (fgets(line, sizeof line, stdin))
        if (obey(line) < 0) {
            for (char *p = trouble; *p; p++)
                if (*p == '\n' || *p == '\t')
                    *p = ' ';
            printf("error\t%s\n", trouble);
        }
    return 0;
}
