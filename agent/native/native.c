/*
 * The primitives that TypeScript cannot have otherwise: a raw system call, the address of a buffer, UTF-8, argv and envp,
 * lazy loading of embedded modules, and libseccomp's compiler. Shapes and meanings are described in sys/native.d.ts.
 */
#include <errno.h>
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

static int64_t to_long(JSContext *ctx, JSValueConst v)
{
    double d = 0;
    if (JS_VALUE_GET_TAG(v) == JS_TAG_INT)
        return JS_VALUE_GET_INT(v);
    JS_ToFloat64(ctx, &d, v);
    if (d >= 9223372036854775808.0)
        return d >= 18446744073709551616.0 ? -1 : (int64_t)(uint64_t)d;
    return d >= -9223372036854775808.0 ? (int64_t)d : 0;
}

static JSValue native_syscall(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    long a[6] = { 0 }, ret = 0;
    const char *held[6];
    int strings = 0;
    size_t size;
    for (int i = 0; i < 6 && i + 1 < argc; i++) {
        JSValueConst v = argv[i + 1];
        if (JS_IsString(v)) {
            const char *s = JS_ToCStringLen(ctx, &size, v);
            if (!s || memchr(s, 0, size)) { /* a NUL inside would silently shorten a path */
                ret = s ? -EINVAL : -ENOMEM;
                JS_FreeCString(ctx, s);
                break;
            }
            held[strings++] = s;
            a[i] = (long)s;
        } else if (JS_IsObject(v)) {
            a[i] = (long)bytes_of(ctx, v, &size);
        } else if (!JS_IsNull(v) && !JS_IsUndefined(v)) {
            a[i] = (long)to_long(ctx, v);
        }
    }
    if (ret == 0 && (ret = syscall((long)to_long(ctx, argv[0]), a[0], a[1], a[2], a[3], a[4], a[5])) == -1)
        ret = -errno; /* the libc keeps all of 1..4095 for errors, so -1 stands for nothing else */
    while (strings > 0)
        JS_FreeCString(ctx, held[--strings]);
    return JS_NewInt64(ctx, ret);
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
    size_t size = 0, start, end;
    uint8_t *p = bytes_of(ctx, argv[0], &size);
    start = argc > 1 && JS_IsNumber(argv[1]) ? (size_t)to_long(ctx, argv[1]) : 0;
    end = argc > 2 && JS_IsNumber(argv[2]) ? (size_t)to_long(ctx, argv[2]) : size;
    if (end > size || start > end)
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

static scmp_filter_ctx filter; /* one filter is built at a time */

/* seccomp(op, ...): 0 resolve name for arch, 1 new filter, 2 add arch, 3 attribute, 4 rule, 5 export to descriptor, 6 release. */
static JSValue native_seccomp(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    uint32_t n[5] = { 0 };
    size_t size = 0;
    const char *name;
    int r = -EINVAL;
    for (int i = 0; i < 5 && i < argc; i++)
        if (JS_IsNumber(argv[i]))
            n[i] = (uint32_t)to_long(ctx, argv[i]);
    if (n[0] == 0 && argc > 2 && (name = JS_ToCString(ctx, argv[2]))) {
        r = seccomp_syscall_resolve_name_arch(n[1], name);
        JS_FreeCString(ctx, name);
        return JS_NewInt32(ctx, r);
    }
    if (n[0] == 1 || n[0] == 6) {
        if (filter)
            seccomp_release(filter);
        filter = n[0] == 1 ? seccomp_init(n[1]) : NULL;
        return JS_NewInt32(ctx, n[0] == 6 || filter ? 0 : -EINVAL);
    }
    if (!filter)
        return JS_NewInt32(ctx, -EINVAL);
    switch (n[0]) {
    case 2: r = seccomp_arch_add(filter, n[1]); break;
    case 3: r = seccomp_attr_set(filter, n[1], n[2]); break;
    case 4: { /* argv[3]: packed struct scmp_arg_cmp, 24 bytes each */
        const void *args = JS_IsObject(argv[3]) ? bytes_of(ctx, argv[3], &size) : NULL;
        r = seccomp_rule_add_array(filter, n[1], (int)n[2], size / sizeof(struct scmp_arg_cmp), args);
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
