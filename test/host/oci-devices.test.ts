// What the command line makes of devices, and of a /dev that an image or a mount has bent.
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, sh, type ConfigChange } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";

suite("devices of a bundle", { needs: ["agent"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());
  const ok = (stdout: string): object => ({ status: 0, stdout, stderr: "" });
  const refused = (message: string): object => ({ status: 1, stdout: "", stderr: expect.stringContaining(message) as string });

  it("are made where they are asked for, with mode and owner, and may be there already", () => {
    const change: ConfigChange = (c) => {
      c.linux["devices"] = [
        { path: "/etc/dev/mynull", type: "c", major: 1, minor: 3, fileMode: 0o640, uid: 7, gid: 8 }, { path: "/dev/pipe", type: "p", fileMode: 0o600 },
        { path: "/dev/loop/", type: "b", major: 7, minor: 1 }, { path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 0o666 },
      ];
    };
    expect(box.run("stat -c '%n %F %a %u:%g %t:%T' /etc/dev/mynull /dev/pipe /dev/loop /dev/null", change)).toEqual(ok(
      "/etc/dev/mynull character special file 640 7:8 1:3\n/dev/pipe fifo 600 0:0 0:0\n/dev/loop block special file 666 0:0 7:1\n/dev/null character special file 666 0:0 1:3\n"));
    const bundle = box.make("true", (c) => (c.linux["devices"] = [{ path: "/etc/there", type: "c", major: 1, minor: 3 }]));
    writeFileSync(join(bundle, "rootfs/etc/there"), "");
    expect(box.command(["run", "--bundle", bundle, box.id()])).toEqual(refused("make the device /etc/there: something else is there already"));
  });

  it("are refused without numbers", () => {
    expect(box.run("true", (c) => (c.linux["devices"] = [{ path: "/dev/x", type: "b", major: 1 }]))).toEqual(refused("linux.devices[0].minor: is missing"));
  });

  it("have their links only in a /dev of the container's own, which no link of the image leads away", () => {
    const links = "for l in fd stdin stdout stderr ptmx core; do readlink /dev/$l; done";
    expect(box.run(links).stdout).toBe(`/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n${existsSync("/proc/kcore") ? "/proc/kcore\n" : ""}`);
    const outside = box.outside();
    writeFileSync(join(outside, "ptmx"), "mine");
    for (const withDev of [true, false]) {
      const bundle = box.make("true", (c) => {
        if (!withDev) c.mounts = c.mounts.filter((m) => !String(m["destination"]).startsWith("/dev"));
        c.linux["devices"] = [{ path: "/dev/x", type: "c", major: 1, minor: 3 }];
      });
      sh(`rmdir ${bundle}/rootfs/dev && ln -s ../../../../../../..${outside} ${bundle}/rootfs/dev`);
      box.command(["run", "--bundle", bundle, box.id()]);
      expect(readdirSync(outside)).toEqual(["ptmx"]);
      expect(readFileSync(join(outside, "ptmx"), "utf8")).toBe("mine");
    }
  });

  it("of the image are not what masks a file", () => {
    const dev = join(box.folder, "baddev");
    mkdirSync(dev);
    symlinkSync("/proc/sys/kernel/core_pattern", join(dev, "null"));
    const change: ConfigChange = (c) => {
      c.mounts = [{ destination: "/proc", type: "proc", source: "proc" }, { destination: "/dev", type: "bind", source: dev, options: ["bind"] }];
      c.linux["maskedPaths"] = ["/proc/keys", "/etc", "/not/there"];
      c.linux["readonlyPaths"] = ["/tmp", "/not/there"];
    };
    const { stdout, stderr } = box.run("stat -c '%F %t:%T' /proc/keys; ls /etc; touch /etc/x; touch /tmp/x", change);
    expect(stdout).toBe("character special file 1:3\n");
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
  });
});
