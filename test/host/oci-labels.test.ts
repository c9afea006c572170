// AppArmor profiles, SELinux labels and session keyrings by the command line. This machine need not have the modules: that one is
// there is feigned where the engine looks for it, and the kernel's refusal of the label shows that it was asked.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { Bundles, type Config } from "../helpers/oci-bundle.js";
import { having, suite, when } from "../helpers/suite.js";

const withoutModules = when(!existsSync("/sys/module/apparmor") && !existsSync("/sys/fs/selinux"), "AppArmor or SELinux is enabled here");
const attributes = when(existsSync("/proc/self/attr/exec"), "this kernel has no /proc/self/attr/exec");

/** In a mount namespace where AppArmor seems to be enabled. */
const feigned = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/module && mkdir -p /sys/module/apparmor/parameters && echo Y > /sys/module/apparmor/parameters/enabled && exec "$@"', "sh"];
const profile = (c: Config): void => void (c.process["apparmorProfile"] = "some-profile");

suite("labels", { needs: ["agent"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());

  having(withoutModules)("that no module is there for are left out with a warning that names the field", () => {
    const { status, stdout, stderr } = box.run("echo ran", (c) => {
      profile(c);
      c.process["selinuxLabel"] = "system_u:system_r:container_t:s0";
      c.linux["mountLabel"] = "system_u:object_r:container_file_t:s0";
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "ran\n" });
    for (const text of ["process.apparmorProfile: AppArmor", "process.selinuxLabel: SELinux", "linux.mountLabel: SELinux"]) expect(stderr).toContain(`level=warning msg="${text} is not enabled here: not applied"`);
    const id = box.sleeper();
    const inside = box.command(["exec", "--apparmor", "p", "--process-label", "l", id, "/bin/echo", "ran"]);
    expect(inside).toMatchObject({ status: 0, stdout: "ran\n", stderr: expect.stringContaining("process.selinuxLabel: SELinux is not enabled here") });
  });

  having(withoutModules, attributes)("are told to the kernel, and what it does not take ends the container", () => {
    const id = box.id();
    const refused = box.command(["run", "--bundle", box.make("echo ran", profile), id], feigned);
    expect(refused).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining('process.apparmorProfile: "exec some-profile": write: EINVAL') });
    expect(box.command(["state", id]).status).toBe(1);
    const user = (c: Config): void => void (c.process["user"] = { uid: 1000, gid: 1000 });
    expect(box.run("echo ran", (c) => (profile(c), user(c)), feigned).stderr).toContain("write: EINVAL");
    const other = box.sleeper();
    expect(box.command(["exec", "--apparmor", "some-profile", other, "/bin/echo", "ran"], feigned)).toMatchObject({ status: 255, stdout: "", stderr: expect.stringContaining("write: EINVAL") });
  });

  having("compiler")("a container's processes share a session keyring of their own, unless told not to", () => {
    // KEYCTL_DESCRIBE of KEY_SPEC_SESSION_KEYRING, and its id by KEYCTL_GET_KEYRING_ID
    const source = '#include <stdio.h>\n#include <unistd.h>\n#include <sys/syscall.h>\nint main(void) { char s[200] = ""; syscall(SYS_keyctl, 6, -3, s, sizeof s); printf("%ld %s\\n", syscall(SYS_keyctl, 0, -3, 0), s); }';
    const program = join(box.folder, "keyring");
    execFileSync("musl-gcc", ["-static", "-s", "-Os", "-x", "c", "-o", program, "-"], { input: source });
    const mounted = (c: Config): void => void c.mounts.push({ destination: "/keyring", type: "bind", source: program, options: ["bind", "ro"] });
    const caller = execFileSync(program, { encoding: "utf8" });
    const [id, apart] = [box.id(), box.id()];
    for (const [name, flags] of [[id, []], [apart, ["--no-new-keyring"]]] as const) {
      const bundle = box.make("/keyring > /tmp/first; sleep 1000", mounted);
      expect(box.quiet(["create", ...flags, "--bundle", bundle, name])).toMatchObject({ status: 0 });
      expect(box.quiet(["start", name])).toMatchObject({ status: 0 });
    }
    const seen = (name: string): string[] => box.command(["exec", name, "/bin/sh", "-c", "until test -s /tmp/first; do :; done; cat /tmp/first; /keyring"]).stdout.split("\n");
    const [first, second] = seen(id);
    expect(first).toContain(`keyring;0;0;3f1b0000;_ses.${id}`);
    expect(second).toBe(first);
    expect(first).not.toBe(caller.trim());
    expect(seen(apart)).toEqual([caller.trim(), caller.trim(), ""]);
    const mapped = box.run("/keyring", (c) => {
      mounted(c);
      c.linux.namespaces.push({ type: "user" });
      c.linux["uidMappings"] = [{ containerID: 0, hostID: 0, size: 1000 }];
      c.linux["gidMappings"] = [{ containerID: 0, hostID: 0, size: 1000 }];
    });
    expect(mapped.stdout).toMatch(/keyring;0;0;3f130008;_ses\./);
  });
});
