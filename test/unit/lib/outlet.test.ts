// A terminal gets so many bytes of the log a second; errors have room of their own, and what is left out is counted.
import { answerCalls } from "../../helpers/fake-native.js";
import { beforeAll, beforeEach, expect, test } from "vitest";

const buffers: Uint8Array[] = [];
(globalThis as unknown as { native: { addressOf: unknown } }).native.addressOf = (b: ArrayBuffer | Uint8Array): number =>
  buffers.push(b instanceof Uint8Array ? b : new Uint8Array(b));
const at = (address: unknown): DataView => {
  const bytes = (typeof address === "number" ? buffers[address - 1] : address) as Uint8Array;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};

const { NR } = await import("../../../agent/abi/nr.js");
const { Outlet } = await import("../../../agent/lib/outlet.js");
const { Level, log } = await import("../../../agent/lib/log.js");

const CHR = 0o20620;
const FIFO = 0o10600;
let kind = CHR;
let ms = 1e6;
let lines: string[] = [];

beforeAll(() => {
  answerCalls((nr, args) => {
    if (nr === NR.statx) at(args[4]).setUint16(28, kind, true); // stx_mode
    if (nr === NR.clock_gettime) {
      at(args[1]).setInt32(0, Math.floor(ms / 1000), true);
      at(args[1]).setInt32(8, (ms % 1000) * 1e6, true);
    }
    if (nr === NR.write) {
      lines.push(Buffer.from(args[1] as Uint8Array).toString());
      return args[2] as number;
    }
    return nr === NR.openat ? 9 : 0;
  });
});
beforeEach(() => {
  kind = CHR;
  ms += 60_000;
  lines = [];
});

const line = (bytes: number): Uint8Array => Buffer.from(`${"x".repeat(bytes - 1)}\n`);

test("a terminal gets what fits into a second, and then as much as time has passed", () => {
  const out = new Outlet(1);
  let n = 0;
  while (out.write(line(1024))) n++;
  expect(n).toBe(32);
  expect(out.lost).toBe(1);
  ms += 125;
  for (n = 0; out.write(line(1024)); ) n++;
  expect(n).toBe(4);
});

test("what is urgent, awaited or wanted at any price comes all the same", () => {
  const out = new Outlet(1);
  while (out.write(line(1024)));
  expect(out.write(line(1024), 0, true)).toBe(true);
  expect(out.write(line(1024), 200)).toBe(true);
  out.unbounded = true;
  expect(out.write(line(1024))).toBe(true);
});

test("urgent lines have a bound too", () => {
  const out = new Outlet(1);
  let n = 0;
  while (out.write(line(1024), 0, true)) n++;
  expect(n).toBe(64);
});

test("a pipe takes as much as there is", () => {
  kind = FIFO;
  const out = new Outlet(1);
  for (let i = 0; i < 1000; i++) expect(out.write(line(1024))).toBe(true);
});

test("an error in a flood of warnings is there, after the number of those that were dropped", () => {
  for (let i = 0; i < 1000; i++) log(Level.WARN, "refused");
  expect(lines.length).toBeLessThan(400);
  const told = lines.length;
  log(Level.ERROR, "a fault");
  expect(lines.slice(told).map((text) => (JSON.parse(text) as { msg: string }).msg)).toEqual([expect.stringMatching(/^\d+ lines of the log were dropped/), "a fault"]);
});
