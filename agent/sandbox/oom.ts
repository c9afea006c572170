// Out-of-memory events of all containers in one queue; each goes to exactly one waiting GetOOMEvent, first come first served.
const LIMIT = 100;

export class OomQueue {
  private readonly events: string[] = [];
  private readonly waiters = new Set<(containerId: string) => void>();

  /** Adds an event; beyond 100 that nobody fetches, the oldest is dropped. */
  push(containerId: string): void {
    const [waiter] = this.waiters;
    if (waiter !== undefined) {
      this.waiters.delete(waiter);
      return waiter(containerId);
    }
    this.events.push(containerId);
    if (this.events.length > LIMIT) this.events.shift();
  }

  /** Hands the next event to `take`, now or later; returns a function that gives up waiting. */
  next(take: (containerId: string) => void): () => void {
    const event = this.events.shift();
    if (event !== undefined) {
      take(event);
      return () => undefined;
    }
    this.waiters.add(take);
    return () => void this.waiters.delete(take);
  }
}
