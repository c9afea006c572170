// All attacks, in the order in which they are run.
import type { Attack } from "./attack.js";
import { PROCESSES } from "./inside-processes.js";

export const ATTACKS: readonly Attack[] = [...PROCESSES];
