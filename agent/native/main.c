/*
 * The C host: boots QuickJS, evaluates the embedded module "main.js", then for ever runs pending jobs and calls tick().
 * It has no opinions: no struct layouts, no flags, no containers. What TypeScript needs of the machine is in native.c.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

#define LOADED_MAX 256
#define JOBS 1024 /* promises' jobs before descriptors and timers get their turn */
static JSModuleDef *loaded[LOADED_MAX];
static int short_lived;

static JSValue native; /* what TypeScript sees of this host */

/* Tells native.fault what nobody caught, or prints it where there is none: see native.d.ts. Also the engine's tracker of rejections. */
static void complain(JSContext *ctx, JSValueConst promise, JSValueConst reason, JS_BOOL handled, void *opaque)
{
    JSValue error = JS_IsUndefined(promise) ? JS_GetException(ctx) : JS_DupValue(ctx, reason);
    JSValue args[3] = { promise, error, JS_NewBool(ctx, handled) }, fault = JS_GetPropertyStr(ctx, native, "fault");
    if (JS_IsFunction(ctx, fault)) {
        JS_FreeValue(ctx, JS_Call(ctx, fault, JS_UNDEFINED, 3, args));
    } else if (JS_IsUndefined(promise)) {
        JSValue stack = JS_GetPropertyStr(ctx, error, "stack");
        const char *text = JS_ToCString(ctx, error), *trace = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
        fprintf(stderr, "kata-agent: uncaught %s\n%s", text ? text : "(no message)", trace ? trace : ""); /* the end: nothing is freed */
    }
    JS_FreeValue(ctx, fault);
    JS_FreeValue(ctx, error);
    JS_FreeValue(ctx, JS_GetException(ctx));
}

extern const uint8_t __start_bytecode[], __stop_bytecode[]; /* by the linker: the section of all chunks */

/* The bytecode was copied into the heap: its pages in the file, and those the kernel mapped around them, need not stay resident. */
static void drop_pages(void)
{
    uintptr_t start = (uintptr_t)__start_bytecode & -(uintptr_t)4096;
    if (!short_lived) /* not a page further: behind the section may be the heap */
        madvise((void *)start, (uintptr_t)__stop_bytecode - start, MADV_DONTNEED);
}

static JSModuleDef *resolve_import(JSContext *ctx, const char *name, void *opaque)
{
    unsigned i = 0;
    JSValue m;
    while (i < chunk_count && strcmp(chunks[i].name, name))
        i++;
    if (i == chunk_count || i >= LOADED_MAX) {
        JS_ThrowReferenceError(ctx, "no embedded module '%s'", name);
        return NULL;
    }
    if (loaded[i])
        return loaded[i];
    m = JS_ReadObject(ctx, chunks[i].data, chunks[i].size, JS_READ_OBJ_BYTECODE);
    if (JS_IsException(m))
        return NULL;
    loaded[i] = JS_VALUE_GET_PTR(m);
    JS_FreeValue(ctx, m); /* the context keeps its modules alive */
    drop_pages();
    return loaded[i];
}

JSValue load_chunk(JSContext *ctx, const char *name)
{
    JSModuleDef *m = resolve_import(ctx, name, NULL);
    JSValue module, result;
    if (!m)
        return JS_EXCEPTION;
    module = JS_DupValue(ctx, JS_MKPTR(JS_TAG_MODULE, m));
    if (JS_ResolveModule(ctx, module) < 0) {
        JS_FreeValue(ctx, module);
        return JS_EXCEPTION;
    }
    result = JS_EvalFunction(ctx, module); /* synchronous: no module has a top-level await */
    if (JS_IsException(result))
        return result;
    if (JS_PromiseState(ctx, result) == JS_PROMISE_REJECTED) {
        JS_Throw(ctx, JS_PromiseResult(ctx, result));
        JS_FreeValue(ctx, result);
        return JS_EXCEPTION;
    }
    JS_FreeValue(ctx, result);
    return JS_GetModuleNamespace(ctx, m);
}

/*
 * The interpreter's heap. Blocks up to SMALL bytes (0 in the debug build) come from pages of one size each, so that the address tells
 * the size, and stay in a list once they were free; others are malloc's. The libc's malloc was a quarter of the time in TypeScript.
 * A short-lived process cuts blocks up to ROOMY bytes from the room, their size before them: a call and a page fault less for each.
 */
enum { PAGE = 4096, PAGES = 448, STEP = 16 }; /* in all less than a huge page, or the kernel may make it one; then malloc takes over */
static char arena[PAGES][PAGE] __attribute__((aligned(PAGE)));
enum { FIRST = 96, MORE = 64, ROOMY = 16384, HEAD = 16 }; /* pages of the arena that every start, and that most commands need */
static char room[1 << 20] __attribute__((aligned(PAGE)));
static size_t cut;
static uint8_t class_of[PAGES];
static void **idle[SMALL / STEP + 1];
static char *fresh[SMALL / STEP + 1]; /* where the next block of a size is cut */

static unsigned class_at(const void *p)
{
    size_t page = ((uintptr_t)p - (uintptr_t)arena) / PAGE;
    return page < PAGES ? class_of[page] : 0;
}

static size_t *room_block(const void *p) /* the size of a block of the room */
{
    return (uintptr_t)p - (uintptr_t)room < sizeof room ? (size_t *)((char *)p - HEAD) : NULL;
}

static size_t heap_usable(const void *p)
{
    if (room_block(p))
        return *room_block(p);
    return class_at(p) ? class_at(p) * STEP : malloc_usable_size((void *)p);
}

static void *heap_malloc(JSMallocState *s, size_t size)
{
    static unsigned pages;
    unsigned c = size > SMALL ? 0 : (size + STEP - 1) / STEP;
    void **p = idle[c];
    if (c && !p && !fresh[c] && pages < PAGES) {
        class_of[pages] = c;
        fresh[c] = arena[pages++];
    }
    if (p) {
        idle[c] = *p;
    } else if (fresh[c]) {
        p = (void **)fresh[c];
        fresh[c] += c * STEP;
        if (((uintptr_t)fresh[c] + c * STEP - 1) / PAGE != (uintptr_t)p / PAGE)
            fresh[c] = NULL;
    } else if (SMALL > 0 && short_lived && size <= ROOMY && cut + HEAD + ROOMY < sizeof room) {
        p = (void **)(room + cut + HEAD);
        *room_block(p) = (size + STEP - 1) / STEP * STEP;
        cut += HEAD + *room_block(p);
    } else if (!(p = malloc(size))) {
        return NULL;
    }
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
    if (room_block(p)) {
        if ((char *)p + *room_block(p) == room + cut) /* the last one; others are lost */
            cut = (char *)p - HEAD - room;
        return;
    }
    if (!c)
        return free(p);
    *(void **)p = idle[c];
    idle[c] = p;
}

static void *heap_realloc(JSMallocState *s, void *p, size_t size)
{
    size_t have = p ? heap_usable(p) : 0;
    void *to;
    if (size > 0 && size <= have && have - size < 64)
        return p;
    to = size ? heap_malloc(s, size) : NULL;
    if (to && p)
        memcpy(to, p, size < have ? size : have);
    if (to || size == 0)
        heap_free(s, p);
    return to;
}

void end_soon(void)
{
    short_lived = 1;
    madvise(arena + FIRST, MORE * PAGE, 23); /* MADV_POPULATE_WRITE: at once instead of page by page */
    madvise(room, MORE / 2 * PAGE, 23);
}

int main(int argc, char **argv, char **envp)
{
    static const JSMallocFunctions heap = { heap_malloc, heap_free, heap_realloc, heap_usable };
    int r = madvise(arena, FIRST * PAGE, 23); /* MADV_POPULATE_WRITE */
    JSRuntime *rt = JS_NewRuntime2(&heap, NULL);
    JSContext *ctx = rt ? JS_NewContextRaw(rt) : NULL, *job;
    JSValue tick, result, more;
    if (!ctx) {
        fprintf(stderr, "kata-agent: out of memory at start\n");
        return 70;
    }
    JS_AddIntrinsicBaseObjects(ctx);
    JS_AddIntrinsicJSON(ctx);
    JS_AddIntrinsicMapSet(ctx);
    JS_AddIntrinsicTypedArrays(ctx);
    JS_AddIntrinsicPromise(ctx);
    JS_SetModuleLoaderFunc(rt, NULL, resolve_import, NULL);
    JS_SetHostPromiseRejectionTracker(rt, complain, NULL);
    native = install_native(ctx, argc, argv, envp);
    result = load_chunk(ctx, "main.js");
    tick = JS_IsException(result) ? JS_UNDEFINED : JS_GetPropertyStr(ctx, native, "tick");
    while (!JS_IsException(result) || (!short_lived && !JS_IsUndefined(tick))) {
        if (JS_IsException(result))
            complain(ctx, JS_UNDEFINED, JS_UNDEFINED, 0, NULL);
        JS_FreeValue(ctx, result);
        for (int i = 0; i < JOBS && (r = JS_ExecutePendingJob(rt, &job)) != 0; i++)
            if (r < 0)
                complain(job, JS_UNDEFINED, JS_UNDEFINED, 0, NULL);
        more = JS_NewBool(ctx, JS_IsJobPending(rt));
        result = JS_Call(ctx, tick, JS_UNDEFINED, 1, &more);
    }
    complain(ctx, JS_UNDEFINED, JS_UNDEFINED, 0, NULL);
    return 70;
}
