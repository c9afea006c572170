// A pod's life by script, natively: every kind of call once or twice. Under an injected fault any step may fail; none may hang, and
// what the steps made must go away again with RemoveContainer.
import type { AgentClient } from "../../ctl/client/agent-client.js";
import type { Lab } from "../helpers/lab.js";
import { named, outcome, type Oci } from "../helpers/lab.js";

const STEP_MS = 15_000;

export class Hang extends Error {}

const limited = async (what: string, work: Promise<unknown>): Promise<string> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((done) => (timer = setTimeout(() => done("late"), STEP_MS)));
  const said = await Promise.race([outcome(work), late]);
  clearTimeout(timer);
  if (said === "late") throw new Hang(`${what} was not answered within ${STEP_MS} ms`);
  return said;
};

const SHARED = "/run/kata-containers/shared/containers";

/** The steps, on a connection of their own, which a fault may cost; what each said. Throws Hang. `id` is the container's name. */
export const live = async (lab: Lab, id: string): Promise<Map<string, string>> => {
  const client = await lab.another().catch(() => lab.another()); // the fault may cost the first try
  try {
    return await steps(lab, client, id);
  } finally {
    client.close();
  }
};

const steps = async (lab: Lab, client: AgentClient, id: string): Promise<Map<string, string>> => {
  const said = new Map<string, string>();
  const step = async (name: string, work: () => Promise<unknown>): Promise<boolean> => {
    const result = await limited(name, work());
    said.set(name, result);
    return result === "OK";
  };
  const process = (args: string[], more: object = {}): object => ({ Args: args, Env: ["PATH=/bin"], Cwd: "/", User: {}, ...more });
  const wish = lab.request(id, ["/bin/cat"], (spec: Oci) => {
    spec.Linux.Resources["Memory"] = { Limit: 64 << 20 };
    spec.Linux.Resources["Pids"] = { Limit: 50 };
    spec.Linux["Seccomp"] = { DefaultAction: "SCMP_ACT_ALLOW", Architectures: ["SCMP_ARCH_X86_64"], Syscalls: [{ Names: ["mkdir"], Action: "SCMP_ACT_ERRNO", Args: [{ Index: 1, Value: 7, Op: "SCMP_CMP_EQ" }] }] };
  }) as object;
  const storages = [{ driver: "overlayfs", source: "none", fstype: "overlay", options: ["io.katacontainers.fs-opt.overlay-rw", `lowerdir=${lab.root}`], mount_point: `/run/kata-containers/${id}/rootfs` }];
  await step("CopyFile", () => client.copyFile({ path: `${SHARED}/${id}/f`, file_size: 1, file_mode: 0o100644, dir_mode: 0o755, uid: 0, gid: 0, offset: 0, data: Buffer.from("x") } as never));
  if (await step("CreateContainer", () => client.createContainer({ ...wish, storages } as never))) {
    await step("StartContainer", () => client.startContainer({ container_id: id }));
    await step("WriteStdin", () => client.writeStdin({ ...named(id), data: Buffer.from("through\n") }));
    await step("ReadStdout", () => Promise.race([client.readStdout({ ...named(id), len: 100 }), client.waitProcess(named(id)), new Promise((done) => setTimeout(done, 1000))]));
    for (const [name, more] of [["ExecProcess", {}], ["ExecProcess with a terminal", { Terminal: true }]] as const) {
      const exec = named(id, `e${name.length}`);
      if (!(await step(name, () => client.execProcess({ ...exec, process: process(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], more) } as never)))) continue;
      await step(`${name}: ReadStdout`, () => client.readStdout({ ...exec, len: 100 }));
      if (name === "ExecProcess") await step(`${name}: ReadStderr`, () => client.readStderr({ ...exec, len: 100 }));
      else await step("TtyWinResize", () => client.ttyWinResize({ ...exec, row: 5, column: 6 }));
      await step(`${name}: WaitProcess`, () => client.waitProcess(exec));
    }
    await step("StatsContainer", () => client.statsContainer({ container_id: id }));
    await step("UpdateContainer", () => client.updateContainer({ container_id: id, resources: { Pids: { Limit: 60 } } } as never));
    await step("PauseContainer", () => client.pauseContainer({ container_id: id }));
    await step("ResumeContainer", () => client.resumeContainer({ container_id: id }));
    await step("UpdateInterface", () => client.updateInterface({ interface: { device: "lo", name: "lo", IPAddresses: [{ address: "127.0.0.1", mask: "8" }], mtu: 65_536, hwAddr: "00:00:00:00:00:00" } } as never));
    await step("ListRoutes", () => client.listRoutes({}));
    await step("GetVolumeStats", () => client.getVolumeStats({ volume_guest_path: "/run" }));
    await step("SignalProcess", () => client.signalProcess({ container_id: id, exec_id: "", signal: 9 }));
  }
  await step("RemoveContainer", () => client.removeContainer({ container_id: id }));
  await step("a connection", () => lab.another().then((c) => c.close()));
  return said;
};

/**
 * Removes what a life under a fault has left, as its host would: again. A folder that stayed because every helper failed (a fault in all
 * children at once) goes with the next container of that name.
 */
export const clean = async (lab: Lab, id: string): Promise<string> => {
  await limited("ResumeContainer again", lab.client.resumeContainer({ container_id: id }));
  let said = await limited("RemoveContainer again", lab.client.removeContainer({ container_id: id }));
  if (lab.agent.inside("ls /run/kata-containers").split("\n").includes(id)) {
    await limited("CreateContainer again", lab.client.createContainer(lab.request(id, ["/bin/true"])));
    said = await limited("RemoveContainer of the new one", lab.client.removeContainer({ container_id: id }));
  }
  lab.agent.inside(`rm -rf ${SHARED}/${id}; rmdir ${SHARED} ${SHARED}/.. 2>/dev/null || true`);
  return said;
};
