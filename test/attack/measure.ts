// The caller's side of the measuring process (watcher.ts). One process serves a whole series of attacks.
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Patience } from "./attack.js";
import type { Command } from "./watcher.js";

export class Measure {
  readonly #child: ChildProcess;
  constructor() {
    this.#child = fork(fileURLToPath(new URL("watcher.ts", import.meta.url)), { execArgv: ["--import", "tsx"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  }
  async #say(command: Command): Promise<unknown> {
    const answer = once(this.#child, "message");
    this.#child.send(command);
    return (await answer)[0] as unknown;
  }
  /** Begins to ask. Rejects when the agent cannot be reached. */
  async watch(address: string, threads: readonly number[]): Promise<void> {
    const said = await this.#say({ go: "watch", address, threads });
    if (said !== "watching") throw new Error(`the watcher: ${JSON.stringify(said)}`);
  }
  /** Ends the watch. */
  async report(): Promise<Patience> {
    return (await this.#say({ go: "report" })) as Patience;
  }
  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}
