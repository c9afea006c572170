// The names of system calls, for the build with sanitizers only: there the table of numbers is kept (4 KB), else it costs no byte.
import * as table from "./nr.js";

const both = (): { readonly [key: string | number]: string | number | undefined } => (table as unknown as { readonly NR: { readonly [key: string | number]: string | number } }).NR;

/** "openat" for its number; the number itself where the agent never makes the call. */
export const callName = (nr: number): string => String(both()[nr] ?? nr);

/** The number of "openat"; undefined for a call that the agent never makes. */
export function callNumber(name: string): number | undefined {
  const nr = both()[name];
  return typeof nr === "number" ? nr : undefined;
}
