// What the checks of a command line's configuration ask about the machine: its kernel's namespaces, and which of them the
// engine itself is in. An agent in a sandbox never loads it.
import { NS, O } from "../../abi/flags.js";
import { fstat, open, stat } from "../../sys/file.js";
import { must } from "../../sys/call.js";
import { NR } from "../../abi/nr.js";
import { AppError, attempt } from "../../lib/errors.js";
import { statIf } from "../../lib/fs.js";
import { NAMESPACE_KINDS } from "../../oci/plan.js";

/** Names in /proc/self/ns where they differ from the specification's. */
const FILES: { readonly [type: string]: string } = { network: "net", mount: "mnt" };
const own = (type: string): string => `/proc/self/ns/${FILES[type] ?? type}`;

/** Does the path lead to the namespace of that kind which this process is in? AppError "invalid" when it is none of that kind. */
export function isOwn(type: string, path: string): boolean {
  return attempt(`open the ${type} namespace ${path}`, () => {
    using there = open(path, O.RDONLY | O.NONBLOCK);
    let kind: number;
    try {
      kind = must("ioctl(NS_GET_NSTYPE)", NR.ioctl, there.n, NS.GET_NSTYPE, 0);
    } catch {
      throw new AppError("invalid", "is not a namespace");
    }
    if (kind !== NAMESPACE_KINDS[type]) throw new AppError("invalid", "is a namespace of another kind");
    const [a, b] = [fstat(there), stat(own(type))];
    return a.ino === b.ino && a.devMinor === b.devMinor && a.devMajor === b.devMajor;
  });
}

/** Does the kernel have this kind of namespace? */
export function has(type: string): boolean {
  return statIf(own(type)) !== undefined;
}
