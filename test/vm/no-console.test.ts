// A guest without any console: the kernel starts init without standard streams, and nothing else may get their numbers.
import { rmSync } from "node:fs";
import { expect, it } from "vitest";
import { bootVm, vmMissing } from "../helpers/vm.js";
import { makeRootfs, runContainer, sandboxRequest } from "../helpers/guest.js";

const missing = vmMissing("serial");
it.skipIf(missing !== undefined)(`runs a container without a console${missing === undefined ? "" : ` (skipped: ${missing})`}`, async () => {
  const share = makeRootfs();
  try {
    const vm = await bootVm({ transport: "serial", machine: "microvm", share, append: ["console=ttyNONE"] });
    await vm.client.createSandbox(sandboxRequest("pod") as never);
    const ended = await runContainer(vm.client, { id: "quiet", rootPath: "/run/kata-containers/shared/containers/rootfs", args: ["/bin/sh", "-c", "echo out; echo err >&2"] });
    expect(ended).toEqual({ status: 0, stdout: "out\n", stderr: "err\n" });
  } finally {
    rmSync(share, { recursive: true, force: true });
  }
});
