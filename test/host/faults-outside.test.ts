// KATA_FAULTS in the real build with sanitizers: words that are wrong end it, faults reach the children that it makes, the shipped
// binary knows nothing of it.
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles } from "../helpers/oci-bundle.js";
import { BINARY, SANITISED } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

suite("faults from outside", { needs: ["sanitised agent"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles(SANITISED);
  });
  afterAll(() => box?.stop());

  const withFaults = (faults: string, script = "true"): { readonly status: number | null; readonly stderr: string } => box.run(script, undefined, ["env", `KATA_FAULTS=${faults}`]);

  it("of a wrong word are refused by its name, before anything is done", () => {
    expect(withFaults("mount:EWHAT")).toMatchObject({ status: 2, stderr: 'KATA_FAULTS: mount:EWHAT: there is no errno "EWHAT"\n' });
    const agent = spawnSync(SANITISED, ["--config", "/nonesuch"], { env: { KATA_FAULTS: "nonesuch:EPERM" }, encoding: "utf8" });
    expect([agent.status, agent.stderr]).toEqual([2, 'KATA_FAULTS: nonesuch:EPERM: the agent makes no call "nonesuch"\n']);
  });
  it("reach the child that builds the container, which is told as if the kernel had answered so", () => {
    expect(withFaults("pivot_root:EINVAL")).toMatchObject({ status: 1, stderr: expect.stringContaining("change the root: pivot_root: EINVAL: Invalid argument") as string });
    expect(withFaults("mount[devpts]:EPERM@2")).toMatchObject({ status: 0, stderr: "" });
  });
  it("of a call that cannot be done without end the container, not what it may see", () => {
    const { status, stderr } = withFaults("close_range:ENOSYS", "ls /proc/self/fd");
    expect([status, stderr]).toEqual([1, expect.stringContaining("close_range: ENOSYS: Function not implemented")]);
  });
  it("are nothing to the binary that is shipped", () => {
    const { status, stderr } = spawnSync(BINARY, ["oci", "--root", box.folder, "list"], { env: { KATA_FAULTS: "openat:EWHAT" }, encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
  });
});
