/*
 * The C host: boots QuickJS, evaluates the embedded module "main.js", then for ever runs pending jobs and calls tick().
 * It has no opinions: no struct layouts, no flags, no containers. What TypeScript needs of the machine is in native.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

#define LOADED_MAX 128
static JSModuleDef *loaded[LOADED_MAX];

static void complain(JSContext *ctx)
{
    JSValue error = JS_GetException(ctx);
    const char *text = JS_ToCString(ctx, error);
    JSValue stack = JS_GetPropertyStr(ctx, error, "stack");
    const char *trace = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    fprintf(stderr, "kata-agent: uncaught %s\n%s", text ? text : "(no message)", trace ? trace : "");
    if (text)
        JS_FreeCString(ctx, text);
    if (trace)
        JS_FreeCString(ctx, trace);
    JS_FreeValue(ctx, stack);
    JS_FreeValue(ctx, error);
}

static int chunk_index(const char *name)
{
    for (unsigned i = 0; i < chunk_count; i++)
        if (!strcmp(chunks[i].name, name))
            return (int)i;
    return -1;
}

/* The bytecode was copied into the heap: its pages in the file need not stay resident. */
static void drop_pages(const struct chunk *c)
{
    uintptr_t start = ((uintptr_t)c->data + 4095) & ~(uintptr_t)4095;
    uintptr_t end = ((uintptr_t)c->data + c->size) & ~(uintptr_t)4095;
    if (end > start)
        madvise((void *)start, end - start, MADV_DONTNEED);
}

static JSModuleDef *read_module(JSContext *ctx, int i)
{
    JSValue m;
    if (loaded[i])
        return loaded[i];
    m = JS_ReadObject(ctx, chunks[i].data, chunks[i].size, JS_READ_OBJ_BYTECODE);
    if (JS_IsException(m))
        return NULL;
    loaded[i] = JS_VALUE_GET_PTR(m);
    JS_FreeValue(ctx, m); /* the context keeps its modules alive */
    drop_pages(&chunks[i]);
    return loaded[i];
}

static JSModuleDef *resolve_import(JSContext *ctx, const char *name, void *opaque)
{
    int i = chunk_index(name);
    if (i < 0 || i >= LOADED_MAX) {
        JS_ThrowReferenceError(ctx, "no embedded module '%s'", name);
        return NULL;
    }
    return read_module(ctx, i);
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

static JSContext *new_context(JSRuntime *rt)
{
    JSContext *ctx = JS_NewContextRaw(rt);
    if (!ctx)
        return NULL;
    JS_AddIntrinsicBaseObjects(ctx);
    JS_AddIntrinsicJSON(ctx);
    JS_AddIntrinsicMapSet(ctx);
    JS_AddIntrinsicTypedArrays(ctx);
    JS_AddIntrinsicPromise(ctx);
    return ctx;
}

int main(int argc, char **argv, char **envp)
{
    JSRuntime *rt = JS_NewRuntime();
    JSContext *ctx = rt ? new_context(rt) : NULL, *job;
    JSValue native, tick, result;
    int r;
    if (!ctx) {
        fprintf(stderr, "kata-agent: out of memory at start\n");
        return 70;
    }
    JS_SetModuleLoaderFunc(rt, NULL, resolve_import, NULL);
    native = install_native(ctx, argc, argv, envp);
    result = load_chunk(ctx, "main.js");
    if (JS_IsException(result)) {
        complain(ctx);
        return 70;
    }
    JS_FreeValue(ctx, result);
    tick = JS_GetPropertyStr(ctx, native, "tick");
    for (;;) {
        while ((r = JS_ExecutePendingJob(rt, &job)) != 0)
            if (r < 0)
                complain(job);
        result = JS_Call(ctx, tick, JS_UNDEFINED, 0, NULL);
        if (JS_IsException(result)) {
            complain(ctx);
            return 70;
        }
        JS_FreeValue(ctx, result);
    }
}
