import { afterEach, describe, expect, it } from "vitest";
import { answerCalls } from "../../helpers/fake-native.js";
import { NR } from "../../../agent/abi/nr.js";
import { schedAttr, setAffinity, setIoPriority, setMemoryPolicy } from "../../../agent/sys/schedule.js";

const plain = { policy: 0, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
let calls: unknown[][] = [];
answerCalls((nr, args) => (calls.push([nr, ...args]), 0));
afterEach(() => {
  calls = [];
});

describe("struct sched_attr", () => {
  it("has the kernel's layout: 48 bytes, 56 with utilization clamps", () => {
    const bytes = schedAttr({ ...plain, policy: 6, flags: 4, nice: -20, priority: 7, runtime: 0x0102030405060708n, deadline: 2, period: 18446744073709551615n });
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    expect(bytes.length).toBe(48);
    expect([0, 4].map((at) => view.getUint32(at, true))).toEqual([48, 6]);
    expect(view.getBigUint64(8, true)).toBe(4n);
    expect([view.getInt32(16, true), view.getUint32(20, true)]).toEqual([-20, 7]);
    expect([24, 32, 40].map((at) => view.getBigUint64(at, true))).toEqual([0x0102030405060708n, 2n, 18446744073709551615n]);
    const clamped = schedAttr({ ...plain, flags: 0x20 });
    expect([clamped.length, clamped[0]]).toEqual([56, 56]);
  });
});

describe("the calls", () => {
  it("are about this thread", () => {
    setIoPriority(0x4003);
    setAffinity(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
    expect(calls.map((c) => c.slice(0, 4).map(String))).toEqual([[NR.ioprio_set, 1, 0, 0x4003].map(String), [NR.sched_setaffinity, 0, 8, "1,0,0,0,0,0,0,0"].map(String)]);
  });
  it("pass one bit more than the mask of nodes has, and nothing for no nodes", () => {
    setMemoryPolicy(0x8002, new Uint8Array(8).fill(1));
    setMemoryPolicy(4, new Uint8Array(0));
    expect(calls.map(([nr, mode, nodes, bits]) => [nr, mode, nodes === null, bits])).toEqual([[NR.set_mempolicy, 0x8002, false, 65], [NR.set_mempolicy, 4, true, 0]]);
  });
});
