// The guest's console: keeps its last part in memory and all of it in a file, and waits for words on it.
import type { Readable } from "node:stream";
import type { WriteStream } from "node:fs";

const KEEP = 256 * 1024;

// What the kernel prints when it has nothing left to do; a machine without ACPI cannot switch itself off after that.
const HALTED = /reboot: (Power down|System halted)/;

export class Console {
  #text = "";
  #log: WriteStream;
  #listeners = new Set<() => void>();
  #ended = false;

  /** `onHalt` is called once when the kernel says that it has stopped. */
  constructor(source: Readable | null, log: WriteStream, onHalt?: () => void) {
    this.#log = log;
    let halt = onHalt;
    source?.on("data", (piece: Buffer) => {
      this.#text = (this.#text + piece.toString("utf8").replaceAll("\r", "")).slice(-KEEP);
      log.write(piece);
      if (halt !== undefined && HALTED.test(this.#text)) {
        halt();
        halt = undefined;
      }
      for (const listener of [...this.#listeners]) listener();
    });
    source?.once("end", () => {
      this.#ended = true;
      for (const listener of [...this.#listeners]) listener();
    });
  }

  /** What the guest has written, at most its last 256 KiB. */
  text(): string {
    return this.#text;
  }

  /** Resolves when the console shows `words`; rejects when the signal is raised or the console ends first. */
  waitFor(words: RegExp, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (why?: string): void => {
        this.#listeners.delete(look);
        signal?.removeEventListener("abort", give);
        if (why === undefined) resolve();
        else reject(new Error(why));
      };
      const look = (): void => {
        if (words.test(this.#text)) done();
        else if (this.#ended) done(`the console ended without ${words.source}`);
      };
      const give = (): void => done(`the console did not show ${words.source}`);
      this.#listeners.add(look);
      signal?.addEventListener("abort", give, { once: true });
      if (signal?.aborted === true) give();
      else look();
    });
  }

  /** Resolves when everything is in the log file. */
  close(): Promise<void> {
    return new Promise((resolve) => this.#log.end(() => resolve()));
  }
}
