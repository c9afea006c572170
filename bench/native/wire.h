/*
 * The few ttRPC and protobuf pieces that the bench driver and the floor server share: header fields, varints and an exact read.
 * No allocation, no state. Source: the ttRPC protocol page and the protobuf encoding page.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

enum { HEADER = 10, FRAME_MAX = 4194304, REQUEST = 1, RESPONSE = 2 };

static inline void put32(uint8_t *p, uint32_t v)
{
    p[0] = v >> 24, p[1] = v >> 16, p[2] = v >> 8, p[3] = v;
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void put_header(uint8_t *p, uint32_t length, uint32_t stream, uint8_t type)
{
    put32(p, length), put32(p + 4, stream), p[8] = type, p[9] = 0;
}

static inline size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    for (; v > 127; v >>= 7)
        p[n++] = (uint8_t)(v | 128);
    p[n++] = (uint8_t)v;
    return n;
}

/* One protobuf field of `at`..`end`: number, wire type and value (length-delimited: data and size). 0 at the end, -1 if broken. */
struct field { unsigned number, type; uint64_t value; const uint8_t *data; };

static inline int get_varint(const uint8_t **at, const uint8_t *end, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t b = *(*at)++;
        *v |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return 1;
    }
    return -1;
}

static inline int next_field(const uint8_t **at, const uint8_t *end, struct field *f)
{
    uint64_t tag;
    f->data = NULL, f->value = 0;
    if (*at >= end)
        return 0;
    if (get_varint(at, end, &tag) < 0)
        return -1;
    f->number = (unsigned)(tag >> 3), f->type = tag & 7, f->data = *at;
    if (f->type == 0)
        return get_varint(at, end, &f->value);
    if (f->type != 2 || get_varint(at, end, &f->value) < 0 || f->value > (uint64_t)(end - *at))
        return -1;
    f->data = *at;
    *at += f->value;
    return 1;
}

static inline int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return -1;
        p += w, n -= (size_t)w;
    }
    return 0;
}
#endif
