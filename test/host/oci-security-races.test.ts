// Black-box checks of the command line against the races that container engines have lost: a helper (oci-spy.c) exchanges names in a
// folder that a container shares while others are made with mounts on it. Bounded rounds: they prove nothing when they pass once,
// but each was seen to fail: [1.1.5 fails] with OCI_RUNTIME=/usr/sbin/runc (runc 1.1.5), the others as said at each.
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, type ConfigChange, type Outcome } from "../helpers/oci-bundle.js";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";
import { mounts } from "../soak/traces.js";

const RUNTIME = process.env["OCI_RUNTIME"] ?? BINARY;
const ROUNDS = 40;

suite("while somebody exchanges names in a shared folder", { needs: ["agent", "compiler"] }, () => {
  let box: Bundles;
  let n = 0;
  beforeAll(() => {
    box = new Bundles(RUNTIME, true);
    execFileSync("musl-gcc", ["-static", "-s", "-Os", "-o", join(box.folder, "spy"), "test/host/oci-spy.c"]);
  });
  afterAll(() => box?.stop());

  const folder = (name: string): string => {
    const dir = join(box.folder, `${name}${n++}`);
    mkdirSync(dir);
    return dir;
  };
  /** Exchanges the two paths all the time that `work` takes. */
  const swapping = async (a: string, b: string, work: () => void): Promise<void> => {
    const child: ChildProcess = spawn(join(box.folder, "spy"), ["swap", a, b], { stdio: "ignore" });
    try {
      work();
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  };
  /** Runs one bundle again and again; what each run gave. How many came to their program decides whether the race was run at all. */
  const rounds = (bundle: string, count = ROUNDS): Outcome[] => Array.from({ length: count }, () => box.command(["run", "--bundle", bundle, box.id()]));

  // [1.1.5 fails]: folders appear in the host's folder (CVE-2024-45310).
  it("a mount and its folders stay inside the root (CVE-2021-30465, CVE-2024-45310)", async () => {
    const shared = folder("shared");
    const host = folder("host");
    const first = join(shared, "dir");
    mkdirSync(join(first, "x"), { recursive: true });
    symlinkSync(`${"../".repeat(20)}${host.slice(1)}`, join(shared, "link"));
    const change = (destination: string): ConfigChange => (c) =>
      c.mounts.push({ destination: "/shared", type: "bind", source: shared, options: ["rbind"] }, { destination, type: "tmpfs", source: "raced", options: ["size=64k"] });
    let ran = 0;
    for (const destination of ["/shared/dir/x/y/z", "/shared/dir", "/shared/dir/x"]) {
      const bundle = box.make("grep -c ' raced ' /proc/self/mountinfo", change(destination));
      await swapping(first, join(shared, "link"), () => {
        for (const { status, stdout } of rounds(bundle)) {
          if (status === null) throw new Error("a command did not end");
          if (stdout === "1\n") ran++;
          else expect({ destination, status, stdout }).not.toMatchObject({ status: 0 }); // it lies somewhere else
        }
      });
      expect(readdirSync(host)).toEqual([]);
    }
    expect(ran).toBeGreaterThan(0);
    expect(mounts(host)).toEqual([]);
  }, 120_000);

  // [1.1.5 fails]: the masked file shows what the link leads to.
  it("a masked file is masked by the real null device (CVE-2025-31133)", async () => {
    const dev = folder("dev");
    for (const name of ["pts", "shm"]) mkdirSync(join(dev, name));
    spawnSync("mknod", [join(dev, "null"), "c", "1", "3"]);
    symlinkSync("/proc/sys/kernel/core_pattern", join(dev, "other"));
    const bundle = box.make("stat -c %t:%T /proc/keys; cat /proc/keys", (c) => {
      c.mounts = c.mounts.map((m) => (m["destination"] === "/dev" ? { destination: "/dev", type: "bind", source: dev, options: ["rbind"] } : m));
      c.linux["maskedPaths"] = ["/proc/keys"];
    });
    let ran = 0;
    await swapping(join(dev, "null"), join(dev, "other"), () => {
      for (const { status, stdout } of rounds(bundle, 2 * ROUNDS)) {
        if (status === 0 && ++ran > 0) expect(stdout).toBe("1:3\n");
        else expect(stdout).toBe("");
      }
    });
    expect(ran).toBeGreaterThan(0);
  }, 120_000);

  // [1.1.5 fails]: the fake file is written.
  it("sysctls and labels go to procfs and to nothing else (CVE-2025-52881)", async () => {
    const shared = folder("shared");
    for (const name of ["proc", "fake"]) mkdirSync(join(shared, name));
    mkdirSync(join(shared, "fake/sys/net/ipv4"), { recursive: true });
    mkdirSync(join(shared, "fake/self/attr"), { recursive: true });
    for (const file of ["sys/net/ipv4/ip_forward", "self/attr/exec"]) writeFileSync(join(shared, "fake", file), "untouched");
    const bundle = box.make("cat /proc/sys/net/ipv4/ip_forward", (c) => {
      c.linux["sysctl"] = { "net.ipv4.ip_forward": "1" };
      c.root["path"] = shared;
    });
    execFileSync("cp", ["-a", `${bundle}/rootfs/.`, shared]);
    let ran = 0;
    await swapping(join(shared, "proc"), join(shared, "fake"), () => {
      for (const { status, stdout } of rounds(bundle)) if (status === 0 && ++ran > 0) expect(["1\n", "untouched"]).toContain(stdout);
    });
    const fake = ["fake", "proc"].map((name) => join(shared, name)).find((dir) => readdirSync(dir).includes("self")) ?? "";
    for (const file of ["sys/net/ipv4/ip_forward", "self/attr/exec"]) expect(readFileSync(join(fake, file), "utf8")).toBe("untouched");
    expect(ran).toBeGreaterThan(0);
  }, 120_000);

  suite("a terminal", { needs: ["program:script"] }, () => {
    /** A terminal container whose /dev/pts is a folder of the host (or its own); inside it says what its console is. */
    const console = (pts?: string): Outcome => {
      const bundle = box.make("stat -c %t /dev/console; [ -c /dev/console ] || cat /dev/console", (c) => {
        c.process["terminal"] = true;
        c.mounts = c.mounts.map((m) => (pts !== undefined && m["destination"] === "/dev/pts" ? { destination: "/dev/pts", type: "bind", source: pts, options: ["rbind"] } : m));
      });
      const run = [join(box.folder, "kata-oci"), "--root", join(box.folder, "state"), "run", "--bundle", bundle, box.id()].join(" ");
      const { status, stdout, stderr } = spawnSync("timeout", ["10", "script", "-qec", `${run} </dev/null`, "/dev/null"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      return { status, stdout: stdout.replaceAll("\r", ""), stderr };
    };
    // Fails when the slave is found by its number in /dev/pts and not by TIOCGPTPEER.
    it("is a real one though /dev/pts is a folder of others (CVE-2025-52565)", () => {
      expect(console().stdout.split("\n")[0]).toBe("88");
      for (const target of ["/proc/sys/kernel/core_pattern", "/dev/null"]) {
        const pts = folder("pts");
        for (let i = 0; i < 8; i++) symlinkSync(target, join(pts, String(i)));
        for (const ptmx of ["/dev/pts/ptmx", "/dev/ptmx", target]) {
          spawnSync("ln", ["-sfn", ptmx, join(pts, "ptmx")]);
          const { stdout } = console(pts);
          expect(stdout.split("\n")[0] === "88" || !/^\d+$/m.test(stdout), `${ptmx}: ${stdout}`).toBe(true); // 136 in hexadecimal
          expect(stdout).not.toMatch(/^core$|\|/m);
        }
      }
    });
    it("is a real one while names in there change (CVE-2025-52565)", async () => {
      const pts = folder("pts");
      spawnSync("mknod", [join(pts, "ptmx"), "c", "5", "2"]);
      symlinkSync("/proc/sys/kernel/core_pattern", join(pts, "0"));
      symlinkSync("/dev/ptmx", join(pts, "1"));
      await swapping(join(pts, "ptmx"), join(pts, "1"), () => {
        for (let i = 0; i < 20; i++) {
          const { stdout } = console(pts);
          expect(stdout.split("\n")[0] === "88" || !/^\d+$/m.test(stdout), stdout).toBe(true);
        }
      });
    }, 120_000);
  });
});
