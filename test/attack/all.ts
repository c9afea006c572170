// All attacks, in the order in which they are run.
import type { Attack } from "./attack.js";
import { FAILURES } from "./host-failures.js";
import { PEERS } from "./host-peers.js";
import { REQUESTS } from "./host-requests.js";
import { FILES } from "./inside-files.js";
import { PROCESSES } from "./inside-processes.js";
import { QUOTAS } from "./quotas.js";

export const ATTACKS: readonly Attack[] = [...PROCESSES, ...FILES, ...PEERS, ...FAILURES, ...REQUESTS, ...QUOTAS];
