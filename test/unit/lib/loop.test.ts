// The loop on a small kernel: a fault costs its own watch, no source keeps others waiting, and watches go on when epoll has no room.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

const kernel = new FakeKernel();
const { E } = await import("../../../agent/abi/errno.js");
/** All there are, by name, but the one that means that nobody waits. */
const ERRNOS = Object.entries((await import("../../../agent/abi/errno.js")) as unknown as { E: Record<string, number> }).flatMap(([, e]) => Object.entries(e)).filter(([name, n]) => typeof n === "number" && name !== "EAGAIN");
const { EPOLL } = await import("../../../agent/abi/flags.js");
const { after, guarded, onCrash, tick, turnIsOver, watch, watched } = await import("../../../agent/lib/loop.js");
const { onExit, startReaper, killChild } = await import("../../../agent/lib/reaper.js");
const { Server } = await import("../../../agent/rpc/server.js");
const { log, setLevel } = await import("../../../agent/lib/log.js");
const { reportFault } = await import("../../../agent/lib/fault.js");
const { fillReserve, withReserve } = await import("../../../agent/lib/reserve.js");

const faults: string[] = [];
const ends: unknown[] = [];
const lines: string[] = [];
let signals = 0;
const bad = (): never => {
  throw new TypeError("a bug");
};
/** A descriptor that is ready to be read. */
const ready = (): number => {
  const n = kernel.make("thing");
  kernel.ready.set(n, EPOLL.IN);
  return n;
};
const native = (globalThis as unknown as { native: { collect: () => void; fault: (promise: object | undefined, error: unknown, handled: boolean) => void } }).native;

beforeAll(() => {
  onCrash((error, where) => faults.push(`${where}: ${String(error)}`), (error) => ends.push(error));
  startReaper([15], () => bad());
  signals = [...kernel.files].find(([, f]) => f.kind === "signalfd4")?.[0] as number;
  kernel.on["write"] = ([n, bytes, length]) => {
    if (n === 1) lines.push(Buffer.from((bytes as Uint8Array).subarray(0, length as number)).toString());
    return undefined;
  };
  setLevel(2);
});
beforeEach(() => {
  faults.length = lines.length = 0;
  kernel.ready.clear();
  kernel.ms += 10_000;
  tick(true);
  lines.length = 0;
});
afterEach(() => kernel.arm(undefined, () => false));

describe("an exception", () => {
  it("closes the watch that let it out, and the others of the round are served", () => {
    let served = 0;
    const before = watched();
    watch(ready(), EPOLL.IN, bad);
    const other = watch(ready(), EPOLL.IN, () => served++);
    tick(true);
    tick(true);
    expect(served).toBe(2);
    expect(faults).toEqual([expect.stringMatching(/^descriptor \d+: TypeError: a bug$/)]);
    other.close();
    expect(watched()).toBe(before);
  });

  it("is told to the owner, who keeps the watch; one who fails too loses it", () => {
    const told: unknown[] = [];
    const kept = watch(ready(), EPOLL.IN, bad, (error) => told.push(error));
    watch(ready(), EPOLL.IN, bad, bad);
    tick(true);
    tick(true);
    expect(told).toHaveLength(2);
    expect(faults.filter((f) => f.startsWith("fault:"))).toHaveLength(1);
    kept.close();
  });

  it("of a timer, a signal, a child's end or whatever is guarded costs nobody else anything", () => {
    const done: string[] = [];
    after(5, bad);
    after(6, () => done.push("timer"));
    onExit(7, bad);
    onExit(8, (status) => done.push(`child ${status}`));
    kernel.ends.push([7, 0], [8, 256]);
    kernel.file(signals).bytes = [15, ...new Array<number>(127).fill(0)];
    kernel.ready.set(signals, EPOLL.IN);
    kernel.ms += 10;
    tick(true);
    guarded("x", bad);
    expect(done).toEqual(["child 1", "timer"]);
    expect(faults.map((f) => f.split(":")[0])).toEqual(["signal", "end of a child", "timer", "x"]);
  });

  it("that nobody awaits is told once; one that is handled after all is not", () => {
    const [lost, found] = [{}, {}];
    native.fault(lost, new Error("lost"), false);
    native.fault(found, new Error("found"), false);
    native.fault(found, new Error("found"), true);
    native.fault(undefined, new Error("in a job"), false);
    tick(true);
    tick(true);
    expect(faults).toEqual(["job: Error: in a job", "promise: Error: lost"]);
  });

  it("comes with the last system calls into the log, and at most once a second", () => {
    for (let i = 0; i < 1000; i++) reportFault(new TypeError(`bug ${i}`), "timer");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({ level: "ERRO", msg: "fault in a callback (timer): a bug".replace("a bug", "bug 0"), calls: expect.stringMatching(/^(\d+=-?\d+ ?){10,24}$/) as string });
    kernel.ms += 1001;
    tick(true);
    expect(JSON.parse(lines[1] as string)).toMatchObject({ msg: "fault in a callback (timer): bug 999 (the last of 999)" });
  });

  it("of the loop's own wait ends it only when it does not pass", () => {
    kernel.on["epoll_pwait"] = () => -E.ENOMEM;
    for (let i = 0; i < 99; i++) tick(true);
    delete kernel.on["epoll_pwait"];
    tick(true);
    kernel.on["epoll_pwait"] = () => -E.EBADF;
    for (let i = 0; i < 99; i++) tick(true);
    expect(ends).toEqual([]);
    tick(true);
    expect(ends).toHaveLength(1);
    delete kernel.on["epoll_pwait"];
  });
});

describe("a round of the loop", () => {
  it("looks for garbage once after work, a second later, and not while it sleeps on", () => {
    let [looked, waits] = [0, [] as unknown[]];
    native.collect = () => looked++;
    kernel.on["epoll_pwait"] = ([, , , ms]) => {
      waits.push(ms);
      return undefined;
    };
    const sleep = (ms: number): unknown[] => {
      kernel.ms += ms;
      waits = [];
      tick();
      return [looked, waits.at(-1)];
    };
    sleep(5000);
    looked = 0;
    expect(sleep(5000)).toEqual([0, -1]);
    const busy = watch(ready(), EPOLL.IN, () => undefined);
    tick();
    kernel.ready.clear();
    expect(sleep(0.25)).toEqual([0, 1000]);
    expect(sleep(999)).toEqual([0, 1]);
    expect(sleep(1)).toEqual([1, -1]);
    expect(sleep(5000)).toEqual([1, -1]);
    busy.close();
    delete kernel.on["epoll_pwait"];
    native.collect = () => undefined;
  });

  it("takes 16 connections and serves the others; refused ones are a line a second", () => {
    let waiting = 1000;
    let turns = 0;
    kernel.on["accept4"] = ([, address]) => {
      if (waiting-- <= 0) return -E.EAGAIN;
      const view = new DataView((address as Uint8Array).buffer);
      view.setUint16(0, 40, true);
      view.setUint32(8, 1, true); // the loopback's CID
      return kernel.make("stranger");
    };
    const server = new Server();
    server.listen("vsock://-1:1024");
    const listener = [...kernel.files].find(([, f]) => f.kind === "socket")?.[0] as number;
    kernel.ready.set(listener, EPOLL.IN);
    const other = watch(ready(), EPOLL.IN, () => turns++);
    for (let i = 0; i < 10; i++) tick(true);
    expect([waiting, turns]).toEqual([1000 - 160, 10]);
    expect(kernel.open().filter((f) => f.endsWith("stranger"))).toEqual([]);
    expect(lines.map((l) => (JSON.parse(l) as { msg: string }).msg)).toEqual(["connection from CID 1 refused: only CID 2 may talk to the agent"]);
    kernel.ms += 1001;
    tick(true);
    expect(lines).toHaveLength(2);
    other.close();
    server.close();
    delete kernel.on["accept4"];
  });

  it.each(ERRNOS)("goes on when accept4 says %s, and the listener takes the next one", (_name, errno) => {
    let errors = 1;
    let good = 1;
    kernel.on["accept4"] = () => (errors-- > 0 ? -(errno as number) : good-- > 0 ? kernel.make("connection") : -E.EAGAIN);
    const server = new Server();
    server.listen("unix://@listener");
    kernel.ready.set([...kernel.files].find(([, f]) => f.kind === "socket")?.[0] as number, EPOLL.IN);
    tick(true);
    kernel.ms += 101;
    tick(true);
    tick(true);
    expect(server.size).toBe(1);
    expect([faults, ends.length]).toEqual([[], 1]);
    server.close();
    delete kernel.on["accept4"];
  });

  it("reaps 64 children and comes back for the others by itself", () => {
    let reaped = 0;
    let turns = 0;
    for (let pid = 1000; pid < 1200; pid++) {
      onExit(pid, () => reaped++);
      kernel.ends.push([pid, 0]);
    }
    kernel.file(signals).bytes = [17, ...new Array<number>(127).fill(0)];
    kernel.ready.set(signals, EPOLL.IN);
    tick(true);
    kernel.ready.delete(signals);
    const other = watch(ready(), EPOLL.IN, () => turns++);
    expect(reaped).toBe(128); // by the signal, and by the first timer
    tick(true);
    expect([reaped, turns]).toEqual([192, 1]);
    tick(true);
    expect([reaped, turns]).toEqual([200, 2]);
    other.close();
  });

  it("runs 256 timers at most, in the order of their time; cancelled ones cost nothing", () => {
    const run: number[] = [];
    const timers = Array.from({ length: 1000 }, (_, i) => after(1 + (i % 7), () => run.push(i % 7)));
    for (let i = 0; i < 500; i++) timers[i * 2]?.cancel();
    kernel.ms += 20;
    for (let had = 0; run.length < 500; had = run.length) {
      tick(true);
      expect(run.length - had).toBeGreaterThan(0);
      expect(run.length - had).toBeLessThanOrEqual(256);
    }
    expect(run).toEqual([...run].sort());
  });

  it("runs timers that take long one by one, in their order, and events in between", () => {
    const run: (number | string)[] = [];
    const other = watch(ready(), EPOLL.IN, () => run.push("event"));
    for (let i = 0; i < 3; i++) {
      after(1, () => {
        run.push(i);
        kernel.ms += 10;
      });
    }
    after(2, () => run.push("quick"));
    kernel.ms += 20;
    for (let i = 0; i < 4; i++) tick(true);
    expect(run).toEqual(["event", 0, "event", 1, "event", 2, "event", "quick"]);
    other.close();
  });

  it("gives each callback two milliseconds of its own, counted from when it asks first", () => {
    const pieces: number[] = [];
    const long = (cost: number) => (): void => {
      let n = 1;
      for (; !turnIsOver() && n < 100; n++) kernel.ms += cost;
      pieces.push(n);
    };
    const watches = [watch(ready(), EPOLL.IN, long(1)), watch(ready(), EPOLL.IN, long(1)), watch(ready(), EPOLL.IN, long(50))];
    tick(true);
    after(0, long(1));
    for (const one of watches) one.close();
    tick(true);
    expect(pieces).toEqual([3, 3, 2, 3]);
  });
});

describe("a child's number", () => {
  it("gets no signal once it has been reaped: it may be another's", () => {
    onExit(4000, () => undefined);
    killChild(4000);
    expect(kernel.killed.splice(0)).toEqual([4000]);
    kernel.ends.push([4000, 9]);
    kernel.file(signals).bytes = [17, ...new Array<number>(127).fill(0)];
    kernel.ready.set(signals, EPOLL.IN);
    tick(true);
    killChild(4000);
    expect(kernel.killed).toEqual([]);
  });
});

describe("a watch for which epoll has no room", () => {
  it.each([E.ENOSPC, E.ENOMEM])("works all the same (errno %d): events, changes, one shot, end", (errno) => {
    const before = watched();
    kernel.on["epoll_ctl"] = ([, op]) => (op === 1 ? -errno : undefined);
    const [a, b] = [kernel.make("a"), kernel.make("b")];
    const seen: [string, number][] = [];
    const first = watch(a, EPOLL.IN, (events) => seen.push(["a", events]));
    const second = watch(b, EPOLL.OUT | EPOLL.ONESHOT, (events) => seen.push(["b", events]));
    delete kernel.on["epoll_ctl"];
    kernel.ready.set(a, EPOLL.IN | EPOLL.HUP);
    kernel.ready.set(b, EPOLL.OUT);
    tick();
    tick();
    expect(seen.splice(0)).toEqual([["a", EPOLL.IN | EPOLL.HUP], ["b", EPOLL.OUT], ["a", EPOLL.IN | EPOLL.HUP]]);
    second.rearm();
    first.modify(EPOLL.OUT);
    kernel.ready.set(a, EPOLL.IN);
    tick();
    expect(seen.splice(0)).toEqual([["b", EPOLL.OUT]]);
    first.close();
    second.close();
    expect(watched()).toBe(before);
  });

  it("is refused where only changes are wanted, and for what cannot be polled", () => {
    kernel.on["epoll_ctl"] = () => -E.ENOSPC;
    expect(() => watch(5, EPOLL.IN | EPOLL.ET, bad)).toThrow("ENOSPC");
    kernel.on["epoll_ctl"] = () => -E.EPERM;
    expect(() => watch(5, EPOLL.IN, bad)).toThrow("EPERM");
    delete kernel.on["epoll_ctl"];
  });
});

describe("the reserve", () => {
  it("lends its descriptors when there are no others, and takes them back when it can", async () => {
    let most = Infinity;
    const full = (n: number | undefined): number | undefined => (kernel.files.size >= most ? -E.EMFILE : n);
    kernel.on["openat"] = kernel.on["pipe2"] = () => full(undefined);
    kernel.on["fcntl"] = ([, command]) => (command === 1030 ? full(undefined) : undefined);
    fillReserve();
    const before = kernel.files.size;
    most = before; // from now on there is nothing
    const { pipe } = await import("../../../agent/sys/file.js");
    expect(() => pipe()).toThrow("EMFILE");
    const held: { close(): void }[] = [];
    await withReserve(async () => {
      const { read, write } = pipe();
      held.push(read, write);
    });
    expect(kernel.files.size).toBe(before);
    for (const fd of held) fd.close();
    kernel.ms += 1001;
    tick(true);
    expect(kernel.files.size).toBe(before);
    for (const name of ["openat", "pipe2", "fcntl"]) delete kernel.on[name];
  });
});

describe("the log", () => {
  it("cuts what others made long, to 8 KiB a line that is still JSON", () => {
    for (const long of ["x".repeat(4 << 20), "\u0001".repeat(1 << 20), "\u20ac\ud83d\ude00".repeat(1 << 18)]) {
      log(2, long, { a: long, b: long, [long]: "c" });
      log(2, "short", Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, long])));
    }
    for (const line of lines) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(8192);
      expect(JSON.parse(line)).toMatchObject({ level: "WARN", name: "kata-agent" });
    }
    expect(lines).toHaveLength(6);
  });
});
