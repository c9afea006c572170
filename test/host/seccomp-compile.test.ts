// Profiles that take long to compile, or fit into no filter: a helper compiles them, with limits, while others are served.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { containerRequest, finish, makeRootfs } from "../helpers/guest.js";
import { startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

/** Calls that a container can do without. */
const RARE = ["acct", "add_key", "bpf", "chroot", "getpmsg", "io_cancel", "io_destroy", "kexec_load", "lookup_dcookie", "mincore", "mq_open", "msgget", "nfsservctl", "personality", "quotactl", "readahead", "semget", "shmget", "swapoff", "sysfs", "tee", "uselib", "ustat", "vhangup", "vmsplice"];

suite("a seccomp profile", { needs: ["agent"] }, () => {
  let agent: PrivateAgent;
  let root: string;
  const request = (id: string, syscalls: object[], action = "SCMP_ACT_ALLOW"): never => {
    const asked = containerRequest({ id, rootPath: join(root, "rootfs"), args: ["sh", "-c", "chroot / true && echo yes || echo no"] }) as { oci: { linux: Record<string, unknown> } };
    asked.oci.linux.seccomp = { defaultAction: action, architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], syscalls };
    return asked as never;
  };
  const outcome = (id: string, syscalls: object[]): Promise<string> => agent.client.createContainer(request(id, syscalls)).then(() => "made", String);
  const equals = (name: string, value: number): object => ({ names: [name], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value, op: "SCMP_CMP_EQ" }] });

  const start = async (settings: string): Promise<void> => {
    await agent?.stop();
    agent = await startPrivateAgent(settings, "mkdir -p /run/kata-containers/sandbox/shm");
  };
  beforeAll(() => {
    root = makeRootfs();
  });
  afterAll(async () => {
    await agent?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  it("that a helper has compiled is in force, the first time and when it is kept", async () => {
    await start("");
    const many = Array.from({ length: 400 }, (_, i) => equals(RARE[2 + (i % 20)] as string, i));
    for (const id of [`first${process.pid}`, `second${process.pid}`]) {
      await agent.client.createContainer(request(id, [...many, { names: ["chroot"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }]));
      await agent.client.startContainer({ containerId: id });
      expect((await finish(agent.client, { containerId: id, execId: id })).stdout).toBe("no\n");
      await agent.client.removeContainer({ containerId: id });
    }
  });

  it("that says the same again and again is short", async () => {
    const id = `again${process.pid}`;
    expect(await outcome(id, Array.from({ length: 4000 }, (_, i) => ({ names: [RARE[i % RARE.length] as string], action: "SCMP_ACT_ERRNO" })))).toBe("made");
    await agent.client.removeContainer({ containerId: id });
  });

  const named = (names: readonly string[], value: number): object => ({ ...equals("", value), names });
  it.each([
    ["more rules than a filter has room for", Array.from({ length: 250 }, (_, i) => named(RARE.slice(0, 20), i)), /linux\.seccomp\.syscalls: more than 4096 rules/],
    ["more rules than can sensibly be listed", Array.from({ length: 900 }, (_, i) => named(RARE.slice(0, 20), i % 7)), /linux\.seccomp\.syscalls: more than 16384 rules/],
  ])("with %s is refused by its field", async (_, syscalls, text) => {
    const said = await outcome(`large${process.pid}`, syscalls);
    expect(said).toContain("INVALID_ARGUMENT");
    expect(said).toMatch(text);
  });

  it("that takes too long ends by its deadline; others are served meanwhile", async () => {
    await start("share_timeout = { secs = 0, nanos = 20000000 }");
    const slow = outcome(`slow${process.pid}`, Array.from({ length: 4000 }, (_, i) => equals(RARE[i % RARE.length] as string, i)));
    await agent.client.call("Check", {});
    expect(await slow).toContain("DEADLINE_EXCEEDED");
    expect(await slow).toContain("compile linux.seccomp");
  });
});
