// The rtnetlink codec against bytes that ip(8) sent and a 6.18 kernel answered (captured with strace in a network namespace).
import { IFA, NDA, NLM, RTA, RTM } from "../../../agent/abi/rtnl.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attributes, errorOf, IFADDRMSG, linkName, messages, NDMSG, nest, request, RTMSG, text, textOf, u32, u32Of } from "../../../agent/lib/rtnl-message.js";
import { planRoute } from "../../../agent/network/routes.js";
import { formatIp } from "../../../agent/network/address.js";

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replace(/\s/g, ""), "hex"));
const SEQ = 0x6b010ca0;
const FLAGS = NLM.F_REQUEST | NLM.F_ACK | NLM.F_CREATE | NLM.F_REPLACE;
const link = { index: 3, name: "d0", flags: 1, mtu: 1500, hardware: new Uint8Array(6) };
const route = { dest: "", gateway: "", device: "d0", source: "", scope: 0, family: 0, flags: 0, mtu: 0 };

describe("requests", () => {
  it("are byte for byte those of ip route replace", () => {
    const golden = bytes(`48000000 18000505 a00c016b 00000000 02100000 fe030001 00000000 08000100 ac100000 08000500 0a010201 08000700 0a010203 08000400 03000000
      0c000800 08000200 14050000`);
    const plan = planRoute({ ...route, dest: "172.16.0.9/16", gateway: "10.1.2.1", source: "10.1.2.3", mtu: 1300 }, link);
    expect(request(RTM.NEWROUTE, FLAGS, SEQ, plan.body, plan.attributes)).toEqual(golden);
  });

  it("are byte for byte those of ip neigh replace", () => {
    const golden = bytes("30000000 1c000505 a00c016b 00000000 02000000 03000000 80000000 08000100 0a010201 0a000200 02000000 00aa0000");
    expect(request(RTM.NEWNEIGH, FLAGS, SEQ, NDMSG.make({ family: 2, ifindex: 3, state: 0x80 }), [[NDA.DST, new Uint8Array([10, 1, 2, 1])], [NDA.LLADDR, new Uint8Array([2, 0, 0, 0, 0, 0xaa])]])).toEqual(golden);
  });

  it("are byte for byte those of ip addr replace", () => {
    const golden = bytes("30000000 14000505 a00c016b 00000000 02180000 03000000 08000200 0a010204 08000400 0a0102ff 08000100 0a010204");
    const [ip, broadcast] = [new Uint8Array([10, 1, 2, 4]), new Uint8Array([10, 1, 2, 255])];
    expect(request(RTM.NEWADDR, FLAGS, SEQ, IFADDRMSG.make({ family: 2, prefixlen: 24, index: 3 }), [[IFA.LOCAL, ip], [IFA.BROADCAST, broadcast], [IFA.ADDRESS, ip]])).toEqual(golden);
  });
});

describe("answers", () => {
  it("are read as the kernel wrote them", () => {
    const dump = bytes(`34000000 18000200 01000000 f2260000 02000000 fe030001 00000000 08000f00 fe000000 08000500 0a010201 08000400 03000000
      50000000 18000200 01000000 f2260000 02100000 fe030001 00000000 08000f00 fe000000 08000100 ac100000 0c000800 08000200 14050000 08000700 0a010203 08000500 0a010201 08000400 03000000`);
    const [first, second, ...rest] = messages(dump);
    expect(rest).toEqual([]);
    expect(first?.type).toBe(RTM.NEWROUTE);
    expect(RTMSG.read(first?.body as Uint8Array)).toMatchObject({ family: 2, dstLen: 0, table: 254, protocol: 3, type: 1 });
    const found = attributes(second?.body as Uint8Array, RTMSG.size);
    expect(formatIp(found.get(RTA.DST) as Uint8Array)).toBe("172.16.0.0");
    expect(u32Of(attributes(found.get(RTA.METRICS) as Uint8Array, 0).get(2))).toBe(1300);
    expect(u32Of(found.get(RTA.OIF))).toBe(3);
  });

  it("give the kernel's own words for an error", () => {
    const words = Buffer.from("Invalid prefix for given prefix length\0").toString("hex");
    const [message] = messages(bytes(`50000000 02000003 01000000 232a0000 eaffffff 2c000000 18000505 01000000 00000000 2b000100 ${words} 00`));
    expect(errorOf(message as never)).toEqual({ errno: 22, reason: "Invalid prefix for given prefix length" });
    const [done] = messages(bytes("24000000 02000001 01000000 00000000 00000000 2c000000 18000505 01000000 00000000"));
    expect(errorOf(done as never)).toEqual({ errno: 0, reason: "" });
  });

  it("that lie about their length end the list instead of reading on", () => {
    expect(messages(bytes("ff000000 18000200 01000000 00000000"))).toEqual([]);
    expect(messages(bytes("00000000 18000200 01000000 00000000"))).toEqual([]);
    expect(attributes(bytes("ff000100 00000000"), 0).size).toBe(0);
    expect(attributes(bytes("03000100"), 0).size).toBe(0);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      for (const m of messages(noise)) attributes(m.body, 0);
    }));
  });

  it("give back what was nested", () => {
    fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 0x3fff }), { maxLength: 8 }), fc.uint8Array({ maxLength: 50 }), (types, value) => {
      const found = attributes(nest(types.map((t) => [t, value] as const)), 0);
      expect([...found.keys()]).toEqual(types);
      for (const v of found.values()) expect([...v]).toEqual([...value]);
    }));
    expect(textOf(text("eth0"))).toBe("eth0");
    expect(u32Of(u32(0xfffffffe))).toBe(0xfffffffe);
  });
});

describe("values", () => {
  it("that a length of 16 bits cannot hold are refused, nested ones too", () => {
    const value = (n: number): Uint8Array => new Uint8Array(n);
    expect(() => request(RTM.SETLINK, 0, 1, value(16), [[3, value(65531)]])).not.toThrow();
    for (const n of [65532, 65536, 65543, 131072]) {
      expect(() => request(RTM.SETLINK, 0, 1, value(16), [[3, value(n)]]), String(n)).toThrow(/^netlink attribute 3: /);
      expect(() => nest([[7, value(n)]]), String(n)).toThrow(/^netlink attribute 7: /);
    }
    expect(() => text("a\0b")).toThrow(/NUL/);
    for (const n of [-1, 4294967296, 1.5, NaN]) expect(() => u32(n), String(n)).toThrow(/is not between/);
  });

  it("that name a link are what the kernel takes", () => {
    for (const name of ["lo", "eth0.1", "a".repeat(15), "\u00e9".repeat(7), "-"]) expect(textOf(linkName(name)), name).toBe(name);
    for (const name of ["", ".", "..", "a/b", "a:1", "a b", "a\tb", "a\n", "a".repeat(16), "\u00e9".repeat(8), "x".repeat(65_543), "a\0", "a\u00a0"]) expect(() => linkName(name), name).toThrow(/is not a name|NUL/);
  });
});

describe("planRoute", () => {
  const key = (fields: object): string => planRoute({ ...route, ...fields }, link).key;
  const types = (fields: object): number[] => planRoute({ ...route, ...fields }, link).attributes.map(([t]) => t);

  it("reads every way to say default", () => {
    expect(key({ gateway: "10.0.0.1" })).toBe("0.0.0.0/0 0 3");
    expect(key({ dest: "0.0.0.0/0", gateway: "fd00::1" })).toBe("::/0 0 3");
    expect(key({ dest: "::/0", family: 1 })).toBe("::/0 0 3");
    expect(types({ gateway: "10.0.0.1" })).toEqual([RTA.GATEWAY, RTA.OIF]);
  });

  it("takes a bare source as the preferred address, and a prefix of IPv6 as a choice by source", () => {
    expect(types({ dest: "10.0.0.0/8", source: "10.0.0.1" })).toContain(RTA.PREFSRC);
    expect(types({ dest: "10.0.0.0/8", source: "10.0.0.1/0" })).toContain(RTA.PREFSRC);
    expect(types({ dest: "fd00::/8", source: "fd01::1" })).toContain(RTA.PREFSRC);
    expect(types({ dest: "fd00::/8", source: "fd01::/16" })).toContain(RTA.SRC);
  });

  it("keeps scope to a byte and lets only settable flags through", () => {
    const { body } = planRoute({ ...route, dest: "1.0.0.0/8", scope: 0x1fd, flags: 0x1f }, link);
    expect(RTMSG.read(body)).toMatchObject({ scope: 0xfd, flags: 6, dstLen: 8 });
  });

  it.each([
    [{ dest: "10.0.0.0/33" }, /invalid destination "10.0.0.0\/33" of an IP v4 route/],
    [{ dest: "10.0.0.0/8", family: 1 }, /invalid destination "10.0.0.0\/8" of an IP v6 route/],
    [{ dest: "fd00::/8", gateway: "10.0.0.1" }, /invalid gateway "10.0.0.1" of an IP v6 route/],
    [{ dest: "10.0.0.0/8", source: "x" }, /invalid source "x"/],
  ])("refuses %j", (fields, text) => expect(() => key(fields)).toThrow(text));
});
