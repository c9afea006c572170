// What other people's suites found in the command line and this repository's own tests had not: each a mistake once made here.
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";

suite("what other suites have found", { needs: ["agent"] }, () => {
  let box: Bundles;
  beforeAll(() => void (box = new Bundles()));
  afterAll(() => box?.stop());
  const forbidding = (...names: string[]): ConfigChange => (c: Config) => {
    c.process["noNewPrivileges"] = false;
    c.process["args"] = ["true"];
    c.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names, action: "SCMP_ACT_ERRNO" }] };
  };

  it.each([["getcwd"], ["faccessat2"], ["statx"]])("a filter that forbids %s and is loaded early keeps no program from being found", (name) => {
    expect(box.run("", forbidding(name))).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  it("a configuration without a process can be created and started, and has ended then", async () => {
    const id = box.id();
    const bundle = box.make("", (c) => void delete (c as { process?: unknown }).process);
    for (const args of [["create", "--bundle", bundle, id], ["start", id]]) expect(box.quiet(args)).toMatchObject({ status: 0 });
    await expect.poll(() => (JSON.parse(box.command(["state", id]).stdout) as { status: string }).status).toBe("stopped");
    expect(box.quiet(["delete", id])).toMatchObject({ status: 0 });
  });

  it("a program that cannot be executed is named with the reason", () => {
    const id = box.sleeper((c) => {
      const file = join(box.folder, "script");
      writeFileSync(file, "#!/no/interpreter\n");
      chmodSync(file, 0o755);
      c.mounts.push({ destination: "/script", type: "bind", source: file, options: ["bind"] });
    });
    const { status, stderr } = box.command(["exec", id, "/script"]);
    expect(status).toBe(255);
    expect(stderr).toContain("exec /script: no such file or directory");
  });

  it("a destination that begins with the root's path lies in the root, and binds of the container's own tree see earlier mounts", () => {
    const data = join(box.folder, "data");
    mkdirSync(data);
    writeFileSync(join(data, "file"), "data\n");
    const maps = [{ containerID: 0, hostID: 0, size: 65536 }];
    for (const user of [false, true]) {
      const root = join(box.make(""), "rootfs");
      const outcome = box.run("cat /copy/file", (c) => {
        c.root["path"] = root;
        c.mounts.push({ destination: "/first", type: "bind", source: data, options: ["bind"] }, { destination: `${root}/copy`, type: "bind", source: `${root}/first`, options: ["rbind"] });
        if (user) Object.assign(c.linux, { namespaces: [...c.linux.namespaces, { type: "user" }], uidMappings: maps, gidMappings: maps });
      });
      expect([user, outcome]).toEqual([user, { status: 0, stdout: "data\n", stderr: "" }]);
    }
  });
});
