/*
 * The C host: boots QuickJS, evaluates the embedded module "main.js", then for ever runs pending jobs and calls tick().
 * It has no opinions: no struct layouts, no flags, no containers. What TypeScript needs of the machine is in native.c, the
 * interpreter's memory in heap.c.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

enum {
    LOADED_MAX = 256, /* modules that can be loaded */
    JOBS = 64, /* promises' jobs before descriptors and timers get their turn */
    EX_SOFTWARE = 70, /* sysexits(3): how this program ends when it cannot go on */
};
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
    uintptr_t start = (uintptr_t)__start_bytecode & -(uintptr_t)PAGE;
    if (!short_lived) /* not a page further: behind the section may be the heap */
        madvise((void *)start, (uintptr_t)__stop_bytecode - start, MADV_DONTNEED);
}

/* A length of LZ4's block format: four bits, and bytes as long as they are 255. */
static size_t length_at(const uint8_t **from, size_t n)
{
    if (n == 15)
        do
            n += **from;
        while (*(*from)++ == 255);
    return n;
}

/* Unpacks a chunk to `to`, which has room for its size. See image-builder/agent/pack.ts; the bytes are the build's own. */
static void unpack(const uint8_t *from, const uint8_t *end, uint8_t *to)
{
    for (;;) {
        size_t token = *from++, n = length_at(&from, token >> 4), back;
        memcpy(to, from, n);
        to += n;
        from += n;
        if (from == end)
            return;
        back = from[0] | (size_t)from[1] << 8;
        from += 2;
        for (n = length_at(&from, token & 15) + 4; n > 0; n--, to++) /* it may overlap */
            *to = to[-(ptrdiff_t)back];
    }
}

static JSValue read_chunk(JSContext *ctx, const struct chunk *c)
{
    uint8_t *bytes;
    JSValue m;
    if (!c->packed)
        return JS_ReadObject(ctx, c->data, c->size, JS_READ_OBJ_BYTECODE);
    bytes = js_malloc(ctx, c->size);
    if (!bytes)
        return JS_EXCEPTION;
    unpack(c->data, c->data + c->packed, bytes);
    m = JS_ReadObject(ctx, bytes, c->size, JS_READ_OBJ_BYTECODE);
    js_free(ctx, bytes);
    return m;
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
    m = read_chunk(ctx, &chunks[i]);
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

void end_soon(void)
{
    short_lived = 1;
    heap_end_soon();
}

int main(int argc, char **argv, char **envp)
{
    JSRuntime *rt;
    JSContext *ctx, *job;
    JSValue tick, result, more;
    int r;
    heap_start();
    rt = JS_NewRuntime2(&heap, NULL);
    ctx = rt ? JS_NewContextRaw(rt) : NULL;
    if (!ctx) {
        fprintf(stderr, "kata-agent: out of memory at start\n");
        return EX_SOFTWARE;
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
    return EX_SOFTWARE;
}
