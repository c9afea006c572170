// From an image and the user's wishes to the requests for the agent.
import { describe, expect, it } from "vitest";
import { callName, requestFrom } from "../../../ctl/commands/call.js";
import { exitStatus, errorText } from "../../../ctl/commands/exit.js";
import { parseBytes, parseEnv, parsePositive } from "../../../ctl/commands/options.js";
import { RpcError } from "../../../ctl/client/rpc-error.js";
import { encodeRequest } from "../../../ctl/client/agent-client.js";
import { printExact } from "../../../ctl/client/exact-json.js";
import { schema } from "../../../ctl/client/schema.js";
import { jsonObject } from "../../../ctl/image/config.js";
import { commandOf, mergeEnv, planContainer, type Wishes } from "../../../ctl/container/plan.js";
import { toMessage } from "../../../ctl/container/to-message.js";
import { resolveUser } from "../../../ctl/container/users.js";
import type { OpenedImage } from "../../../ctl/image/open-image.js";
import { Tree } from "../../../ctl/image/tree.js";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "plan-"));
const treeWith = (files: Record<string, string>): Tree => {
  const tree = new Tree();
  for (const [path, text] of Object.entries(files)) {
    const file = join(folder, path.replace("/", "-"));
    writeFileSync(file, text);
    tree.put(path, { kind: "file", mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: new Map(), content: { file, offset: 0, size: Buffer.byteLength(text) } });
  }
  return tree;
};
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const passwd = { "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n", "etc/group": "root:x:0:\nweb:x:34:\nlog:x:50:root,web\n" };
const image = (over: Partial<OpenedImage> = {}): OpenedImage => ({
  kind: "oci-layout", tree: treeWith(passwd), config: { env: ["A=1", "PATH=/x"], entrypoint: ["/entry"], cmd: ["arg"], user: "", workdir: "/work" }, ...over,
});
const wishes = (over: Partial<Wishes> = {}): Wishes => ({ command: [], env: [], terminal: false, ...over });

describe("plan from an image", () => {
  it("takes command, environment, folder and user from the image", () => {
    const process_ = planContainer(image(), "cc", "/dev/vda", wishes()).container.oci?.process;
    expect(process_).toMatchObject({ args: ["/entry", "arg"], cwd: "/work", terminal: false, user: { uid: 0, gid: 0 } });
    expect(process_?.env).toEqual(["PATH=/x", "HOSTNAME=cc", "HOME=/root", "A=1"]);
  });
  it("lets the user's wishes win", () => {
    const plan = planContainer(image(), "cc", "/dev/vda", wishes({ command: ["x"], env: ["A=2", "B=3"], workdir: "/", user: "web", terminal: true, memory: 1 << 20, cpus: 0.5 }));
    expect(plan.container.oci?.process).toMatchObject({ args: ["/entry", "x"], cwd: "/", terminal: true, user: { uid: 33, gid: 34, additionalGids: [50] } });
    expect(plan.container.oci?.process?.env).toEqual(["PATH=/x", "HOSTNAME=cc", "HOME=/srv", "TERM=xterm", "A=2", "B=3"]);
    expect(plan.container.oci?.linux?.resources).toEqual({ memory: { limit: 1 << 20 }, cpu: { quota: 50_000, period: 100_000 } });
  });
  it("sends what a Kata host sends: no pid or network namespace, root from storages", () => {
    const plan = planContainer(image(), "cc", "/dev/vdb", wishes());
    expect(plan.container.oci?.linux?.namespaces).toEqual([{ type: "ipc" }, { type: "uts" }, { type: "mount" }]);
    expect(plan.container.storages?.[0]).toMatchObject({ driver: "blk", source: "/dev/vdb", fstype: "squashfs", options: ["ro"] });
    expect(plan.container.storages?.[1]).toMatchObject({ driver: "overlayfs", mountPoint: "/run/kata-containers/cc/rootfs" });
    expect(plan.container.oci?.root?.path).toBe("/run/kata-containers/cc/rootfs");
    expect(plan.sandbox).toMatchObject({ sandboxId: "cc", storages: [{ driver: "ephemeral", mountPoint: "/run/kata-containers/sandbox/shm" }] });
  });
  it("is a request that can be encoded", () => {
    const type = schema().methods.get("CreateContainer")?.request;
    const { container } = planContainer(image(), "cc", "/dev/vda", wishes());
    expect(type?.verify(JSON.parse(JSON.stringify(container)) as { [k: string]: unknown })).toBeNull();
  });
  it("says when there is no command at all", () => {
    expect(() => commandOf(image({ config: { env: [], entrypoint: [], cmd: [], user: "", workdir: "" } }), [])).toThrow(/names no command/);
  });
});

describe("plan from a bundle", () => {
  const spec = {
    ociVersion: "1.0.2", hostname: "h", root: { path: "rootfs", readonly: true },
    process: { terminal: true, user: { uid: 5, gid: 6, umask: 18 }, args: ["run"], env: ["E=1"], cwd: "/c", oomScoreAdj: 100, rlimits: [{ type: "RLIMIT_NOFILE", hard: 10, soft: 5 }] },
    mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
    linux: { namespaces: [{ type: "pid" }, { type: "network", path: "/x" }, { type: "ipc", path: "/proc/1/ns/ipc" }, { type: "mount" }], uidMappings: [{ containerID: 0, hostID: 1, size: 2 }], resources: { devices: [{ allow: false }], memory: { limit: 99 }, pids: { limit: 7 }, blockIO: { weight: 3 } } },
  };
  const plan = (over: object = {}, w: Partial<Wishes> = {}): ReturnType<typeof planContainer> => planContainer(image({ kind: "bundle", spec: { ...spec, ...over } as never }), "cc", "/dev/vda", wishes(w));

  it("keeps its process and limits, drops what belongs to the host", () => {
    const { container, ignored } = plan();
    expect(container.oci).toMatchObject({
      ociVersion: "1.0.2", hostname: "h", root: { path: "/run/kata-containers/cc/rootfs", readonly: true },
      process: { args: ["run"], env: ["E=1"], cwd: "/c", terminal: false, oomScoreAdj: 100, user: { uid: 5, gid: 6 }, rlimits: [{ type: "RLIMIT_NOFILE", hard: 10, soft: 5 }] },
      linux: { namespaces: [{ type: "ipc", path: "" }, { type: "mount", path: "" }], uidMappings: [{ containerID: 0, hostID: 1, size: 2 }], resources: { memory: { limit: 99 }, pids: { limit: 7 } } },
    });
    expect(container.oci?.linux?.resources).not.toHaveProperty("devices");
    expect(ignored).toEqual(["process.user.umask"]);
  });
  it("lets the user's wishes for owner and limits win, and keeps what else config.json says of them", () => {
    const { container } = plan({}, { user: "web", memory: 1 << 20, cpus: 1.5 });
    expect(container.oci?.process?.user).toEqual({ uid: 33, gid: 34, additionalGids: [50] });
    expect(container.oci?.linux?.resources).toMatchObject({ memory: { limit: 1 << 20 }, cpu: { quota: 150_000, period: 100_000 }, pids: { limit: 7 } });
    expect(plan({ linux: null }, { memory: 5 }).container.oci?.linux?.resources).toEqual({ memory: { limit: 5 } });
    expect(plan().container.oci?.process?.user).toEqual({ uid: 5, gid: 6 });
    expect(() => plan({}, { user: "ghost" })).toThrow(/'ghost' is not in the image's/);
  });
  it("sends 64-bit numbers as config.json has them", () => {
    const text = '{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"args":["x"],"rlimits":[{"type":"RLIMIT_AS","hard":18446744073709551615,"soft":9007199254740993}]},"linux":{"resources":{"memory":{"limit":9223372036854771712}},"seccomp":{"defaultAction":"A","syscalls":[{"names":["x"],"action":"A","args":[{"index":0,"value":9223372036854775809,"valueTwo":18446744073709551614,"op":"O"}]}]}}}';
    const { container } = planContainer(image({ kind: "bundle", spec: jsonObject(text, "config.json") }), "cc", "/dev/vda", wishes());
    const method = schema().methods.get("CreateContainer");
    if (method === undefined) throw new Error("no such call");
    const sent = method.request.toObject(method.request.decode(encodeRequest(method, container)), { longs: String }) as { oci: { process: { rlimits: object[] }; linux: { resources: { memory: object }; seccomp: { syscalls: { args: object[] }[] } } } };
    expect(sent.oci.process.rlimits[0]).toMatchObject({ hard: "18446744073709551615", soft: "9007199254740993" });
    expect(sent.oci.linux.resources.memory).toMatchObject({ limit: "9223372036854771712" });
    expect(sent.oci.linux.seccomp.syscalls[0]?.args[0]).toMatchObject({ value: "9223372036854775809", valueTwo: "18446744073709551614" });
  });
  it("takes another command", () => {
    expect(plan({}, { command: ["other"] }).container.oci?.process?.args).toEqual(["other"]);
  });
  it("refuses host folders and missing parts", () => {
    expect(() => plan({ mounts: [{ destination: "/d", source: "/host", options: ["rbind"] }] })).toThrow(/binds \/host of the host on \/d/);
    expect(() => plan({ process: null })).toThrow(/no process/);
    expect(() => plan({ process: { args: [] } })).toThrow(/no process\.args/);
    expect(() => plan({ process: { args: "x" } })).toThrow(/process\.args: a list is wanted, not "x"/);
  });
});

describe("users", () => {
  const tree = treeWith(passwd);
  it.each([
    ["", { uid: 0, gid: 0, home: "/root", additionalGids: [50] }],
    ["web", { uid: 33, gid: 34, home: "/srv", additionalGids: [50] }],
    ["33", { uid: 33, gid: 34, home: "/srv" }],
    ["web:log", { uid: 33, gid: 50, additionalGids: [] }],
    ["1234:77", { uid: 1234, gid: 77, home: "/", additionalGids: [] }],
    ["1234", { uid: 1234, gid: 0 }],
    ["1234:", { uid: 1234, gid: 0, additionalGids: [] }],
    ["web:", { uid: 33, gid: 34, additionalGids: [50] }],
    [":77", { uid: 0, gid: 77, additionalGids: [] }],
    [":", { uid: 0, gid: 0 }],
    ["0033:0034", { uid: 33, gid: 34, home: "/srv" }],
  ])("'%s'", (user, ids) => expect(resolveUser(tree, user)).toMatchObject(ids));
  it("names what is not there", () => {
    expect(() => resolveUser(tree, "ghost")).toThrow("user 'ghost' is not in the image's /etc/passwd");
    expect(() => resolveUser(tree, "web:ghosts")).toThrow("group 'ghosts' is not in the image's /etc/group");
    expect(() => resolveUser(tree, "99999999999")).toThrow(/4294967294/);
  });
  it("works without any passwd file", () => expect(resolveUser(new Tree(), "")).toMatchObject({ uid: 0, gid: 0, home: "/" }));
});

describe("JSON to messages", () => {
  const spec = schema().root.lookupType("grpc.Spec");
  it("finds fields whatever their spelling", () => {
    expect(requestFrom("CreateSandbox", '{"sandboxId":"a","guest_hook_path":"/h","sandboxPidns":true}')).toEqual({ sandboxId: "a", guestHookPath: "/h", sandboxPidns: true });
    expect(toMessage(spec, { linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["x"], action: "A", errnoRet: 1 }] } } }).value).toEqual({ linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["x"], action: "A", errnoRet: 1 }] } } });
  });
  it("names unknown fields and wrong values with their path", () => {
    expect(() => requestFrom("StartContainer", '{"containerID":"a","x":1}')).toThrow("StartContainerRequest has no field x; it has: containerId");
    expect(() => requestFrom("StartContainer", "[]")).toThrow(/no JSON object/);
    expect(() => requestFrom("StartContainer", "{")).toThrow(/no JSON/);
    expect(() => toMessage(spec, { process: { user: { uid: "x" } } })).toThrow("process.user.uid: a whole number is wanted, not \"x\"");
    expect(() => toMessage(spec, { process: { user: { uid: -1 } } })).toThrow(/process\.user\.uid: a number not below 0/);
    expect(() => toMessage(spec, { mounts: [{ options: "ro" }] })).toThrow("mounts[0].options: a list is wanted");
    expect(() => toMessage(spec, { annotations: [] })).toThrow("annotations: an object is wanted, not a list");
  });
  it("keeps integers exact and refuses those that do not fit their field", () => {
    expect(jsonObject('{"a":[18446744073709551615,-9223372036854775808,9007199254740991],"b":"18446744073709551615 \\" 1234567890123456789","c":1e20,"\\u0001x":12345678901234567890}', "x"))
      .toEqual({ a: [18446744073709551615n, -9223372036854775808n, 9007199254740991], b: '18446744073709551615 " 1234567890123456789', c: 1e20, "\u0001x": 12345678901234567890n });
    for (const bad of ["[01234567890123456789]", "{12345678901234567890:1}", "-12345678901234567890x"]) expect(() => jsonObject(`{"a":${bad}}`, "x")).toThrow(/is no JSON/);
    const memory = (limit: string): unknown => toMessage(spec, jsonObject(`{"linux":{"resources":{"memory":{"limit":${limit}}}}}`, "x"));
    expect(() => memory("9223372036854775808")).toThrow("linux.resources.memory.limit: a number between -9223372036854775808 and 9223372036854775807 is wanted, not 9223372036854775808");
    expect(() => memory("9007199254740993.0")).toThrow(/a whole number is wanted/);
    expect(() => memory("1e18")).toThrow(/a whole number is wanted/);
    expect(() => toMessage(spec, { process: { user: { uid: 4294967296 } } })).toThrow(/between 0 and 4294967295/);
    expect(() => toMessage(spec, jsonObject('{"hostname":12345678901234567890}', "x"))).toThrow("hostname: text is wanted, not 12345678901234567890");
    expect(printExact({ a: 18446744073709551615n, b: "18446744073709551615", c: [1n] }, (_key, value) => value)).toBe('{"a":18446744073709551615,"b":"18446744073709551615","c":[1]}');
  });
  it("finds calls whatever their case and lists them otherwise", () => {
    expect(callName("check")).toBe("Check");
    expect(callName("online_cpu_mem")).toBe("OnlineCPUMem");
    expect(() => callName("Chekc")).toThrow(/no call 'Chekc'; there are: CreateContainer, /);
  });
});

describe("options and exit status", () => {
  it("reads sizes, numbers and environment", () => {
    expect([parseBytes("64"), parseBytes("128m"), parseBytes("1.5g"), parseBytes("2KiB")]).toEqual([64, 134217728, 1610612736, 2048]);
    for (const bad of ["", "0", "-1", "x", "1q", "m"]) expect(() => parseBytes(bad)).toThrow(/size like 128m/);
    expect(() => parsePositive("0")).toThrow();
    process.env["PLAN_TEST"] = "v";
    expect(parseEnv("PLAN_TEST", ["A=1"])).toEqual(["A=1", "PLAN_TEST=v"]);
    expect(parseEnv("NOT_SET_ANYWHERE", [])).toEqual([]);
    expect(() => parseEnv("=x", [])).toThrow();
    expect(mergeEnv(["A=1", "B=1"], ["A=2"], ["C="])).toEqual(["A=2", "B=1", "C="]);
  });
  it("tells a missing command from one that cannot run and from our own failures", () => {
    expect(exitStatus(new RpcError(13, "the file nosuch was not found", "CreateContainer"))).toBe(127);
    expect(exitStatus(new RpcError(13, "execve: EACCES: Permission denied", "StartContainer"))).toBe(126);
    expect(exitStatus(new RpcError(13, "the file x was not found", "ExecProcess"))).toBe(127);
    expect(exitStatus(new RpcError(14, "connection lost: ENOENT", "CreateContainer"))).toBe(125);
    expect(exitStatus(new RpcError(5, "not found", "WaitProcess"))).toBe(125);
    expect(exitStatus(new Error("x"))).toBe(125);
    expect(errorText(new RpcError(5, "gone", "WaitProcess"))).toBe("WaitProcess: NOT_FOUND: gone");
  });
});
