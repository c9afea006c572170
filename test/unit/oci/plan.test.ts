import { AGENT, COMMAND_LINE } from "../../../agent/oci/judgement.js";
import { describe, expect, it } from "vitest";
import { capabilitySets, capNumber, hasCap, mayTrace } from "../../../agent/oci/caps.js";
import { environment, makePlan } from "../../../agent/oci/plan.js";
import { describe as inWords } from "../../../agent/oci/steps.js";
import type { Linux, Process, Spec } from "../../../agent/oci/spec.js";

type Full = Spec & { process: Process; root: NonNullable<Spec["root"]>; linux: Linux };
const base: Full = {
  ociVersion: "1.1.0", hostname: "box", root: { path: "/bundle/rootfs", readonly: true },
  process: { args: ["sh"], cwd: "/tmp", user: { uid: 5, gid: 6 }, terminal: true, oomScoreAdj: 3, rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: 2 }] },
  mounts: [{ destination: "/proc", type: "proc", source: "proc" }, { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["ro"] }, { destination: "/data", type: "bind", source: "/d", options: ["rbind"] }],
  linux: {
    namespaces: [{ type: "pid" }, { type: "mount" }, { type: "uts" }, { type: "ipc", path: "/p" }, { type: "network" }, { type: "cgroup" }],
    sysctl: { "net.core.somaxconn": "9" }, maskedPaths: ["/proc/keys"], readonlyPaths: ["/proc/sys"], rootfsPropagation: "shared",
    devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 0o600 }, { path: "/dev/sdx", type: "b", major: 8, minor: 5 }],
  },
};
const names = (spec: Full = base, cgroupProcs: string[] = []): string[] => {
  const { arrive, build } = makePlan(spec, { judgement: AGENT, cgroupProcs });
  return [...arrive, ...build].map((s) => s.do);
};

describe("the plan", () => {
  it("has its steps in the one order that works", () => {
    const order = names(base, ["/cg/tasks"]);
    const distinct = order.filter((s, i) => order.indexOf(s) === i);
    expect(distinct).toEqual([
      "join-cgroups", "oom-score", "join", "new-cgroup-namespace", "loopback", "hostname", "sysctl", "propagation", "root", "mount", "node", "dev-links",
      "console", "remount-read-only", "read-only", "mask", "read-only-root", "pivot", "root-propagation",
    ]);
  });

  it("clones into the new namespaces but the cgroup's, which needs the cgroup first", () => {
    expect(makePlan(base, { judgement: AGENT, cgroupProcs: [] }).cloneFlags).toBe(0x20000000 + 0x20000 + 0x4000000 + 0x40000000);
  });

  it("is born in a pid namespace that has a path", () => {
    const plan = makePlan({ ...base, linux: { ...base.linux, namespaces: [{ type: "pid", path: "/proc/5/ns/pid" }] } }, { judgement: AGENT, cgroupProcs: [] });
    expect(plan.pidNamespace).toBe("/proc/5/ns/pid");
    expect(plan.cloneFlags).toBe(0);
  });

  it("leaves the name of a shared uts namespace alone", () => {
    expect(names({ ...base, linux: { ...base.linux, namespaces: [{ type: "uts", path: "/u" }, { type: "mount" }] } })).not.toContain("hostname");
  });

  it("of a command names a shared uts namespace, and begins on all CPUs", () => {
    const shared: Full = { ...base, domainname: "d", linux: { ...base.linux, namespaces: [{ type: "uts", path: "/u" }, { type: "mount" }] } };
    const { arrive, build: steps } = makePlan(shared, { cgroupProcs: ["/cg"], judgement: COMMAND_LINE });
    expect(arrive.slice(0, 2)).toEqual([{ do: "affinity", cpus: undefined }, { do: "join-cgroups", paths: ["/cg"] }]);
    expect(steps).toContainEqual({ do: "hostname", name: "box" });
    expect(steps).toContainEqual({ do: "domainname", name: "d" });
    expect(names()).not.toContain("affinity");
  });

  it("of a command keeps the caller's groups where an annotation of podman asks for it, and none are given", () => {
    const gids = (annotations: Record<string, string>, additionalGids: number[], command = true): unknown =>
      makePlan({ ...base, annotations, process: { ...base.process, user: { uid: 1, gid: 1, additionalGids } } }, { judgement: command ? COMMAND_LINE : AGENT, cgroupProcs: [] }).process.gids;
    const keep = { "run.oci.keep_original_groups": "1" };
    expect([gids(keep, []), gids(keep, [5]), gids({}, []), gids({ "run.oci.keep_original_groups": "0" }, []), gids(keep, [], false)]).toEqual([undefined, [5], [], [], []]);
  });

  it("sets sysctls without a mount namespace too", () => {
    expect(names({ ...base, linux: { namespaces: [{ type: "network" }], sysctl: { "net.core.somaxconn": "9" } } })).toContain("sysctl");
  });

  it("gives a process its traits, and none when none is asked for", () => {
    expect(makePlan(base, { judgement: AGENT, cgroupProcs: [] }).process.traits).toBeUndefined();
    const { traits } = makePlan({ ...base, process: { ...base.process, ioPriority: { class: "IOPRIO_CLASS_BE", priority: 3 } }, linux: { ...base.linux, personality: { domain: "LINUX32" } } }, { judgement: AGENT, cgroupProcs: [] }).process;
    expect(traits).toEqual({ ioPriority: 0x4003, personality: 8 });
  });

  it("makes devices and links only in a /dev of its own, and the spec's node instead of the usual one", () => {
    const nodes = makePlan(base, { judgement: AGENT, cgroupProcs: [] }).build.flatMap((s) => (s.do === "node" ? [`${s.node.path} ${s.node.mode.toString(8)}`] : []));
    expect(nodes.filter((n) => n.startsWith("/dev/null"))).toEqual(["/dev/null 600"]);
    expect(nodes).toContain("/dev/urandom 666");
    expect(nodes).toContain("/dev/sdx 666");
    const bound = names({ ...base, linux: { namespaces: base.linux.namespaces ?? [] }, mounts: [{ destination: "/dev", type: "bind", source: "/dev", options: ["rbind"] }] });
    expect(bound).not.toContain("node");
    expect(bound).not.toContain("dev-links");
  });

  it("labels new file systems where labels are", () => {
    const data = makePlan(base, { judgement: AGENT, cgroupProcs: [], mountLabel: "a:b:c:s0:c1,c2" }).build.flatMap((s) => (s.do === "mount" ? [`${s.mount.type} ${s.mount.data}`] : []));
    expect(data).toEqual(["proc ", 'tmpfs context="a:b:c:s0:c1,c2"', "bind "]);
  });

  it("copies outside what a mapped root may not reach, what is to stay a peer, and what gets other ids", () => {
    const copies = (linux: Partial<Linux>, options: string[] = []): boolean =>
      makePlan({ ...base, mounts: [{ destination: "/m", type: "bind", source: "/s", options }], linux: { namespaces: [{ type: "mount" }], ...linux } }, { judgement: AGENT, cgroupProcs: [] }).copies;
    expect(copies({})).toBe(false);
    expect(copies({ rootfsPropagation: "rshared" })).toBe(true);
    expect(copies({}, ["ridmap"])).toBe(true);
    expect(copies({ namespaces: [{ type: "mount" }, { type: "user", path: "/u" }] })).toBe(true);
  });

  it("enters the root without a mount namespace, and moves it where it cannot be pivoted", () => {
    expect(names({ ...base, root: { path: "/r", readonly: false }, linux: { namespaces: [] } }).slice(-2)).toEqual(["plain-root", "enter-root"]);
    expect(makePlan(base, { judgement: AGENT, cgroupProcs: [], noPivot: true }).build.map((s) => s.do)).toContain("move-root");
  });

  it("mounts a read-only tmpfs writable first", () => {
    const dev = makePlan(base, { judgement: AGENT, cgroupProcs: [] }).build.find((s) => s.do === "mount" && s.mount.at === "/dev");
    expect(dev).toMatchObject({ mount: { flags: 0 } });
  });

  it("runs hooks before the root changes, the parent's first", () => {
    const order = names({ ...base, hooks: { prestart: [{ path: "/h" }], createContainer: [{ path: "/i" }] } });
    expect(order.slice(order.indexOf("hooks-outside"))).toEqual(["hooks-outside", "hooks-inside", "read-only-root", "pivot", "root-propagation"]);
    expect(names()).not.toContain("hooks-outside");
  });

  it("masks a path once, however often it is named, and makes it read-only once", () => {
    const linux: Linux = { namespaces: [{ type: "mount" }], maskedPaths: ["/a", "/b/../a", "/a", "//a/.", "/b"], readonlyPaths: ["/c/", "/d", "/c"] };
    const paths = makePlan({ ...base, linux }, { judgement: AGENT, cgroupProcs: [] }).build.flatMap((s) => (s.do === "mask" || s.do === "read-only" ? [`${s.do} ${s.path}`] : []));
    expect(paths).toEqual(["read-only /c", "read-only /d", "mask //a/.", "mask /b/../a", "mask /b"]);
  });

  it("says what each step does", () => {
    const words = makePlan(base, { judgement: AGENT, cgroupProcs: ["/x"] }).build.map(inWords);
    expect(words).toContain("mounts: mount proc (proc) on /proc");
    expect(words).toContain("linux.maskedPaths: mask /proc/keys");
    expect(words.every((w) => w.length > 5)).toBe(true);
  });
});

describe("the environment", () => {
  it("keeps the last of several values, at its place", () => {
    expect(environment(["A=1", "B=2", "A=3", "C=a=b"])).toEqual(["B=2", "A=3", "C=a=b"]);
  });
  it("drops entries without a name", () => {
    expect(environment(["=x", "nothing", "OK="])).toEqual(["OK="]);
  });
});

describe("capabilities", () => {
  it("have the kernel's numbers, with and without CAP_, in any case and in quotes", () => {
    expect(["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE", "kill", "cap_setuid", '"CAP_MKNOD"'].map(capNumber)).toEqual([0, 5, 21, 40, 5, 7, 27]);
    expect(["CAP_", "", "CAP_FLY", "constructor"].map(capNumber)).toEqual([-1, -1, -1, -1]);
    expect([{ permitted: ["CAP_SYS_PTRACE"] }, { bounding: ["CAP_KILL", "sys_ptrace"] }, { ambient: ["Cap_Sys_Ptrace"] }].map(mayTrace)).toEqual([true, true, true]);
    expect([undefined, {}, { permitted: ["CAP_SYS_ADMIN"], bounding: [] }].map(mayTrace)).toEqual([false, false, false]);
  });
  it("fill two words, and are empty when they are not given", () => {
    const sets = capabilitySets({ effective: ["CAP_CHOWN", "CAP_BPF"], permitted: ["CAP_SETFCAP"] });
    expect(sets.effective).toEqual({ low: 1, high: 1 << 7 });
    expect(sets.permitted).toEqual({ low: 0x80000000, high: 0 });
    expect(hasCap(sets.effective, 39)).toBe(true);
    const none = { low: 0, high: 0 };
    expect(capabilitySets(undefined)).toEqual({ unknown: [], bounding: none, effective: none, inheritable: none, permitted: none, ambient: none });
    expect(sets.inheritable).toEqual({ low: 0, high: 0 });
  });
  it("that nobody knows are told once and left out", () => {
    expect(capabilitySets({ bounding: ["CAP_FLY", "CAP_CHOWN"], ambient: ["CAP_FLY", "CAP_SWIM"] })).toMatchObject({ unknown: ["CAP_FLY", "CAP_SWIM"], bounding: { low: 1, high: 0 }, ambient: { low: 0, high: 0 } });
  });
});
