import { describe, expect, it } from "vitest";
import { checkSpec, cleanPath, sysctlPath } from "../../../agent/oci/check.js";
import type { Linux, Process, Spec } from "../../../agent/oci/spec.js";

const process: Process = { args: ["/bin/true"], cwd: "/", user: { uid: 0, gid: 0 } };
const namespaces = [{ type: "pid" }, { type: "mount" }, { type: "ipc" }, { type: "uts" }];
const spec = (change: Partial<Spec> = {}): Spec => ({ ociVersion: "1.1.0", process, root: { path: "/r", readonly: false }, linux: { namespaces }, ...change });
const withProcess = (change: Partial<Process>): Spec => spec({ process: { ...process, ...change } });
const withLinux = (change: Partial<Linux>): Spec => spec({ linux: { namespaces, ...change } });

describe("a spec that can be honoured", () => {
  it("passes", () => {
    expect(() => checkSpec(spec())).not.toThrow();
    expect(() => checkSpec(withLinux({ sysctl: { "net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "fs/mqueue/msg_max": "3" } }))).not.toThrow();
    expect(() => checkSpec(spec({ mounts: [{ destination: "/proc", type: "proc" }, { destination: "/proc/cpuinfo", type: "bind", source: "/x", options: ["bind"] }] }))).not.toThrow();
  });
});

describe("what cannot be honoured is refused with its place", () => {
  it.each<[string, Spec, string]>([
    ["no process", { ociVersion: "1", root: { path: "/r", readonly: false }, linux: {} }, "process: is missing"],
    ["no root", { ociVersion: "1", process, linux: {} }, "root: is missing"],
    ["a relative root", spec({ root: { path: "r", readonly: false } }), "root.path:"],
    ["no arguments", withProcess({ args: [] }), "process.args: is empty"],
    ["a relative directory", withProcess({ cwd: "tmp" }), 'process.cwd: "tmp" is not an absolute path'],
    ["NUL in an argument", withProcess({ args: ["a", "b\0c"] }), "process.args[1]: has a NUL byte"],
    ["NUL in the environment", withProcess({ env: ["A=1", "B=\0"] }), "process.env[1]"],
    ["an unknown capability", withProcess({ capabilities: { bounding: ["CAP_KILL", "CAP_FLY"] } }), 'process.capabilities.bounding[1]: unknown capability "CAP_FLY"'],
    ["an unknown limit", withProcess({ rlimits: [{ type: "RLIMIT_LUCK", hard: 1, soft: 1 }] }), 'process.rlimits[0].type: unknown limit "RLIMIT_LUCK"'],
    ["a limit given twice", withProcess({ rlimits: [{ type: "RLIMIT_CPU", hard: 1, soft: 1 }, { type: "RLIMIT_CPU", hard: 2, soft: 1 }] }), "process.rlimits[1].type"],
    ["a soft limit above the hard one", withProcess({ rlimits: [{ type: "RLIMIT_CPU", hard: 1, soft: 2n }] }), "process.rlimits[0].soft"],
    ["an oom score out of range", withProcess({ oomScoreAdj: 1001 }), "process.oomScoreAdj"],
    ["AppArmor", withProcess({ apparmorProfile: "x" }), "process.apparmorProfile"],
    ["SELinux", withProcess({ selinuxLabel: "a:b:c" }), "process.selinuxLabel"],
    ["an unknown namespace", withLinux({ namespaces: [{ type: "pid" }, { type: "soul" }] }), 'linux.namespaces[1].type: unknown namespace "soul"'],
    ["a namespace given twice", withLinux({ namespaces: [{ type: "pid" }, { type: "pid" }] }), "linux.namespaces[1].type: pid is given twice"],
    ["a relative namespace path", withLinux({ namespaces: [{ type: "ipc", path: "proc/1/ns/ipc" }] }), "linux.namespaces[0].path"],
    ["maps without a user namespace", withLinux({ uidMappings: [{ containerID: 0, hostID: 0, size: 1 }] }), "linux.uidMappings"],
    ["a user namespace without maps", withLinux({ namespaces: [...namespaces, { type: "user" }] }), "linux.namespaces"],
    ["masked paths without a mount namespace", withLinux({ namespaces: [{ type: "pid" }], maskedPaths: ["/x"] }), "linux.maskedPaths"],
    ["a host name without a uts namespace", { ...withLinux({ namespaces: [{ type: "pid" }] }), hostname: "h" }, "hostname: needs a uts namespace"],
    ["a cgroup outside its tree", withLinux({ cgroupsPath: "/a/../../b" }), "linux.cgroupsPath"],
    ["the root of all cgroups", withLinux({ cgroupsPath: "/" }), "linux.cgroupsPath"],
    ["a tmpfs over /proc", spec({ mounts: [{ destination: "/proc", type: "tmpfs" }] }), "mounts[0].destination: only a proc file system"],
    ["a mount inside /proc", spec({ mounts: [{ destination: "/x/../proc//self", type: "tmpfs" }] }), "mounts[0].destination: /proc/self lies inside /proc"],
    ["an empty destination", spec({ mounts: [{ destination: "", type: "tmpfs" }] }), "mounts[0].destination: is empty"],
    ["a device type", withLinux({ devices: [{ path: "/dev/x", type: "z" }] }), 'linux.devices[0].type: unknown type "z"'],
    ["a device rule's type", withLinux({ resources: { devices: [{ allow: true, type: "q" }] } }), "linux.resources.devices[0].type"],
    ["a device rule's access", withLinux({ resources: { devices: [{ allow: true, access: "rx" }] } }), "linux.resources.devices[0].access"],
  ])("%s", (_what, bad, message) => {
    expect(() => checkSpec(bad)).toThrow(message);
    expect(() => checkSpec(bad)).toThrow(expect.objectContaining({ kind: "invalid" }));
  });

  it.each(["kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "kernel.hostname", "vm.swappiness", "fs.file-max", "kernel.shmmax/../x", ""])("the sysctl %j", (key) => {
    expect(() => checkSpec(withLinux({ sysctl: { [key]: "1" } }))).toThrow(`linux.sysctl["${key}"]`);
  });
  it("nothing about a dot in the name of an interface, which either separator lets through", () => {
    expect(sysctlPath("net.ipv4.conf.eth0/1.forwarding")).toBe("net/ipv4/conf/eth0.1/forwarding");
    expect(sysctlPath("net/ipv4/conf/eth0.1/forwarding")).toBe("net/ipv4/conf/eth0.1/forwarding");
    expect(sysctlPath("net.ipv4.ip_forward")).toBe("net/ipv4/ip_forward");
    for (const key of ["net.//.kernel.core_pattern", "net./.x"]) expect(() => checkSpec(withLinux({ sysctl: { [key]: "1" } }))).toThrow(/is not a name|namespaced/);
  });
  it("an ipc sysctl without an ipc namespace", () => {
    expect(() => checkSpec(spec({ linux: { namespaces: [{ type: "mount" }], sysctl: { "kernel.sem": "1" } } }))).toThrow("needs an ipc namespace");
  });
});

describe("cleanPath", () => {
  it.each([["/a/./b//c", "/a/b/c"], ["/../../x", "/x"], ["", "/"], ["/a/..", "/"], ["a/b/", "/a/b"]])("%j is %j", (from, to) => {
    expect(cleanPath(from)).toBe(to);
  });
});
