import { COMMAND_LINE } from "../../../agent/oci/judgement.js";
import { describe, expect, it } from "vitest";
import { checkId, checkSpec, type Machine } from "../../../agent/oci/check.js";
import { checkProcess } from "../../../agent/oci/check-process.js";
import { cleanPath } from "../../../agent/oci/field.js";
import { sysctlPath } from "../../../agent/oci/sysctl.js";
import type { Linux, Process, Spec } from "../../../agent/oci/spec.js";

const process: Process = { args: ["/bin/true"], cwd: "/", user: { uid: 0, gid: 0 } };
const namespaces = [{ type: "pid" }, { type: "mount" }, { type: "ipc" }, { type: "uts" }];
const spec = (change: Partial<Spec> = {}): Spec => ({ ociVersion: "1.1.0", process, root: { path: "/r", readonly: false }, linux: { namespaces }, ...change });
const withProcess = (change: Partial<Process>): Spec => spec({ process: { ...process, ...change } });
const withLinux = (change: Partial<Linux>): Spec => spec({ linux: { namespaces, ...change } });

const one = [{ containerID: 0, hostID: 5, size: 1 }];
const withUser = (change: Partial<Linux>): Spec => withLinux({ namespaces: [...namespaces, { type: "user" }], uidMappings: one, gidMappings: one, ...change });

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
    ["a uid that is none", withProcess({ user: { uid: 4294967295, gid: 0 } }), "process.user.uid: 4294967295 is not between 0 and 4294967294"],
    ["a gid that is none", withProcess({ user: { uid: 0, gid: -1 } }), "process.user.gid: -1"],
    ["a further gid that is none", withProcess({ user: { uid: 0, gid: 0, additionalGids: [5, 4294967295] } }), "process.user.additionalGids[1]"],
    ["a mask of more than permissions", withProcess({ user: { uid: 0, gid: 0, umask: 0o1000 } }), "process.user.umask"],
    ["an unknown limit", withProcess({ rlimits: [{ type: "RLIMIT_LUCK", hard: 1, soft: 1 }] }), 'process.rlimits[0].type: unknown limit "RLIMIT_LUCK"'],
    ["a limit given twice", withProcess({ rlimits: [{ type: "RLIMIT_CPU", hard: 1, soft: 1 }, { type: "RLIMIT_CPU", hard: 2, soft: 1 }] }), "process.rlimits[1].type"],
    ["a soft limit above the hard one", withProcess({ rlimits: [{ type: "RLIMIT_CPU", hard: 1, soft: 2n }] }), "process.rlimits[0].soft"],
    ["an oom score out of range", withProcess({ oomScoreAdj: 1001 }), "process.oomScoreAdj"],
    ["NUL in the path of a namespace", withLinux({ namespaces: [{ type: "uts", path: "/a\0b" }] }), "linux.namespaces[0].path: has a NUL"],
    ["NUL in a name", { ...spec(), hostname: "a\0" }, "hostname: has a NUL"],
    ["NUL in a masked path", withLinux({ maskedPaths: ["/a", "/b\0"] }), "linux.maskedPaths[1]: has a NUL"],
    ["NUL in a read-only path", withLinux({ readonlyPaths: ["\0"] }), "linux.readonlyPaths[0]"],
    ["NUL in the value of a sysctl", withLinux({ sysctl: { "kernel.sem": "1\0" } }), 'linux.sysctl["kernel.sem"]: has a NUL'],
    ["NUL in the cgroup's path", withLinux({ cgroupsPath: "/a\0" }), "linux.cgroupsPath: has a NUL"],
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
    ["a bind without a source", spec({ mounts: [{ destination: "/x", options: ["rbind"] }] }), "mounts[0].source: a bind mount needs a source"],
    ["ids of a mount without any to take", spec({ mounts: [{ destination: "/x", source: "/s", options: ["bind", "idmap"] }] }), "mounts[0].options: idmap needs"],
    ["half of the ids of a mount", spec({ mounts: [{ destination: "/x", type: "bind", source: "/s", gidMappings: [{ containerID: 0, hostID: 0, size: 1 }] }] }), "mounts[0].uidMappings: are missing"],
    ["a map of nothing", withUser({ uidMappings: [{ containerID: 0, hostID: 0, size: 0 }] }), "linux.uidMappings[0].size: is 0"],
    ["a map beyond the last id", withUser({ gidMappings: [{ containerID: 0, hostID: 4294967290, size: 9 }] }), "linux.gidMappings[0].size: 9 ids go beyond"],
    ["maps of more text than a page", withUser({ uidMappings: Array.from({ length: 200 }, (_, i) => ({ containerID: 1000000000 + i, hostID: 2000000000 + i, size: 1 })) }), "linux.uidMappings: are more text"],
    ["a user that the maps leave out", { ...withUser({}), process: { ...process, user: { uid: 9, gid: 0 } } }, "process.user.uid: 9 is not in linux.uidMappings"],
    ["a clock without a time namespace", withLinux({ timeOffsets: { boottime: { secs: 1 } } }), "linux.timeOffsets: needs a new time namespace"],
    ["a clock of others", withLinux({ namespaces: [...namespaces, { type: "time", path: "/t" }], timeOffsets: { boottime: { secs: 1 } } }), "linux.timeOffsets: needs a new"],
    ["a read-only root without a mount namespace", { ...withLinux({ namespaces: [{ type: "pid" }] }), root: { path: "/r", readonly: true } }, "root.readonly: needs a mount namespace"],
    ["a device without numbers", withLinux({ devices: [{ path: "/dev/x", type: "c", minor: 3 }] }), "linux.devices[0].major: is missing"],
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
  it("a domain name given twice", () => {
    expect(() => checkSpec({ ...withLinux({ sysctl: { "kernel.domainname": "a" } }), domainname: "b" })).toThrow("conflicts with domainname");
    expect(() => checkSpec({ ...withLinux({ sysctl: { "kernel.domainname": "b" } }), domainname: "b" })).not.toThrow();
    expect(() => checkSpec(withLinux({ sysctl: { "kernel.domainname": "a" } }))).not.toThrow();
    expect(() => checkSpec({ ...spec({ linux: { namespaces: [{ type: "mount" }] } }), domainname: "b" })).toThrow("domainname: needs a uts namespace");
  });
});

describe("on a machine that is not the container's alone", () => {
  const machine: Machine = { has: (type) => type !== "time", isOwn: (_type, path) => path.startsWith("/proc/self/") };
  const net = (path?: string): Spec => withLinux({ namespaces: [...namespaces, { type: "network", ...(path === undefined ? {} : { path }) }], sysctl: { "net.ipv4.ip_forward": "1" } });

  it("network parameters need a network of the container's own", () => {
    for (const good of [net(), net("/run/netns/x")]) expect(() => checkSpec(good, machine)).not.toThrow();
    for (const bad of [net("/proc/self/ns/net"), withLinux({ sysctl: { "net.ipv4.ip_forward": "1" } })]) {
      expect(() => checkSpec(bad, machine)).toThrow('linux.sysctl["net.ipv4.ip_forward"]: needs a network namespace');
      expect(() => checkSpec(bad)).not.toThrow(); // in a sandbox the network is the sandbox's
    }
  });
  it("the machine's own name is not changed through a path", () => {
    expect(() => checkSpec({ ...spec({ linux: { namespaces: [{ type: "uts", path: "/proc/self/ns/uts" }] } }), hostname: "x" }, machine)).toThrow("hostname: needs a uts namespace");
    expect(() => checkSpec({ ...spec({ linux: { namespaces: [{ type: "uts", path: "/run/uts" }] } }), hostname: "x" }, machine)).not.toThrow();
  });
  it("an annotation without a name is refused", () => {
    expect(() => checkSpec(spec({ annotations: { a: "", "": "x" } }), machine)).toThrow('annotations[""]: has no name');
    expect(() => checkSpec(spec({ annotations: { a: "" } }), machine)).not.toThrow();
  });
  it("user parameters need a user namespace", () => {
    const maps = { uidMappings: [{ containerID: 0, hostID: 0, size: 1 }], gidMappings: [{ containerID: 0, hostID: 0, size: 1 }] };
    expect(() => checkSpec(withLinux({ sysctl: { "user.max_user_namespaces": "1" } }), machine)).toThrow("needs a user namespace");
    expect(() => checkSpec(withLinux({ namespaces: [...namespaces, { type: "user" }], ...maps, sysctl: { "user.max_user_namespaces": "1" } }), machine)).not.toThrow();
  });
  it("a kind of namespace that the kernel lacks is refused", () => {
    expect(() => checkSpec(withLinux({ namespaces: [...namespaces, { type: "time" }] }), machine)).toThrow("linux.namespaces[4].type: this kernel has no time namespaces");
  });
  it.each([["A", "has no ="], ["=b", "has no name"], ["", "has no ="]])("the environment's %j is refused", (entry, why) => {
    expect(() => checkSpec(withProcess({ env: ["OK=", entry] }), machine)).toThrow(`process.env[1]: "${entry}" ${why}`);
    expect(() => checkSpec(withProcess({ env: ["OK=", entry] }))).not.toThrow(); // hosts may send it; it is left out
    expect(() => checkProcess({ ...process, env: [entry] }, "process", COMMAND_LINE)).toThrow("process.env[0]");
  });
});

describe("checkId", () => {
  it.each(["a", "A-b_c+d.e9", "-", "x".repeat(1024)])("takes %j", (id) => expect(checkId(id)).toBe(id));
  it.each(["", ".", "..", ".a", "a/b", "a b", "a\n", "ä", "a\0", "x".repeat(1025)])("refuses %j", (id) => expect(() => checkId(id)).toThrow("container id"));
});

describe("cleanPath", () => {
  it.each([["/a/./b//c", "/a/b/c"], ["/../../x", "/x"], ["", "/"], ["/a/..", "/"], ["a/b/", "/a/b"]])("%j is %j", (from, to) => {
    expect(cleanPath(from)).toBe(to);
  });
});
