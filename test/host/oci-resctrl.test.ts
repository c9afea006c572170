// A container's class of service. Few machines have it, so a folder plays resctrl: the engine finds it where the list of mounts
// says it is, and that list is the test's (a file mounted over /proc/PID/mountinfo of the command).
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, type ConfigChange, type Outcome } from "../helpers/oci-bundle.js";
import { having, suite } from "../helpers/suite.js";

suite("the class of service of a bundle", { needs: ["agent"] }, () => {
  let box: Bundles;
  let root: string;
  beforeAll(() => {
    box = new Bundles();
    root = mkdtempSync(join(tmpdir(), "kata-resctrl-"));
    for (const group of ["gold", "gold/mon_groups", "info"]) mkdirSync(join(root, group));
    writeFileSync(join(root, "gold/schemata"), "    L3:0=0ff;1=f\n");
    writeFileSync(join(root, "gold/tasks"), "");
    writeFileSync(join(root, "info/last_cmd_status"), "Mask is not good\n");
  });
  afterAll(() => {
    box?.stop();
    rmSync(root, { recursive: true, force: true });
  });
  /** Through a shell whose list of mounts has a resctrl more; the command has the shell's pid. */
  const through = (at = root): string[] => ["unshare", "-m", "sh", "-c", `cp /proc/self/mountinfo ${root}/list; echo "999 1 0:99 / ${at} rw - resctrl resctrl rw" >> ${root}/list; mount --bind ${root}/list /proc/$$/mountinfo; exec "$0" "$@"`];
  const run = (intelRdt: object): Outcome => box.run("echo ran", ((c) => (c.linux["intelRdt"] = intelRdt)) as ConfigChange, through());

  it("is a group that is there, and the process is put into it", () => {
    expect(run({ closID: "gold", schemata: ["L3:0=ff"] })).toEqual({ status: 0, stdout: "ran\n", stderr: "" });
    expect(Number(readFileSync(join(root, "gold/tasks"), "utf8"))).toBeGreaterThan(1);
    expect(existsSync(join(root, "gold"))).toBe(true);
  });
  it("must have what is asked for, when it is there", () => {
    expect(run({ closID: "gold", l3CacheSchema: "L3:0=1" })).toMatchObject({ status: 1, stderr: expect.stringContaining('linux.intelRdt: schemata: the group "gold" is there and does not have "L3:0=1"') });
  });
  it("must be there, when nothing is asked for", () => {
    expect(run({ closID: "lead" })).toMatchObject({ status: 1, stderr: expect.stringContaining('linux.intelRdt.closID: there is no group "lead"') });
  });
  it("leaves nothing of what the kernel refused, and tells its reason", () => {
    // a plain folder has no file "schemata" of its own making: the write fails, as the kernel's may
    for (const rdt of [{ memBwSchema: "MB:0=10" }, { closID: "silver", memBwSchema: "MB:0=10" }, { closID: "gold", enableMonitoring: true }]) {
      expect(run(rdt)).toMatchObject({ status: 1, stderr: expect.stringContaining("linux.intelRdt: ") });
    }
    expect(run({ memBwSchema: "MB:0=10" }).stderr).toContain("linux.intelRdt: Mask is not good: ");
    expect([existsSync(join(root, "silver")), readdirSync(root).sort(), readdirSync(join(root, "gold/mon_groups"))]).toEqual([false, ["gold", "info", "list"], []]);
  });
  having("cgroup v1")("ends with the container, and a group with a name stays", () => {
    // folders of cgroup version 1 have a file "tasks" as those of resctrl do
    const groups = `/sys/fs/cgroup/blkio/kata-rdt-${process.pid}`;
    for (const path of ["", "/gold", "/gold/mon_groups"]) mkdirSync(groups + path);
    try {
      for (const [rdt, made] of [[{}, ""], [{ closID: "gold", enableMonitoring: true }, "gold/mon_groups/"]] as const) {
        const id = box.id();
        const args = ["create", "--bundle", box.make("true", (c) => (c.linux["intelRdt"] = rdt)), id];
        expect(box.quiet(args, through(groups))).toMatchObject({ status: 0 });
        expect(existsSync(`${groups}/${made}${id}`)).toBe(true);
        expect(box.quiet(["delete", "--force", id])).toMatchObject({ status: 0 });
        expect(existsSync(`${groups}/${made}${id}`)).toBe(false);
      }
      expect(existsSync(`${groups}/gold`)).toBe(true);
    } finally {
      for (const path of ["/gold/mon_groups", "/gold", ""]) rmdirSync(groups + path);
    }
  });
  it("is refused where there is no resctrl", () => {
    expect(box.run("true", (c) => (c.linux["intelRdt"] = { closID: "gold" })).stderr).toContain("linux.intelRdt: resctrl is not mounted here");
  });
});
