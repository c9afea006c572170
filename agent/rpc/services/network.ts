// Interfaces, routes, neighbours, packet filter.
import { AppError } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { listInterfaces, updateInterface } from "../../network/links.js";
import { addNeighbors } from "../../network/neighbors.js";
import { listRoutes, updateRoutes } from "../../network/routes.js";
import type { Sandbox } from "../../sandbox/sandbox.js";
import type { Handlers } from "../methods.js";

const filter = lazy<typeof import("../../network/iptables.js")>("network/iptables.js");
const hotplugged = lazy<typeof import("../../network/hotplugged.js")>("network/hotplugged.js");

/** The handlers of the network, which all containers of `sandbox` share. */
export function network(sandbox: Sandbox): Handlers<"network"> {
  return {
    UpdateInterface: async ({ interface: wanted }) => {
      if (wanted === undefined) throw new AppError("invalid", "empty update interface request");
      if (wanted.devicePath === "") updateInterface(wanted);
      else await hotplugged().updateHotplugged(wanted, sandbox.settings.hotplugTimeoutMs);
      return wanted;
    },
    UpdateRoutes: ({ routes }) => {
      if (routes === undefined) throw new AppError("invalid", "empty update routes request");
      return { routes: updateRoutes(routes.routes) };
    },
    ListInterfaces: () => ({ interfaces: listInterfaces() }),
    ListRoutes: () => ({ routes: listRoutes() }),
    AddARPNeighbors: ({ neighbors }) => {
      if (neighbors === undefined) throw new AppError("invalid", "empty add arp neighbours request");
      addNeighbors(neighbors.arpNeighbors);
    },
    GetIPTables: async ({ isIpv6 }) => ({ data: await filter().getIpTables(isIpv6) }),
    SetIPTables: async ({ isIpv6, data }) => ({ data: await filter().setIpTables(isIpv6, data) }),
  };
}
