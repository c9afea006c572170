// Interfaces of the machine go into a container's network namespace, with a new name and the addresses that somebody gave them.
// The kernel forgets an interface's addresses on the way, so they are read before and given again there. (container-engine 1.16)
// They are not moved back: with the namespace physical ones return to the machine, others end.
import { CLONE, O } from "../../abi/flags.js";
import { IFA, IFF, IFLA, NLM, RT, RTEXT, RTM } from "../../abi/rtnl.js";
import type { Fd } from "../../sys/fd.js";
import { open } from "../../sys/file.js";
import { setns } from "../../sys/process.js";
import { childTask } from "../../lib/child-task.js";
import { AppError, attempt } from "../../lib/errors.js";
import { ask, dump } from "../../lib/rtnl.js";
import { type Attribute, attributes, IFADDRMSG, IFINFOMSG, linkName, textOf, u32, u32Of } from "../../lib/rtnl-message.js";
import type { Linux } from "../../oci/spec.js";
import { openNamespace } from "../namespace.js";

interface Link { readonly index: number; readonly name: string }
interface Address { readonly family: number; readonly prefixlen: number; readonly attributes: readonly Attribute[] }

function links(): Link[] {
  return dump("list network interfaces", RTM.GETLINK, IFINFOMSG.make({}), [[IFLA.EXT_MASK, u32(RTEXT.FILTER_SKIP_STATS)]]).map(({ body }) => ({
    index: IFINFOMSG.read(body).index, name: textOf(attributes(body, IFINFOMSG.size).get(IFLA.IFNAME)),
  }));
}

/** What somebody has given the interface: no address of the link itself, none that a router or a lease has made. */
function addresses(link: Link): Address[] {
  const found: Address[] = [];
  for (const { body } of dump("list addresses", RTM.GETADDR, IFADDRMSG.make({}))) {
    const { index, family, prefixlen, flags, scope } = IFADDRMSG.read(body);
    if (index !== link.index || scope !== RT.SCOPE_UNIVERSE) continue;
    const all = attributes(body, IFADDRMSG.size);
    const more = all.get(IFA.FLAGS);
    if (((more === undefined ? flags : u32Of(more)) & IFA.F_PERMANENT) === 0) continue;
    const kept: Attribute[] = [[IFA.FLAGS, u32(IFA.F_PERMANENT)]];
    for (const type of [IFA.LOCAL, IFA.ADDRESS, IFA.BROADCAST]) {
      const value = all.get(type);
      if (value !== undefined) kept.push([type, value.slice()]);
    }
    found.push({ family, prefixlen, attributes: kept });
  }
  return found;
}

/** Runs `fn` in another network namespace: sockets that it opens are that one's. */
function within<T>(target: Fd, fn: () => T): T {
  using own = open("/proc/self/ns/net", O.RDONLY);
  setns(target, CLONE.NEWNET);
  try {
    return fn();
  } finally {
    setns(own, CLONE.NEWNET);
  }
}

function move(name: string, wanted: string, target: Fd): void {
  const link = links().find((l) => l.name === name) ?? absent(name);
  const kept = addresses(link);
  const before = within(target, links);
  // the kernel would find out only after the move, and an interface that is in a namespace about to end ends with it
  if (before.some((l) => l.name === wanted)) throw new AppError("exists", `the name ${wanted} is taken in the container's network`);
  ask("set it down", RTM.NEWLINK, 0, IFINFOMSG.make({ index: link.index, change: IFF.UP }), []);
  ask(`move it as ${wanted}`, RTM.NEWLINK, 0, IFINFOMSG.make({ index: link.index }), [[IFLA.NET_NS_FD, u32(target.n)], [IFLA.IFNAME, linkName(wanted)]]);
  within(target, () => {
    const index = links().find(({ index: i }) => !before.some((l) => l.index === i))?.index ?? absent(wanted);
    for (const { family, prefixlen, attributes: all } of kept) {
      ask("give it its address again", RTM.NEWADDR, NLM.F_CREATE | NLM.F_REPLACE, IFADDRMSG.make({ family, prefixlen, flags: IFA.F_PERMANENT, scope: RT.SCOPE_UNIVERSE, index }), all);
    }
    ask("set it up", RTM.NEWLINK, 0, IFINFOMSG.make({ index, flags: IFF.UP, change: IFF.UP }), []);
  });
}

function absent(name: string): never {
  throw new AppError("not-found", `no interface ${name}`);
}

const MOVE_MS = 30_000;

/**
 * Moves interfaces into the network namespace at `path`, in a helper: the engine never leaves its own namespaces. Rejects with what
 * failed, the field first.
 */
export async function moveDevices(devices: NonNullable<Linux["netDevices"]>, path: string): Promise<void> {
  await childTask("network devices", MOVE_MS, () => {
    using target = openNamespace(path);
    for (const [name, { name: wanted }] of Object.entries(devices)) attempt(`linux.netDevices["${name}"]`, () => move(name, wanted || name, target));
    return null;
  });
}
