// The record that a handover leaves: what is saved, read again and restored is the same; what does not fit is refused by its reason.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Cgroup } from "../../../agent/engine/cgroup/group.js";
import type { Container } from "../../../agent/engine/container.js";
import type { Process } from "../../../agent/engine/process.js";
import type { SandboxRecord } from "../../../agent/sandbox/record.js";

const kernel = new FakeKernel();
Object.assign(globalThis, { __DEBUG__: true }); // what counts what is being done
const group = (path: string, madeParents: readonly string[] = []): Partial<Cgroup> => ({
  path, madeParents: () => madeParents, watchOom: (_, told) => ({ told: told ?? 0, stop: () => undefined }),
});
vi.mock("../../../agent/engine/cgroup/open.js", () => ({ reopenCgroup: group }));
const { E } = await import("../../../agent/abi/errno.js");
const { F } = await import("../../../agent/abi/flags.js");
const { Fd } = await import("../../../agent/sys/fd.js");
const { adoptParents } = await import("../../../agent/engine/cgroup/files.js");
const { AGENT } = await import("../../../agent/oci/judgement.js");
const { fromRecord, Kept, Left, toRecord } = await import("../../../agent/lib/kept.js");
const { killChild, onExit } = await import("../../../agent/lib/reaper.js");
const { Channel } = await import("../../../agent/engine/handshake.js");
const { alive, dead, ended, setClaimant, setCollected } = await import("../../../agent/engine/process.js");
const { OutStream, Streams } = await import("../../../agent/engine/stdio/streams.js");
const { Sandbox } = await import("../../../agent/sandbox/sandbox.js");
const { restore, save, unfinished, VERSION } = await import("../../../agent/sandbox/record.js");
const { Serial } = await import("../../../agent/lib/async.js");
const { foreign } = await import("../../../agent/lib/foreign.js");
const { installedRoutes, takeUpRoutes } = await import("../../../agent/network/routes.js");
const { followed } = await import("../../../agent/storage/watchable.js");

const fd = (kind: string): InstanceType<typeof Fd> => new Fd(kernel.make(kind));
const settings = { containerPipeSize: 0, hotplugTimeoutMs: 1, isInit: false };
afterEach(() => {
  delete kernel.on["fcntl"];
  for (const name of [...kernel.files.keys()]) if (kernel.file(name).kind !== "epoll") kernel.files.delete(name);
});

describe("a record as text", () => {
  it.each([
    ["bytes", Uint8Array.from({ length: 20_000 }, (_, i) => i & 255)], ["no bytes", new Uint8Array(0)], ["a number of 64 bits", 18446744073709551615n],
    ["infinity", Infinity], ["a text that begins with NUL", "\0b\0"], ["bytes of others in a text", "a\udc80\udcff"], ["any text", "\u0000x\u2028\"\\ \ud83d\ude00"],
    ["all together", { a: [1, "x", { b: new Uint8Array([0, 255]), c: -1.5 }, null, true], "\0k": "v" }],
  ])("keeps %s", (_, value) => {
    expect(fromRecord(toRecord(value))).toEqual(value);
    expect(JSON.parse(toRecord(value))).toBeDefined();
  });
});

describe("descriptors", () => {
  it("are listed once, and none that is closed", () => {
    const [kept, one, closed] = [new Kept(), fd("one"), fd("closed")];
    closed.close();
    expect([kept.keep(one), kept.keep(one), kept.keep(closed), kept.keep(undefined), ...kept.numbers]).toEqual([one.n, one.n, -1, -1, one.n]);
  });
  it("stay open over execve(2), and are closed by the next one again", () => {
    const flags: unknown[] = [];
    kernel.on["fcntl"] = ([n, what, flag]) => (flags.push([n, what, flag]), 0);
    const kept = new Kept();
    kept.keep(new Fd(7));
    kept.stay(true);
    kept.stay(false);
    new Left([7]);
    expect(flags).toEqual([[7, F.SETFD, 0], [7, F.SETFD, 1], [7, F.SETFD, 1]]);
  });
  it("have one owner afterwards, and are closed without any", () => {
    const [a, b] = [kernel.make("a"), kernel.make("b")];
    const left = new Left([a, b]);
    const done: string[] = [];
    left.later(() => done.push("later"));
    expect([left.take(a).n, left.take(-1).open, left.takeIf(-1)]).toEqual([a, false, undefined]);
    expect(() => left.take(a)).toThrow(`descriptor ${a} is not one of the record's, or is in it twice`);
    expect(() => left.take(99)).toThrow("descriptor 99 is not one of the record's");
    expect([left.done(), done, kernel.open()]).toEqual([[b], ["later"], [`${a} a`]]);
  });
  it("that are not open are told", () => {
    kernel.on["fcntl"] = () => -E.EBADF;
    expect(() => new Left([5])).toThrow("descriptor 5 of the record is not open");
  });
});

const streams = (terminal: boolean): InstanceType<typeof Streams> => {
  const out = new OutStream(fd("out"));
  return new Streams(terminal ? out.fd : fd("in"), out, terminal ? undefined : new OutStream(fd("err")), terminal);
};

function container(id: string, processes: readonly Process[], more: Partial<Container> = {}): Container {
  const init = processes[0] as Process;
  return {
    id, ociVersion: "1.3.0", judgement: AGENT, newKeyring: true, bundleDir: `/b/${id}`, cgroup: group(`/g/${id}`, ["/g"]) as Cgroup, resctrl: { made: ["/r"], folders: ["/r"] }, hooks: { poststop: [{ path: "/bin/true" }] },
    initPid: init.pid, startHooks: undefined, annotations: { "\0b": "odd" }, pipeSize: 4096, terminationLog: undefined, status: "running", pausedFrom: undefined, startChannel: undefined, oomWatch: undefined,
    template: { userNamespace: false, timeNamespace: false, pidNamespace: true, caps: {}, process: {}, linux: {}, limits: { rlimits: [{ type: "RLIMIT_CORE", hard: 18446744073709551615n, soft: 0 }] }, seccomp: { program: new Uint8Array([6, 0, 255]), flags: 1, listener: undefined } } as unknown as Container["template"],
    processes: new Map(processes.map((p) => [p.execId, p])), unclaimed: new Set(processes.filter((p) => p.status !== undefined && p.claimant !== undefined)), init, ...more,
  };
}

/** A sandbox with something of everything. */
function full(): { sandbox: InstanceType<typeof Sandbox>; claimants: { closed: boolean }[] } {
  const sandbox = new Sandbox(settings);
  const claimants = [{ closed: false }, { closed: false }];
  Object.assign(sandbox, { id: "s", created: true, mounts: ["/m"], hasDns: true, pidNs: fd("pidNs"), pidNsOf: "c1", shared: { ipc: fd("ipc"), uts: fd("uts") } });
  const one = alive("c1", { pid: 11, pidfd: fd("pidfd") }, streams(false));
  const further = alive("e1", { pid: 12, pidfd: fd("pidfd") }, streams(true));
  setClaimant(further, claimants[1]);
  const orphan = dead("e2", 13, 9);
  setClaimant(orphan, { closed: true });
  const read = dead("e3", 14, 0, streams(false));
  read.streams?.processEnded();
  setCollected(read);
  one.streams?.stdin?.end();
  const waiting = alive("c2", { pid: 15, pidfd: fd("pidfd") }, streams(false));
  const startChannel = Object.assign(new Channel(fd("startChannel")), { program: "/bin/sh" });
  const all = [container("c1", [one, further, orphan, read], { oomWatch: { told: 3, stop: () => undefined } }), container("c2", [waiting], { status: "created", startChannel }), container("c3", [dead("c3", 16, 137)], { processes: new Map() })];
  for (const it of all) sandbox.entries.set(it.id, { id: it.id, container: it, storages: [`/s/${it.id}`], serial: new Serial(), ...(it.id === "c3" ? { released: true } : {}) });
  sandbox.storages.set("/m", { count: 2, shared: true, lasting: false, done: { mounted: true, folder: "empty" }, pending: undefined });
  sandbox.oom.push("c3");
  adoptParents(["/cgroup/pod"]);
  followed.set("/w", { source: foreign("/from"), target: foreign("/w"), table: sandbox.storages });
  takeUpRoutes([{ v6: false, body: new Uint8Array([1, 2]), attributes: [[1, new Uint8Array([9])]], key: "k" }]);
  return { sandbox, claimants };
}

describe("the sandbox", () => {
  it("is the same when it has been saved, read again and restored", () => {
    const { sandbox, claimants } = full();
    expect(unfinished(sandbox)).toBeUndefined();
    const kept = new Kept();
    const text = toRecord(save(sandbox, kept, claimants));
    const open = kernel.open().length;
    const again = new Sandbox(settings);
    const left = new Left([...kept.numbers]);
    restore(fromRecord(text) as SandboxRecord, again, left, claimants);
    const other = new Kept();
    expect(JSON.parse(toRecord(save(again, other, claimants)))).toEqual(JSON.parse(text));
    expect([left.done(), kernel.open().length, [...other.numbers].sort()]).toEqual([[], open, [...kept.numbers].sort()]);
    expect(again.entries.get("c1")?.container?.template).toEqual(sandbox.entries.get("c1")?.container?.template);
    expect(installedRoutes()).toHaveLength(1);
    expect(JSON.parse(text)).toMatchObject({ version: VERSION, madeGroups: ["/cgroup/pod"], watchable: [["/w", "/from", "/w"]], oom: ["c3"], pidNsOf: "c1" });
  });

  it("hears of the ends of its processes, and keeps those for whom somebody may ask", () => {
    const { sandbox, claimants } = full();
    const kept = new Kept();
    const record = fromRecord(toRecord(save(sandbox, kept, claimants))) as SandboxRecord;
    const again = new Sandbox(settings);
    restore(record, again, new Left([...kept.numbers]), claimants);
    const found = again.entries.get("c1")?.container as Container;
    expect([...found.unclaimed].map((p) => [p.execId, p.claimant?.closed])).toEqual([["e2", true]]);
    expect([found.processes.get("e1")?.claimant === claimants[1], killChild(12), killChild(14)]).toEqual([true, true, false]);
    ended(found.processes.get("e1") as Process, 4);
    expect([...found.unclaimed].map((p) => p.execId)).toEqual(["e2", "e1"]);
    expect(found.init.streams?.stdin).toBeUndefined();
    expect(found.oomWatch?.told).toBe(3);
  });

  it.each([["nothing", undefined], ["no version", {}], ["another version", { version: VERSION + 1 }]])("refuses a record with %s", (_, record) => {
    expect(() => restore(record, new Sandbox(settings), new Left([]), [])).toThrow(/^the record has version \w+, and this agent knows version 1$/);
  });
  it("refuses a record that names a descriptor twice", () => {
    const { sandbox, claimants } = full();
    const kept = new Kept();
    const record = save(sandbox, kept, claimants);
    const left = new Left([...kept.numbers]);
    left.take(record.pidNs);
    expect(() => restore(record, new Sandbox(settings), left, claimants)).toThrow(`descriptor ${record.pidNs} is not one of the record's, or is in it twice`);
  });
});

describe("what is being done", () => {
  const busy: readonly (readonly [string, (s: InstanceType<typeof Sandbox>) => void, string])[] = [
    ["a container that is being made", (s) => s.entries.set("new", { id: "new", container: undefined, storages: [], serial: new Serial() }), "container new is being made, changed or removed"],
    ["one that is being removed", (s) => void s.entries.get("c1")?.serial.run(() => new Promise(() => undefined)), "container c1 is being made, changed or removed"],
    ["a mount", (s) => s.storages.set("/p", { count: 1, shared: false, lasting: false, done: undefined, pending: Promise.resolve() }), "something is being mounted on /p"],
    ["an end that not all have been told", (s) => void s.entries.get("c1")?.container?.processes.get("e2")?.waiters.add(() => undefined), "the end of process e2 is being told"],
    ["a helper process", () => onExit(4711, () => undefined), "helper process 4711 is at work"],
  ];
  it.each(busy)("is told: %s", (_, begin, words) => {
    const { sandbox } = full();
    expect(unfinished(sandbox)).not.toBe(words);
    begin(sandbox);
    expect(unfinished(sandbox)).toBe(words);
  });
});
