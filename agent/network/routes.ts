// The main routing table: what the host wants is put in, what an earlier request put in and this one lacks is taken out;
// routes that others made (the kernel's own, a hook's) are left alone. See agent-api 10.2, 10.4 and 24.11.
import { AF } from "../abi/flags.js";
import { NLM, RT, RTA, RTAX, RTM, RTN, RTNH, RTPROT } from "../abi/rtnl.js";
import { isErrno } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { AppError, messageOf } from "../lib/errors.js";
import { formatIp, type Ip, parseIp, parsePrefix, withHostBits } from "./address.js";
import { linkNamed, listLinks, type Link } from "./links.js";
import { type Attribute, attributes, type Message, nest, RTMSG, u32, u32Of } from "../lib/rtnl-message.js";
import { ask, dump } from "../lib/rtnl.js";

/** A route as the API has it; family 0 is IPv4, 1 IPv6; "" as `dest` is the default route. */
export interface Route {
  readonly dest: string;
  readonly gateway: string;
  readonly device: string;
  readonly source: string;
  readonly scope: number;
  readonly family: number;
  readonly flags: number;
  readonly mtu: number;
}

const SETTABLE_FLAGS = RTNH.F_PERVASIVE | RTNH.F_ONLINK; // the others are the kernel's to set

/** A route as it is asked of the kernel. */
export interface Plan { readonly v6: boolean; readonly body: Uint8Array; readonly attributes: Attribute[]; readonly key: string }
/** What the last request has put into the table, by key. */
const installed = new Map<string, Plan>();

/** What the last request has put there. */
export const installedRoutes = (): readonly Plan[] => [...installed.values()];
/** Takes up what a request to an earlier process has put there. */
export function takeUpRoutes(plans: readonly Plan[]): void {
  for (const plan of plans) installed.set(plan.key, plan);
}

function address(what: string, value: string, v6: boolean): Ip {
  const ip = parseIp(value);
  if (ip === undefined || (ip.length === 16) !== v6) throw new AppError("internal", `invalid ${what} "${value}" of an IP v${v6 ? 6 : 4} route`);
  return ip;
}

function destination(route: Route, v6: boolean): { ip: Ip; bits: number } {
  const zero = { ip: new Uint8Array(v6 ? 16 : 4), bits: 0 };
  if (route.dest === "") return zero;
  const parsed = parsePrefix(route.dest);
  if (parsed !== undefined && parsed.bits === 0) return zero; // hosts send 0.0.0.0/0 for IPv6 too
  if (parsed === undefined || (parsed.ip.length === 16) !== v6) throw new AppError("internal", `invalid destination "${route.dest}" of an IP v${v6 ? 6 : 4} route`);
  const bits = parsed.bits ?? parsed.ip.length * 8;
  return { ip: withHostBits(parsed.ip, bits, false), bits };
}

/** Only IPv6 can choose a route by the source's prefix; everything else is the preferred source address. */
function source(route: Route, v6: boolean): { bits: number; attribute: Attribute } | undefined {
  if (route.source === "") return undefined;
  const parsed = parsePrefix(route.source);
  if (parsed === undefined || (parsed.ip.length === 16) !== v6) throw new AppError("internal", `invalid source "${route.source}" of an IP v${v6 ? 6 : 4} route`);
  if (!v6 || parsed.bits === undefined || parsed.bits === 0) return { bits: 0, attribute: [RTA.PREFSRC, parsed.ip] };
  return { bits: parsed.bits, attribute: [RTA.SRC, withHostBits(parsed.ip, parsed.bits, false)] };
}

/** The request for a route. Pure but for the link, which is given. */
export function planRoute(route: Route, link: Link): Plan {
  const v6 = route.family === 1 || route.dest.includes(":") || route.gateway.includes(":");
  const to = destination(route, v6);
  const from = source(route, v6);
  const all: Attribute[] = [];
  if (to.bits > 0) all.push([RTA.DST, to.ip]);
  if (route.gateway !== "") all.push([RTA.GATEWAY, address("gateway", route.gateway, v6)]);
  if (from !== undefined) all.push(from.attribute);
  all.push([RTA.OIF, u32(link.index)]);
  if (route.mtu !== 0) all.push([RTA.METRICS, nest([[RTAX.MTU, u32(route.mtu)]])]);
  const body = RTMSG.make({
    family: v6 ? AF.INET6 : AF.INET, dstLen: to.bits, srcLen: from?.bits ?? 0, table: RT.TABLE_MAIN, protocol: RTPROT.BOOT, scope: route.scope & 0xff, type: RTN.UNICAST,
    flags: route.flags & SETTABLE_FLAGS,
  });
  return { v6, body, attributes: all, key: `${formatIp(to.ip)}/${to.bits} ${from?.bits ?? 0} ${link.index}` };
}

function add(route: Route, plan: Plan): void {
  try {
    ask("RTM_NEWROUTE", RTM.NEWROUTE, NLM.F_CREATE | NLM.F_REPLACE, plan.body, plan.attributes);
  } catch (error) {
    if (isErrno(error, E.EEXIST)) return;
    throw new AppError("internal", `Failed to add IP v${plan.v6 ? 6 : 4} route (src: ${route.source}, dst: ${route.dest}, gtw: ${route.gateway},Err: ${messageOf(error)})`);
  }
}

function removeStale(wanted: ReadonlySet<string>): void {
  for (const [key, plan] of installed) {
    if (wanted.has(key)) continue;
    installed.delete(key);
    try {
      ask("RTM_DELROUTE", RTM.DELROUTE, 0, plan.body, plan.attributes);
    } catch (error) {
      if (!isErrno(error, E.ESRCH, E.ENODEV)) throw error; // gone with its link, or taken out by somebody else
    }
  }
}

/** Makes the table hold these routes, those without a gateway first (others need them); answers with all routes. */
export function updateRoutes(routes: readonly Route[]): Route[] {
  const links = listLinks();
  const ordered = [...routes.filter((r) => r.gateway === ""), ...routes.filter((r) => r.gateway !== "")];
  const plans = ordered.map((route) => planRoute(route, linkNamed(route.device, links)));
  removeStale(new Set(plans.map((p) => p.key)));
  plans.forEach((plan, i) => {
    add(ordered[i] as Route, plan);
    installed.set(plan.key, plan);
  });
  return listRoutes();
}

function toRoute({ body }: Message, v6: boolean, names: ReadonlyMap<number, string>): Route | undefined {
  const fixed = RTMSG.read(body);
  const found = attributes(body, RTMSG.size);
  const table = found.has(RTA.TABLE) ? u32Of(found.get(RTA.TABLE)) : fixed.table;
  if (table !== RT.TABLE_MAIN || (fixed.flags & RTM.F_CLONED) !== 0) return undefined;
  const zero = new Uint8Array(v6 ? 16 : 4);
  const from = found.get(RTA.SRC);
  const preferred = found.get(RTA.PREFSRC);
  const gateway = found.get(RTA.GATEWAY);
  const metrics = found.get(RTA.METRICS);
  return {
    dest: `${formatIp(found.get(RTA.DST) ?? zero)}/${fixed.dstLen}`,
    gateway: gateway === undefined ? "" : formatIp(gateway),
    device: names.get(u32Of(found.get(RTA.OIF))) ?? "",
    source: from !== undefined ? `${formatIp(from)}/${fixed.srcLen}` : preferred !== undefined ? formatIp(preferred) : "",
    scope: fixed.scope,
    family: v6 ? 1 : 0,
    flags: fixed.flags & SETTABLE_FLAGS,
    mtu: metrics === undefined ? 0 : u32Of(attributes(metrics, 0).get(RTAX.MTU)),
  };
}

/** The routes of the main table, IPv4 before IPv6. */
export function listRoutes(): Route[] {
  const names = new Map(listLinks().map((l) => [l.index, l.name]));
  const of = (v6: boolean): Route[] => {
    const all = dump("list routes", RTM.GETROUTE, RTMSG.make({ family: v6 ? AF.INET6 : AF.INET, table: RT.TABLE_MAIN }));
    return all.map((m) => (m.type === RTM.NEWROUTE && m.body[0] === (v6 ? AF.INET6 : AF.INET) ? toRoute(m, v6, names) : undefined)).filter((r) => r !== undefined);
  };
  return [...of(false), ...of(true)];
}
