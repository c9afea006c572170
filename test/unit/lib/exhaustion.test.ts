// Every system call of an operation fails once, with each errno that stands for "there is no more of it": nothing stays open or
// watched, no child lives on unheard, and the loop serves the next one.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { beforeAll, expect, it } from "vitest";

const kernel = new FakeKernel();
const { E } = await import("../../../agent/abi/errno.js");
const { tick, onCrash, watched } = await import("../../../agent/lib/loop.js");
const { setLevel } = await import("../../../agent/lib/log.js");
const { startReaper } = await import("../../../agent/lib/reaper.js");
const { childTask } = await import("../../../agent/lib/child-task.js");
const { command } = await import("../../../agent/lib/command.js");
const { watchV1, watchV2 } = await import("../../../agent/engine/cgroup/oom.js");
const { pair } = await import("../../../agent/engine/handshake.js");
const { waitForDevice } = await import("../../../agent/devices/uevent.js");
const { makeSharedNamespaces, dropSharedNamespaces } = await import("../../../agent/sandbox/shared-ns.js");
const { Server } = await import("../../../agent/rpc/server.js");

const faults: unknown[] = [];
/** The promise, whose failure is looked at later. */
const later = <T>(promise: Promise<T>): Promise<T> => {
  promise.catch(() => undefined);
  return promise;
};
const text = (s: string): number[] => [...Buffer.from(s)];
const IN = 1;
let signals = 0;

/** Some rounds of the loop, with what promises have to do between them. */
const rounds = async (n = 4): Promise<void> => {
  for (let i = 0; i < n; i++) {
    tick(true);
    await new Promise((done) => setImmediate(done));
  }
};
/** Every pipe that is read gets `reply` and its end; children end. */
const answer = async (reply: string): Promise<void> => {
  for (const [n, f] of kernel.files) {
    if (f.kind !== "pipe" || f.peer === undefined || kernel.files.has(f.peer)) continue;
    f.bytes = text(reply);
    f.ended = true;
    kernel.ready.set(n, IN);
  }
  await rounds(6);
  await bury();
  kernel.ready.clear();
};
/** Whoever was killed or has nothing more to do ends, and is reaped. */
const bury = async (): Promise<void> => {
  for (const pid of kernel.children) kernel.ends.push([pid, 0]);
  kernel.file(signals).bytes = [17, ...new Array<number>(127).fill(0)];
  kernel.ready.set(signals, IN);
  await rounds();
  kernel.ready.delete(signals);
};

const server = new Server();
let callers = 0;
let messages = 0;
/** Files that are opened hold nothing. */
const emptyFiles = ([n]: readonly unknown[]): undefined => {
  const file = kernel.files.get(n as number);
  if (file?.kind === "openat") file.ended = true;
};

const OPERATIONS: readonly (readonly [name: string, run: () => Promise<unknown>])[] = [
  ["a helper", async () => {
    const done = later(childTask("work", 1000, () => null));
    await answer('{"ok":1}');
    return done;
  }],
  ["a program", async () => {
    const done = later(command(["/bin/true"], { timeoutMs: 1000, input: "x" }));
    await answer("");
    return done;
  }],
  ["the watch of a version 1 group", async () => watchV1("/g", () => undefined).stop()],
  ["the watch of a version 2 group", async () => watchV2("/g", () => undefined).stop()],
  ["a channel to a child", async () => {
    const { parent, child } = pair();
    parent.close();
    child.fd.close();
  }],
  ["a message of a child", async () => {
    const { parent, child } = pair();
    try {
      const said = later(parent.next("x", 1000));
      kernel.file(parent.fd.n).bytes = text('{"say":"hooks"}');
      kernel.ready.set(parent.fd.n, IN);
      await rounds();
      return await said;
    } finally {
      parent.close();
      child.fd.close();
      kernel.ready.clear();
    }
  }],
  ["a wait for a device", async () => {
    let found: boolean | undefined;
    const there = later(waitForDevice("disk", 1000, () => found));
    messages = 1;
    found = true;
    const socket = [...kernel.watches.keys()].filter((n) => kernel.file(n).kind === "socket")[1]; // the first is the server's
    if (socket !== undefined) kernel.ready.set(socket, IN);
    await rounds();
    kernel.ms += 2000;
    await rounds();
    kernel.ready.clear();
    return there;
  }],
  ["shared namespaces", async () => {
    kernel.on["read"] = ([n]) => {
      if (kernel.file(n as number)?.kind === "pipe") kernel.file(n as number).bytes = [0]; // what the child says
      return undefined;
    };
    try {
      dropSharedNamespaces(makeSharedNamespaces("host"));
    } finally {
      kernel.on["read"] = emptyFiles;
      await bury();
    }
  }],
  ["a connection", async () => {
    const listener = [...kernel.watches].find(([n]) => kernel.file(n).kind === "socket")?.[0] as number;
    callers = 1;
    kernel.ready.set(listener, IN);
    await rounds();
    const [connection] = [...kernel.files].find(([, f]) => f.kind === "connection") ?? [];
    if (connection !== undefined) {
      kernel.file(connection).ended = true;
      kernel.ready.set(connection, IN);
    }
    await rounds();
    kernel.ready.clear();
    kernel.ms += 200;
    await rounds();
    callers = 0;
  }],
];

const QUIET = ["close", "clock_gettime", "sched_yield", "epoll_pwait", "kill", "wait4", "write", "ppoll"];
const counted = (name: string): boolean => !QUIET.includes(name);

beforeAll(() => {
  setLevel(-1 as never);
  onCrash((error) => faults.push(error), (error) => {
    throw error;
  });
  startReaper([], () => undefined);
  signals = [...kernel.files].find(([, f]) => f.kind === "signalfd4")?.[0] as number;
  kernel.on["recvfrom"] = () => (messages-- > 0 ? 8 : -E.EAGAIN);
  kernel.on["openat2"] = () => kernel.make("file");
  kernel.on["faccessat2"] = () => 0;
  kernel.on["fstatfs"] = ([, bytes]) => {
    new DataView((bytes as Uint8Array).buffer).setUint32(0, 0x63677270, true);
    return 0;
  };
  kernel.on["inotify_add_watch"] = () => 1;
  kernel.on["socketpair"] = ([, , , two]) => {
    new Int32Array(two as ArrayBuffer).set([kernel.make("pair"), kernel.make("pair")]);
    return 0;
  };
  kernel.on["accept4"] = () => (callers-- > 0 ? kernel.make("connection") : -E.EAGAIN);
  kernel.on["read"] = emptyFiles;
  server.listen("unix://@exhaustion");
});

it.each(OPERATIONS)("%s", async (_name, run) => {
  kernel.arm(undefined, counted);
  const first = await run().then(() => "done", (error: unknown) => `failed: ${String(error)}`);
  expect(first, "it works when nothing fails").toBe("done");
  await bury();
  const calls = kernel.seen;
  const before = { open: kernel.open(), watched: watched() };
  expect(calls).toBeGreaterThan(0);
  for (const errno of [E.EMFILE, E.ENFILE, E.ENOMEM, E.EAGAIN, E.ENOSPC, E.EPERM]) {
    for (let at = 0; at < calls; at++) {
      kernel.arm({ at, errno }, counted);
      const how = await run().then(() => "done", (error: unknown) => String(error));
      const failed = kernel.calls.filter(counted)[at];
      const where = `call ${at} (${failed}) fails with ${errno}: ${how}`;
      kernel.arm(undefined, counted);
      kernel.ms += 2000; // whatever is put off comes now
      await rounds();
      await bury();
      expect({ open: kernel.open(), watched: watched() }, where).toEqual(before);
      expect([...kernel.children], where).toEqual([]);
      expect(faults, where).toEqual([]);
    }
  }
  expect(await run().then(() => "done", (error: unknown) => String(error)), "and the next one works").toBe("done");
}, 60_000);
