// The short form of `make attack`: the quick ones natively, with little effort. How fast a Check is answered is not held against the
// agent here, only that it does not stand still; what is reached, left over, harmed or cannot be removed is.
import { afterAll, beforeAll, expect, it } from "vitest";
import { ATTACKS } from "../attack/all.js";
import { drive } from "../attack/drive.js";
import { onHost } from "../attack/ground.js";
import { Measure } from "../attack/measure.js";
import { BINARY } from "../helpers/private-agent.js";
import { suite, when } from "../helpers/suite.js";

const EFFORT = 0.05;

suite("the agent holds against", { needs: ["agent", "compiler", when(!BINARY.endsWith(".debug"), "the sanitised twin is too slow and never gives memory back")] }, () => {
  let measure: Measure;
  let round = 0;
  beforeAll(() => void (measure = new Measure()));
  afterAll(() => measure?.stop());
  const quick = ATTACKS.filter(({ needs }) => needs.quick === true && needs.where.includes("host"));

  it.each(quick.map((attack) => [attack.name, attack] as const))("%s", async (_, attack) => {
    const prefix = `att${process.pid}r${round++}n`;
    const ground = await onHost(attack.needs, prefix);
    try {
      const { did, faults } = await drive(attack, ground, measure, { strict: false, effort: EFFORT }, prefix);
      expect(faults, `${attack.item}: ${JSON.stringify(did)}`).toEqual([]);
    } finally {
      await ground.stop();
    }
  }, 240_000);
});
