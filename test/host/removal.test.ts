// What containers leave behind goes whatever it is: trees of any depth and width, files that are immutable, mounts; the agent answers
// meanwhile and keeps no descriptor. What cannot be removed is told, and nothing is forgotten.
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../helpers/engine-box.js";
import { longestCheck, Many } from "../helpers/many.js";
import { failure } from "../helpers/private-agent.js";
import { skip, suite } from "../helpers/suite.js";

suite("the folder of a container", { needs: ["agent"] }, () => {
  let box: Box;
  let many: Many;
  let before: string[] = [];
  beforeAll(async () => {
    many = new Many();
    box = await Box.start();
    before = box.state();
  });
  afterAll(async () => {
    await box.stop();
    many.stop();
  });
  const fill = (id: string, script: string): string => box.agent.inside(`mkdir -p /run/kata-containers/${id}/upper; cd /run/kata-containers/${id}/upper; ${script}`);

  it.each([
    ["100,000 folders deep, with names of 255 bytes", "deep 100000 255"],
    ["100,000 folders wide", "wide 100000"],
    ["300 folders wide and 200 deep, with files", "comb 300 200 file"],
  ])("goes when it is %s", async (_, words) => {
    const id = await box.sleeper();
    fill(id, `${many.program} ${words}`);
    const begin = performance.now();
    const removed = box.remove(id);
    const longest = await longestCheck(box.agent.client, removed);
    await removed;
    expect(longest).toBeLessThan(Math.max(1500, (performance.now() - begin) / 2)); // it is not the agent that does it
    expect(box.state()).toEqual(before);
  }, 240_000);

  it("goes with files and folders that are immutable or can only be appended to", async (context) => {
    const id = await box.sleeper();
    try {
      fill(id, "touch probe; chattr +i probe");
    } catch {
      await box.remove(id);
      skip(context, "this file system has no such flags");
    }
    fill(id, "mkdir -p a/b c; touch a/f a/g a/b/h c/i; chattr +a a/g; chattr +i a/f a/b/h a/b; chattr +a a; chattr +i c .");
    await box.remove(id);
    expect(box.state()).toEqual(before);
  });

  it("goes with mounts in it, which are not emptied", async () => {
    const id = await box.sleeper();
    const outside = box.outside();
    fill(id, `mkdir -p a/b c; touch f a/g; mount -t tmpfs none a/b; mkdir a/b/deeper; mount -t tmpfs none a/b/deeper; mount --bind ${outside} c; mount --bind ${outside} c; touch c/precious; mount --bind a/g f`);
    await box.remove(id);
    expect(readdirSync(outside)).toEqual(["precious"]);
    expect(box.state()).toEqual(before);
  });

  it("stays with its reason when it cannot go, and goes when the call is repeated", async () => {
    const { client } = box.agent;
    const id = await box.sleeper();
    fill(id, "mkdir -p a/b; touch a/b/c");
    box.agent.inside("mount -o remount,ro /run");
    try {
      expect(await failure(box.remove(id))).toMatch(new RegExp(`remove container ${id}: remove its folder: .*Read-only file system`));
      expect(await failure(client.destroySandbox({}))).toMatch(/Read-only file system/);
    } finally {
      box.agent.inside("mount -o remount,rw /run");
    }
    expect(box.agent.inside(`ls /run/kata-containers/${id}`)).toBe("upper");
    await box.remove(id);
    expect(box.state()).toEqual(before);
  });
});
