// Addresses as text and bytes: what is taken, what is refused, and that writing undoes reading.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatHardware, formatIp, parseIp, parseMac, parsePrefix, withHostBits } from "../../../agent/network/address.js";

const bytes = (text: string): number[] | undefined => {
  const ip = parseIp(text);
  return ip === undefined ? undefined : [...ip];
};

describe("IP addresses", () => {
  it.each([
    ["1.2.3.4", [1, 2, 3, 4]],
    ["::", Array<number>(16).fill(0)],
    ["::1", [...Array<number>(15).fill(0), 1]],
    ["fe80::1:2", [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]],
    ["1:2:3:4:5:6:7:8", [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ["::ffff:10.0.0.1", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]],
    ["2001:DB8::", [0x20, 1, 0xd, 0xb8, ...Array<number>(12).fill(0)]],
  ])("reads %s", (text, expected) => expect(bytes(text)).toEqual(expected));

  it.each(["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.-4", " 1.2.3.4", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "fe80::1%eth0", "1.2.3.4::", "::1.2.3", "1:2:3:4:5:6:7::8:9"])(
    "refuses %j",
    (text) => expect(parseIp(text)).toBeUndefined(),
  );

  it("writes IPv6 as RFC 5952 says", () => {
    const write = (text: string): string => formatIp(parseIp(text) as Uint8Array);
    expect(write("2001:0db8:0:0:1:0:0:1")).toBe("2001:db8::1:0:0:1"); // the first of two equal runs
    expect(write("2001:db8:0:1:1:1:1:1")).toBe("2001:db8:0:1:1:1:1:1"); // one zero is not left out
    expect(write("::")).toBe("::");
    expect(write("1::")).toBe("1::");
  });

  it("reads what it writes", () => {
    const ip = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.array(fc.constantFrom(0, 0, 0, 1), { minLength: 16, maxLength: 16 }).map((a) => new Uint8Array(a)));
    fc.assert(fc.property(ip, (a) => {
      expect([...(parseIp(formatIp(a)) ?? [])]).toEqual([...a]);
    }));
  });

  it("takes any text without failing", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."0123456789abcdef:./%g") }), (text) => {
      const ip = parseIp(text);
      expect(ip === undefined || ip.length === 4 || ip.length === 16).toBe(true);
      parsePrefix(text);
      parseMac(text);
    }));
  });
});

describe("prefixes", () => {
  it("reads lengths within the family's bounds", () => {
    expect(parsePrefix("10.0.0.1/24")?.bits).toBe(24);
    expect(parsePrefix("10.0.0.1")?.bits).toBeUndefined();
    expect(parsePrefix("fd00::/128")?.bits).toBe(128);
    for (const bad of ["10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/2x", "fd00::/129", "/24"]) expect(parsePrefix(bad)).toBeUndefined();
  });

  it("sets host bits to zero or one", () => {
    const ip = new Uint8Array([172, 16, 77, 255]);
    expect([...withHostBits(ip, 20, false)]).toEqual([172, 16, 64, 0]);
    expect([...withHostBits(ip, 20, true)]).toEqual([172, 16, 79, 255]);
    expect([...withHostBits(ip, 0, false)]).toEqual([0, 0, 0, 0]);
    expect([...withHostBits(ip, 32, true)]).toEqual([...ip]);
  });
});

describe("hardware addresses", () => {
  it("reads six bytes and writes them in capitals", () => {
    expect(formatHardware(parseMac("02:0a:ff:00:1:9") as Uint8Array)).toBe("02:0A:FF:00:01:09");
    for (const bad of ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:gg", "02-00-00-00-00-00", "020:0:0:0:0:0"]) expect(parseMac(bad)).toBeUndefined();
    expect(formatHardware(new Uint8Array([10, 0, 0, 1]))).toBe("10.0.0.1");
    expect(formatHardware(new Uint8Array(8))).toBe("");
  });
});
