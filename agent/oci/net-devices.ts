// Interfaces of the machine that a container is given: their names, there and here. Pure. (runtime-spec, netDevices; dev_valid_name
// of the kernel)
import { IF } from "../abi/rtnl.js";
import { refuse } from "./field.js";
import type { Linux } from "./spec.js";

/** Is it a name that the kernel gives an interface? */
function isName(name: string): boolean {
  if (name === "" || name === "." || name === ".." || name.length >= IF.NAMSIZ) return false;
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) <= 32 || name.charCodeAt(i) > 126 || "/:".includes(name.charAt(i))) return false;
  return true;
}

/** A template has one %d for a number that the kernel chooses, and no other %. */
function isTemplate(name: string): boolean {
  const parts = name.split("%");
  return parts.length === 1 || (parts.length === 2 && (parts[1] as string).startsWith("d"));
}

/** Throws AppError "invalid". `apart`: the container has a network apart from the machine's. */
export function checkNetDevices(devices: NonNullable<Linux["netDevices"]>, apart: boolean): void {
  const taken: string[] = [];
  for (const [name, { name: given }] of Object.entries(devices)) {
    const field = `linux.netDevices[${JSON.stringify(name)}]`;
    if (!apart) refuse(field, "unable to move network devices without a NET namespace of the container's own");
    if (!isName(name)) refuse(field, "is not the name of an interface");
    const wanted = given || name;
    if (!isName(wanted) || (given && !isTemplate(given))) refuse(`${field}.name`, `"${wanted}" is not a name for an interface`);
    if (taken.includes(wanted) && !wanted.includes("%")) refuse(`${field}.name`, `"${wanted}" is given twice`);
    taken.push(wanted);
  }
}
