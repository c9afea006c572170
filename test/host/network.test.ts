// The network calls against a real kernel: the agent configures veth links in a network namespace of its own, and ip(8) says
// what came of it.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failure, startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

interface IpLink { ifname: string; mtu: number; flags: string[]; address: string; addr_info: { local: string; prefixlen: number; broadcast?: string }[] }
interface IpRoute { dst: string; gateway?: string; dev: string; scope?: string; prefsrc?: string; protocol: string; metrics?: { mtu: number }[] }

suite("network calls", { needs: ["agent"] }, () => {
  let agent: PrivateAgent;
  const links = (): IpLink[] => JSON.parse(agent.inside("ip -j addr")) as IpLink[];
  const routes = (v6 = false): IpRoute[] => JSON.parse(agent.inside(`ip -j ${v6 ? "-6 " : ""}route`)) as IpRoute[];
  const link = (name: string): IpLink => links().find((l) => l.ifname === name) as IpLink;
  const update = (fields: object): Promise<unknown> =>
    agent.client.call("UpdateInterface", { interface: { device: "eth0", name: "eth0", hwAddr: "02:00:00:00:00:01", mtu: "1400", type: "virtual", ...fields } } as never);

  beforeAll(async () => {
    agent = await startPrivateAgent();
  });
  afterAll(() => agent?.stop());
  beforeEach(() => {
    agent.inside(`for l in $(ip -o link | cut -d: -f2 | grep -v '^ *lo'); do ip link del "\${l%@*}" 2>/dev/null || true; done
      ip link add d0 address 02:00:00:00:00:01 type veth peer name p0
      ip link set p0 up`);
  });

  it("finds a link by its hardware address and gives it name, MTU and addresses, up", async () => {
    const asked = { name: "eth0", ipAddresses: [{ family: "v4", address: "10.1.2.3", mask: "24" }, { family: "v6", address: "fd00::5", mask: "64" }] };
    expect(await update(asked)).toMatchObject({ name: "eth0", hwAddr: "02:00:00:00:00:01" });
    const eth0 = link("eth0");
    expect(eth0).toMatchObject({ mtu: 1400, address: "02:00:00:00:00:01" });
    expect(eth0.flags).toContain("UP");
    expect(eth0.addr_info).toContainEqual(expect.objectContaining({ local: "10.1.2.3", prefixlen: 24, broadcast: "10.1.2.255" }));
    expect(eth0.addr_info).toContainEqual(expect.objectContaining({ local: "fd00::5", prefixlen: 64 }));
    await update(asked); // twice the same is no error
    expect(link("eth0").addr_info.filter((a) => a.local === "10.1.2.3")).toHaveLength(1);
  });

  it("leaves the MTU when 0 is asked for, and sets NOARP from the raw flags", async () => {
    agent.inside("ip link set d0 mtu 1234");
    await update({ mtu: "0", rawFlags: 0x80 });
    expect(link("eth0").mtu).toBe(1234);
    expect(link("eth0").flags).toContain("NOARP");
    await update({ mtu: "0", rawFlags: 0 });
    expect(link("eth0").flags).not.toContain("NOARP");
  });

  it("refuses names and numbers that the kernel could not hold, before it changes anything", async () => {
    agent.inside("ip link set d0 up mtu 1234");
    // cut to 16 bits the length of this one was 7, and its rest further attributes: an MTU of 68, for instance
    const smuggled = `x\u0001\u0001${"\u0008\u0001\u0004\u0001D".repeat(13_108)}`.slice(0, 65_543);
    for (const name of [smuggled, "a".repeat(16), "a b", "a/b", ":", ".", "..", "a\0b", "\u00e9".repeat(8)]) expect(await failure(update({ name })), JSON.stringify(name.slice(0, 20))).toMatch(/is not a name of a network interface|has a NUL byte|more than 65536 bytes/);
    expect(await failure(update({ mtu: "4294968730" }))).toMatch(/^update interface: mtu: 4294968730 is not between/);
    expect(link("d0")).toMatchObject({ mtu: 1234 });
    expect(link("d0").flags).toContain("UP");
    const neighbor = { toIPAddress: { address: "10.0.0.9" }, device: "d0", lladdr: "02:00:00:00:00:07", state: 65536 + 128 };
    expect(await failure(agent.client.call("AddARPNeighbors", { neighbors: { arpNeighbors: [neighbor] } } as never))).toMatch(/state 65664 of 10\.0\.0\.9 is not between/);
    expect(await failure(agent.client.call("UpdateRoutes", { routes: { routes: [{ dest: "10.9.0.0/16", device: "d0", mtu: 4294967295 }] } } as never))).not.toMatch(/RangeError/);
  });

  it("swaps names with a link that has the wanted one", async () => {
    agent.inside("ip link add eth0 address 02:00:00:00:00:99 type veth peer name p1");
    await update({});
    expect(link("eth0").address).toBe("02:00:00:00:00:01");
    expect(link("d0").address).toBe("02:00:00:00:00:99");
    expect(link("d0").flags).toContain("UP");
  });

  it("gives the other link its name back when the change is refused", async () => {
    agent.inside("ip link add eth0 address 02:00:00:00:00:99 type veth peer name p1");
    expect(await failure(update({ mtu: "4000000000" }))).toMatch(/update interface: configure eth0: (EINVAL|ERANGE)/);
    expect(link("eth0").address).toBe("02:00:00:00:00:99");
  });

  it("falls back to the name and sets the hardware address", async () => {
    agent.inside("ip link set d0 name eth0 address 02:00:00:00:00:77");
    await update({});
    expect(link("eth0").address).toBe("02:00:00:00:00:01");
  });

  it("says what hosts look for when there is no such link", async () => {
    expect(await failure(update({ hwAddr: "02:00:00:00:00:02" }))).toContain("Link not found (Name: eth0)");
  });

  it.each([
    [{ hwAddr: "02:00" }, /invalid hardware address "02:00"/],
    [{ ipAddresses: [{ address: "10.0.0.300", mask: "24" }] }, /invalid IP address "10.0.0.300"/],
    [{ ipAddresses: [{ address: "10.0.0.3", mask: "33" }] }, /invalid prefix length "33" of 10.0.0.3/],
    [{ devicePath: "zz" }, /Invalid PCI path for network interface: PCI slot\/function zz/],
  ])("refuses %j by name", async (fields, text) => {
    expect(await failure(update(fields))).toMatch(text);
  });

  it("refuses empty requests with the codes that hosts know", async () => {
    expect(await failure(agent.client.call("UpdateInterface", {}))).toContain("empty update interface request");
    expect(await failure(agent.client.call("UpdateRoutes", {}))).toContain("empty update routes request");
    expect(await failure(agent.client.call("AddARPNeighbors", {}))).toContain("empty add arp neighbours request");
  });

  it("lists interfaces with the right families", async () => {
    await update({ ipAddresses: [{ address: "10.1.2.3", mask: "24" }, { address: "fd00::5", mask: "64" }] });
    const { interfaces } = (await agent.client.call("ListInterfaces", {})) as unknown as { interfaces: { name: string; hwAddr: string; mtu: string; ipAddresses: { family: unknown; address: string; mask: string }[] }[] };
    const eth0 = interfaces.find((i) => i.name === "eth0");
    expect(eth0).toMatchObject({ hwAddr: "02:00:00:00:00:01" });
    expect(Number(eth0?.mtu)).toBe(1400);
    const family = (a: string): unknown => eth0?.ipAddresses.find((i) => i.address === a)?.family;
    expect(["v4", 0]).toContain(family("10.1.2.3"));
    expect(["v6", 1]).toContain(family("fd00::5"));
  });

  describe("routes", () => {
    beforeEach(() => update({ ipAddresses: [{ address: "10.1.2.3", mask: "24" }, { address: "fd00::5", mask: "64" }] }));
    const route = (list: object[]): Promise<{ routes: { dest: string; gateway: string; source: string; family: unknown }[] }> =>
      agent.client.call("UpdateRoutes", { routes: { routes: list } } as never) as never;

    it("adds the gateway's network first, whatever the order, and lists what is there", async () => {
      const { routes: now } = await route([
        { dest: "0.0.0.0/0", gateway: "10.9.0.1", device: "eth0" },
        { dest: "10.9.0.0/16", device: "eth0", scope: 253, source: "10.1.2.3", mtu: 1300 },
        { dest: "fd01::/48", gateway: "fd00::1", device: "eth0", family: 1 },
      ]);
      expect(routes()).toContainEqual(expect.objectContaining({ dst: "default", gateway: "10.9.0.1", dev: "eth0" }));
      expect(routes()).toContainEqual(expect.objectContaining({ dst: "10.9.0.0/16", scope: "link", prefsrc: "10.1.2.3" }));
      expect(agent.inside("ip route show 10.9.0.0/16")).toContain("mtu 1300");
      expect(routes(true)).toContainEqual(expect.objectContaining({ dst: "fd01::/48", gateway: "fd00::1" }));
      expect(now).toContainEqual(expect.objectContaining({ dest: "0.0.0.0/0", gateway: "10.9.0.1" }));
      expect(now).toContainEqual(expect.objectContaining({ dest: "10.9.0.0/16", source: "10.1.2.3" }));
      expect(now).toContainEqual(expect.objectContaining({ dest: "fd01::/48", gateway: "fd00::1" }));
    });

    it("takes destinations with host bits, and without a length", async () => {
      await route([{ dest: "172.16.5.9/16", gateway: "10.1.2.1", device: "eth0" }, { dest: "172.20.0.7", gateway: "10.1.2.1", device: "eth0" }]);
      expect(routes().map((r) => r.dst)).toEqual(expect.arrayContaining(["172.16.0.0/16", "172.20.0.7"]));
    });

    it("removes what an earlier request added and this one lacks, and nothing else", async () => {
      agent.inside("ip route add 192.168.9.0/24 via 10.1.2.1");
      await route([{ dest: "172.16.0.0/16", gateway: "10.1.2.1", device: "eth0" }, { dest: "172.17.0.0/16", gateway: "10.1.2.1", device: "eth0" }]);
      await route([{ dest: "172.17.0.0/16", gateway: "10.1.2.2", device: "eth0" }]);
      expect(routes().map((r) => r.dst).sort()).toEqual(["10.1.2.0/24", "172.17.0.0/16", "192.168.9.0/24"]);
      expect(routes().find((r) => r.dst === "172.17.0.0/16")?.gateway).toBe("10.1.2.2");
    });

    it("names link, route and cause in an error", async () => {
      expect(await failure(route([{ dest: "1.0.0.0/8", device: "nope" }]))).toContain("Link not found (Name: nope)");
      expect(await failure(route([{ dest: "1.0.0.0/8", gateway: "99.0.0.1", device: "eth0" }]))).toMatch(/Failed to add IP v4 route \(src: , dst: 1\.0\.0\.0\/8, gtw: 99\.0\.0\.1,Err: .*ENETUNREACH/);
      expect(await failure(route([{ dest: "::/0", gateway: "10.1.2.1", device: "eth0" }]))).toContain('invalid gateway "10.1.2.1" of an IP v6 route');
    });
  });

  it("adds permanent neighbours and replaces them", async () => {
    await update({ ipAddresses: [{ address: "10.1.2.3", mask: "24" }] });
    const add = (lladdr: string): Promise<unknown> =>
      agent.client.call("AddARPNeighbors", { neighbors: { arpNeighbors: [{ toIPAddress: { address: "10.1.2.1" }, device: "eth0", lladdr, state: 128 }] } } as never);
    await add("02:00:00:00:00:aa");
    await add("02:00:00:00:00:bb");
    expect(agent.inside("ip neigh show dev eth0")).toMatch(/10\.1\.2\.1 lladdr 02:00:00:00:00:bb.*PERMANENT/);
    expect(await failure(agent.client.call("AddARPNeighbors", { neighbors: { arpNeighbors: [{ device: "eth0" }] } } as never))).toContain("Unable to determine ip address of ARP neighbor");
  });

  describe("packet filter", () => {
    const scripts = [
      `printf '#!/bin/sh\necho "*filter of $0 $*"\n' > iptables-save`,
      `printf '#!/bin/sh\necho "$0 $*"; cat\n' > iptables-restore`,
      `printf '#!/bin/sh\necho "line 2 failed" >&2; exit 2\n' > ip6tables-restore`,
      `printf '#!/bin/sh\nexit 0\n' > ip6tables-save`,
    ];
    let filter: PrivateAgent;
    afterAll(() => filter?.stop());
    const data = async (call: Promise<unknown>): Promise<string> => Buffer.from(((await call) as { data: Uint8Array }).data).toString();

    it("is read and written by the image's programs, each family by its own", async () => {
      filter = await startPrivateAgent("", `(mount -t tmpfs tmpfs /usr/sbin && cd /usr/sbin && ${scripts.join(" && ")} && chmod +x ip*)`);
      expect(await data(filter.client.call("GetIPTables", {}))).toBe("*filter of /usr/sbin/iptables-save \n");
      const rules = `*filter\n${"# padding that fills more than a pipe holds\n".repeat(4000)}COMMIT\n`;
      expect(await data(filter.client.call("SetIPTables", { data: Buffer.from(rules) }))).toBe(`/usr/sbin/iptables-restore --wait 5\n${rules}`);
      expect(await data(filter.client.call("GetIPTables", { isIpv6: true } as never))).toBe("");
      expect(await failure(filter.client.call("SetIPTables", { isIpv6: true, data: Buffer.from("x") } as never))).toContain('ip6tables-restore failed with status 2: "line 2 failed"');
    });

    it("names the program that the image does not have", async () => {
      const bare = await startPrivateAgent("", "mount -t tmpfs tmpfs /usr/sbin");
      try {
        expect(await failure(bare.client.call("GetIPTables", {}))).toContain("iptables-save is not in the guest's image");
      } finally {
        await bare.stop();
      }
    });
  });
});
