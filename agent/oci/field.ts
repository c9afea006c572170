// How a configuration is refused: the field's path first, then why. Pure; every check of oci/ uses it.
import { AppError } from "../lib/errors.js";

/** Throws AppError "invalid": "linux.timeOffsets: needs a new time namespace". */
export function refuse(field: string, why: string): never {
  throw new AppError("invalid", `${field}: ${why}`);
}

/** The same for the fields of one section: `refusing("linux.seccomp")("flags[0]", "unknown flag")`. */
export const refusing = (section: string) => (field: string, why: string): never => refuse(`${section}.${field}`, why);

/** A text that the kernel would cut short is refused. */
export function noNul(field: string, text: string | undefined): void {
  if (text?.includes("\0")) refuse(field, "has a NUL byte");
}

/** The same for a list; the place of an item is put into words only when it is bad. */
export function noNuls(field: string, list: readonly string[] | undefined): void {
  if (list === undefined) return;
  for (let i = 0; i < list.length; i++) if ((list[i] as string).includes("\0")) refuse(`${field}[${i}]`, "has a NUL byte");
}

/** Refuses a number outside [least, most]; undefined passes. */
export function inRange(field: string, value: number | bigint | undefined, least: number, most: number): void {
  if (value !== undefined && (value < least || value > most)) refuse(field, `${value} is not between ${least} and ${most}`);
}

/** The number that a table has under a name; refuses what it does not have. */
export function named(field: string, what: string, table: { readonly [name: string]: number }, name: string | undefined, bad = "invalid"): number {
  const n = name !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
  return n ?? refuse(field, `${bad} ${what} "${name ?? ""}"`);
}

/** A path's own name without "." and ".." and doubled slashes; ".." above the root stays there. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
