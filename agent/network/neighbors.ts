// Static entries of the neighbour table (ARP and NDP); agent-api 10.5.
import { NDA, NLM, NUD, RTM, RTN } from "../abi/rtnl.js";
import { AF } from "../abi/flags.js";
import { AppError, attempt } from "../lib/errors.js";
import { parseIp, parseMac } from "./address.js";
import { linkNamed, listLinks } from "./links.js";
import { type Attribute, NDMSG } from "../lib/rtnl-message.js";
import { ask } from "../lib/rtnl.js";

/** A neighbour as the API has it; a `state` of 0 means permanent. */
export interface Neighbor {
  readonly toIPAddress?: { readonly address: string };
  readonly device: string;
  readonly lladdr: string;
  readonly state: number;
  readonly flags: number;
}

function add(neighbor: Neighbor, ifindex: number): void {
  const address = neighbor.toIPAddress?.address ?? "";
  const ip = parseIp(address);
  if (address === "") throw new AppError("internal", "Unable to determine ip address of ARP neighbor");
  if (ip === undefined) throw new AppError("internal", `invalid IP address "${address}"`);
  const all: Attribute[] = [[NDA.DST, ip]];
  if (neighbor.lladdr !== "") {
    const mac = parseMac(neighbor.lladdr);
    if (mac === undefined) throw new AppError("internal", `invalid hardware address "${neighbor.lladdr}" of ${address}`);
    all.push([NDA.LLADDR, mac]);
  }
  if (neighbor.state < 0 || neighbor.state > 0xffff) throw new AppError("invalid", `state ${neighbor.state} of ${address} is not between 0 and 65535`);
  const state = neighbor.state === 0 ? NUD.PERMANENT : neighbor.state;
  const body = NDMSG.make({ family: ip.length === 4 ? AF.INET : AF.INET6, ifindex, state, flags: neighbor.flags & 0xff, type: RTN.UNICAST });
  ask(`add neighbour ${address}`, RTM.NEWNEIGH, NLM.F_CREATE | NLM.F_REPLACE, body, all);
}

/** Adds or replaces the entries; the first failure ends it. */
export function addNeighbors(neighbors: readonly Neighbor[]): void {
  attempt("Failed to add ARP neighbours", () => {
    const links = listLinks();
    for (const neighbor of neighbors) add(neighbor, linkNamed(neighbor.device, links).index);
  });
}
