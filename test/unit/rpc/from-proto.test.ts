import "../../helpers/fake-native.js";
import { describe, expect, test } from "vitest";
import { decode } from "../../../agent/rpc/wire/decode.js";
import { toProcess, toResources, toSpec } from "../../../agent/rpc/from-proto.js";
import { checkSpec } from "../../../agent/oci/check.js";
import { checkProcess } from "../../../agent/oci/check-process.js";
import type { Spec } from "../../../agent/rpc/gen/messages.js";
import { encoded } from "./memory-channel.js";

const spec = (fields: object): Spec => decode("Spec", encoded("grpc.Spec", fields));
const converted = (fields: object): Record<string, unknown> => toSpec(spec(fields)) as unknown as Record<string, unknown>;
const resources = (fields: object): object => toResources(decode("LinuxResources", encoded("grpc.LinuxResources", fields)));

describe("a spec from the wire reads like a config.json", () => {
  test("what is empty is not given", () => {
    expect(converted({})).toEqual({ ociVersion: "" });
    expect(converted({ ociVersion: "1.0.2", root: {}, process: {}, linux: {} })).toEqual({
      ociVersion: "1.0.2",
      root: { path: "", readonly: false },
      process: { terminal: false, user: { uid: 0, gid: 0 }, args: [], env: [], cwd: "/", noNewPrivileges: false },
      linux: { namespaces: [] },
    });
  });

  test("what is given arrives", () => {
    const mount = { destination: "/proc", type: "proc", source: "proc", options: ["nosuid"] };
    const result = converted({
      ociVersion: "1.2.0", hostname: "h", annotations: { a: "b" }, root: { path: "/r", readonly: true }, mounts: [mount, { destination: "/x" }],
      process: {
        terminal: true, consoleSize: { height: 24, width: 80 }, user: { uid: 1, gid: 2, additionalGids: [3], username: "u" }, args: ["sh"], env: ["A=b"], cwd: "/",
        capabilities: { bounding: ["CAP_KILL"] }, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 512 }], noNewPrivileges: true, oomScoreAdj: -5,
      },
      linux: {
        uidMappings: [{ hostID: 1, containerID: 2, size: 3 }], gidMappings: [{ hostID: 4, containerID: 5, size: 6 }], sysctl: { "net.x": "1" }, cgroupsPath: "/c",
        namespaces: [{ type: "pid", path: "" }, { type: "ipc", path: "/i" }], devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 438, uid: 0, gid: 0 }],
        rootfsPropagation: "private", maskedPaths: ["/m"], readonlyPaths: ["/ro"],
      },
    });
    expect(result).toEqual({
      ociVersion: "1.2.0", hostname: "h", annotations: { a: "b" }, root: { path: "/r", readonly: true }, mounts: [mount, { destination: "/x" }],
      process: {
        terminal: true, consoleSize: { height: 24, width: 80 }, user: { uid: 1, gid: 2, additionalGids: [3] }, args: ["sh"], env: ["A=b"], cwd: "/",
        capabilities: { bounding: ["CAP_KILL"], effective: [], inheritable: [], permitted: [], ambient: [] },
        rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 512 }], noNewPrivileges: true, oomScoreAdj: -5,
      },
      linux: {
        uidMappings: [{ hostID: 1, containerID: 2, size: 3 }], gidMappings: [{ hostID: 4, containerID: 5, size: 6 }], sysctl: { "net.x": "1" }, cgroupsPath: "/c",
        namespaces: [{ type: "pid" }, { type: "ipc", path: "/i" }], devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 438, uid: 0, gid: 0 }],
        rootfsPropagation: "private", maskedPaths: ["/m"], readonlyPaths: ["/ro"],
      },
    });
  });

  test("hooks go to their own places", () => {
    const hook = (path: string): object => ({ path, args: [path], timeout: path === "/a" ? 3 : 0 });
    expect(converted({ hooks: { prestart: [hook("/a")], poststart: [hook("/b")], poststop: [hook("/c")], createRuntime: [hook("/d")], createContainer: [hook("/e")], startContainer: [hook("/f")] } })["hooks"]).toEqual({
      prestart: [{ path: "/a", args: ["/a"], timeout: 3 }], poststart: [{ path: "/b", args: ["/b"] }], poststop: [{ path: "/c", args: ["/c"] }],
      createRuntime: [{ path: "/d", args: ["/d"] }], createContainer: [{ path: "/e", args: ["/e"] }], startContainer: [{ path: "/f", args: ["/f"] }],
    });
  });

  test("a seccomp rule without an errno has none, and exact 64-bit arguments", () => {
    const seccomp = { defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86_64"], syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }, { names: ["clone"], action: "SCMP_ACT_ERRNO", errnoRet: 0, args: [{ index: 0, value: 2 ** 53, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }] }] };
    expect(converted({ linux: { seccomp } })["linux"]).toEqual({
      namespaces: [],
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }, { names: ["clone"], action: "SCMP_ACT_ERRNO", errnoRet: 0, args: [{ index: 0, value: 9007199254740992n, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }] }],
      },
    });
  });
});

describe("limits", () => {
  test("-1 is kept, 0 is not given", () => {
    expect(resources({ memory: { limit: -1, swap: -1, reservation: 0, disableOOMKiller: true }, cpu: { quota: -1, period: 100000, cpus: "0-1" } })).toEqual({ memory: { limit: -1, swap: -1, disableOOMKiller: true }, cpu: { quota: -1, period: 100000, cpus: "0-1" } });
    expect(resources({ memory: {}, cpu: {}, pids: {}, blockIO: {}, network: {} })).toEqual({});
  });
  test("a pids limit is enforced when it is there", () => {
    expect(resources({ pids: { limit: 20 } })).toEqual({ pids: { limit: 20 } });
    expect(resources({ pids: { limit: -1 } })).toEqual({ pids: { limit: -1 } });
    expect(resources({ pids: { limit: 0 } })).toEqual({}); // as a host sends that has set none: a limit of 1 would end the container's life
  });
  test("device rules: numbers of 0 and below are wildcards", () => {
    expect(resources({ devices: [{ allow: true, type: "c", major: 5, minor: -1, access: "rw" }, { allow: false, access: "rwm" }] })).toEqual({ devices: [{ allow: true, type: "c", major: 5, access: "rw" }, { allow: false, access: "rwm" }] });
  });
});

describe("unknown names are refused with their field, not guessed", () => {
  const good = { ociVersion: "1.0.2", root: { path: "/r" }, process: { args: ["a"], cwd: "/" }, linux: { namespaces: [{ type: "mount" }] } };
  const refusal = (fields: object): unknown => {
    try {
      checkSpec(toSpec(spec({ ...good, ...fields })));
    } catch (error) {
      return error;
    }
    return undefined;
  };
  test("nothing is wrong with the base", () => expect(refusal({})).toBeUndefined());
  test.each<[string, object]>([
    ['process.rlimits[0].type: unknown limit "RLIMIT_FLY"', { process: { args: ["a"], cwd: "/", rlimits: [{ type: "RLIMIT_FLY" }] } }],
    ['linux.namespaces[0].type: unknown namespace "fly"', { linux: { namespaces: [{ type: "fly" }] } }],
    ['linux.devices[0].type: unknown type "x"', { linux: { devices: [{ path: "/d", type: "x" }] } }],
  ])("%s", (message, fields) => {
    expect(refusal(fields)).toMatchObject({ kind: "invalid", message });
  });
  test("a capability may come in JSON quotes or without CAP_", () => {
    const process = decode("Process", encoded("grpc.Process", { args: ["a"], cwd: "/", capabilities: { bounding: ['"CAP_KILL"', "CHOWN"] } }));
    expect(() => checkProcess(toProcess(process))).not.toThrow();
  });
});
