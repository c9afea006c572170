// Hot plug against a real kernel: a loop device that appears while the agent waits, and one that was there before. The
// container then sees the guest's numbers, not the host's.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { failure, startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import { containerRequest, fillRootfs, sandboxRequest } from "../helpers/guest.js";
import { suite } from "../helpers/suite.js";

const NUMBER = 977; // far from what losetup -f hands out
const ADD = "0x4C80";
const REMOVE = "0x4C81";
const loopControl = (request: string): void => {
  execFileSync("perl", ["-e", `open F, "<", "/dev/loop-control" or die $!; defined ioctl(F, ${request}, ${NUMBER}) or die $!`], { stdio: "pipe" });
};

const loopDevices = (): string | undefined => {
  try {
    loopControl(ADD);
    loopControl(REMOVE);
    return undefined;
  } catch (error) {
    return `this machine gives no loop devices: ${String(error).split("\n")[0]}`;
  }
};

suite("devices", { needs: ["agent", loopDevices] }, () => {
  let agent: PrivateAgent;
  let work: string;

  const request = (id: string): object => {
    const base = containerRequest({ id, rootPath: join(work, "root"), args: ["/bin/stat", "-c", "%t %T", "/dev/disk"] }) as { oci: { linux: { devices?: object[] } } };
    base.oci.linux.devices = [...(base.oci.linux.devices ?? []), { path: "/dev/disk", type: "b", major: 8, minor: 0, fileMode: 0o660, uid: 0, gid: 0 }];
    return { ...base, devices: [{ id: "x", type: "mmioblk", vmPath: `/dev/loop${NUMBER}`, containerPath: "/dev/disk", options: [] }] };
  };
  const output = async (id: string): Promise<string> => {
    await agent.client.call("StartContainer", { containerId: id } as never);
    const { data } = (await agent.client.call("ReadStdout", { containerId: id, execId: id, len: 100 } as never)) as unknown as { data: Uint8Array };
    await agent.client.call("RemoveContainer", { containerId: id } as never);
    return Buffer.from(data).toString().trim();
  };

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "kata-devices-"));
    fillRootfs(join(work, "root"));
    agent = await startPrivateAgent("hotplug_timeout = { secs = 2, nanos = 0 }");
    await agent.client.call("CreateSandbox", sandboxRequest("s", false) as never);
  });
  afterAll(async () => {
    await agent?.stop();
    rmSync(work, { recursive: true, force: true });
  });

  it("that never come end the wait with their name, and the container's name is free again", async () => {
    expect(await failure(agent.client.call("CreateContainer", request("late") as never))).toContain(`Timeout after 2s waiting for uevent: block device /dev/loop${NUMBER} did not appear`);
    expect(await failure(agent.client.call("StartContainer", { containerId: "late" } as never))).toContain("Invalid container id");
  });

  it("are found when they come during the wait, without holding up other calls, and when they were there before", async () => {
    const numbers = `7 ${NUMBER.toString(16)}`;
    const pending = agent.client.call("CreateContainer", request("hot") as never);
    await agent.client.call("Check", {}); // answered while the other waits
    loopControl(ADD);
    try {
      await pending;
      expect(await output("hot")).toBe(numbers);
      await agent.client.call("CreateContainer", request("cold") as never);
      expect(await output("cold")).toBe(numbers);
    } finally {
      loopControl(REMOVE);
    }
  });
});
