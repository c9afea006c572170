// The short run of `make soak`: a few hundred containers leave nothing, and the agent does not grow.
import { expect, it } from "vitest";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";
import { soakAgent, soakCommandLine } from "../soak/rounds.js";

const sanitised = BINARY.endsWith(".debug"); // it never gives memory back

suite("many containers one after the other leave nothing", { needs: ["agent"] }, () => {
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
