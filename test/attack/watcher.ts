// The measuring process: asks Check on a connection of its own every ten milliseconds and keeps the longest answer. Since the machine
// may be busy with others, it subtracts the time in which a thread that the answer passes through, or itself, waited for a
// processor (/proc/PID/schedstat: second number, nanoseconds; a thread that sleeps does not wait for one). Commands come by the channel of child_process.fork.
import { readFileSync } from "node:fs";
import type { Duplex } from "node:stream";
import { encodeFrame, FRAME_REQUEST, FrameReader } from "../../ctl/client/frame.js";
import { RequestEnvelope } from "../../ctl/client/schema.js";
import { openStream } from "../../ctl/client/transport.js";
import type { Patience } from "./attack.js";

export type Command = { readonly go: "watch"; readonly address: string; readonly threads: readonly number[] } | { readonly go: "report" };

const EVERY_MS = 10;
const data = RequestEnvelope.encode(RequestEnvelope.create({ service: "grpc.Health", method: "Check", payload: new Uint8Array(0) })).finish();

/** Milliseconds a thread has waited for a processor so far; 0 when that cannot be read. */
const delay = (schedstat: string): number => {
  try {
    return Number(readFileSync(schedstat, "latin1").split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
};

class Watcher {
  checks = 0;
  longest = 0;
  net = 0;
  at = 0;
  lost = false;
  #stream: Duplex | undefined;
  #asked: { at: number; delays: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #began = performance.now();
  constructor(readonly threads: readonly number[]) {}

  async start(address: string): Promise<void> {
    const reader = new FrameReader();
    const stream = (this.#stream = await openStream(address, 60_000));
    stream.on("data", (piece: Buffer) => reader.push(piece).forEach(() => this.#answered()));
    for (const event of ["error", "close", "end"]) stream.on(event, () => (this.lost = true));
    stream.resume();
    this.#ask();
  }

  #delays(): number {
    return delay("/proc/thread-self/schedstat") + this.threads.reduce((sum, tid) => sum + delay(`/proc/${tid}/schedstat`), 0);
  }

  #ask(): void {
    if (this.lost) return;
    this.#asked = { at: performance.now(), delays: this.#delays() };
    this.#stream?.write(encodeFrame({ streamId: 2 * this.checks + 1, type: FRAME_REQUEST, flags: 0, data }));
  }

  #note(): void {
    if (this.#asked === undefined) return;
    const ms = performance.now() - this.#asked.at;
    this.longest = Math.max(this.longest, ms);
    const net = ms - (this.#delays() - this.#asked.delays);
    if (net > this.net) [this.net, this.at] = [net, this.#asked.at - this.#began];
  }

  #answered(): void {
    this.#note();
    this.#asked = undefined;
    this.checks++;
    if (this.lost) {
      this.#stream?.destroy();
      return;
    }
    this.#timer = setTimeout(() => this.#ask(), EVERY_MS);
  }

  /** The figures so far, with a Check that is still waited for; ends the watch. */
  report(): Patience {
    this.#note();
    const { checks, longest, net, at, lost } = this;
    clearTimeout(this.#timer);
    this.lost = true;
    // in order: a vsock daemon does not always tell the guest of an end that comes before the answer
    if (this.#asked === undefined) this.#stream?.destroy();
    return { checks, longest, net: Math.max(0, net), at, lost };
  }
}

let watcher: Watcher | undefined;
process.on("message", (command: Command) => {
  if (command.go === "report") return void process.send?.(watcher?.report() ?? { checks: 0, longest: 0, net: 0, at: 0, lost: true });
  watcher = new Watcher(command.threads);
  watcher.start(command.address).then(
    () => process.send?.("watching"),
    (error: unknown) => process.send?.({ failed: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
