// The one way to the kernel: errors get names, faults can be put in its place, and it remembers what went through.
import { afterEach, describe, expect, it, vi } from "vitest";
import { answerCalls } from "../../helpers/fake-native.js";
import { NR } from "../../../agent/abi/nr.js";
import { check, flightRecord, injectFault, isErrno, must, retry, sys, SysError } from "../../../agent/sys/call.js";

afterEach(() => {
  injectFault(undefined);
  vi.unstubAllGlobals();
});

describe("system calls", () => {
  it("that fail throw the call, the number and the name", () => {
    answerCalls(() => -2);
    try {
      must("openat", 257, -100, "/nonesuch");
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SysError);
      expect(error).toMatchObject({ call: "openat", errno: 2, code: "ENOENT", message: "openat: ENOENT: No such file or directory" });
      expect(isErrno(error, 1, 2)).toBe(true);
      expect(isErrno(error, 1)).toBe(false);
    }
    expect(() => check("x", -200)).toThrow("x: E200: Unknown error");
    expect(check("mmap", -5000)).toBe(-5000); // an address, not an errno
  });

  it("are repeated for EINTR and for nothing else", () => {
    const answers = [-4, -4, 7];
    expect(retry(() => answers.shift() ?? 0)).toBe(7);
    expect(retry(() => -11)).toBe(-11);
  });

  it("can be given a fault instead", () => {
    answerCalls(() => 5);
    vi.stubGlobal("__DEBUG__", true);
    injectFault((nr, args) => (nr === 1 && args[0] === 9 ? -28 : undefined));
    expect([sys(1, 9), sys(1, 8), sys(0, 9)]).toEqual([-28, 5, 5]);
  });

  it("are remembered, the last ones only, oldest first", () => {
    answerCalls((nr) => nr * 2);
    for (let i = 0; i < 300; i++) sys(i);
    const record = flightRecord();
    expect(record.length).toBe(128);
    expect([record[0], record.at(-1)]).toEqual(["172=344", "299=598"]);
  });

  it("are told by their names in the build with sanitizers", () => {
    answerCalls(() => -2);
    sys(NR.openat);
    vi.stubGlobal("__DEBUG__", true);
    const names = flightRecord();
    vi.unstubAllGlobals();
    expect([names.at(-1), flightRecord().at(-1)]).toEqual(["openat=-2", "257=-2"]);
  });
});
