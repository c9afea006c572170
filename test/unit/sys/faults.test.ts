// Faults from outside: which calls a word of KATA_FAULTS meets, how often, and words that are wrong.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { answerCalls } from "../../helpers/fake-native.js";
import { E } from "../../../agent/abi/errno.js";
import { NR } from "../../../agent/abi/nr.js";
import { flightRecord, injectFault, injectFaultsFromOutside, sys } from "../../../agent/sys/call.js";


const asked = (text: string): void => {
  native.env.splice(0, native.env.length, "HOME=/", `KATA_FAULTS=${text}`);
  injectFaultsFromOutside();
};

beforeEach(() => {
  vi.stubGlobal("__DEBUG__", true);
  answerCalls(() => 7);
});
afterEach(() => {
  injectFault(undefined);
  native.env.splice(0);
  vi.unstubAllGlobals();
});

describe("KATA_FAULTS", () => {
  it("answers the calls that it names, and lets all others pass", () => {
    asked("openat2:ENOSYS,mount:EPERM");
    expect([sys(NR.openat2, 0, "/x"), sys(NR.mount), sys(NR.openat, 0, "/x"), sys(NR.openat2)]).toEqual([-E.ENOSYS, -E.EPERM, 7, -E.ENOSYS]);
    expect(flightRecord().slice(-4)).toEqual(["openat2=-38", "mount=-1", "openat=7", "openat2=-38"]);
  });
  it("counts the calls: the N-th, those from the N-th on, one after the other", () => {
    asked("mount:EPERM@3,mount:EBUSY@5+");
    expect(Array.from({ length: 6 }, () => sys(NR.mount))).toEqual([7, 7, -E.EPERM, 7, -E.EBUSY, -E.EBUSY]);
    asked("mount:EPERM@1,mount:EBUSY@2");
    expect(Array.from({ length: 3 }, () => sys(NR.mount))).toEqual([-E.EPERM, -E.EBUSY, 7]);
  });
  it("looks at texts, and counts only those calls that have them", () => {
    asked("openat2[cgroup.kill]:ENOENT@2");
    const open = (path: string | Uint8Array): number => sys(NR.openat2, 0, path, 0);
    expect([open("/sys/fs/cgroup/a/cgroup.kill"), open("cgroup.procs"), open("cgroup.kill"), open("cgroup.kill")]).toEqual([7, 7, -E.ENOENT, 7]);
    asked("openat2[cgroup.kill]:ENOENT");
    expect([open(Buffer.from("cgroup.kill\0rest")), open(Buffer.from("x\0cgroup.kill"))]).toEqual([-E.ENOENT, 7]);
  });
  it("looks at whole texts", () => {
    asked("mount[=proc]:EPERM");
    expect([sys(NR.mount, "proc", "/proc/self/fd/7", "proc"), sys(NR.mount, "tmpfs", "/proc/self/fd/7", "tmpfs")]).toEqual([-E.EPERM, 7]);
  });
  it("looks at bits of a number, or of the first number in a structure", () => {
    asked("memfd_create[1&0x10]:EINVAL,clone3[0&0x200000000]:EOPNOTSUPP");
    expect([sys(NR.memfd_create, "x", 0x13), sys(NR.memfd_create, "x", 3), sys(NR.memfd_create, "x")]).toEqual([-E.EINVAL, 7, 7]);
    const flags = (n: bigint): Uint8Array => new Uint8Array(new BigUint64Array([n, 0xffffffffffn]).buffer);
    expect([sys(NR.clone3, flags(0x200001000n), 88), sys(NR.clone3, flags(0x1000n), 88)]).toEqual([-E.EOPNOTSUPP, 7]);
  });
  it("asks for none when it is empty or not there", () => {
    asked("");
    expect(sys(NR.mount)).toBe(7);
    native.env.splice(0);
    injectFaultsFromOutside();
    expect(sys(NR.mount)).toBe(7);
  });
  it.each([
    ["opena2:ENOSYS", 'the agent makes no call "opena2"'], ["1:EPERM", 'the agent makes no call "1"'], ["mount:EWHAT", 'there is no errno "EWHAT"'], ["mount:1", 'there is no errno "1"'],
    ["mount", "a fault is NAME:ERRNO"], ["mount:EPERM@0", "a fault is"], ["mount:EPERM@", "a fault is"], ["mount:EPERM@1.5", "a fault is"], ["mount:EPERM@x+", "a fault is"],
    ["mount[]:EPERM", "a fault is"], ["mount[6&1]:EPERM", "a fault is"], ["mount[x&1]:EPERM", "a fault is"], ["mount[1&0]:EPERM", "a fault is"], ["toString:EPERM", 'no call "toString"'], ["mount:constructor", "no errno"],
  ])("refuses %s by its name", (word, reason) => {
    expect(() => asked(`openat:EPERM,${word}`)).toThrow(new RegExp(`^${word.replace(/[[\].+&]/g, "\\$&")}: .*${reason}`));
    expect(sys(NR.openat)).toBe(7);
  });
});

it("a fault is not looked for where there is no debugging", () => {
  asked("mount:EPERM");
  vi.stubGlobal("__DEBUG__", false);
  expect(sys(NR.mount)).toBe(7);
});
