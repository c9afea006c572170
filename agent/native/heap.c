/*
 * The interpreter's heap. QuickJS asks for a small block for every object, property table and closure, and gives most of them back at
 * once. A libc's malloc must find a block's size when it is freed, keeps a header in each, and asks the kernel for pages again and
 * again. Here:
 *
 *   up to SMALL bytes   from the arena: pages of one block size each, so that the address tells the size, and no block has a header.
 *                       A block that is freed goes to the list of its size and stays there.
 *   larger              malloc's. But a process that ends soon cuts blocks up to ROOM_LARGEST from the room, one behind the other with
 *                       the size before each, and gets only the last one back: a system call and a page fault less for each.
 *
 * Arena and room are zeroed pages of the program, which exist once they are written. The debug build has SMALL 0: every block is
 * malloc's, and the sanitizers see it.
 *
 * Measured against malloc for everything, by turns on two cores: `kata-oci features` takes 2.3 ms of the processor instead of 3.8, and
 * 270 page faults instead of 540; `kata-oci run` and `exec` a fifth less time, an exec by the agent too, its run a container 6 % less.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* madvise(2): since Linux 5.14; an older kernel refuses, and pages come one by one */
#endif

enum {
    ARENA_PAGES = 448, /* less than a huge page (512), or the kernel may make it one; then malloc takes over */
    START_PAGES = 96, /* of the arena: what every start needs */
    COMMAND_PAGES = 64, /* the next of the arena: what most commands need */
    STEP = 16, /* between the sizes of blocks; the alignment of all */
    CLASSES = SMALL / STEP + 1, /* sizes in steps; 0 is "not from the arena" */
    ROOM_BYTES = 1 << 20,
    ROOM_TOUCHED = 32 * PAGE, /* of the room: what most commands need */
    ROOM_LARGEST = 16384,
    HEAD = 16, /* before a block of the room: its size, and what keeps it aligned */
    SLACK = 64, /* a block that shrinks by less stays where it is */
};

static char arena[ARENA_PAGES][PAGE] __attribute__((aligned(PAGE)));
static char room[ROOM_BYTES] __attribute__((aligned(PAGE)));

static uint8_t class_of[ARENA_PAGES];
static unsigned pages; /* of the arena, in use */
static void **idle[CLASSES]; /* freed blocks, each with the next one's address in it */
static char *fresh[CLASSES]; /* where the next block of a size is cut, if its page has one left */
static size_t cut; /* bytes of the room in use */
static int roomy; /* this process ends soon */

static unsigned class_at(const void *p)
{
    size_t page = ((uintptr_t)p - (uintptr_t)arena) / PAGE;
    return page < ARENA_PAGES ? class_of[page] : 0;
}

/* Where the size of a block of the room is; NULL for any other block. */
static size_t *room_block(const void *p)
{
    return (uintptr_t)p - (uintptr_t)room < sizeof room ? (size_t *)((char *)p - HEAD) : NULL;
}

static size_t heap_usable(const void *p)
{
    if (room_block(p))
        return *room_block(p);
    return class_at(p) ? class_at(p) * STEP : malloc_usable_size((void *)p);
}

/* A block of class c, from its list or its page; NULL when the arena is full. */
static void *arena_block(unsigned c)
{
    void **p = idle[c];
    if (p) {
        idle[c] = *p;
        return p;
    }
    if (!fresh[c] && pages < ARENA_PAGES) {
        class_of[pages] = c;
        fresh[c] = arena[pages++];
    }
    p = (void **)fresh[c];
    if (p) {
        fresh[c] += c * STEP;
        if (((uintptr_t)fresh[c] + c * STEP - 1) / PAGE != (uintptr_t)p / PAGE)
            fresh[c] = NULL;
    }
    return p;
}

static void *heap_malloc(JSMallocState *s, size_t size)
{
    void *p = size <= SMALL && size > 0 ? arena_block((size + STEP - 1) / STEP) : NULL;
    if (!p && SMALL > 0 && roomy && size <= ROOM_LARGEST && cut + HEAD + ROOM_LARGEST < sizeof room) {
        p = room + cut + HEAD;
        *room_block(p) = (size + STEP - 1) / STEP * STEP;
        cut += HEAD + *room_block(p);
    }
    if (!p && !(p = malloc(size)))
        return NULL;
    s->malloc_count++;
    s->malloc_size += heap_usable(p);
    return p;
}

static void heap_free(JSMallocState *s, void *p)
{
    unsigned c = class_at(p);
    if (!p)
        return;
    s->malloc_count--;
    s->malloc_size -= heap_usable(p);
    if (c) {
        *(void **)p = idle[c];
        idle[c] = p;
    } else if (!room_block(p)) {
        free(p);
    } else if ((char *)p + *room_block(p) == room + cut) { /* the last one; others are lost */
        cut = (char *)p - HEAD - room;
    }
}

static void *heap_realloc(JSMallocState *s, void *p, size_t size)
{
    size_t have = p ? heap_usable(p) : 0;
    void *to;
    if (size > 0 && size <= have && have - size < SLACK)
        return p;
    to = size ? heap_malloc(s, size) : NULL;
    if (to && p)
        memcpy(to, p, size < have ? size : have);
    if (to || size == 0)
        heap_free(s, p);
    return to;
}

const JSMallocFunctions heap = { heap_malloc, heap_free, heap_realloc, heap_usable };

void heap_start(void)
{
    madvise(arena, START_PAGES * PAGE, MADV_POPULATE_WRITE); /* at once instead of page by page */
}

void heap_end_soon(void)
{
    roomy = 1;
    madvise(arena[START_PAGES], COMMAND_PAGES * PAGE, MADV_POPULATE_WRITE);
    madvise(room, ROOM_TOUCHED, MADV_POPULATE_WRITE);
}
