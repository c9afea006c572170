import { answerCalls } from "../../helpers/fake-native.js";
import { beforeEach, expect, test, vi } from "vitest";

const { watched, timers } = vi.hoisted(() => ({ watched: [] as { run: () => void; events: number[] }[], timers: [] as (() => void)[] }));
vi.mock("../../../agent/lib/loop.js", () => ({
  watch: (_fd: number, events: number, run: () => void) => {
    const entry = { run, events: [events] };
    watched.push(entry);
    return { modify: (e: number) => entry.events.push(e), close: () => undefined };
  },
  after: (_ms: number, run: () => void) => timers.push(run),
}));
vi.mock("../../../agent/lib/log.js", () => ({ log: () => undefined, Level: {} }));
const { listen } = await import("../../../agent/lib/listen.js");
const { NR } = await import("../../../agent/abi/nr.js");
const { E } = await import("../../../agent/abi/errno.js");

const LISTENER = 5;
let callers: (number | { cid: number })[] = []; // who connects next: an errno, or a peer
let closed: number[] = [];
let bound: Uint8Array[] = [];
let refusal = 0;

beforeEach(() => {
  callers = [];
  closed = [];
  bound = [];
  refusal = 0;
  watched.length = timers.length = 0;
  let next = 10;
  answerCalls((nr, args) => {
    if (nr === NR.socket) return LISTENER;
    if (nr === NR.bind) bound.push(Uint8Array.from(args[1] as Uint8Array));
    if (nr === NR.bind) return refusal;
    if (nr === NR.close) closed.push(args[0] as number);
    if (nr !== NR.accept4) return 0;
    const caller = callers.shift();
    if (caller === undefined) return -E.EAGAIN;
    if (typeof caller === "number") return -caller;
    const view = new DataView((args[1] as Uint8Array).buffer);
    view.setUint16(0, 40, true);
    view.setUint32(4, 1234, true);
    view.setUint32(8, caller.cid, true);
    return next++;
  });
});

const serve = (address: string): number[] => {
  const taken: number[] = [];
  listen(address, 2, (channel) => taken.push(channel.fd.n));
  return taken;
};

test("on vsock only the host is let in; others are closed at once", () => {
  const taken = serve("vsock://-1:1024");
  expect([...(bound[0] as Uint8Array).subarray(0, 12)]).toEqual([40, 0, 0, 0, 0, 4, 0, 0, 255, 255, 255, 255]);
  callers = [{ cid: 2 }, { cid: 3 }, { cid: 1 }, { cid: 0xffffffff }, { cid: 2 }];
  watched[0]?.run();
  expect(taken).toEqual([10, 14]);
  expect(closed).toEqual([11, 12, 13]);
});

test("without descriptors it breathes instead of turning round and round", () => {
  const taken = serve("vsock://3:1024");
  callers = [E.EMFILE];
  watched[0]?.run();
  expect(watched[0]?.events).toEqual([1, 0]);
  timers[0]?.();
  expect(watched[0]?.events).toEqual([1, 0, 1]);
  callers = [E.ECONNABORTED, { cid: 2 }];
  watched[0]?.run();
  watched[0]?.run();
  expect(taken.length).toBe(1);
});

test.each(["", "vsock://", "vsock://x:1", "vsock://1:", "vsock://1:2:3", "vsock://-2:1", "tcp://127.0.0.1:1", "VSOCK://-1:1", "vsock://1:99999999999"])("the address %j is refused with the forms there are", (address) => {
  expect(() => serve(address)).toThrow(expect.objectContaining({ kind: "invalid", message: `listen on ${address}: want vsock://CID:PORT, unix://PATH or serial://DEVICE` }) as Error);
});

test("an address that is taken names itself, and no descriptor stays open", () => {
  refusal = -E.EADDRINUSE;
  expect(() => serve("unix:///run/a")).toThrow("listen on unix:///run/a: bind: EADDRINUSE: Address already in use");
  expect(closed).toEqual([LISTENER]);
});
