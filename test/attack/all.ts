// All attacks, in the order in which they are run.
import type { Attack } from "./attack.js";
import { PEERS } from "./host-peers.js";
import { REQUESTS } from "./host-requests.js";
import { PROCESSES } from "./inside-processes.js";

export const ATTACKS: readonly Attack[] = [...PROCESSES, ...PEERS, ...REQUESTS];
