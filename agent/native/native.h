#pragma once
#include <stdint.h>
#include "quickjs.h"

enum { PAGE = 4096 };

/* One piece of embedded bytecode: an ES module compiled from one output file of the bundler. */
struct chunk { const char *name; const uint8_t *data; uint32_t size, packed; }; /* packed: bytes of `data` in LZ4's block format, or 0 */
extern const struct chunk chunks[];
extern const unsigned chunk_count;

/* The interpreter's memory (heap.c). `heap_start` comes before all use of it; `heap_end_soon`: nothing need be given back any more. */
extern const JSMallocFunctions heap;
void heap_start(void);
void heap_end_soon(void);

/* This process ends before it would pay to give memory back: what it will need is made at once. */
void end_soon(void);

/* Returns the module's namespace object, reading its bytecode on first use; JS_EXCEPTION when there is none or it throws. */
JSValue load_chunk(JSContext *ctx, const char *name);

/* Puts the `native` object (see sys/native.d.ts) on the global object and returns a reference to it. */
JSValue install_native(JSContext *ctx, int argc, char **argv, char **envp);
