// What may come in floods (refused peers, messages of others, faults) is told at most once a second: the first one at once, then
// the last one of each second with how many there were.
import { after } from "./loop.js";
import { type Fields, type Level, log } from "./log.js";

const EVERY_MS = 1000;

export class Tally {
  #quiet = false;
  #more = 0;
  #last: (() => string) | undefined;

  constructor(readonly level: Level, readonly subsystem = "agent") {}

  /** Tells of one, or counts it; `say` and `fields` are asked only when it is told. */
  tell(say: () => string, fields?: () => Fields): void {
    if (this.#quiet) {
      this.#more++;
      this.#last = say;
      return;
    }
    log(this.level, say(), fields?.(), this.subsystem);
    this.#rest();
  }

  #rest(): void {
    this.#quiet = true;
    after(EVERY_MS, () => {
      this.#quiet = false;
      if (this.#more === 0) return;
      log(this.level, `${this.#last?.()} (the last of ${this.#more})`, undefined, this.subsystem);
      this.#more = 0;
      this.#last = undefined;
      this.#rest();
    });
  }
}
