import { describe, expect, it } from "vitest";
import { parseProcess, parseResources, parseSpec } from "../../../agent/oci/parse.js";

const minimal = { ociVersion: "1.3.0", process: { cwd: "/", args: ["a"], user: { uid: 1, gid: 2 } }, root: { path: "rootfs" }, linux: {} };
const text = (change: (spec: Record<string, any>) => void): string => {
  const spec = structuredClone(minimal) as Record<string, any>;
  change(spec);
  return JSON.stringify(spec);
};

describe("a configuration's form", () => {
  it("is read into the types, with what may be left out", () => {
    const spec = parseSpec(JSON.stringify(minimal));
    expect(spec.root).toEqual({ path: "rootfs", readonly: false });
    expect(spec.process).toEqual({ cwd: "/", args: ["a"], user: { uid: 1, gid: 2 } });
  });

  it("takes null for what is not given, and leaves out what nobody knows", () => {
    const spec = parseSpec(text((s) => { s["hostname"] = null; s["solaris"] = { a: 1 }; s["process"].user = null; }));
    expect(spec).not.toHaveProperty("hostname");
    expect(spec).not.toHaveProperty("solaris");
    expect(spec.process?.user).toEqual({ uid: 0, gid: 0 });
  });

  it("has names in any case of letters, as Go reads them; the own case goes first, and keys of maps are what they are", () => {
    const spec = parseSpec(text((s) => {
      s["Linux"] = { ...s["linux"], Resources: { HugePageLimits: [{ pagesize: "2MB", LIMIT: 18446744073709549568 }] }, SysCtl: { "Net.x": "1" } };
      delete s["linux"];
      s["HOSTNAME"] = "other";
      s["hostname"] = "own";
      s["process"] = { CWD: "/a", Args: ["x"], User: { UID: 7, GID: 8, additionalgids: [9] }, OOMscoreADJ: -5, "!": "cwd", "*": 1 };
      s["Annotations"] = { Key: "v", key: "w" };
    }));
    expect(spec).toMatchObject({ hostname: "own", annotations: { Key: "v", key: "w" }, process: { cwd: "/a", args: ["x"], user: { uid: 7, gid: 8, additionalGids: [9] }, oomScoreAdj: -5 } });
    expect(spec.linux).toEqual({ resources: { hugepageLimits: [{ pageSize: "2MB", limit: 18446744073709549568 }] }, sysctl: { "Net.x": "1" } });
    expect(Object.keys(spec)).not.toContain("HOSTNAME");
    expect(() => parseSpec(text((s) => { s["process"].UMASK = 1; s["Process"] = 5; s["ROOT"] = null; s["Hostname"] = 5; }))).toThrow("hostname: is not text");
    expect(parseResources('{"PIDS":{"Limit":5},"Memory":null,"cpu":{"SHARES":3}}')).toEqual({ pids: { limit: 5 }, cpu: { shares: 3 } });
    expect(parseProcess('{"Cwd":"/","cwD":"/b"}')).toMatchObject({ cwd: "/b" }); // the later of two that are not its own
  });

  it.each([
    ["process.user.uid: 4294967296 is not an unsigned 32-bit number", (s: any) => (s.process.user.uid = 4294967296)],
    ["process.user.uid: -1 is not", (s: any) => (s.process.user.uid = -1)],
    ["process.user.uid: 1.5 is not", (s: any) => (s.process.user.uid = 1.5)],
    ["process.user.uid: is not an unsigned", (s: any) => (s.process.user.uid = "0")],
    ["process.args[1]: is not text", (s: any) => (s.process.args = ["a", 1])],
    ["process.args[0]: is not text", (s: any) => (s.process.args = [null])],
    ["process.args: is not a list", (s: any) => (s.process.args = { 0: "a" })],
    ["process.cwd: is missing", (s: any) => delete s.process.cwd],
    ["process.terminal: is not true or false", (s: any) => (s.process.terminal = "yes")],
    ["process: is not an object", (s: any) => (s.process = [])],
    ["mounts[1].options[0]: is not text", (s: any) => (s.mounts = [{ destination: "/a" }, { destination: "/b", options: [{}] }])],
    ["mounts[0].destination: is missing", (s: any) => (s.mounts = [{}])],
    ["linux.namespaces[0].type: is missing", (s: any) => (s.linux.namespaces = [{ path: "/x" }])],
    ["linux.resources.memory.limit: is not a 64-bit number", (s: any) => (s.linux.resources = { memory: { limit: "1G" } })],
    ['linux.sysctl["net.ipv4.ip_forward"]: is not text', (s: any) => (s.linux.sysctl = { "net.ipv4.ip_forward": 1 })],
    ["process.args[0]: has a NUL byte", (s: any) => (s.process.args = ["a\0b"])],
    ['annotations["a b"]: has a NUL byte', (s: any) => (s.annotations = { "a b": "\0" })],
    ["ociVersion: is missing", (s: any) => delete s.ociVersion],
    ['ociVersion: "latest" is not a version', (s: any) => (s.ociVersion = "latest")],
    ["ociVersion: 2.0.0 is not a version 1", (s: any) => (s.ociVersion = "2.0.0")],
    ["hooks.poststop[0].path: is missing", (s: any) => (s.hooks = { poststop: [{ args: [] }] })],
    ["linux.devices[0].fileMode: -1 is not", (s: any) => (s.linux.devices = [{ path: "/dev/a", type: "c", fileMode: -1 }])],
  ])("%s", (message, change) => {
    expect(() => parseSpec(text(change))).toThrow(message);
  });

  it.each(["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0+x"])("knows version %s", (version) => {
    expect(parseSpec(text((s) => (s["ociVersion"] = version))).ociVersion).toBe(version);
  });

  it.each([["", "is not JSON"], ["{", "is not JSON"], ["[]", "is not an object"], ["null", "is not an object"], ["\ufeff{}", "is not JSON"], ["1", "is not an object"]])("refuses %j", (bad, why) => {
    expect(() => parseSpec(bad)).toThrow(why);
  });

  it("keeps 64-bit numbers exact where they are compared bit by bit", () => {
    const json = JSON.stringify(minimal).replace('"linux":{}', '"linux":{"seccomp":{"defaultAction":"A","syscalls":[{"names":["x"],"action":"B","args":[{"index":0,"value":18446744073709551615,"valueTwo":9007199254740993,"op":"C"}]}]}}')
      .replace('"cwd":"/"', '"cwd":"/12345678901234567890","rlimits":[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":1024}]');
    const spec = parseSpec(json);
    expect(spec.linux?.seccomp?.syscalls?.[0]?.args?.[0]).toEqual({ index: 0, value: 18446744073709551615n, valueTwo: 9007199254740993n, op: "C" });
    expect(spec.process?.rlimits).toEqual([{ type: "RLIMIT_CORE", hard: 18446744073709551615n, soft: 1024 }]);
    expect(spec.process?.cwd).toBe("/12345678901234567890");
  });

  it("refuses numbers above 64 bits, and rounds limits that are only counted", () => {
    expect(() => parseResources('{"memory":{"limit":9223372036854775808}}')).toThrow("resources.memory.limit: 9223372036854775808 is not a 64-bit number");
    expect(parseResources('{"memory":{"limit":9223372036854775807}}').memory?.limit).toBe(2 ** 63);
    expect(() => parseProcess('{"cwd":"/","rlimits":[{"type":"a","hard":18446744073709551616,"soft":0}]}')).toThrow("process.rlimits[0].hard: 18446744073709551616 is not");
    expect(() => parseResources('{"memory":{"limit":1e300}}')).toThrow("resources.memory.limit");
  });

  it("takes no number for text and none that was rounded, also where others are exact", () => {
    const exact = '"rlimits":[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":1024}]';
    expect(() => parseProcess(`{"cwd":12345678901234567890,${exact}}`)).toThrow("process.cwd: is not text");
    expect(() => parseProcess(`{"cwd":"/","env":["a",-12345678901234567890],${exact}}`)).toThrow("process.env[1]: is not text");
    expect(() => parseProcess('{"cwd":"/","rlimits":[{"type":"a","hard":18446744073709551615.0,"soft":0}]}')).toThrow("process.rlimits[0].hard: 18446744073709552000 is not");
    expect(() => parseProcess('{"cwd":"/","rlimits":[{"type":"a","hard":1e19,"soft":0}]}')).toThrow("process.rlimits[0].hard: 10000000000000000000 is not");
  });

  it("puts names of maps into one line of bounded length", () => {
    expect(() => parseSpec(JSON.stringify({ ...minimal, annotations: { [`a\n\u001b[2J${"x".repeat(1e6)}`]: 1 } }))).toThrow(/^annotations\["a\\n\\u001b\[2Jx{40,60}"\]: is not text$/);
  });

  it("refuses what is too large or too deep", () => {
    expect(() => parseSpec(`${JSON.stringify(minimal)}${" ".repeat(16 << 20)}`)).toThrow("characters are too many");
    expect(parseSpec(JSON.stringify(minimal).replace('"linux":{}', `"linux":{},"more":${"[".repeat(1000)}${"]".repeat(1000)}`))).not.toHaveProperty("more");
  });

  it("takes the last of a name that is given twice", () => {
    expect(parseSpec(JSON.stringify(minimal).replace('"linux":{}', '"linux":{},"hostname":1,"hostname":"b"')).hostname).toBe("b");
  });

  it("has no property of the language for a name in a map", () => {
    const spec = parseSpec(JSON.stringify(minimal).replace('"linux":{}', '"annotations":{"__proto__":"x","constructor":"y"},"linux":{}'));
    expect(Object.keys(spec.annotations ?? {})).toEqual(["__proto__", "constructor"]);
    expect(Object.getPrototypeOf(spec.annotations)).toBe(Object.prototype);
  });
});
