// The log may take so much of the agent's time in writes to a terminal; errors have time of their own, and what is left out is counted.
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
let cost = 10; // milliseconds that the terminal takes for a line
let lines: string[] = [];

beforeAll(() => {
  answerCalls((nr, args) => {
    if (nr === NR.statx) at(args[4]).setUint16(28, kind, true); // stx_mode
    if (nr === NR.clock_gettime) {
      at(args[1]).setInt32(0, Math.floor(ms / 1000), true);
      at(args[1]).setInt32(8, (ms % 1000) * 1e6, true);
    }
    if (nr === NR.write) {
      ms += cost;
      lines.push(Buffer.from(args[1] as Uint8Array).toString());
      return args[2] as number;
    }
    return nr === NR.openat ? 9 : 0;
  });
});
beforeEach(() => {
  kind = CHR;
  cost = 10;
  ms += 60_000;
  lines = [];
});

const line = Buffer.from(`${"x".repeat(200)}\n`);
/** Writes without a pause until one does not fit; how many did. */
const fill = (out: InstanceType<typeof Outlet>, urgent = false): number => {
  let n = 0;
  while (n < 1000 && out.write(line, 0, urgent)) n++;
  return n;
};

test("a slow terminal gets what takes a quarter of a second, and then a quarter of the time", () => {
  const out = new Outlet(1);
  expect(fill(out)).toBeGreaterThanOrEqual(25);
  expect(out.lost).toBe(1);
  const begin = ms;
  let n = 0;
  for (; ms - begin < 10_000; ms += 5) if (out.write(line)) n++;
  expect(n * cost).toBeGreaterThan(2_000);
  expect(n * cost).toBeLessThan(3_000);
});

test("a fast one gets every line, and a pipe too", () => {
  cost = 0.01;
  expect(fill(new Outlet(1))).toBe(1000);
  kind = FIFO;
  cost = 10;
  expect(fill(new Outlet(1))).toBe(1000);
});

test("what is urgent, awaited or wanted at any price comes all the same", () => {
  const out = new Outlet(1);
  fill(out);
  expect(out.write(line, 0, true)).toBe(true);
  expect(out.write(line, 200)).toBe(true);
  out.unbounded = true;
  expect(out.write(line)).toBe(true);
});

test("urgent lines have a bound too", () => {
  expect(fill(new Outlet(1), true)).toBeLessThan(80);
});

test("an error in a flood of warnings is there, after the number of those that were dropped", () => {
  for (let i = 0; i < 1000; i++) log(Level.WARN, "refused");
  expect(lines.length).toBeLessThan(100);
  const told = lines.length;
  log(Level.ERROR, "a fault");
  expect(lines.slice(told).map((text) => (JSON.parse(text) as { msg: string }).msg)).toEqual([expect.stringMatching(/^\d+ lines of the log were dropped/), "a fault"]);
});

test("that lines were dropped is told once a second", () => {
  ms += 60_000;
  log(Level.WARN, "the flood before is told");
  lines = [];
  for (let i = 0; i < 1000; i++) {
    log(Level.WARN, "refused");
    ms += 5;
  }
  const told = lines.filter((text) => text.includes("were dropped")).length;
  expect(told).toBeGreaterThan(2);
  expect(told).toBeLessThan(10);
});
