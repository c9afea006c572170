// Watches that epoll has no room for. The kernel counts the watches of each user, and root in a container is the same user as the
// agent: when the count is used up, what the agent still has to watch is looked at by ppoll(2), which has no such limit. It costs a
// call more for each round of the loop, and only as long as there are such watches.
import { EPOLL, POLL } from "../abi/flags.js";
import { pollAll } from "../sys/poll.js";

/** What the loop has of a watch. */
export interface Watcher {
  readonly fd: number;
  run: ((events: number) => void) | undefined;
  onFault: ((error: unknown) => void) | undefined;
  close(): void;
}

/** Descriptors of a process that is in such trouble are few; more than this are refused like before. */
const MOST = 4096;
/** What poll(2) knows: the bits are those of epoll. */
const KNOWN: number = EPOLL.IN | EPOLL.PRI | EPOLL.OUT | EPOLL.RDHUP;

const members = new Map<Watcher, number>(); // with the events that are asked for now; -1: none until it is asked again (ONESHOT)

/** Takes a watch in; false when it cannot be done this way (only changes are wanted, or there are too many). */
export function enter(watcher: Watcher, events: number): boolean {
  if ((events & EPOLL.ET) !== 0 || members.size >= MOST) return false;
  members.set(watcher, events);
  return true;
}

/** Asks for these events from now on. */
export function ask(watcher: Watcher, events: number): void {
  if (members.has(watcher)) members.set(watcher, events);
}

/** Forgets a watch. */
export function leave(watcher: Watcher): void {
  members.delete(watcher);
}

/**
 * Waits at most `ms` milliseconds (-1: for ever) for the epoll instance or one of the watches; those that are ready. Undefined, without
 * waiting, when there is none to look after.
 */
export function ready(epoll: number, ms: number): { readonly watcher: Watcher; readonly events: number }[] | undefined {
  if (members.size === 0) return undefined;
  const all = [...members];
  const answer = pollAll([[epoll, EPOLL.IN], ...all.map(([watcher, events]): [number, number] => [events === -1 ? -1 : watcher.fd, events & KNOWN])], ms);
  const found: { watcher: Watcher; events: number }[] = [];
  all.forEach(([watcher, events], i) => {
    const is = answer[i + 1] as number;
    if ((is & POLL.NVAL) !== 0) members.delete(watcher); // it was closed without a word, which epoll does not mind either
    if (is === 0 || (is & POLL.NVAL) !== 0) return;
    if ((events & EPOLL.ONESHOT) !== 0) members.set(watcher, -1);
    found.push({ watcher, events: (is & KNOWN) | (is & (EPOLL.ERR | EPOLL.HUP)) });
  });
  return found;
}
