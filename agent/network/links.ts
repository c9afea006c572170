// Network interfaces: finding them, naming them, addresses, MTU, up and down (agent-api 10.1 and 10.3). Routes and
// neighbours have files of their own. Hosts look for "Link not found" in an error and then try again: keep the words.
import { AF } from "../abi/flags.js";
import { IF, IFA, IFF, IFLA, NLM, RTEXT, RTM } from "../abi/rtnl.js";
import { AppError, attempt } from "../lib/errors.js";
import { readTextIf } from "../lib/fs.js";
import { Level, log } from "../lib/log.js";
import { messageOf } from "../lib/errors.js";
import { formatHardware, formatIp, parseIp, parseMac, prefixLength, withHostBits } from "./address.js";
import { type Attribute, attributes, IFADDRMSG, IFINFOMSG, linkName, textOf, u32, u32Of } from "../lib/rtnl-message.js";
import { ask, dump } from "../lib/rtnl.js";

/** An address as the API has it; family 0 is IPv4, 1 IPv6; `mask` is the prefix length in decimal. */
export interface IpAddress { readonly family: number; readonly address: string; readonly mask: string }

/** An interface as the API has it. Of `rawFlags` only IFF_NOARP counts; an MTU of 0 leaves it as it is. */
export interface Interface {
  readonly device: string;
  readonly name: string;
  readonly ipAddresses: readonly IpAddress[];
  readonly mtu: number;
  readonly hwAddr: string;
  readonly devicePath: string;
  readonly type: string;
  readonly rawFlags: number;
}

export interface Link { readonly index: number; readonly name: string; readonly flags: number; readonly mtu: number; readonly hardware: Uint8Array }

const LONGEST_NAME = IF.NAMSIZ - 1;

/** All links of this network namespace. */
export function listLinks(): Link[] {
  return dump("list network interfaces", RTM.GETLINK, IFINFOMSG.make({}), [[IFLA.EXT_MASK, u32(RTEXT.FILTER_SKIP_STATS)]]).map(({ body }) => {
    const { index, flags } = IFINFOMSG.read(body);
    const found = attributes(body, IFINFOMSG.size);
    return { index, flags, name: textOf(found.get(IFLA.IFNAME)), mtu: u32Of(found.get(IFLA.MTU)), hardware: found.get(IFLA.ADDRESS)?.slice() ?? new Uint8Array(0) };
  });
}

/** The link of that name; AppError "Link not found (Name: x)" otherwise. */
export function linkNamed(name: string, links: readonly Link[] = listLinks()): Link {
  const link = links.find((l) => l.name === name);
  if (link === undefined) throw new AppError("internal", `Link not found (Name: ${name})`);
  return link;
}

function set(what: string, index: number, flags: number, change: number, changes: readonly Attribute[] = []): void {
  ask(what, RTM.SETLINK, 0, IFINFOMSG.make({ index, flags, change }), changes);
}
const up = (link: Link): void => set(`bring ${link.name} up`, link.index, IFF.UP, IFF.UP);
const down = (link: Link): void => set(`bring ${link.name} down`, link.index, 0, IFF.UP);

/** Gives a link another hardware address; one that is up goes down for it and comes up again. */
export function setHardware(link: Link, mac: Uint8Array): void {
  if (link.hardware.join() === mac.join()) return;
  const wasUp = (link.flags & IFF.UP) !== 0;
  if (wasUp) down(link);
  set(`set the hardware address of ${link.name}`, link.index, 0, 0, [[IFLA.ADDRESS, mac]]);
  if (wasUp) up(link);
}

/** The link by its hardware address; failing that, the link of that name, which then gets the address (a cloned VM). */
function findLink(wanted: Interface): Link {
  const mac = parseMac(wanted.hwAddr);
  if (mac === undefined) throw new AppError("internal", `invalid hardware address "${wanted.hwAddr}"`);
  const byAddress = (links: readonly Link[]): Link | undefined => links.find((l) => l.hardware.join() === mac.join());
  const links = listLinks();
  const known = byAddress(links);
  if (known !== undefined) return known;
  setHardware(linkNamed(wanted.name, links), mac);
  const changed = byAddress(listLinks());
  if (changed === undefined) throw new AppError("internal", `Link not found (Address: ${wanted.hwAddr})`);
  return changed;
}

/** False when IPv6 is switched off for the interfaces there are and for new ones, or not built in. */
function hasIpv6(): boolean {
  return ["all", "default"].some((which) => (readTextIf(`/proc/sys/net/ipv6/conf/${which}/disable_ipv6`) ?? "1").trim() === "0");
}

function addAddress(link: Link, { address, mask }: IpAddress): void {
  const ip = parseIp(address);
  if (ip === undefined) throw new AppError("internal", `invalid IP address "${address}"`);
  const bits = prefixLength(mask, ip);
  if (bits === undefined) throw new AppError("internal", `invalid prefix length "${mask}" of ${address}`);
  if (ip.length === 16 && !hasIpv6()) return;
  const all: Attribute[] = [[IFA.LOCAL, ip], [IFA.ADDRESS, ip]];
  if (ip.length === 4 && bits < 31) all.push([IFA.BROADCAST, withHostBits(ip, bits, true)]);
  const body = IFADDRMSG.make({ family: ip.length === 4 ? AF.INET : AF.INET6, prefixlen: bits, index: link.index });
  ask(`add ${address}/${mask} to ${link.name}`, RTM.NEWADDR, NLM.F_CREATE | NLM.F_REPLACE, body, all);
}

/** Takes the name away from the link that has it; gives back what restores it, under `name`. */
function displace(name: string, links: readonly Link[]): Link | undefined {
  const other = links.find((l) => l.name === name);
  if (other === undefined) return undefined;
  down(other);
  const spare = `${name}_temp`;
  rename(other, native.utf8Encode(spare).length > LONGEST_NAME ? `temp${other.index}` : spare);
  return other;
}
function rename(link: Link, name: string): void {
  set(`rename ${link.name} to ${name}`, link.index, 0, 0, [[IFLA.IFNAME, linkName(name)]]);
}

function configure(link: Link, wanted: Interface): void {
  const name = wanted.name === "" ? link.name : wanted.name;
  const changes: Attribute[] = [[IFLA.IFNAME, linkName(name)]]; // before anything is changed
  if (wanted.mtu !== 0) changes.push([IFLA.MTU, attempt("mtu", () => u32(wanted.mtu))]);
  if ((link.flags & IFF.UP) !== 0) down(link);
  for (const address of wanted.ipAddresses) addAddress(link, address);
  const displaced = name === link.name ? undefined : displace(name, listLinks());
  try {
    set(`configure ${name}`, link.index, IFF.UP | (wanted.rawFlags & IFF.NOARP), IFF.UP | IFF.NOARP, changes);
  } catch (error) {
    if (displaced !== undefined) rename(displaced, name);
    throw error;
  }
  if (displaced === undefined) return;
  rename(displaced, link.name);
  up(displaced);
}

/** Sets up an interface that is there already; what it had before it keeps. Throws AppError "update interface: ...". */
export function updateInterface(wanted: Interface): void {
  attempt("update interface", () => configure(findLink(wanted), wanted));
}

/** Gives the link `name` the hardware address in `text`; a failure is only logged (agent-api 10.1, step 2). */
export function tryHardware(name: string, address: string): void {
  try {
    const mac = parseMac(address);
    if (mac !== undefined) setHardware(linkNamed(name), mac);
  } catch (error) {
    log(Level.WARN, `hardware address of ${name} not set: ${messageOf(error)}`);
  }
}

/** Every link with its addresses. */
export function listInterfaces(): Interface[] {
  const addresses = dump("list addresses", RTM.GETADDR, IFADDRMSG.make({})).map(({ body }) => {
    const { index, prefixlen, family } = IFADDRMSG.read(body);
    const found = attributes(body, IFADDRMSG.size);
    const ip = found.get(IFA.LOCAL) ?? found.get(IFA.ADDRESS) ?? new Uint8Array(4);
    return { index, as: { family: family === AF.INET6 ? 1 : 0, address: formatIp(ip), mask: String(prefixlen) } };
  });
  return listLinks().map((link) => ({
    device: link.name, name: link.name, hwAddr: formatHardware(link.hardware), mtu: link.mtu, devicePath: "", type: "", rawFlags: 0,
    ipAddresses: addresses.filter((a) => a.index === link.index).map((a) => a.as),
  }));
}
