// Control groups that a container has made below its own, as many and as it likes: killing and removal are final, the agent answers
// meanwhile, and what stays is told. The groups are made from outside: a container with its groups mounted can do the same.
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box, ONLY_V2 } from "../helpers/engine-box.js";
import { until } from "../helpers/lab.js";
import { longestCheck, Many } from "../helpers/many.js";
import { failure } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

for (const [version, prepare] of [["1", ":"], ["2", ONLY_V2]] as const) suite(`with cgroup version ${version}`, { needs: version === "1" ? ["agent", "cgroup v1"] : ["agent"] }, () => {
  let box: Box;
  let many: Many;
  let before: string[] = [];
  const v1 = version === "1";
  beforeAll(async () => {
    many = new Many();
    box = await Box.start(prepare);
    before = box.state();
  });
  afterAll(async () => {
    await box?.stop();
    many?.stop();
  });

  /** Its folder in the hierarchy that matters most. */
  const folder = (id: string, controller = "freezer"): string => `/sys/fs/cgroup/${v1 ? `${controller}/` : ""}katactl/${id}`;
  const inGroup = (id: string, script: string, controller?: string): string => box.agent.inside(`cd ${folder(id, controller)}; ${script}`);
  /** A container with three processes. */
  const busy = async (): Promise<string> => {
    const id = await box.create(["/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; sleep 1000"]);
    await box.start(id);
    await box.agent.client.readStdout({ containerId: id, execId: id, len: 10 });
    return id;
  };
  /** Removes it; the agent is heard all the while. */
  const goes = async (id: string): Promise<void> => {
    const begin = performance.now();
    const removed = box.remove(id);
    const longest = await longestCheck(box.agent.client, removed);
    await removed;
    expect(longest).toBeLessThan(Math.max(1500, (performance.now() - begin) / 2)); // it is not the agent that does it
    expect(box.state()).toEqual(before);
  };
  const moveInto = (group: string): string => `mkdir -p ${group}; for p in $(cat cgroup.procs); do echo $p > ${group}/cgroup.procs; done`;

  it.each([["nested", "deep 3000 100"], ["beside each other", "wide 20000"]])("groups that are %s in thousands go with their container", async (_, words) => {
    const id = await busy();
    inGroup(id, `${moveInto("own")}; ${many.program} ${words}`);
    if (v1) inGroup(id, `${many.program} deep 50 10`, "memory");
    const begin = performance.now();
    await box.agent.client.statsContainer({ containerId: id });
    await box.agent.client.pauseContainer({ containerId: id });
    await box.agent.client.resumeContainer({ containerId: id });
    expect(performance.now() - begin).toBeLessThan(60_000); // and not for ever
    await goes(id);
  }, 240_000);

  it("a container that has frozen groups of its own is removed", async () => {
    const id = await busy();
    const freeze = v1 ? "echo FROZEN > own/low/freezer.state; echo FROZEN > own/freezer.state" : "echo 1 > own/low/cgroup.freeze; echo 1 > own/cgroup.freeze";
    inGroup(id, `${moveInto("own/low")}; ${freeze}`);
    await goes(id);
  });

  it("a container that has frozen groups of its own is killed", async () => {
    const { client } = box.agent;
    const id = await busy();
    inGroup(id, `${moveInto("own/low")}; echo ${v1 ? "FROZEN > own/low/freezer.state" : "1 > own/low/cgroup.freeze"}`);
    const ended = client.waitProcess({ containerId: id, execId: id });
    await client.signalProcess({ containerId: id, execId: "", signal: 9 });
    expect((await ended).status).toBe(137);
    await goes(id);
  });

  it("a container with limits of zero is removed", async () => {
    const id = await busy();
    if (v1) {
      inGroup(id, moveInto("own"), "pids");
      inGroup(id, "echo 0 > own/pids.max; echo 0 > pids.max", "pids");
    } else inGroup(id, `${moveInto("own")}; for f in cgroup.max.depth cgroup.max.descendants; do echo 0 > $f; echo 0 > own/$f; done`);
    await goes(id);
  });

  if (!v1) it("a container with threaded groups of its own is removed", async () => {
    const id = await busy();
    inGroup(id, "mkdir -p own/low; for d in own own/low; do echo threaded > $d/cgroup.type; done; for t in $(cat cgroup.threads); do echo $t > own/low/cgroup.threads; done; echo 1 > own/cgroup.freeze");
    expect(inGroup(id, "cat cgroup.type own/low/cgroup.type")).toBe("domain threaded\nthreaded");
    await goes(id);
  });

  if (!v1) it("a container in a threaded group, which cgroup.kill refuses, is removed with those below it", async () => {
    const top = `/sys/fs/cgroup/threads-${process.pid}`;
    box.agent.inside(`mkdir -p ${top}/t; echo threaded > ${top}/t/cgroup.type`);
    const id = await box.create(["/bin/sh", "-c", "f() { while :; do sleep 0 & sleep 0; done; }; f & f & echo up; f"], (s) => (s.linux["cgroupsPath"] = `/threads-${process.pid}/t/in`));
    await box.start(id);
    await box.agent.client.readStdout({ containerId: id, execId: id, len: 10 });
    box.agent.inside(`cd ${top}/t/in; mkdir own; echo threaded > own/cgroup.type; for t in $(cat cgroup.threads); do echo $t > own/cgroup.threads || :; done; echo 1 > own/cgroup.freeze`);
    await goes(id);
    box.agent.inside(`rmdir ${top}/t ${top}`);
  });

  if (v1) it("processes that were moved out of the container's group and frozen there end with it", async () => {
    const id = await busy();
    const other = `../../elsewhere-${process.pid}`;
    const hierarchies = readFileSync("/proc/mounts", "utf8").split("\n").map((line) => line.split(" ")).filter(([, , type]) => type === "cgroup").map(([, at]) => (at as string).slice("/sys/fs/cgroup/".length));
    for (const name of hierarchies) {
      if (name === "cpuset") continue; // an empty one takes nobody
      inGroup(id, `${moveInto(other)}; [ ${name} != freezer ] || echo FROZEN > ${other}/freezer.state`, name);
    }
    try {
      await goes(id);
    } finally {
      for (const name of hierarchies) if (name !== "cpuset") box.agent.inside(`rmdir /sys/fs/cgroup/${name}/elsewhere-${process.pid}`);
    }
  });

  if (v1) it("processes that were moved out of the freezer's group only are killed with the others", async () => {
    const id = await busy();
    const other = `../../astray-${process.pid}`;
    const last = inGroup(id, "tail -n 1 cgroup.procs");
    inGroup(id, `mkdir ${other}; echo ${last} > ${other}/cgroup.procs; echo FROZEN > ${other}/freezer.state`);
    await box.agent.client.signalProcess({ containerId: id, execId: "", signal: 9 });
    await until("it has ended", () => !existsSync(`/proc/${last}`));
    await goes(id);
    box.agent.inside(`rmdir /sys/fs/cgroup/freezer/astray-${process.pid}`);
  });

  if (v1) it("a container whose groups somebody else holds frozen stays, with the reason, until it can end", async () => {
    const { client } = box.agent;
    const top = `held-${process.pid}`;
    const id = await box.create(["/bin/sleep", "1000"], (s) => (s.linux["cgroupsPath"] = `/${top}/in`));
    await box.start(id);
    const freezer = `/sys/fs/cgroup/freezer/${top}`;
    box.agent.inside(`echo FROZEN > ${freezer}/freezer.state`);
    await until("it rests", () => readFileSync(`${freezer}/freezer.state`, "utf8").trim() === "FROZEN");
    expect(await failure(client.destroySandbox({}))).toMatch(new RegExp(`end the processes of container ${id}`));
    expect(readFileSync(`${freezer}/in/cgroup.procs`, "utf8")).not.toBe("");
    box.agent.inside(`echo THAWED > ${freezer}/freezer.state`);
    await box.remove(id);
    expect(existsSync(freezer)).toBe(false);
    expect(box.state()).toEqual(before);
  }, 240_000);
});
