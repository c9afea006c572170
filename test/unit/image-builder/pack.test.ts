import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { withTable } from "../../../image-builder/agent/bytecode.js";
import { pack } from "../../../image-builder/agent/pack.js";

/** What `unpack` of agent/native/main.c does, with the rules of the format that a decoder may rely on. */
function unpack(packed: Uint8Array): number[] {
  const out: number[] = [];
  let at = 0;
  const length = (n: number): number => {
    if (n === 15) for (let byte = 255; byte === 255; n += byte) byte = packed[at++] as number;
    return n;
  };
  for (;;) {
    const token = packed[at++] as number;
    const literals = length(token >> 4);
    out.push(...packed.subarray(at, at + literals));
    at += literals;
    if (at === packed.length) {
      expect(literals === out.length || literals >= 5).toBe(true);
      return out;
    }
    const back = (packed[at] as number) | ((packed[at + 1] as number) << 8);
    at += 2;
    expect(back).toBeGreaterThan(0);
    expect(back).toBeLessThanOrEqual(out.length);
    for (let n = length(token & 15) + 4; n > 0; n--) out.push(out[out.length - back] as number);
  }
}

describe("packed bytecode", () => {
  it.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)], ["a byte", Uint8Array.of(7)], ["a long run", new Uint8Array(5000).fill(3)], ["runs at the limits of a token", Uint8Array.from({ length: 700 }, (_, i) => (i < 15 + 255 ? i * 7 : 1))],
    ["a repetition out of reach", Uint8Array.from({ length: 140_000 }, (_, i) => ((i % 70_000) * 2654435761) >>> 24)],
  ])("comes out as it was: %s", (_, bytes) => {
    expect(Buffer.compare(Buffer.from(unpack(pack(bytes))), bytes)).toBe(0);
  });
  it("comes out as it was, whatever it is", () => {
    const repeating = fc.array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(9)), { maxLength: 40 }).map((parts) => Uint8Array.from(parts.flatMap(([bytes, n]) => Array.from({ length: n }, () => [...bytes]).flat())));
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), repeating), (bytes) => Buffer.compare(Buffer.from(unpack(pack(bytes))), bytes) === 0), { numRuns: 300 });
  });
  it("is smaller where something repeats", () => {
    expect(pack(new TextEncoder().encode("checkProcess(process, field); ".repeat(100))).length).toBeLessThan(80);
  });
  it("stands in the table with both sizes", () => {
    const { text, sizes } = withTable(`const uint32_t qjsc_a_size = 64;\nconst uint8_t qjsc_a[64] = {${" 0x00,".repeat(64)}};\nconst uint32_t qjsc_b_size = 2;\nconst uint8_t qjsc_b[2] = { 0x01, 0x02, };\n`, ["a.js", "b.js"], new Set(["a.js"]));
    expect(sizes).toEqual({ "a.js": 64, "b.js": 2 });
    expect(text).toMatch(/\{ "a\.js", qjsc_a, 64, \d\d? \},\n    \{ "b\.js", qjsc_b, 2, 0 \},/);
  });
});
