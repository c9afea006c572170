// The attacks that matter most in a guest, in one VM with 128 MB: what its containers share with the agent in the kernel, and memory.
import { afterAll, beforeAll, expect, it } from "vitest";
import { ATTACKS } from "../attack/all.js";
import { drive } from "../attack/drive.js";
import { inVm, type Ground } from "../attack/ground.js";
import { Measure } from "../attack/measure.js";
import { vmOver } from "../helpers/vm.js";
import { suite } from "../helpers/suite.js";

const CHOSEN = ["quota-epoll", "vsock-loopback", "many-empty", "frozen-groups", "oom-storm"];
const EFFORT = 0.1;

suite("a guest with 128 MB holds against", { needs: [vmOver("vsock")] }, () => {
  let measure: Measure;
  let ground: Ground;
  let round = 0;
  beforeAll(async () => {
    measure = new Measure();
    ground = await inVm();
  });
  afterAll(async () => {
    measure?.stop();
    await ground?.stop();
  });

  it.each(ATTACKS.filter(({ name }) => CHOSEN.includes(name)).map((attack) => [attack.name, attack] as const))("%s", async (_, attack) => {
    const { did, faults } = await drive(attack, ground, measure, { strict: false, effort: EFFORT }, `att${process.pid}r${round++}n`);
    expect(faults, `${attack.item}: ${JSON.stringify(did)}`).toEqual([]);
  }, 240_000);
});
