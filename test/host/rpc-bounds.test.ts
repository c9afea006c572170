// The largest requests that there are, filled with as many of the smallest elements as fit: each is answered, after a moment, in a few
// megabytes, which are given back. Time is the agent's own, on the processor, and far above what it takes: unbounded it is many seconds.
import { readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PAYLOAD, repeated, requestFrame, shapes } from "../helpers/largest-requests.js";
import { Lab, outcome, until, type Change } from "../helpers/lab.js";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

const sanitised = BINARY.endsWith(".debug");
const MOST_MS = sanitised ? 10_000 : 1000;
const MB = 1024; // in kB

suite("a request of the largest size", { needs: ["agent"] }, () => {
  let lab: Lab;
  let socket: Socket;
  let received = Buffer.alloc(0);
  let stream = 1;
  beforeAll(async () => {
    lab = await Lab.start();
    socket = connect(join(lab.agent.dir, "a.sock"));
    socket.on("data", (d: Buffer) => (received = Buffer.concat([received, d])));
  });
  afterAll(async () => {
    socket?.destroy();
    await lab?.stop();
  });
  const status = (field: string): number => Number(new RegExp(`${field}:\\s*(\\d+)`).exec(readFileSync(`/proc/${lab.agent.pid}/status`, "utf8"))?.[1]);
  /** Milliseconds that it has run. */
  const ran = (): number => Number(readFileSync(`/proc/${lab.agent.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  /** What it answers: its text, as it is on the wire. */
  const answer = async (method: string, payload: Buffer): Promise<string> => {
    socket.write(requestFrame((stream += 2), method, payload));
    await until("an answer comes", () => received.length >= 10 && received.length >= 10 + received.readUInt32BE(0), 120_000);
    const text = received.subarray(10).toString("latin1");
    received = Buffer.alloc(0);
    return text;
  };
  /** Does it and holds it against the bounds. */
  const held = async <T>(what: string, does: () => Promise<T>): Promise<T> => {
    writeFileSync(`/proc/${lab.agent.pid}/clear_refs`, "5"); // proc_pid_clear_refs(5): the peak begins anew
    const [time, memory] = [ran(), status("VmRSS")];
    const result = await does();
    expect(ran() - time, what).toBeLessThan(MOST_MS);
    if (!sanitised) expect(status("VmHWM") - memory, what).toBeLessThan(16 * MB);
    return result;
  };

  // each list of each message, other fields and what is no field with one method each
  const seen = new Set<string>();
  const some = shapes().filter(({ name, method }) => {
    if (method.endsWith("/DestroySandbox")) return false;
    const [place = "", what = ""] = name.split(": ");
    if (!place.includes(".")) return place === "CopyFile";
    const [message = "", field = ""] = place.split(".").slice(-2);
    const key = /^(messages|named|packed)/.test(what) ? `${message}.${field}` : what;
    return !seen.has(key) && seen.add(key).size > 0;
  });

  it(`of ${some.length} shapes is answered in a moment, in 16 MB`, async () => {
    const start = lab.anon();
    for (const shape of some) await held(shape.name, () => answer(shape.method, shape.payload()));
    if (!sanitised) await until("the memory is back", () => lab.anon() - start < 4 * MB);
  }, 300_000);

  it.each([
    ["CreateContainer", [0x32, 2, 0x2a, 0], "Spec.mounts: more than 4096 elements"],
    ["UpdateRoutes", [0x0a, 2, 0x0a, 0], "Routes.routes: more than 1024 elements"],
    ["AddSwap", [0x08, 0], "AddSwapRequest.pciPath: more than 64 elements"],
    ["MemHotplugByProbe", [0x0a, 4, 0, 0, 0, 0], "MemHotplugByProbeRequest.memHotplugProbeAddr: more than 4096 elements"],
    ["CreateContainer", [0x32, 2, 0x3a, 0], "Spec.annotations: more than 4096 elements"],
    ["StartContainer", [0xf8, 0x7f, 1], "StartContainerRequest.2047: the request holds more"],
  ])("%s says what there is too much of", async (method, unit, text) => {
    const said = await answer(`grpc.AgentService/${method}`, repeated(unit, PAYLOAD));
    expect(said).toContain(text);
    expect(said.charCodeAt(3)).toBe(8); // 0a, length, 08, RESOURCE_EXHAUSTED
  });

  it("a text that nobody needs that long is refused by its name, whatever it is full of", async () => {
    for (const c of ["/", ":", ",", " ", "\\"]) {
      expect(await outcome(lab.client.startContainer({ containerId: c.repeat(70_000) }))).toMatch(/^RESOURCE_EXHAUSTED: StartContainerRequest\.containerId: more than 65536 bytes/);
      expect(await outcome(lab.client.copyFile({ path: c.repeat(5000) }))).toMatch(/^RESOURCE_EXHAUSTED: CopyFileRequest\.path: more than 4096 bytes/);
      expect(await outcome(lab.create(["/bin/true"], (s) => (s.linux["sysctl"] = { [c.repeat(5000)]: "1" })))).toMatch(/^RESOURCE_EXHAUSTED: Linux\.sysctl: more than 4096 bytes/);
    }
  });

  const list = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
  const large: [string, Change, RegExp][] = [
    ["arguments", (s) => (s.process["args"] = ["/bin/true", ...list(30_000, String)]), /^OK/],
    ["variables", (s) => (s.process["env"] = list(30_000, (i) => `A${i}=1`)), /^OK/],
    ["two megabytes of variables", (s) => (s.process["env"] = list(16, (i) => `A${i}=${"x".repeat(120_000)}`)), /^OK/],
    ["annotations", (s) => (s["annotations"] = { ...Object.fromEntries(list(4000, (i) => [`a${i}`, "1"])), large: "x".repeat(3_000_000) }), /^OK/],
    ["groups", (s) => (s.process["user"] = { additionalGids: list(8192, (i) => i) }), /^OK/],
    ["groups and maps", (s) => {
      s.process["user"] = { additionalGids: list(8192, (i) => 600 + i) };
      s.linux.namespaces.push({ type: "user" });
      for (const kind of ["uidMappings", "gidMappings"]) s.linux[kind] = [...list(200, (i) => ({ hostID: i, containerID: i, size: 1 })), { hostID: 500, containerID: 500, size: 65_000 }];
    }, /^(OK|INTERNAL)/],
    ["mounts", (s) => s.mounts.push(...list(4000, (i) => ({ destination: `/m${i}`, type: "nofs", source: "x" }))), /ENODEV/],
    ["options", (s) => s.mounts.push(...list(20, (i) => ({ destination: `/m${i}`, type: "tmpfs", source: "x", options: list(1000, (k) => `o${k}`) }))), /EINVAL/],
    ["devices", (s) => (s.linux["devices"] = list(4000, (i) => ({ path: `/dev/x${i}`, type: "c", major: 1, minor: 3 }))), /^OK/],
    ["rules that take back", (s) => (s.linux.resources["devices"] = list(1024, (i) => ({ allow: i < 512, type: "c", major: 1, minor: i % 512, access: "rwm" }))), /^OK/],
    ["masked paths", (s) => (s.linux["maskedPaths"] = list(4096, (i) => `/etc/${i}`)), /^OK/],
  ];
  it.each(large)("with many %s does what it asks for", async (what, change, expected) => {
    const id = lab.name();
    const said = await held(what, () => outcome(lab.client.createContainer(lab.request(id, ["/bin/true"], change))));
    expect(said).toMatch(expected);
    if (said === "OK") {
      expect(await outcome(lab.client.startContainer({ containerId: id }))).toBe("OK");
      await lab.remove(id);
    }
  });

  it("with nothing but bytes is taken whole", async () => {
    expect(await outcome(lab.client.setPolicy({ policy: "x".repeat(4_100_000) }))).toMatch(/^NOT_FOUND/);
    const id = await lab.up("exec cat >/dev/null");
    expect(await lab.client.writeStdin({ containerId: id, execId: id, data: Buffer.alloc(4_100_000) })).toEqual({ len: 4_100_000 });
    await lab.remove(id);
  });
});
