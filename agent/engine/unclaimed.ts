// Processes that have ended while somebody may still ask for them: for their status, or for what they have written and nobody has read.
// How many are kept is bounded; a process that is forgotten lets go of its streams.
import { Level, log } from "../lib/log.js";
import { changeable, type Container } from "./container.js";
import { type Claimant, type Process, setClaimant, setCollected, whenEnded } from "./process.js";

/** Processes that were waited for but have unread output, kept for each container at most. */
const KEPT = 8;
/** Further processes that have ended and that nobody has waited for, of each container; of those whose client is gone fewer. */
const UNCLAIMED = 1024;
const ORPHANS = 64;

/** Nobody can ask for the process any more. */
export function forgetProcess(container: Container, process: Process): void {
  const { processes, unclaimed } = changeable(container);
  unclaimed.delete(process);
  process.streams?.close();
  if (processes.get(process.execId) === process) processes.delete(process.execId);
}

/** Keeps the status and the output of a further process, when it ends, for `claimant`, and forgets the oldest when there are too many. */
export function keepFor(container: Container, process: Process, claimant: Claimant | undefined): void {
  setClaimant(process, claimant);
  whenEnded(process, () => keep(container, process));
}

function keep(container: Container, process: Process): void {
  if (process.collected || container.processes.get(process.execId) !== process) return;
  const kept = changeable(container).unclaimed;
  kept.add(process);
  if (kept.size <= ORPHANS) return;
  const orphans = [...kept].filter(({ claimant }) => claimant?.closed !== false);
  const [oldest] = orphans.length > ORPHANS ? orphans : kept.size > UNCLAIMED ? kept : [];
  if (oldest === undefined) return;
  log(Level.WARN, `process ${oldest.execId} of container ${container.id} has ended and nobody has asked for it: it is forgotten, others need the room`, { status: oldest.status });
  forgetProcess(container, oldest);
}

/** Somebody has the status: the process stays while it has unread output, and no longer than others need the room. */
export function collect(container: Container, process: Process): void {
  setCollected(process);
  changeable(container).unclaimed.delete(process);
  if (process.streams === undefined || !process.streams.pending()) return forgetProcess(container, process);
  forgetWhenDrained(container, process);
  const kept = [...container.processes.values()].filter((p) => p.collected);
  if (kept.length > KEPT) forgetProcess(container, kept[0] as Process);
}

/** A process that has been collected goes with the last of its output. */
export function forgetWhenDrained(container: Container, process: Process): void {
  if (process.streams !== undefined) process.streams.onDrained = () => forgetProcess(container, process);
}
