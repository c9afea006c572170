// The list of last steps over all that decides it, and the file that carries it.
import { describe, expect, it } from "vitest";
import "../../helpers/fake-epoll.js";
import { callsOf, type LastArgs, lastSteps } from "../../../agent/engine/child/last-steps.js";
import { type LastStep, programSteps, stubImage } from "../../../agent/engine/child/exec-stub.js";
import { NR } from "../../../agent/abi/nr.js";
import { filterAllows } from "../../../agent/oci/bpf.js";

const CHANNEL = 5;
const plain: LastArgs = { channel: CHANNEL, terminal: false, waitsForStart: false, startSocket: undefined, limits: [], filter: undefined, labels: undefined, program: true };
const program = new Uint8Array(16);
const NAMES = new Map<number, string>([
  [NR.seccomp, "filter"], [NR.prctl, "prctl"], [NR.clone, "clone"], [NR.write, "write"], [NR.ppoll, "sleep"], [NR.setsid, "setsid"], [NR.ioctl, "terminal"], [NR.read, "hear"], [NR.accept4, "accept"],
  [NR.dup3, "dup"], [NR.close, "close"], [NR.openat, "open"], [NR.prlimit64, "limit"], [NR.fcntl, "cloexec"], [NR.execve, "execve"], [NR.exit_group, "exit"],
]);
const names = (steps: readonly LastStep[]): string[] => steps.map(({ call }) => NAMES.get(call) ?? String(call));

/** Every combination of what decides the list. */
const cases: LastArgs[] = [false, true].flatMap((terminal) => [false, true].flatMap((waitsForStart) => [undefined, 9].flatMap((startSocket) => [[], [{ resource: 7, soft: 10, hard: 20 }]].flatMap((limits) =>
  [undefined, true, false].flatMap((first) => [false, true].flatMap((labelled) => [false, true].map((runs): LastArgs => ({
    channel: CHANNEL, terminal, waitsForStart, startSocket, limits, filter: first === undefined ? undefined : { program, flags: 0, first }, labels: labelled ? { proc: 8, files: [{ path: "thread-self/attr/exec", text: "x" }] } : undefined, program: runs,
  }))))))));

describe("the last steps of a process", () => {
  it("are, at the least", () => {
    expect(names(lastSteps(plain))).toEqual(["prctl", "prctl", "clone", "write", "sleep", "setsid", "hear", "cloexec", "execve"]);
  });

  it.each(cases.map((args) => [JSON.stringify({ ...args, filter: args.filter?.first }), args] as const))("are in the one order that is safe: %s", (_, args) => {
    const all = names(lastSteps(args));
    const clone = all.indexOf("clone");
    const inside = all.slice(clone + 3);
    expect(all.slice(clone, clone + 3)).toEqual(["clone", "write", "sleep"]);
    // nobody inside may do anything before the engine knows it, and the program only after "start"
    const hears = inside.filter((name) => name === "hear").length;
    expect(hears).toBe(1 + (args.startSocket === undefined ? 0 : 1) + (args.waitsForStart ? 1 : 0));
    expect(inside.indexOf("hear")).toBe(args.terminal ? 2 : 1);
    // a filter is the last thing before the program, or was there before the process
    const filter = all.indexOf("filter");
    if (args.filter === undefined) expect(filter).toBe(-1);
    else if (args.filter.first) expect(filter).toBe(0);
    else if (args.program) expect(all.slice(filter)).toEqual(["filter", "execve"]);
    // limits after everything that may need more, labels before them
    if (args.limits.length > 0) expect(inside.indexOf("limit")).toBeGreaterThan(Math.max(inside.lastIndexOf("hear"), inside.lastIndexOf("open"), inside.lastIndexOf("accept")));
    // nothing is left open for the program: the label's files are closed, the start socket is, and the channel is by execve
    const opened = all.filter((name) => name === "open" || name === "accept").length;
    const given = (args.labels === undefined ? 0 : 1) + (args.startSocket === undefined ? 0 : 1);
    expect(all.filter((name) => name === "close").length).toBe(opened + given);
    expect(all.slice(-2)).toEqual(args.program ? [all.at(-2) === "filter" ? "filter" : "cloexec", "execve"] : [all.at(-2), "exit"]);
    expect(() => stubImage(CHANNEL, lastSteps(args), new Uint8Array(9))).not.toThrow();
  });
});

describe("the stub's file", () => {
  const code = new Uint8Array([1, 2, 3]);
  it("is an ELF program with its code at 0x10088 and its steps behind it", () => {
    const image = stubImage(CHANNEL, programSteps(CHANNEL), code);
    const view = new DataView(image.buffer);
    expect([...image.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    expect(view.getBigUint64(24, true)).toBe(0x10088n);
    expect([...image.subarray(0x88, 0x8b)]).toEqual([1, 2, 3]);
    expect(view.getBigUint64(0x78, true)).toBe(BigInt(CHANNEL));
    const steps = Number(view.getBigUint64(0x80, true)) - 0x10000;
    expect(view.getBigUint64(steps, true)).toBe(BigInt(NR.fcntl));
    expect(view.getBigUint64(steps + 64, true)).toBe(BigInt(NR.execve));
    expect([view.getUint8(steps + 64 + 56), view.getUint8(steps + 64 + 57)]).toEqual([7, 0]); // three arguments are results
  });
  it("refuses a filter whose length does not fit, a step that is not there, and too many steps", () => {
    const filter = (bytes: number): LastStep => ({ call: NR.seccomp, args: [1, 0, { filter: new Uint8Array(bytes) }] });
    expect(() => stubImage(1, [filter(8 * 4097)], code)).toThrow("4097 instructions");
    expect(() => stubImage(1, [filter(0)], code)).toThrow("0 instructions");
    expect(() => stubImage(1, [filter(8 * 4096)], code)).not.toThrow();
    expect(() => stubImage(1, [{ call: 1, args: [{ of: "nobody" }] }], code)).toThrow("no step nobody");
    expect(() => stubImage(1, Array.from({ length: 58 }, () => ({ call: 1, args: [] })), code)).toThrow("58 last steps");
  });
});

describe("what a filter says to the engine's own calls", () => {
  /** Instructions as [code, jt, jf, k]. */
  const filter = (...instructions: (readonly [number, number, number, number])[]): Uint8Array => {
    const bytes = new Uint8Array(instructions.length * 8);
    const view = new DataView(bytes.buffer);
    instructions.forEach(([code, jt, jf, k], i) => {
      view.setUint16(i * 8, code, true);
      bytes[i * 8 + 2] = jt;
      bytes[i * 8 + 3] = jf;
      view.setUint32(i * 8 + 4, k, true);
    });
    return bytes;
  };
  const ALLOW = 0x7fff0000, LOG = 0x7ffc0000, ERRNO = 0x50001, NOTIFY = 0x7fc00000, TRACE = 0x7ff00000;
  const call = { call: NR.clone, args: [0x9000] };
  it.each([[ALLOW, true], [LOG, true], [ERRNO, false], [NOTIFY, false], [TRACE, false], [0, false]])("action %i lets them through: %s", (action, through) => {
    expect(filterAllows(filter([0x06, 0, 0, action]), [call])).toBe(through);
  });
  it("looks at number, architecture and arguments", () => {
    const byNumber = filter([0x20, 0, 0, 0], [0x15, 0, 1, NR.clone], [0x06, 0, 0, ERRNO], [0x06, 0, 0, ALLOW]);
    expect(filterAllows(byNumber, [call])).toBe(false);
    expect(filterAllows(byNumber, [{ call: NR.read, args: [] }])).toBe(true);
    const byArgument = filter([0x20, 0, 0, 16], [0x54, 0, 0, 0x8000], [0x15, 0, 1, 0x8000], [0x06, 0, 0, ALLOW], [0x06, 0, 0, ERRNO]);
    expect(filterAllows(byArgument, [call])).toBe(true);
    expect(filterAllows(byArgument, [{ call: NR.clone, args: [0x1000] }])).toBe(false);
    const byHalf = filter([0x20, 0, 0, 20], [0x25, 0, 1, 0], [0x06, 0, 0, ERRNO], [0x06, 0, 0, ALLOW]);
    expect(filterAllows(byHalf, [{ call: 1, args: [2 ** 40] }])).toBe(false);
  });
  it("counts what it does not know, and a program without an end, as no", () => {
    expect(filterAllows(filter([0xff, 0, 0, 0], [0x06, 0, 0, ALLOW]), [call])).toBe(false);
    expect(filterAllows(filter([0x05, 0, 0, 9]), [call])).toBe(false);
    expect(filterAllows(new Uint8Array(0), [call])).toBe(false);
  });
  it("are asked of every call that has to succeed", () => {
    expect(callsOf(lastSteps({ ...plain, filter: { program, flags: 0, first: true } })).map((c) => c.call)).not.toContain(NR.seccomp);
    expect(callsOf(lastSteps(plain), [NR.execveat]).map((c) => c.call)).toEqual([NR.execveat, NR.prctl, NR.prctl, NR.clone, NR.write, NR.ppoll, NR.read, NR.fcntl, NR.execve]);
  });
});
