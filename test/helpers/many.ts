// test/host/many.c, compiled: makes trees of folders (or of control groups) that are deeper or wider than a path or a list can be.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";

export class Many {
  readonly #dir = mkdtempSync(join(tmpdir(), "kata-many-"));
  readonly program = join(this.#dir, "many");
  constructor() {
    execFileSync("cc", ["-O", "-o", this.program, "test/host/many.c"]);
  }
  stop(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Waits for `work` while the agent is asked for its health again and again; the longest answer took so many milliseconds. */
export async function longestCheck(client: AgentClient, work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let done = false;
  const end = work.then(() => (done = true), () => (done = true));
  while (!done) {
    const begin = performance.now();
    await client.check({});
    longest = Math.max(longest, performance.now() - begin);
  }
  await end;
  return longest;
}
