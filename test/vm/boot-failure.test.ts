// A guest that cannot start says why in one clear line on its console before the machine stops; one that is asked for the
// other cgroup version boots with it.
import { afterEach, expect, it } from "vitest";
import { rmSync } from "node:fs";
import { BootError } from "../../ctl/vm/boot.js";
import { bootVm, vmOver } from "../helpers/vm.js";
import { makeRootfs, runContainer, sandboxRequest } from "../helpers/guest.js";
import { suite } from "../helpers/suite.js";

const folders: string[] = [];
afterEach(() => folders.splice(0).forEach((f) => rmSync(f, { recursive: true, force: true })));

/** The error of a boot that must fail. */
async function refusal(append: string[]): Promise<string> {
  const error = await bootVm({ transport: "serial", machine: "microvm", append, timeoutMs: 30_000 }).then(() => undefined, (e: unknown) => e);
  expect(error).toBeInstanceOf(BootError);
  return (error as BootError).message;
}

suite("a guest that cannot start", { needs: [vmOver("serial")] }, () => {
  it.each([
    [["agent.log=loud"], /kata-agent: fatal: cannot start: read the settings: invalid log level "loud"/],
    [["agent.container_pipe_size=-1"], /container pipe size should not be negative/],
    [["agent.config_file=/etc/nothing.toml"], /configuration file \/etc\/nothing\.toml: .*No such file or directory/],
  ])("with %j names the reason and stops", async (append, reason) => {
    expect(await refusal(append)).toMatch(reason);
  });
});

suite("a guest with cgroup version 1", { needs: [vmOver("serial")] }, () => {
  it("runs a container in the version 1 hierarchies", async () => {
    const share = makeRootfs();
    folders.push(share);
    const vm = await bootVm({ transport: "serial", share, append: ["systemd.unified_cgroup_hierarchy=0", "cgroup_no_v1=net_prio"] });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
    const ended = await runContainer(vm.client, { id: "v1", rootPath: "/run/kata-containers/shared/containers/rootfs", memory: 64 << 20, args: ["/bin/sh", "-c", "cat /proc/self/cgroup; cat /sys/fs/cgroup/memory/memory.limit_in_bytes"] });
    expect(ended.stdout).toMatch(/:memory:\/katactl\/v1\n/);
    expect(ended.stdout.trim().split("\n").at(-1)).toBe(String(64 << 20));
  });
});
