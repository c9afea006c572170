// A process that writes or reads as fast as it can, and many calls that wait for it: each gets its turn, and so does everybody else.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { afterEach, expect, it } from "vitest";

const kernel = new FakeKernel();
const { E } = await import("../../../agent/abi/errno.js");
const { EPOLL } = await import("../../../agent/abi/flags.js");
const { Fd } = await import("../../../agent/sys/fd.js");
const { onCrash, tick, watched } = await import("../../../agent/lib/loop.js");
const { InStream, OutStream } = await import("../../../agent/engine/stdio/streams.js");

onCrash((error) => {
  throw error;
});
const fd = (): InstanceType<typeof Fd> => new Fd(kernel.make("stream"));
afterEach(() => {
  for (const name of ["read", "write"]) delete kernel.on[name];
  expect([kernel.open(), watched()]).toEqual([[], 0]);
});

it("readers of a process that writes without end go in their order, 16 in a round; who comes meanwhile goes last", () => {
  const stream = new OutStream(fd());
  const order: number[] = [];
  const buffer = new Uint8Array(8);
  let full = false;
  kernel.on["read"] = () => (full ? 8 : -E.EAGAIN);
  const reader = (i: number) => (): void => {
    const attempt = (): void => {
      const n = stream.readInto(buffer, 0, 8);
      if (n === -E.EAGAIN) return stream.whenReadable(attempt);
      order.push(i);
      stream.doneWaiting();
    };
    attempt();
  };
  for (let i = 0; i < 100; i++) stream.take(reader(i));
  expect(order).toEqual([]);
  full = true;
  kernel.ready.set(stream.fd.n, EPOLL.IN);
  for (let round = 1, had = 0; order.length < 101; round++, had = order.length) {
    expect(round).toBeLessThan(20);
    tick(true);
    expect(order.length - had).toBeLessThanOrEqual(33); // the first one, 16, and 16 more by the timer that comes due
    if (round === 1) stream.take(reader(100));
    kernel.ms++;
  }
  expect(order).toEqual(Array.from({ length: 101 }, (_, i) => i));
  stream.close();
});

it("writers to a process that reads without end go in their order, 16 writes in a round; an error is everybody's", () => {
  const stream = new InStream(fd(), false);
  const done: string[] = [];
  let writes = 0;
  let says = -E.EAGAIN;
  kernel.on["write"] = () => (writes++, says);
  for (let i = 0; i < 40; i++) stream.write(new Uint8Array(1000), (error) => done.push(`${i}${error === undefined ? "" : ` ${error.message.slice(0, 12)}`}`));
  says = 100;
  kernel.ready.set(stream.fd.n, EPOLL.OUT);
  for (let round = 0; done.length < 20; round++) {
    writes = 0;
    tick(true);
    expect(writes).toBeLessThanOrEqual(16);
    expect(round).toBeLessThan(20);
  }
  expect(done).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  says = -E.EPIPE;
  tick(true);
  expect(done).toHaveLength(40);
  expect(done.at(-1)).toMatch(/^39 write: EPIPE/);
  stream.close();
});
