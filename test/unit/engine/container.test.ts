// The record of a container: who may change it, pausing, and a process that has ended.
import { describe, expect, it } from "vitest";
import { FakeKernel } from "../../helpers/fake-kernel.js";
import type { Container } from "../../../agent/engine/container.js";

new FakeKernel();
const { E } = await import("../../../agent/abi/errno.js");
const { changeable, statusOf } = await import("../../../agent/engine/container.js");
const { pauseContainer, resumeContainer } = await import("../../../agent/engine/pause.js");
const { dead, pidfdOf, signal } = await import("../../../agent/engine/process.js");

const one = (status: Container["status"], cgroup: Partial<Container["cgroup"]>): Container =>
  ({ id: "c", status, pausedFrom: undefined, init: { status: undefined }, processes: new Map(), unclaimed: new Set(), cgroup }) as unknown as Container;

describe("pausing", () => {
  it.each(["created", "running"] as const)("a container that is %s comes back as that", async (status) => {
    const done: string[] = [];
    const container = one(status, { freeze: async () => void done.push(`freeze ${container.status}`), thaw: async () => void done.push("thaw") });
    await pauseContainer(container);
    expect([statusOf(container), done]).toEqual(["paused", ["freeze paused"]]);
    await resumeContainer(container);
    expect([statusOf(container), done]).toEqual([status, ["freeze paused", "thaw"]]);
  });
  it("leaves one that does not come to rest as it was", async () => {
    const container = one("running", { freeze: () => Promise.reject(new Error("busy")) });
    await expect(pauseContainer(container)).rejects.toThrow("busy");
    expect(statusOf(container)).toBe("running");
  });
  it.each(["paused", "stopped"] as const)("refuses one that is %s", async (status) => {
    await expect(pauseContainer(one(status, {}))).rejects.toThrow(`cannot pause container c: it is ${status}`);
  });
});

describe("the record", () => {
  it("can be changed by the engine alone: the compiler holds it", () => {
    const container = one("running", {});
    // @ts-expect-error for readers it is read-only
    container.status = "paused";
    // @ts-expect-error as are the maps in it
    container.processes.delete;
    changeable(container).status = "stopped";
    expect(statusOf(container)).toBe("stopped");
  });
  it("says of a process that has ended how, and has no descriptor for it", () => {
    const process = dead("p", 7, 143);
    expect(() => pidfdOf(process)).toThrow("process p has ended");
    expect(signal(process, 9)).toBe(-E.ESRCH);
  });
});
