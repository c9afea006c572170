// The short run of `make soak`: a few hundred containers leave nothing, and the agent does not grow.
import { describe, expect, it } from "vitest";
import { BINARY, whyNot } from "../helpers/private-agent.js";
import { soakAgent, soakCommandLine } from "../soak/rounds.js";

const why = whyNot();
if (why !== undefined) console.warn(`skipped: ${why}`);
const sanitised = BINARY.endsWith(".debug"); // it never gives memory back

describe.skipIf(why !== undefined)("many containers one after the other leave nothing", () => {
  it("made by the agent, which does not grow", async () => {
    const { rounds, early, late, left } = await soakAgent({ rounds: 400 });
    expect(rounds).toBe(400);
    expect(left).toEqual([]);
    if (!sanitised) expect(late).toBeLessThanOrEqual(early + 64);
  }, 120_000);

  it("made by the command line", async () => {
    expect(await soakCommandLine({ rounds: 40 })).toEqual({ rounds: 40, left: [] });
  }, 120_000);
});
