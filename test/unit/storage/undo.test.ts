// A storage whose release finds no helper process is not forgotten: it goes later, and before anything is mounted there again.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { expect, it } from "vitest";

const kernel = new FakeKernel();
const { E } = await import("../../../agent/abi/errno.js");
const { tick, onCrash } = await import("../../../agent/lib/loop.js");
const { setLevel } = await import("../../../agent/lib/log.js");
const { settled, undoAll } = await import("../../../agent/storage/undo.js");

onCrash(() => expect.unreachable());
setLevel(-1 as never);
const done = { mounted: true, folder: "empty" } as const;
const rounds = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) {
    tick(true);
    await new Promise((go) => setImmediate(go));
  }
};
/** Every helper says that nothing has failed. */
const succeed = async (): Promise<number> => {
  const before = kernel.children.size;
  for (const [n, f] of kernel.files) {
    if (f.kind !== "pipe") continue;
    f.bytes = [...Buffer.from('{"ok":[]}')];
    f.ended = true;
    kernel.ready.set(n, 1);
  }
  await rounds();
  kernel.ready.clear();
  kernel.children.clear();
  return before;
};
const how = (promise: Promise<unknown>): Promise<string> => promise.then(() => "done", (error: unknown) => `${(error as { kind?: string }).kind}: ${String(error)}`);

it("what cannot be released now is released later, by itself or before its place is used", async () => {
  kernel.on["clone"] = () => -E.EAGAIN;
  expect(await how(undoAll([["/a", done], ["/b", done]]))).toMatch(/^exhausted: .*clone: EAGAIN.*released later: \/a \/b$/);
  expect(await how(settled(["/a"]))).toMatch(/^exhausted: .*clone/);
  expect(await how(settled(["/other"]))).toBe("done");
  delete kernel.on["clone"];
  const wanted = how(settled(["/b"]));
  await rounds();
  expect(await succeed()).toBe(1);
  expect(await wanted).toBe("done");
  expect(await how(settled())).toBe("done");

  kernel.on["clone"] = () => -E.ENOMEM;
  await how(undoAll([["/c", done]]));
  kernel.ms += 1001;
  await rounds(); // not yet
  delete kernel.on["clone"];
  kernel.ms += 2001; // less and less often
  await rounds();
  expect(await succeed()).toBe(1);
  expect(await how(settled(["/c"]))).toBe("done");
  expect(kernel.open()).toEqual([]);
});

it("what has been tried and failed is its caller's to know, and is tried again", async () => {
  const failed = how(undoAll([["/d", done]]));
  await rounds();
  for (const [n, f] of kernel.files) {
    if (f.kind !== "pipe") continue;
    f.bytes = [...Buffer.from('{"ok":[[0,false,"/d: busy"]]}')];
    f.ended = true;
    kernel.ready.set(n, 1);
  }
  await rounds();
  expect(await failed).toBe("internal: Error: release storages: /d: busy");
  kernel.children.clear();
  const again = how(settled(["/d"]));
  await rounds();
  expect(await succeed()).toBe(1);
  expect(await again).toBe("done");
  expect(await how(settled(["/d"]))).toBe("done");
});
