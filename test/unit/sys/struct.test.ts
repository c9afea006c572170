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
