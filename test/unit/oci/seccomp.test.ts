import { describe, expect, it } from "vitest";
import { filterPlan, seccompFlags } from "../../../agent/oci/seccomp.js";

const ALLOW = 0x7fff0000, ERRNO = 0x50000;
const base = { defaultAction: "SCMP_ACT_ERRNO" };
const ask = (...names: string[]): { names: string[]; action: string } => ({ names, action: "SCMP_ACT_NOTIFY" });

describe("a seccomp section", () => {
  it("becomes numbers, with EPERM where no errno is given", () => {
    const plan = filterPlan({ ...base, architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], syscalls: [{ names: ["read", "write"], action: "SCMP_ACT_ALLOW" }, { names: ["mount"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }] });
    expect(plan.defaultAction).toBe(ERRNO + 1);
    expect(plan.architectures).toEqual([0xc000003e, 0x40000003]);
    expect(plan.rules.map((r) => [r.names, r.action])).toEqual([[["read", "write"], ALLOW], [["mount"], ERRNO + 38]]);
  });
  it("leaves out rules that say what happens anyway", () => {
    expect(filterPlan({ ...base, syscalls: [{ names: ["x"], action: "SCMP_ACT_ERRNO" }] }).rules).toEqual([]);
  });
  it("packs conditions, and makes alternatives of one argument named twice", () => {
    const args = [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }, { index: 1, value: 0xff00000001, valueTwo: 2n, op: "SCMP_CMP_MASKED_EQ" }];
    const [both] = filterPlan({ ...base, syscalls: [{ names: ["socket"], action: "SCMP_ACT_ALLOW", args }] }).rules;
    expect(both?.comparisons).toHaveLength(1);
    const bytes = both?.comparisons[0] as Uint8Array;
    const view = new DataView(bytes.buffer);
    expect([bytes.length, view.getUint32(4, true), view.getUint32(24, true), view.getUint32(28, true)]).toEqual([48, 4, 1, 7]);
    expect([view.getBigUint64(32, true), view.getBigUint64(40, true)]).toEqual([0xff00000001n, 2n]);
    const [either] = filterPlan({ ...base, syscalls: [{ names: ["socket"], action: "SCMP_ACT_ALLOW", args: [args[0]!, { ...args[0]!, value: 2 }] }] }).rules;
    expect(either?.comparisons.map((c) => c?.length)).toEqual([24, 24]);
  });
  it.each([
    ["defaultAction", { defaultAction: "SCMP_ACT_MAYBE" }, 'linux.seccomp.defaultAction: unknown action "SCMP_ACT_MAYBE"'],
    ["an architecture", { ...base, architectures: ["SCMP_ARCH_Z80"] }, 'linux.seccomp.architectures[0]: unknown architecture "SCMP_ARCH_Z80"'],
    ["a flag", { ...base, flags: ["X"] }, 'linux.seccomp.flags[0]: unknown flag "X"'],
    ["an operator", { ...base, syscalls: [{ names: ["a"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 0, op: "==" }] }] }, 'syscalls[0].args[0].op: unknown operator "=="'],
    ["an argument's index", { ...base, syscalls: [{ names: ["a"], action: "SCMP_ACT_ALLOW", args: [{ index: 6, value: 0, op: "SCMP_CMP_EQ" }] }] }, "syscalls[0].args[0].index"],
    ["a name list", { ...base, syscalls: [{ names: [], action: "SCMP_ACT_ALLOW" }] }, "syscalls[0].names: is empty"],
    ["an errno that fits no action", { defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 3 }, "linux.seccomp.defaultErrnoRet"],
    ["an errno of a rule that fits no action", { ...base, syscalls: [{ names: ["a"], action: "SCMP_ACT_ALLOW", errnoRet: 3 }] }, "linux.seccomp.syscalls[0].errnoRet: has no meaning with SCMP_ACT_ALLOW"],
    ["asking by default", { defaultAction: "SCMP_ACT_NOTIFY", listenerPath: "/s" }, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used"],
    ["asking about write", { ...base, listenerPath: "/s", syscalls: [ask("read", "write")] }, "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write syscall"],
    ["asking nobody", { ...base, syscalls: [ask("read")] }, "linux.seccomp.listenerPath: is needed"],
    ["asking at no path", { ...base, listenerPath: "", syscalls: [ask("read")] }, "linux.seccomp.listenerPath: is needed"],
    ["telling nobody", { ...base, listenerMetadata: "x" }, "linux.seccomp.listenerMetadata: needs a listenerPath"],
    ["an errno out of range", { ...base, defaultErrnoRet: 5000 }, "errno 5000 is out of range"],
  ])("names %s that is wrong", (_what, section, message) => {
    expect(() => filterPlan(section)).toThrow(message);
  });
  it("has SPEC_ALLOW as its flags unless a list is given", () => {
    expect(seccompFlags(base)).toBe(4);
    expect(seccompFlags({ ...base, flags: [] })).toBe(0);
    expect(seccompFlags({ ...base, flags: ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"] })).toBe(2);
    expect(seccompFlags({ ...base, flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] })).toBe(0); // it is about listeners
  });
  it("has a listener when a rule asks somebody", () => {
    const asking = { ...base, listenerPath: "/s", syscalls: [ask("mkdir")] };
    expect(filterPlan(asking).rules.map((r) => r.action)).toEqual([0x7fc00000]);
    expect([seccompFlags(asking), seccompFlags({ ...asking, flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] })]).toEqual([4 + 8, 8 + 0x20]);
    expect(seccompFlags({ ...base, listenerPath: "/s" })).toBe(4);
  });
});
