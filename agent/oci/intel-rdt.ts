// The class of service of a container (resource control): which group it names, and what is written there. Pure. (runtime-spec,
// intelRdt; the kernel's Documentation/filesystems/resctrl.rst)
import { lines } from "../lib/text.js";
import { noNul, refuse } from "./field.js";
import type { IntelRdt } from "./spec.js";

const FIELD = "linux.intelRdt";
/** Folders of the root that are no groups. */
const TAKEN = [".", "..", "info", "mon_data", "mon_groups"];

/** Throws AppError "invalid". */
export function checkIntelRdt({ closID, l3CacheSchema, memBwSchema, schemata = [] }: IntelRdt): void {
  if (closID !== undefined && closID !== "/" && (closID === "" || closID.length > 255 || TAKEN.includes(closID) || ["/", "\n", "\0"].some((c) => closID.includes(c)))) {
    refuse(`${FIELD}.closID`, `"${closID}" is not the name of a group`);
  }
  noNul(`${FIELD}.l3CacheSchema`, l3CacheSchema);
  if (memBwSchema && (!memBwSchema.startsWith("MB:") || lines(memBwSchema).length !== 1)) refuse(`${FIELD}.memBwSchema`, `"${memBwSchema}" is not a line that begins with MB:`);
  noNul(`${FIELD}.memBwSchema`, memBwSchema);
  schemata.forEach((line, i) => {
    if (line.indexOf(":") <= 0 || line.includes("\n") || line.includes("\0")) refuse(`${FIELD}.schemata[${i}]`, `"${line}" is not a line such as "L3:0=ff;1=ff"`);
  });
}

/** The lines to write. Where both are given, memory bandwidth is memBwSchema's, not that of lines in l3CacheSchema. */
export function schemataOf({ l3CacheSchema, memBwSchema, schemata = [] }: IntelRdt): string[] {
  const cache = lines(l3CacheSchema ?? "").filter((line) => line.trim() !== "" && !(memBwSchema && line.trim().startsWith("MB:")));
  return [...cache, ...(memBwSchema ? [memBwSchema] : []), ...schemata];
}

/** "L3:0=0ff;1=f" as ["L3", {"0": "ff", "1": "f"}]; values are compared without leading zeros. */
function parse(line: string): readonly [string, Map<string, string>] {
  const cut = line.indexOf(":");
  const values = new Map<string, string>();
  for (const part of line.slice(cut + 1).split(";")) {
    const [domain = "", value = ""] = part.trim().split("=");
    let plain = value.trim().toLowerCase();
    while (plain.length > 1 && plain.startsWith("0")) plain = plain.slice(1);
    values.set(domain.trim(), plain);
  }
  return [line.slice(0, cut).trim(), values];
}

/** The first of the lines that a group's schemata file does not already hold; undefined when it holds them all. */
export function differs(wanted: readonly string[], file: string): string | undefined {
  const there = new Map(lines(file).map(parse));
  return wanted.find((line) => {
    const [resource, values] = parse(line);
    return [...values].some(([domain, value]) => there.get(resource)?.get(domain) !== value);
  });
}
