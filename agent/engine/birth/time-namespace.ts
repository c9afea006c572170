// A time namespace with offsets: they can be written only before the first process is in it, and clone3(2) puts its child right into a
// new one. So whoever makes the child makes the namespace for it. See time_namespaces(7).
import { CLONE } from "../../abi/flags.js";
import { unshare } from "../../sys/process.js";
import { attempt } from "../../lib/errors.js";
import { writeText } from "../../lib/fs.js";
import type { Linux } from "../../oci/spec.js";

/** In a helper that makes a child (spawn-inside.ts): the child is born into a new time namespace with these offsets. */
export function makeTimeNamespace(offsets: NonNullable<Linux["timeOffsets"]>): void {
  attempt("make a time namespace", () => unshare(CLONE.NEWTIME));
  const text = Object.entries(offsets).map(([clock, { secs, nanosecs }]) => `${clock} ${secs ?? 0} ${nanosecs ?? 0}\n`).join("");
  attempt("linux.timeOffsets", () => writeText("/proc/self/timens_offsets", text));
}
