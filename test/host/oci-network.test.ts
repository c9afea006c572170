// Interfaces that a container is given, and its network's parameters; each in a network namespace of the test's own, so that the
// machine's is never touched.
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, type Config, type ConfigChange, type Outcome } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";
import { spawnSync } from "node:child_process";

const interfaces = (): string | undefined =>
  spawnSync("unshare", ["-n", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]).status === 0 ? undefined : "needs ip and pairs of virtual interfaces (veth)";

suite("the network of a bundle", { needs: ["agent", interfaces] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());

  const PAIR = "ip link set lo up; ip link add v0 type veth peer name v1; ip addr add 10.9.0.1/24 brd + dev v0; ip addr add 10.9.0.2/24 dev v0; ip -6 addr add fd00::5/64 dev v0 nodad; ip link set v0 up; ip link set v1 up; ";
  /** Runs it where `before` has been done, and `after` when it has ended. */
  const within = (before: string, script: string, change: ConfigChange, after = ":"): Outcome =>
    box.run(script, change, ["unshare", "-n", "sh", "-c", `${before} "$@"; status=$?; ${after} >&2; exit $status`, "sh"]);
  const inspect = "ip -o addr show | grep -v ' lo ' | tr -s ' ' | cut -d' ' -f2,3,4; ip -o link | grep -c ' UP\\|,UP'";

  it("gets an interface under another name with the addresses that somebody gave it, and up", () => {
    const { status, stdout, stderr } = within(PAIR, inspect, (c) => (c.linux["netDevices"] = { v0: { name: "eth7" } }), "ip -o link | grep -c ' v0@'");
    expect(stderr).toBe("0\n");
    const lines = stdout.trim().split("\n");
    expect(lines).toEqual(expect.arrayContaining(["eth7 inet 10.9.0.1/24", "eth7 inet 10.9.0.2/24", "eth7 inet6 fd00::5/64"]));
    expect([status, lines[lines.length - 1]]).toEqual([0, "2"]);
  });

  it("keeps the name where none is given, and lets the kernel number a template", () => {
    expect(within(PAIR, inspect, (c) => (c.linux["netDevices"] = { v0: {} })).stdout).toContain("v0 inet 10.9.0.1/24");
    const both = within(PAIR, "ip -o link | grep -v lo: | cut -d: -f2 | cut -d@ -f1 | sort", (c) => (c.linux["netDevices"] = { v0: { name: "net%d" }, v1: { name: "net%d" } }));
    expect(both).toEqual({ status: 0, stdout: " net0\n net1\n", stderr: "" });
  });

  it("has it before its parameters are set", () => {
    const change = (c: Config): void => {
      c.linux["netDevices"] = { v0: { name: "eth0" } };
      c.linux["sysctl"] = { "net.ipv4.conf.eth0.forwarding": "1", "net/ipv4/ping_group_range": "0 7" };
    };
    expect(within(PAIR, "cat /proc/sys/net/ipv4/conf/eth0/forwarding; cat /proc/sys/net/ipv4/ping_group_range; cat /proc/sys/net/ipv4/conf/lo/forwarding", change)).toEqual({ status: 0, stdout: "1\n0\t7\n0\n", stderr: "" });
  });

  it("gets it in a network namespace of another that is joined, and in one of a user namespace", () => {
    const NAMED = `${PAIR} mount -t tmpfs tmpfs /run; ip netns add box;`;
    const joined = within(NAMED, inspect, (c) => {
      c.linux.namespaces = [...c.linux.namespaces.filter((n) => n["type"] !== "network"), { type: "network", path: "/run/netns/box" }];
      c.linux["netDevices"] = { v0: { name: "eth0" } };
    });
    expect(joined.stderr).toBe("");
    expect(joined.stdout).toContain("eth0 inet 10.9.0.1/24");
    const mapped = within(PAIR, inspect, (c) => {
      c.linux.namespaces.push({ type: "user" });
      c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 0, size: 1000 }];
      c.linux["netDevices"] = { v0: { name: "eth0" } };
    });
    expect(mapped.stdout).toContain("eth0 inet 10.9.0.1/24");
  });

  it("is refused a name that is taken there, and the interface stays", () => {
    const { status, stderr } = within(PAIR, "true", (c) => (c.linux["netDevices"] = { v0: { name: "lo" } }), "ip -o link | grep -c ' v0@'");
    expect(status).toBe(1);
    expect(stderr).toContain('linux.netDevices["v0"]: the name lo is taken');
    expect(stderr.endsWith("1\n")).toBe(true);
  });

  it("sets what its other namespaces have for themselves", () => {
    const change = (c: Config): void => {
      c.linux.namespaces.push({ type: "user" });
      c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 0, size: 1000 }];
      c.linux["sysctl"] = { "user.max_net_namespaces": "5", "kernel.shmmni": "17", "kernel.domainname": "inside", "net.ipv4.ip_default_ttl": "33" };
    };
    const here = (): string => spawnSync("cat", ["/proc/sys/user/max_net_namespaces", "/proc/sys/kernel/shmmni", "/proc/sys/kernel/domainname"], { encoding: "utf8" }).stdout;
    const before = here();
    expect(box.run("cat /proc/sys/user/max_net_namespaces /proc/sys/kernel/shmmni /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_default_ttl", change)).toEqual({ status: 0, stdout: "5\n17\ninside\n33\n", stderr: "" });
    expect(here()).toBe(before);
  });

  it("does not let a sysctl reach what is not the network's", () => {
    for (const key of ["net.//.kernel.core_pattern", "net/../kernel/core_pattern", "kernel.core_pattern", "kernel/core_pattern"]) {
      const { status, stderr } = box.run("true", (c) => (c.linux["sysctl"] = { [key]: "|/x" }));
      expect([status, stderr]).toEqual([1, expect.stringContaining(`linux.sysctl["${key}"]`)]);
    }
    const absent = box.run("true", (c) => (c.linux["sysctl"] = { "net.ipv4.no_such": "1" }));
    expect(absent).toMatchObject({ status: 1, stderr: expect.stringContaining("set the sysctl net.ipv4.no_such: /proc/sys/net/ipv4/no_such: openat2: ENOENT") });
  });

  it("does not write a sysctl where something is mounted in its place", () => {
    const script = 'd=$(mktemp -d) && echo 1 > $d/msgmax && mount --bind $d /proc/sys/kernel && "$0" "$@"; status=$?; cat $d/msgmax >&2; umount /proc/sys/kernel; rm -r $d; exit $status';
    const { status, stderr } = box.run("true", (c) => (c.linux["sysctl"] = { "kernel.msgmax": "7777" }), ["unshare", "-m", "sh", "-c", script]);
    expect(status).toBe(1);
    expect(stderr).toContain("/proc/sys/kernel/msgmax: openat2: EXDEV");
    expect(stderr.endsWith("\n1\n")).toBe(true);
  });
});
