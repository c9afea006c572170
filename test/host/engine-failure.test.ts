// What cannot be done says so with the step's name, and leaves nothing: no mount, cgroup, process, descriptor or folder.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Box, type Change } from "../helpers/engine-box.js";
import { execIn } from "../helpers/guest.js";
import { failure } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

suite("a container that cannot be made", { needs: ["agent"] }, () => {
  let box: Box;
  let before: string[];
  beforeAll(async () => {
    box = await Box.start();
    before = box.state();
  });
  afterAll(() => box?.stop());
  afterEach(() => {
    expect(box.state()).toEqual(before);
  });
  const refused = (change: Change, args = ["/bin/true"]): Promise<string> => failure(box.create(args, change));

  it.each<[string, string[], string]>([
    ["is not there", ["/bin/nonesuch"], "the file /bin/nonesuch was not found"],
    ["is nowhere in PATH", ["nonesuch"], "executable file not found in $PATH"],
    ["is a directory", ["/etc"], "permission denied"],
  ])("because its command %s", async (_what, args, message) => {
    expect(await refused(() => undefined, args)).toContain(message);
  });

  it("because its command may not be executed", async () => {
    const root = box.root();
    writeFileSync(join(root, "bin/plain"), "x", { mode: 0o644 });
    expect(await failure(box.create(["/bin/plain"], undefined, root))).toContain("permission denied");
    rmSync(root, { recursive: true });
  });

  it.each<[string, Change, RegExp]>([
    ["an unknown capability", (s) => (s.process["capabilities"] = { bounding: ["CAP_FLY"] }), /process\.capabilities\.bounding\[0\]: unknown capability "CAP_FLY"/],
    ["an unknown seccomp action", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_MAYBE" }), /linux\.seccomp\.defaultAction: unknown action "SCMP_ACT_MAYBE"/],
    ["an unknown seccomp architecture", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_Z80"] }), /unknown architecture "SCMP_ARCH_Z80"/],
    ["an unknown limit", (s) => (s.process["rlimits"] = [{ type: "RLIMIT_LUCK", hard: 1, soft: 1 }]), /unknown limit "RLIMIT_LUCK"/],
    ["an unknown namespace", (s) => (s.linux["namespaces"] = [{ type: "soul" }]), /unknown namespace "soul"/],
    ["an unknown file system", (s) => s.mounts.push({ destination: "/x", type: "nofs", source: "nofs", options: [] }), /mount nofs \(nofs\) on \/x: .*ENODEV/],
    ["a bind of nothing", (s) => s.mounts.push({ destination: "/x", type: "bind", source: "/nonesuch", options: ["bind"] }), /mount \/nonesuch .* on \/x: .*ENOENT/],
    ["a bad mount option", (s) => s.mounts.push({ destination: "/x", type: "tmpfs", source: "tmpfs", options: ["size=lots"] }), /mount tmpfs \(tmpfs\) on \/x: .*EINVAL/],
    ["a root that is not there", (s) => (s.root["path"] = "/nonesuch"), /root file system .*ENOENT/],
    ["a limit that the kernel refuses", (s) => (s.linux.resources["memory"] = { limit: 4096, swap: 1 }), /memory\.swap: 1 is below/],
    ["a cgroup outside its tree", (s) => (s.linux["cgroupsPath"] = "/../x"), /linux\.cgroupsPath/],
    ["a hook that fails", (s) => (s["hooks"] = { createContainer: [{ path: "/bin/sh", args: ["sh", "-c", "echo no luck >&2; exit 3"] }] }), /createContainer hook #0: \/bin\/sh: exit status 3: no luck/],
    ["id mappings that overlap", (s) => {
      (s.linux["namespaces"] as unknown[]).push({ type: "user" });
      s.linux["uidMappings"] = s.linux["gidMappings"] = [{ containerID: 0, hostID: 0, size: 1 }, { containerID: 0, hostID: 5, size: 1 }];
    }, /linux.uidMappings\[1\]: has ids of/],
    ["a namespace that is not there", (s) => (s.linux["namespaces"] = [{ type: "mount" }, { type: "uts" }, { type: "network", path: "/nonesuch" }]), /open the namespace \/nonesuch: .*ENOENT/],
    ["a namespace that is none", (s) => (s.linux["namespaces"] = [{ type: "mount" }, { type: "uts" }, { type: "network", path: "/dev/null" }]), /open the namespace \/dev\/null: is not a namespace/],
    ["a namespace that is not there, to be born in", (s) => {
      s.linux["namespaces"] = [{ type: "mount" }, { type: "uts" }, { type: "user" }, { type: "network", path: "/nonesuch" }];
      s.linux["uidMappings"] = s.linux["gidMappings"] = [{ containerID: 0, hostID: 0, size: 65536 }];
    }, /open the namespace \/nonesuch: .*ENOENT/],
    ["a prestart hook that fails", (s) => (s["hooks"] = { prestart: [{ path: "/bin/false" }] }), /prestart hook #0: \/bin\/false: exit status 1/],
  ])("because of %s", async (_what, change, message) => {
    expect(await refused(change)).toMatch(message);
  });

  it("because its name is taken, which does the first one no harm", async () => {
    const id = await box.sleeper();
    const again = await failure(box.agent.client.createContainer({ containerId: id, execId: id, oci: { process: { args: ["x"] } } } as never));
    expect(again).toContain("already exists");
    expect((await execIn(box.agent.client, id, "alive", ["/bin/echo", "yes"])).stdout).toBe("yes\n");
    await box.remove(id);
  });

  it("because its cgroup is in use", async () => {
    const id = await box.sleeper();
    expect(await refused((s) => (s.linux["cgroupsPath"] = `/katactl/${id}`))).toContain("has processes in it");
    await box.remove(id);
  });
});

suite("what a container refuses", { needs: ["agent"] }, () => {
  let box: Box;
  let before: string[];
  beforeAll(async () => {
    box = await Box.start();
    before = box.state();
  });
  afterAll(() => box?.stop());
  afterEach(() => {
    expect(box.state()).toEqual(before);
  });

  it("is a second start", async () => {
    const id = await box.sleeper();
    expect(await failure(box.start(id))).toMatch(/cannot start container/);
    await box.remove(id);
  });

  it("is a start of what has died meanwhile", async () => {
    const id = await box.create(["/bin/sleep", "1000"]);
    await box.agent.client.signalProcess({ containerId: id, signal: 9 });
    expect((await box.agent.client.waitProcess({ containerId: id, execId: id })).status).toBe(137);
    expect(await failure(box.start(id))).toMatch(/start container/);
    await box.remove(id);
  });

  it("is an exec of a missing command, of a taken id, and in a paused or dead container", async () => {
    const { client } = box.agent;
    const id = await box.sleeper();
    const exec = (execId: string, args: string[]): Promise<unknown> => client.execProcess({ containerId: id, execId, process: { args, env: ["PATH=/bin"], cwd: "/", user: {} } } as never);
    expect(await failure(exec("a", ["/bin/nonesuch"]))).toContain("the file /bin/nonesuch was not found");
    await exec("b", ["/bin/sleep", "1000"]);
    expect(await failure(exec("b", ["/bin/true"]))).toContain("already exists");
    expect(await failure(exec(id, ["/bin/true"]))).toContain("already exists");
    await client.pauseContainer({ containerId: id });
    expect(await failure(exec("c", ["/bin/true"]))).toContain("it is paused");
    await client.resumeContainer({ containerId: id });
    await client.signalProcess({ containerId: id, signal: 9 });
    await client.waitProcess({ containerId: id, execId: id });
    expect(await failure(exec("d", ["/bin/true"]))).toContain("it is stopped");
    await box.remove(id);
  });

  it("is not an exec before its start", async () => {
    const id = await box.create(["/bin/sleep", "1000"]);
    expect((await execIn(box.agent.client, id, "early", ["/bin/sh", "-c", "echo $$; cat /proc/1/comm"])).status).toBe(0);
    await box.start(id);
    await box.remove(id);
  });

  it("is not its removal while it runs, with execs, paused, or before its start", async () => {
    const { client } = box.agent;
    const id = await box.sleeper();
    await client.execProcess({ containerId: id, execId: "x", process: { args: ["/bin/sleep", "1000"], env: ["PATH=/bin"], cwd: "/", user: {} } } as never);
    const waiting = client.waitProcess({ containerId: id, execId: "x" });
    await client.pauseContainer({ containerId: id });
    await box.remove(id);
    expect((await waiting).status).toBe(137);
    await box.remove(await box.create(["/bin/sleep", "1000"]));
  });
});
