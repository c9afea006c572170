import { describe, expect, it } from "vitest";
import { getI64, setU64, struct, viewOf } from "../../../agent/sys/struct.js";

describe("struct", () => {
  it("aligns as C does", () => {
    const s = struct({ a: "u8", b: "u32", c: "u16", d: "u64", e: "u8" });
    expect(s.offset).toEqual({ a: 0, b: 4, c: 8, d: 16, e: 24 });
    expect(s.size).toBe(32);
    expect(struct({ a: "u8", b: "u64" }, true).size).toBe(9);
  });
  it("reads back what it wrote", () => {
    const s = struct({ a: "i32", b: "u64", c: "i64", d: "u16" });
    const v = { a: -5, b: 2 ** 53 - 1, c: -2, d: 65535 };
    expect(s.read(s.make(v))).toEqual(v);
  });
});

describe("a value that does not fit its field", () => {
  const s = struct({ a: "u8", b: "u16", c: "u32", d: "i32", e: "u64" });
  it.each([["a", 256], ["a", -1], ["a", 1.5], ["a", NaN], ["b", 65536], ["b", -1], ["b", 65543n], ["c", 2 ** 32], ["c", -(2 ** 31) - 1], ["d", 2 ** 31], ["d", Infinity], ["e", NaN]] as const)("is refused: %s, %s", (name, value) => {
    expect(() => s.make({ [name]: value })).toThrow(RangeError);
    expect(() => s.make({ [name]: value })).toThrow(new RegExp(`^${name}: `));
  });
  it("is none at its edges, nor as the number that bit operations make", () => {
    expect(s.read(s.make({ a: 255, b: 65535, c: 2 ** 32 - 1, d: -(2 ** 31), e: 7n }))).toEqual({ a: 255, b: 65535, c: 2 ** 32 - 1, d: -(2 ** 31), e: 7 });
    expect(s.read(s.make({ c: 0x80000000 | 0 })).c).toBe(0x80000000);
  });
});

describe("64-bit values", () => {
  const bytes = (v: number | bigint): bigint => {
    const b = new Uint8Array(8);
    setU64(viewOf(b), 0, v);
    return viewOf(b).getBigUint64(0, true);
  };
  it("saturates at 2^64-1, keeps two's complement and exact bigints", () => {
    expect(bytes(18446744073709551615)).toBe(2n ** 64n - 1n);
    expect(bytes(1e30)).toBe(2n ** 64n - 1n);
    expect(bytes(-1)).toBe(2n ** 64n - 1n);
    expect(bytes(0xdeadbeefcafef00dn)).toBe(0xdeadbeefcafef00dn);
    expect(bytes(2 ** 52 + 1)).toBe(2n ** 52n + 1n);
  });
  it("reads negative numbers", () => {
    expect(getI64(viewOf(new Uint8Array(8).fill(0xff)), 0)).toBe(-1);
  });
});
