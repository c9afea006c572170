// A time namespace with offsets: they can be written only before the first process is in it, and clone3(2) puts its child right
// into a new one. So the parent makes it for its next child and goes back. See time_namespaces(7).
import { open, O } from "../sys/file.js";
import { CLONE, setns, unshare } from "../sys/process.js";
import { attempt } from "../lib/errors.js";
import { writeText } from "../lib/fs.js";
import type { Linux } from "../oci/spec.js";

/** Runs `make`, whose children are born into a new time namespace with these offsets. */
export function withOffsets<T>(offsets: NonNullable<Linux["timeOffsets"]>, make: () => T): T {
  using own = open("/proc/self/ns/time", O.RDONLY);
  attempt("make a time namespace", () => unshare(CLONE.NEWTIME));
  try {
    const text = Object.entries(offsets).map(([clock, { secs, nanosecs }]) => `${clock} ${secs ?? 0} ${nanosecs ?? 0}\n`).join("");
    attempt("linux.timeOffsets", () => writeText("/proc/self/timens_offsets", text));
    return make();
  } finally {
    setns(own, CLONE.NEWTIME);
  }
}
