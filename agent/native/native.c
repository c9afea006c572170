/*
 * The primitives that TypeScript cannot have otherwise: a raw system call, the address of a buffer, UTF-8, argv and envp,
 * lazy loading of embedded modules, and libseccomp's compiler. Shapes and meanings are described in sys/native.d.ts.
 */
#include <errno.h>
#include <math.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cutils.h"
#include "native.h"

static JSClassID array_buffer; /* the class of plain buffers; learnt at start, the engine does not publish it */

/* Bytes of an ArrayBuffer or of a view on one; NULL (no exception pending) when the value is neither. */
static uint8_t *bytes_of(JSContext *ctx, JSValueConst v, size_t *size)
{
    size_t off = 0, len = 0, whole = 0;
    uint8_t *base;
    JSValue ab;
    if (JS_GetClassID(v) == array_buffer) /* asked first: an exception that is thrown away still costs its backtrace */
        return JS_GetArrayBuffer(ctx, size, v);
    ab = JS_GetTypedArrayBuffer(ctx, v, &off, &len, NULL);
    if (JS_IsException(ab)) {
        JS_FreeValue(ctx, JS_GetException(ctx));
        return NULL;
    }
    base = JS_GetArrayBuffer(ctx, &whole, ab);
    JS_FreeValue(ctx, ab); /* the view keeps the buffer alive */
    *size = len;
    return base ? base + off : NULL;
}

/* A whole number of 64 bits, signed or not (2^64 stands for the largest); for anything else -1, and it has thrown. */
static int to_long(JSContext *ctx, JSValueConst v, int64_t *n)
{
    double d = JS_VALUE_GET_NORM_TAG(v) == JS_TAG_FLOAT64 ? JS_VALUE_GET_FLOAT64(v) : NAN;
    if (JS_VALUE_GET_TAG(v) == JS_TAG_INT)
        return *n = JS_VALUE_GET_INT(v), 0;
    if (d >= -0x1p63 && d <= 0x1p64 && (d >= 0x1p63 || d == (double)(int64_t)d))
        return *n = d < 0x1p63 ? (int64_t)d : d < 0x1p64 ? (int64_t)(uint64_t)d : -1, 0;
    return JS_ThrowRangeError(ctx, "native: an argument is no whole number of 64 bits"), -1;
}

static JSValue native_syscall(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    int64_t a[7] = { 0 }, ret = 0; /* the number, then its arguments */
    const char *held[7];
    int strings = 0, thrown = 0;
    size_t size;
    for (int i = 0; i < 7 && i < argc && ret == 0 && !thrown; i++) {
        if (JS_IsString(argv[i])) {
            const char *s = JS_ToCStringLen(ctx, &size, argv[i]);
            if (!s || memchr(s, 0, size)) /* a NUL inside would silently shorten a path */
                ret = s ? -EINVAL : -ENOMEM;
            held[strings++] = s;
            a[i] = (int64_t)(uintptr_t)s;
        } else if (JS_IsObject(argv[i])) {
            if (!(a[i] = (int64_t)(uintptr_t)bytes_of(ctx, argv[i], &size)))
                thrown = JS_IsException(JS_ThrowTypeError(ctx, "native: an argument is an object, but no buffer"));
        } else if (!JS_IsNull(argv[i]) && !JS_IsUndefined(argv[i])) {
            thrown = to_long(ctx, argv[i], &a[i]) < 0;
        }
    }
    if (ret == 0 && !thrown && (ret = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6])) == -1)
        ret = -errno; /* the libc keeps all of 1..4095 for errors, so -1 stands for nothing else */
    while (strings > 0)
        JS_FreeCString(ctx, held[--strings]);
    return thrown ? JS_EXCEPTION : JS_NewInt64(ctx, ret);
}

static JSValue native_address_of(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t size;
    uint8_t *p = bytes_of(ctx, argv[0], &size);
    return p ? JS_NewInt64(ctx, (int64_t)(uintptr_t)p) : JS_ThrowTypeError(ctx, "addressOf: not a buffer");
}

static JSValue new_bytes(JSContext *ctx, const void *data, size_t size)
{
    JSValue args[3] = { JS_NewArrayBufferCopy(ctx, data, size), JS_UNDEFINED, JS_UNDEFINED }, view; /* it reads all three */
    if (JS_IsException(args[0]))
        return args[0];
    view = JS_NewTypedArray(ctx, 3, args, JS_TYPED_ARRAY_UINT8);
    JS_FreeValue(ctx, args[0]);
    return view;
}

static JSValue native_utf8_encode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t size;
    const char *s = JS_ToCStringLen(ctx, &size, argv[0]);
    JSValue v = s ? new_bytes(ctx, s, size) : JS_EXCEPTION;
    JS_FreeCString(ctx, s);
    return v;
}

/* Well-formed sequences only: the engine's reader refuses overlong forms but knows surrogates and values above U+10FFFF. */
static int utf8_valid(const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        int c = *p < 0x80 ? *p++ : unicode_from_utf8(p, (int)(end - p), &p);
        if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return 0;
    }
    return 1;
}

static JSValue native_utf8_decode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t size = 0;
    uint8_t *p = bytes_of(ctx, argv[0], &size);
    int64_t start = 0, end = (int64_t)size;
    if ((JS_IsNumber(argv[1]) && to_long(ctx, argv[1], &start)) || (JS_IsNumber(argv[2]) && to_long(ctx, argv[2], &end)))
        return JS_EXCEPTION;
    if (start < 0 || end > (int64_t)size || start > end)
        return JS_ThrowRangeError(ctx, "utf8Decode: range outside the buffer");
    if (start == end)
        return JS_NewString(ctx, "");
    if (!utf8_valid(p + start, p + end))
        return JS_UNDEFINED;
    return JS_NewStringLen(ctx, (const char *)p + start, end - start);
}

static JSValue native_load(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    const char *name = JS_ToCString(ctx, argv[0]);
    JSValue ns = name ? load_chunk(ctx, name) : JS_EXCEPTION;
    JS_FreeCString(ctx, name);
    return ns;
}

static JSValue native_short_lived(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    end_soon();
    JS_SetGCThreshold(JS_GetRuntime(ctx), (size_t)-1); /* never */
    return JS_UNDEFINED;
}

static JSValue native_collect(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    JS_RunGC(JS_GetRuntime(ctx));
    return JS_UNDEFINED;
}

static scmp_filter_ctx filter; /* one filter is built at a time */

/* seccomp(op, ...): 0 resolve name for arch, 1 new filter, 2 add arch, 3 attribute, 4 rule, 5 export to descriptor, 6 release. */
static JSValue native_seccomp(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    int64_t n[5] = { 0 };
    size_t size = 0;
    const char *name;
    int r = -EINVAL;
    for (int i = 0; i < 5 && i < argc; i++)
        if (JS_IsNumber(argv[i]) && to_long(ctx, argv[i], &n[i]))
            return JS_EXCEPTION;
    if (n[0] == 0 && argc > 2 && (name = JS_ToCString(ctx, argv[2]))) {
        r = seccomp_syscall_resolve_name_arch((uint32_t)n[1], name);
        JS_FreeCString(ctx, name);
        return JS_NewInt32(ctx, r);
    }
    if (n[0] == 1 || n[0] == 6) {
        if (filter)
            seccomp_release(filter);
        filter = n[0] == 1 ? seccomp_init((uint32_t)n[1]) : NULL;
        return JS_NewInt32(ctx, n[0] == 6 || filter ? 0 : -EINVAL);
    }
    if (!filter)
        return JS_NewInt32(ctx, -EINVAL);
    switch (n[0]) {
    case 2: r = seccomp_arch_add(filter, (uint32_t)n[1]); break;
    case 3: r = seccomp_attr_set(filter, (uint32_t)n[1], (uint32_t)n[2]); break;
    case 4: { /* argv[3]: packed struct scmp_arg_cmp, 24 bytes each */
        const void *args = JS_IsObject(argv[3]) ? bytes_of(ctx, argv[3], &size) : NULL;
        r = seccomp_rule_add_array(filter, (uint32_t)n[1], (int)n[2], size / sizeof(struct scmp_arg_cmp), args);
        break;
    }
    case 5: r = seccomp_export_bpf(filter, (int)n[1]); break;
    }
    return JS_NewInt32(ctx, r);
}

static JSValue string_list(JSContext *ctx, char **list)
{
    JSValue array = JS_NewArray(ctx);
    for (uint32_t i = 0; list && list[i]; i++)
        JS_SetPropertyUint32(ctx, array, i, JS_NewString(ctx, list[i]));
    return array;
}

JSValue install_native(JSContext *ctx, int argc, char **argv, char **envp)
{
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_DEF("syscall", 7, native_syscall),
        JS_CFUNC_DEF("addressOf", 1, native_address_of),
        JS_CFUNC_DEF("utf8Encode", 1, native_utf8_encode),
        JS_CFUNC_DEF("utf8Decode", 3, native_utf8_decode),
        JS_CFUNC_DEF("load", 1, native_load),
        JS_CFUNC_DEF("seccomp", 4, native_seccomp),
        JS_CFUNC_DEF("shortLived", 0, native_short_lived),
        JS_CFUNC_DEF("collect", 0, native_collect),
    };
    JSValue global = JS_GetGlobalObject(ctx), native = JS_NewObject(ctx), buffer = JS_NewArrayBufferCopy(ctx, NULL, 0);
    array_buffer = JS_GetClassID(buffer);
    JS_FreeValue(ctx, buffer);
    JS_SetPropertyFunctionList(ctx, native, functions, sizeof(functions) / sizeof(functions[0]));
    JS_SetPropertyStr(ctx, native, "args", string_list(ctx, argv));
    JS_SetPropertyStr(ctx, native, "env", string_list(ctx, envp));
    JS_SetPropertyStr(ctx, global, "native", JS_DupValue(ctx, native));
    JS_FreeValue(ctx, global);
    return native;
}
