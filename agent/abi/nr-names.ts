// The names of system calls, for the build with sanitizers only: there the table of numbers is kept (4 KB), else it costs no byte.
import * as table from "./nr.js";

/** "openat" for its number; the number itself where the agent never makes the call. */
export const callName = (nr: number): string => (table as unknown as { readonly NR: { readonly [nr: number]: string } }).NR[nr] ?? String(nr);
