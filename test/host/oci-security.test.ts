// Black-box checks of the command line against the mistakes that container engines have made with paths: links in an image, mounts
// that lead elsewhere, masks that do not mask. Named by CVE. OCI_RUNTIME=/usr/sbin/runc runs the same checks against another runtime:
// with runc 1.1.5 those marked [1.1.5 fails] fail, which shows that they see the mistake; the others were seen to fail on our own
// engine with the defence taken out (named at each).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, rmdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Bundles, type ConfigChange, type Outcome } from "../helpers/oci-bundle.js";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";
import { cgroups, mounts } from "../soak/traces.js";

const RUNTIME = process.env["OCI_RUNTIME"] ?? BINARY;
const UP = "../".repeat(20);

suite("an image or a configuration cannot", { needs: ["agent"] }, () => {
  let box: Bundles;
  let n = 0;
  beforeAll(() => {
    box = new Bundles(RUNTIME, true);
  });
  afterAll(() => box?.stop());

  /** A folder of the host that no container may reach, with one file in it. */
  const outside = (): string => {
    const dir = join(box.folder, `host${n++}`);
    mkdirSync(dir);
    writeFileSync(join(dir, "ptmx"), "untouched");
    return dir;
  };
  const untouched = (dir: string): void => {
    expect(readdirSync(dir)).toEqual(["ptmx"]);
    expect(readFileSync(join(dir, "ptmx"), "utf8")).toBe("untouched");
  };
  /** Runs a bundle whose root was changed before. */
  const runIn = (prepare: (rootfs: string, bundle: string) => void, script: string, change?: ConfigChange): Outcome => {
    const bundle = box.make(script, change);
    prepare(join(bundle, "rootfs"), bundle);
    return box.command(["run", "--bundle", bundle, box.id()]);
  };
  const withoutDev: ConfigChange = (c) => (c.mounts = c.mounts.filter((m) => !(m["destination"] as string).startsWith("/dev")));
  const relink = (path: string, target: string): void => {
    rmSync(path, { recursive: true });
    symlinkSync(target, path);
  };

  // These two fail when /proc and /sys are opened without RESOLVE_NO_SYMLINKS.
  it("send /proc or /sys elsewhere by a link (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867)", () => {
    for (const name of ["proc", "sys"]) {
      for (const target of ["/test", "test", `${UP}test`]) {
        const { status, stderr } = runIn((root) => {
          mkdirSync(join(root, "test"));
          relink(join(root, name), target);
        }, "echo ran");
        expect(status, `${name} -> ${target}`).not.toBe(0);
        expect(stderr).toContain(name);
      }
    }
  });

  it("hide a link at /proc or /sys behind a mount on its target (CVE-2023-27561)", () => {
    for (const [name, type] of [["proc", "proc"], ["sys", "sysfs"]] as const) {
      for (const bind of [false, true]) {
        const { status, stdout } = runIn(
          (root) => {
            mkdirSync(join(root, "test"));
            relink(join(root, name), "/test");
          },
          "echo ran; cat /proc/keys",
          (c) => {
            const own = bind ? { destination: `/${name}`, type: "bind", source: `/${name}`, options: ["rbind"] } : { destination: `/${name}`, type, source: type };
            c.mounts = [{ destination: "/test", type: "tmpfs", source: "tmpfs" }, own, ...c.mounts.filter((m) => m["destination"] !== `/${name}`)];
            c.linux["maskedPaths"] = ["/proc/keys"];
          },
        );
        expect(status, `${name}, bind ${bind}`).not.toBe(0);
        expect(stdout).toBe("");
      }
    }
  });

  it("cover /proc, or what lies in it (CVE-2019-16884)", () => {
    for (const destination of ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/proc/1", "/proc/../proc/thread-self"]) {
      const { status, stderr } = box.run("echo ran", (c) => c.mounts.push({ destination, type: "tmpfs", source: "tmpfs" }));
      expect(status, destination).not.toBe(0);
      expect(stderr).toContain("/proc");
    }
    const bound = box.run("echo ran", (c) => c.mounts.push({ destination: "/proc/self/attr", type: "bind", source: box.folder, options: ["bind"] }));
    expect(bound.status).not.toBe(0);
  });

  it("have labels and sysctls written to what only looks like procfs (CVE-2025-52881, CVE-2025-62161, CVE-2025-62596)", () => {
    const fake = (dir: string): void => {
      mkdirSync(join(dir, "sys/net/ipv4"), { recursive: true });
      mkdirSync(join(dir, "self/attr/apparmor"), { recursive: true });
      for (const file of ["sys/net/ipv4/ip_forward", "self/attr/exec", "self/attr/apparmor/exec"]) writeFileSync(join(dir, file), "untouched");
    };
    const dir = outside();
    fake(dir);
    for (const change of [
      (c: Parameters<ConfigChange>[0]) => (c.linux["sysctl"] = { "net.ipv4.ip_forward": "1" }),
      (c: Parameters<ConfigChange>[0]) => (c.process["apparmorProfile"] = "unconfined"),
      (c: Parameters<ConfigChange>[0]) => (c.process["selinuxLabel"] = "system_u:system_r:container_t:s0"),
    ]) {
      // procfs replaced by a folder: as a bind, and without a procfs at all in a root that has such files
      box.run("true", (c) => {
        change(c);
        c.mounts = [{ destination: "/proc", type: "bind", source: dir, options: ["rbind", "rw"] }, ...c.mounts.slice(1)];
      });
      const bundle = box.make("true", (c) => {
        change(c);
        c.mounts = c.mounts.slice(1);
      });
      fake(join(bundle, "rootfs/proc"));
      box.command(["run", "--bundle", bundle, box.id()]);
      for (const place of [dir, join(bundle, "rootfs/proc")]) {
        for (const file of ["sys/net/ipv4/ip_forward", "self/attr/exec", "self/attr/apparmor/exec"]) expect(readFileSync(join(place, file), "utf8"), file).toBe("untouched");
      }
    }
    const real = box.run("cat /proc/sys/net/ipv4/ip_forward", (c) => (c.linux["sysctl"] = { "net.ipv4.ip_forward": "1" }));
    expect(real).toMatchObject({ status: 0, stdout: "1\n" });
  });

  // Fails when paths are opened below the root without RESOLVE_IN_ROOT.
  it("reach the host by links in the path of a mount (CVE-2019-18837, CVE-2024-45310, CVE-2021-30465)", () => {
    const dir = outside();
    for (const target of [`${UP}${dir.slice(1)}`, dir]) {
      for (const mount of [
        { destination: "/a/x/y", type: "tmpfs", source: "tmpfs" },
        { destination: "/a", type: "tmpfs", source: "tmpfs" },
        { destination: "/a/file", type: "bind", source: "/bin/busybox", options: ["bind"] },
        { destination: "/b/../a/x", type: "bind", source: dir, options: ["rbind"] },
      ]) {
        runIn((root) => {
          symlinkSync(target, join(root, "a"));
          symlinkSync("a", join(root, "b"));
        }, "true", (c) => c.mounts.push(mount));
        untouched(dir);
      }
    }
    expect(mounts(box.folder)).toEqual([]);
  });

  it("have a file of the host written or made by a link in the place of what an engine writes (CVE-2025-24965)", () => {
    const dir = outside();
    const { status } = runIn((root) => {
      for (const name of ["etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf", ".krun_config.json"]) symlinkSync(join(dir, "ptmx"), join(root, name));
      symlinkSync(join(dir, "made"), join(root, "etc/made"));
    }, "true", (c) => c.mounts.push({ destination: "/etc/made", type: "bind", source: "/etc/hostname", options: ["bind"] }));
    untouched(dir);
    expect(status === 0 || status === 1).toBe(true);
  });

  // [1.1.5 fails]: it replaces ptmx and makes four links on the host.
  it("have devices made on the host by a link at /dev (CVE-2026-41579, CVE-2026-47766, CVE-2019-18837)", () => {
    for (const target of [(dir: string) => `${UP}${dir.slice(1)}`, (dir: string) => dir]) {
      const dir = outside();
      runIn((root) => relink(join(root, "dev"), target(dir)), "true", withoutDev);
      untouched(dir);
    }
    const dir = outside();
    const { folder } = box;
    runIn((root, bundle) => relink(join(root, "dev"), `../${dir.slice(folder.length + 1)}/../${bundle.slice(folder.length + 1)}/../${dir.slice(folder.length + 1)}`), "true", withoutDev);
    untouched(dir);
  });

  describe("unmask a file by its own /dev/null (CVE-2025-31133, CVE-2025-62161)", () => {
    const masked: ConfigChange = (c) => (c.linux["maskedPaths"] = ["/proc/keys", "/proc/timer_list", "/dev/null"]);
    const device = (file: string): string => `${(statSync(file).rdev >> 8) & 0xfff}:${statSync(file).rdev & 0xff}`;
    const shows = "stat -c %t:%T /proc/keys; cat /proc/keys";
    const withNull = (prepare: (path: string) => void): Outcome => {
      const dir = join(box.folder, `dev${n++}`);
      for (const name of ["pts", "shm", "mqueue"]) mkdirSync(join(dir, name), { recursive: true });
      prepare(join(dir, "null"));
      return box.run(shows, (c) => {
        masked(c);
        c.mounts = c.mounts.map((m) => (m["destination"] === "/dev" ? { destination: "/dev", type: "bind", source: dir, options: ["rbind"] } : m));
      });
    };
    it("a real one is in its place", () => {
      expect(device("/dev/null")).toBe("1:3");
      expect(box.run(shows, masked)).toMatchObject({ status: 0, stdout: "1:3\n" });
    });
    // All but the last are [1.1.5 fails].
    it.each([
      ["a link to a file of procfs", (path: string) => symlinkSync("/proc/sys/kernel/core_pattern", path)],
      ["a file", (path: string) => writeFileSync(path, "text of the image\n")],
      ["another device", (path: string) => void spawnSync("mknod", [path, "c", "1", "5"])],
      ["nothing", () => undefined],
    ])("%s", (_what, prepare) => {
      const { status, stdout } = withNull(prepare);
      if (status === 0) expect(stdout).toBe("1:3\n");
      else expect(stdout).toBe("");
    });
    it("a hook takes it away before the masks", () => {
      for (const act of ["rm /dev/null", "rm /dev/null; ln -s /proc/sys/kernel/core_pattern /dev/null", "rm /dev/null; echo x > /dev/null"]) {
        const { status, stdout } = box.run(shows, (c) => {
          masked(c);
          c["hooks"] = { createContainer: [{ path: "/bin/sh", args: ["sh", "-c", act.replaceAll("/dev/null", `${box.folder}/bundle*/rootfs/dev/null`)] }] };
        });
        if (status === 0) expect(stdout).toBe("1:3\n");
        else expect(stdout).toBe("");
      }
    });
  });

  it("see or write what is masked or read-only", () => {
    const { stdout, stderr } = box.run(
      "ls -A /sys/firmware /proc/fs | grep -c .; cat /proc/keys | wc -c; touch /sys/firmware/x; touch /proc/fs/x; echo x > /proc/sys/kernel/hostname; echo h > /proc/sysrq-trigger",
      (c) => {
        c.linux["maskedPaths"] = ["/sys/firmware", "/proc/fs", "/proc/keys", "/proc/sysrq-trigger"];
        c.linux["readonlyPaths"] = ["/proc/sys"];
      },
    );
    expect(stdout).toBe("2\n0\n"); // the two headings of ls and nothing below them
    expect(stderr.match(/Read-only file system/g)).toHaveLength(3);
  });

  // Fails when a sysctl's key is not held against the list of those of a namespace.
  it("set what is the host's by a sysctl (CVE-2022-0811)", () => {
    const pattern = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
    for (const key of ["kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "net.ipv4/../../kernel/core_pattern", "vm.overcommit_memory", "kernel.hostname/../core_pattern", ""]) {
      const { status, stderr } = box.run("echo ran", (c) => (c.linux["sysctl"] = { [key]: "|/bin/evil" }));
      expect(status, key).not.toBe(0);
      expect(stderr, key).toContain("sysctl");
    }
    for (const value of ["1+kernel.core_pattern=|/x", "1\nkernel.core_pattern=|/x"]) {
      box.run("true", (c) => (c.linux["sysctl"] = { "kernel.shm_rmid_forced": value }));
    }
    expect(readFileSync("/proc/sys/kernel/core_pattern", "utf8")).toBe(pattern);
  });

  it("give orders to a service manager by its annotations (CVE-2024-3154)", () => {
    const file = join(box.folder, "ordered");
    const { status, stdout } = box.run("echo ran", (c) => (c["annotations"] = { "org.systemd.property.ExecStartPost": `[('/bin/touch', ['/bin/touch', '${file}'], false)]`, "run.oci.systemd.subgroup": "x", "run.oci.handler": "krun" }));
    expect({ status, stdout }).toEqual({ status: 0, stdout: "ran\n" });
    expect(existsSync(file)).toBe(false);
  });

  it("have its root behind a link that leads away, or be without one", () => {
    const bundle = box.make("echo ran");
    rmSync(join(bundle, "rootfs"), { recursive: true });
    expect(box.command(["run", "--bundle", bundle, box.id()]).status).not.toBe(0);
    mkdirSync(join(bundle, "rootfs"));
    rmdirSync(join(bundle, "rootfs"));
  });

  it("take a container's name out of the folder of states", () => {
    for (const id of ["../x", "a/b", "..", ".", "", "a b", "a\nb", "x".repeat(2000)]) expect(box.command(["run", "--bundle", box.make("echo ran"), id]).status, id).not.toBe(0);
    expect(existsSync(join(box.folder, "x"))).toBe(false);
  });

  it("leave a mount or a cgroup", () => {
    expect(mounts(box.folder)).toEqual([]);
    expect(cgroups(`oci${process.pid}n`)).toEqual([]);
  });
});
