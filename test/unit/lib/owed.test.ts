// What cannot be taken away now is tried again, less and less often, and before its name is used again.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { expect, it } from "vitest";

const kernel = new FakeKernel();
const { tick, onCrash } = await import("../../../agent/lib/loop.js");
const { setLevel } = await import("../../../agent/lib/log.js");
const { owe, paid } = await import("../../../agent/lib/owed.js");

onCrash(() => expect.unreachable());
setLevel(-1 as never);
const pass = async (ms: number): Promise<void> => {
  kernel.ms += ms;
  for (let i = 0; i < 5; i++) {
    tick(true);
    await new Promise((go) => setImmediate(go));
  }
};

it("is tried again until it succeeds, less and less often", async () => {
  let tries = 0;
  let fails = true;
  owe("a", "a's folder", new Error("busy"), () => (tries++, fails ? Promise.reject(new Error("busy")) : Promise.resolve()));
  await pass(999);
  expect(tries).toBe(0);
  for (const ms of [2, 2001, 4001, 8001]) await pass(ms);
  expect(tries).toBe(4);
  await pass(1001);
  expect(tries).toBe(4);
  fails = false;
  await pass(16_001);
  expect(tries).toBe(5);
  await pass(120_000);
  expect(tries).toBe(5);
});

it("is done before its name is used again, once for all who ask", async () => {
  const done: string[] = [];
  let blocked = true;
  owe("b", "b's folder", new Error("busy"), () => (blocked ? Promise.reject(new Error("still busy")) : Promise.resolve(void done.push("b"))));
  owe("c", "c's folder", new Error("busy"), () => Promise.resolve(void done.push("c")));
  await paid("other");
  expect(done).toEqual([]);
  await expect(paid()).rejects.toThrow("still busy");
  expect(done).toEqual(["c"]);
  blocked = false;
  await Promise.all([paid("b"), paid("b"), paid()]);
  expect(done).toEqual(["c", "b"]);
  await paid();
  await pass(120_000);
  expect(done).toEqual(["c", "b"]);
});
