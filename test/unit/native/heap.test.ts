// The interpreter's heap (agent/native/heap.c), compiled with a driver that takes, resizes and gives back blocks of all sizes at random:
// each keeps its bytes and its alignment, overlaps no other, and none stays counted; also when arena and room are full.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { projectRoot } from "../../../tools/places.js";

const QUICKJS_H = `#pragma once
#include <stddef.h>
typedef struct { size_t malloc_count, malloc_size, malloc_limit; void *opaque; } JSMallocState;
typedef struct { void *(*js_malloc)(JSMallocState *, size_t); void (*js_free)(JSMallocState *, void *); void *(*js_realloc)(JSMallocState *, void *, size_t); size_t (*js_malloc_usable_size)(const void *); } JSMallocFunctions;
typedef struct JSContext JSContext;
typedef long JSValue;
`;

const DRIVER = `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "native.h"
enum { BLOCKS = 20000 }; /* more than the arena holds */
static struct { unsigned char *p; size_t size; unsigned char fill; } block[BLOCKS];
static void need(int ok, const char *what) { if (!ok) { puts(what); exit(1); } }
static void whole(int i) { for (size_t n = 0; n < block[i].size; n++) need(block[i].p[n] == block[i].fill, "bytes were lost"); }
static size_t any(void) { int kind = rand() % 16; return kind == 0 ? 0 : kind < 8 ? rand() % 160 : kind < 15 ? rand() % 700 : rand() % 20000; }
int main(int argc, char **argv)
{
    JSMallocState s = { 0 };
    srand(atoi(argv[1]));
    heap_start();
    for (int step = 0; step < 80000; step++) {
        int i = rand() % BLOCKS;
        if (step == atoi(argv[2])) heap_end_soon();
        if (block[i].p) whole(i);
        if (block[i].p && rand() % 3 == 0) {
            heap.js_free(&s, block[i].p);
            block[i].p = NULL, block[i].size = 0;
            continue;
        }
        size_t size = any();
        unsigned char *p = block[i].p ? heap.js_realloc(&s, block[i].p, size) : heap.js_malloc(&s, size);
        if (!p) {
            need(size == 0, "no block was given");
            block[i].p = NULL, block[i].size = 0;
            continue;
        }
        need(((uintptr_t)p & 15) == 0, "a block is not aligned");
        need(heap.js_malloc_usable_size(p) >= size, "a block is smaller than asked for");
        for (size_t n = 0; n < size && n < block[i].size; n++) need(p[n] == block[i].fill, "bytes were lost in a move");
        block[i].p = p, block[i].size = size, block[i].fill = rand();
        memset(p, block[i].fill, size);
    }
    for (int i = 0; i < BLOCKS; i++) { whole(i); heap.js_free(&s, block[i].p); }
    printf("%zu %zu\\n", s.malloc_count, s.malloc_size);
    return 0;
}
`;

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "kata-heap-"));
  writeFileSync(join(dir, "quickjs.h"), QUICKJS_H);
  writeFileSync(join(dir, "driver.c"), DRIVER);
  const native = join(projectRoot, "agent/native");
  for (const small of [512, 0]) {
    execFileSync("gcc", ["-O1", "-g", "-w", "-fsanitize=undefined", "-fno-sanitize-recover=undefined", `-DSMALL=${small}`, `-I${dir}`, `-I${native}`, join(dir, "driver.c"), join(native, "heap.c"), "-o", join(dir, `heap${small}`)]);
  }
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("the interpreter's heap", () => {
  const run = (small: number, seed: number, soon: number): string => execFileSync(join(dir, `heap${small}`), [String(seed), String(soon)], { encoding: "utf8" });
  it.each([[512, 1, -1], [512, 2, 0], [512, 3, 20000], [0, 4, -1], [0, 5, 100]])("of %i bytes for small blocks, seed %i, a short life from step %i", (small, seed, soon) => {
    expect(run(small, seed, soon)).toBe("0 0\n");
  });
});
