// What root in a container shares with PID 1: raised at boot as far as the kernel lets it; a container has no other numbers to run into.
import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Vm } from "../../ctl/vm/boot.js";
import { makeRootfs, runContainer, sandboxRequest } from "../helpers/guest.js";
import { suite } from "../helpers/suite.js";
import { bootSharedVm, vmOver } from "../helpers/vm.js";

const INT = "2147483647";
const LONG = "9223372036854775807";

suite("the quotas of a VM", { needs: [vmOver()] }, () => {
  let share: string;
  let vm: Vm;
  let values: Map<string, string>;
  beforeAll(async () => {
    share = makeRootfs();
    vm = await bootSharedVm({ share, memory: 256, append: ["agent.log=debug"] });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
    const script = "cd /proc/sys; for f in fs/epoll/* fs/inotify/max_user* fs/file-max fs/pipe-user-pages-soft kernel/pid_max kernel/threads-max kernel/pty/max user/max_*_namespaces; do echo $f $(cat $f); done";
    const ended = await runContainer(vm.client, { id: "look", rootPath: "/run/kata-containers/shared/containers/rootfs", args: ["/bin/sh", "-c", script] });
    values = new Map(ended.stdout.trim().split("\n").map((line) => line.split(" ") as [string, string]));
  });
  afterAll(async () => {
    await vm?.stop({ graceMs: 0 });
    rmSync(share, { recursive: true, force: true });
  });

  it.each([
    ["fs/epoll/max_user_watches", LONG], ["fs/inotify/max_user_instances", INT], ["fs/inotify/max_user_watches", INT], ["fs/file-max", LONG],
    ["fs/pipe-user-pages-soft", "0"], ["kernel/pid_max", "4194304"], ["kernel/threads-max", "4194304"], ["kernel/pty/max", "1048576"],
    ["user/max_user_namespaces", INT], ["user/max_mnt_namespaces", INT], ["user/max_net_namespaces", INT], ["user/max_pid_namespaces", INT],
  ])("%s is %s", (file, value) => expect(values.get(file)).toBe(value));
});
