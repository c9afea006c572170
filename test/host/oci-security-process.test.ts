// Black-box checks of the command line against the mistakes that container engines have made with what a process is born with and
// who can look at it meanwhile: descriptors, users, capabilities, devices, the engine's own program. Named by CVE.
// OCI_RUNTIME=/usr/sbin/runc runs the same checks against another runtime: with runc 1.1.5 those marked [1.1.5 fails] fail; the
// others were seen to fail on our own engine with the defence taken out (named at each).
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Bundles, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { capNames } from "../../agent/oci/caps.js";
import { until } from "../helpers/lab.js";
import { BINARY } from "../helpers/private-agent.js";
import { has, having, skip, suite } from "../helpers/suite.js";
import { cgroups, mounts } from "../soak/traces.js";

const RUNTIME = process.env["OCI_RUNTIME"] ?? BINARY;
const NOBODY = 65534;
process.env["KATA_OUTSIDE"] = "1"; // of the engine's caller: no process of a container may have it

suite("a process of a container cannot", { needs: ["agent"] }, () => {
  let box: Bundles;
  let marker: string;
  let engine: string;
  let home: string;
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), "kata-engine-"));
    engine = join(home, "engine"); // a copy: one of these tests may destroy it
    copyFileSync(RUNTIME, engine);
    box = new Bundles(engine, true);
    chmodSync(box.folder, 0o755);
    marker = join(box.folder, "marker");
    writeFileSync(marker, "the host's");
    if (has("musl-gcc")) execFileSync("musl-gcc", ["-static", "-s", "-Os", "-o", join(box.folder, "spy"), "test/host/oci-spy.c"]);
  });
  afterAll(() => {
    box?.stop();
    rmSync(home, { recursive: true, force: true });
  });
  const withHostFd = ["sh", "-c", `exec 9</; exec 7</tmp; exec "$@"`, "sh"];
  const withCaps = (...caps: string[]): ConfigChange => (c) => {
    for (const list of Object.values(c.process["capabilities"] as Record<string, string[]>)) list.push(...caps);
  };
  const allCaps = (): string[] => capNames({ low: 0xffffffff, high: 0xffffffff });
  /** The words of its status file that name ids and capabilities. */
  const status = (text: string, name: string): string[] => new RegExp(`^${name}:\\s*?(.*)$`, "m").exec(text)?.[1]?.split(/\s+/).filter(Boolean) ?? [];

  // These three fail when the sweeps of descriptors leave out 7 and 9 and getcwd is not looked at.
  it("begin in a folder of the host by a descriptor (CVE-2024-21626)", () => {
    const sleeper = box.sleeper();
    for (const through of [[], withHostFd]) {
      for (let n = 3; n < 21; n++) {
        for (const cwd of [`/proc/self/fd/${n}`, `/proc/self/fd/${n}/../..`]) {
          expect(box.run("echo ran; pwd", (c) => (c.process["cwd"] = cwd), through).status, cwd).not.toBe(0);
          expect(box.command(["exec", "--cwd", cwd, sleeper, "/bin/ls"], through).status, `exec ${cwd}`).not.toBe(0);
        }
      }
    }
    for (const cwd of ["/dev/fd/9", "/proc/1/fd/9", "/proc/thread-self/fd/9", "/proc/1/cwd/../.."]) {
      const { stdout } = box.command(["exec", "--cwd", cwd, sleeper, "/bin/sh", "-c", `ls ..${marker}`], withHostFd);
      expect(stdout, cwd).toBe("");
    }
  });

  it("begin with a program of the host by a descriptor", () => {
    const sleeper = box.sleeper();
    for (let n = 3; n < 21; n++) {
      const program = `/proc/self/fd/${n}/bin/busybox`; // static: it needs nothing of the root
      expect(box.run("", (c) => (c.process["args"] = [program, "true"]), withHostFd).status, program).not.toBe(0);
      expect(box.command(["exec", sleeper, program, "true"], withHostFd).status, `exec ${program}`).not.toBe(0);
    }
  });

  it("inherit a descriptor of the engine or of its caller (CVE-2024-21626, CVE-2016-9962)", () => {
    const sleeper = box.sleeper(undefined, withHostFd);
    const lists = "ls /proc/self/fd; ls /proc/1/fd";
    expect(box.run("ls /proc/self/fd", undefined, withHostFd).stdout.trim().split(/\s+/)).toEqual(["0", "1", "2", "3"]); // 3: the listing's own
    expect(box.command(["exec", sleeper, "/bin/sh", "-c", lists], withHostFd).stdout.trim().split(/\s+/)).toEqual(["0", "1", "2", "3", "0", "1", "2"]);
  });

  /** A container that looks at what it can while `once` (an exec) is done so many times; its finds. */
  const spied = async (caps: readonly string[], runs: number, once?: (id: string) => object, further = false): Promise<string[]> => {
    const spy = ["/spy", "watch", marker, String(statSync(engine).size), "/found"];
    const change: ConfigChange = (c) => {
      if (!further) withCaps(...caps)(c);
      c.process["args"] = further ? ["/bin/sleep", "1000"] : spy;
    };
    const bundle = box.make("", change);
    copyFileSync(join(box.folder, "spy"), join(bundle, "rootfs/spy"));
    const id = box.id();
    const found = join(bundle, "rootfs/found");
    expect(box.quiet(["run", "--detach", "--bundle", bundle, id])).toMatchObject({ status: 0 });
    if (further) expect(box.quiet(["exec", "--detach", ...caps.flatMap((cap) => ["--cap", cap]), id, ...spy])).toMatchObject({ status: 0 });
    await until("the spy has begun", () => existsSync(found));
    try {
      for (let i = 0; i < runs; i++) {
        expect(once?.(id) ?? box.quiet(["exec", id, "/bin/true"])).toMatchObject({ status: 0 });
        await new Promise((done) => setImmediate(done)); // the test runner takes a worker that is not heard of for a minute for lost
      }
    } finally {
      rmSync(engine); // the next test has a new one, whatever became of this
      copyFileSync(RUNTIME, engine);
      expect(box.quiet(["delete", "--force", id])).toMatchObject({ status: 0 });
    }
    return readFileSync(found, "utf8").split("\n");
  };

  suite("see the engine at work in its pid namespace", { needs: ["compiler"] }, () => {
    // Fails without PR_SET_DUMPABLE off before the clone.
    it("neither its folders (CVE-2016-9962) nor its program (CVE-2019-5736)", async () => {
      expect((await spied([], 150)).filter((line) => line.length > 0)).toEqual(["begun "]);
    });

    // Failed when the engine itself was there until its execve: host files could be opened through /proc/PID/root, and before
    // agent/cli/protect.ts the program was overwritten after a few execs. Now only the stub is seen (engine/child/last-steps.ts).
    it("nor anything of it, even with CAP_SYS_PTRACE, or with all capabilities", async () => {
      expect(await spied(["CAP_SYS_PTRACE"], 150)).toEqual(["begun ", "stub ", ""]);
      expect(await spied(allCaps(), 150)).toEqual(["begun ", "stub ", ""]);
    });

    // Failed while only the configuration was looked at.
    it("nor when a further process was given the capability (exec --cap)", async () => {
      expect(await spied(["CAP_SYS_PTRACE"], 150, undefined, true)).toEqual(["begun ", "stub ", ""]);
    });
  });

  // The same where the spy's pid namespace is that of further containers. Failed when their first process was built in there.
  having("compiler")("see the engine at work from a pid namespace that containers share (CVE-2019-5736)", async () => {
    const pidOf = (id: string): number => (JSON.parse(box.command(["state", id]).stdout) as { pid: number }).pid;
    let bundle: string | undefined;
    const joins = (id: string): object => {
      bundle ??= box.make("true", (c) => (c.linux.namespaces = c.linux.namespaces.map((ns) => (ns["type"] === "pid" ? { type: "pid", path: `/proc/${pidOf(id)}/ns/pid` } : ns))));
      return box.quiet(["run", "--bundle", bundle, box.id()]);
    };
    expect(await spied(["CAP_SYS_PTRACE"], 60, joins)).toEqual(["begun ", "stub ", ""]);
    bundle = undefined;
    expect(await spied(allCaps(), 60, joins)).toEqual(["begun ", "stub ", ""]);
  });

  // Fails without the sealed stub between the engine's child and the program.
  it("become the engine by a link to /proc/self/exe (CVE-2019-5736)", () => {
    const before = createHash("sha256").update(readFileSync(engine)).digest("hex");
    const bundle = box.make("");
    const script = join(bundle, "rootfs/bin/evil");
    writeFileSync(script, "#!/proc/self/exe --version\n", { mode: 0o755 });
    const engineSays = /runtime|usage|commit|spec: |kata/i;
    const sleeper = box.sleeper();
    for (const args of [["/proc/self/exe", "--version"], ["/proc/self/exe", "oci", "--help"], ["/proc/self/exe", "--help"], ["/proc/thread-self/exe", "--version"]]) {
      const ran = box.run("", (c) => (c.process["args"] = args));
      expect(ran.stdout, args.join(" ")).not.toMatch(engineSays);
      expect(box.command(["exec", sleeper, ...args]).stdout, `exec ${args.join(" ")}`).not.toMatch(engineSays);
    }
    writeFileSync(join(bundle, "config.json"), readFileSync(join(bundle, "config.json"), "utf8").replace('["/bin/sh","-c",""]', '["/bin/evil"]'));
    expect(box.command(["run", "--bundle", bundle, box.id()]).stdout).not.toMatch(engineSays);
    expect(createHash("sha256").update(readFileSync(engine)).digest("hex")).toBe(before);
  });

  // Nothing to take out here: the engine never looks a user up. It fails for one that does.
  it("be another user by a line in its own passwd (CVE-2016-3697)", () => {
    const sleeper = box.sleeper();
    for (const line of ["1000:x:0:0::/:/bin/sh", "0:x:5:5::/:/bin/sh"]) {
      const wrote = box.command(["exec", sleeper, "/bin/sh", "-c", `echo '${line}' > /etc/passwd; echo '1000:x:0:1000' > /etc/group`]);
      expect(wrote.status).toBe(0);
      const { stdout } = box.command(["exec", "--user", "1000", sleeper, "/bin/cat", "/proc/self/status"]);
      expect(status(stdout, "Uid")).toEqual(["1000", "1000", "1000", "1000"]);
      expect(status(stdout, "Groups")).toEqual([]);
    }
  });

  // [1.1.5 fails]: 4294967296 becomes 0.
  it("be root by a user that cannot be read (CVE-2026-30892)", () => {
    const sleeper = box.sleeper((c) => (c.process["user"] = { uid: 7, gid: 8 }));
    const ids = (user: string): string[] | number | null => {
      const { status: code, stdout } = box.command(["exec", "--user", user, sleeper, "/bin/cat", "/proc/self/status"]);
      return code === 0 ? [status(stdout, "Uid")[1] ?? "", status(stdout, "Gid")[1] ?? ""] : code;
    };
    expect(ids("1")).toEqual(["1", "8"]);
    expect(ids("1:2")).toEqual(["1", "2"]);
    expect(ids("0:0")).toEqual(["0", "0"]);
    expect(ids("")).toEqual(["7", "8"]);
    for (const user of ["4294967296", "4294967295", "1x", "x1", ":5", "1:", "1:2:3", "-1", "+1", "0x0", " 1", "1 ", "1.0", "1e3", "root", "18446744073709551616", "1:4294967296"]) {
      const got = ids(user);
      if (RUNTIME === BINARY) expect(got, JSON.stringify(user)).toBe(255);
      else expect(Array.isArray(got) ? got[0] : got, JSON.stringify(user)).not.toBe("0");
    }
  });

  it("get inheritable or ambient capabilities that were not asked for (CVE-2022-24769, CVE-2022-27650, CVE-2022-29162)", () => {
    const sleeper = box.sleeper();
    const show = ["/bin/cat", "/proc/self/status"];
    for (const text of [box.run("cat /proc/self/status").stdout, box.command(["exec", sleeper, ...show]).stdout, box.command(["exec", "--cap", "CAP_NET_RAW", sleeper, ...show]).stdout]) {
      expect([status(text, "CapInh"), status(text, "CapAmb")]).toEqual([["0000000000000000"], ["0000000000000000"]]);
      expect(status(text, "CapEff")).not.toEqual(["0000000000000000"]);
    }
  });

  // [1.1.5 fails]: everything the host has is kept, and exec --cap ends with a crash.
  it("keep capabilities when none are named", () => {
    const none: ConfigChange = (c) => delete c.process["capabilities"];
    const { stdout } = box.run("cat /proc/self/status", none);
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(status(stdout, set), set).toEqual(["0000000000000000"]);
    const sleeper = box.sleeper(none);
    const added = box.command(["exec", "--cap", "CAP_NET_RAW", sleeper, "/bin/cat", "/proc/self/status"]);
    expect(added.stderr).not.toMatch(/panic|TypeError|crash/);
    expect(status(added.stdout, "CapEff")).toEqual(["0000000000002000"]);
  });

  // Fails when what no rule names is allowed.
  it("open a device without a rule that allows it (GHSA-g54h-m393-cpwq)", () => {
    const { stdout, stderr } = box.run("mkdir /nodes; for d in 'mem 1 1' 'kmsg 1 11' 'misc 10 237'; do set -- $d; busybox mknod /nodes/$1 c $2 $3; head -c1 /nodes/$1; done; ls /nodes | wc -l", (c) => {
      withCaps("CAP_MKNOD")(c);
      c.linux["resources"] = { devices: [{ allow: false, type: "b", major: 8, minor: 0, access: "rwm" }] };
    });
    const made = Number(stdout.trim());
    expect(stderr.match(/Operation not permitted/g)?.length, stderr).toBeGreaterThanOrEqual(3);
    expect(made === 3 || made === 0).toBe(true); // making may be allowed (c *:* m), opening is not
    expect(stderr).not.toContain("No such device");
  });

  it("reach an engine's socket from the host's network (CVE-2020-15257)", () => {
    const abstract = (): string[] => readFileSync("/proc/net/unix", "utf8").split("\n").filter((line) => line.includes(" @")).map((line) => line.split(" @")[1] ?? "").sort();
    const before = abstract();
    const hostNetwork: ConfigChange = (c) => (c.linux.namespaces = c.linux.namespaces.filter((ns) => ns["type"] !== "network"));
    const id = box.id();
    expect(box.quiet(["create", "--bundle", box.make("sleep 1000", hostNetwork), id])).toMatchObject({ status: 0 });
    const during = abstract().filter((name) => !before.includes(name));
    expect(during.filter((name) => /kata|oci|runc|[0-9a-f]{16}/.test(name))).toEqual([]);
    expect(box.quiet(["delete", "--force", id])).toMatchObject({ status: 0 });
  });

  // Nothing to take out here: parent and child share their memory. It fails for one that cuts a list's length to 16 bits.
  it("be given what was not asked for by a list too long for a message (CVE-2021-43784)", () => {
    const many = (n: number): object[] => Array.from({ length: n }, (_, i) => ({ containerID: i, hostID: 100_000 + i, size: 1 }));
    const userns = (n: number): ConfigChange => (c) => {
      c.linux.namespaces.push({ type: "user" });
      c.linux["uidMappings"] = many(n);
      c.linux["gidMappings"] = many(n);
    };
    const map = "cat /proc/self/uid_map | wc -l; tail -n 1 /proc/self/uid_map";
    for (const n of [200, 341, 4000]) {
      const { status: code, stdout, stderr } = box.run(map, userns(n));
      if (code === 0) expect(stdout.trim().split(/\s+/)).toEqual([String(n), String(n - 1), String(100_000 + n - 1), "1"]);
      else expect(stderr).not.toMatch(/panic|TypeError|Segmentation/);
    }
    const long = "x".repeat(200_000);
    const big = box.run("echo ${#LONG0}", (c) => {
      (c.process["env"] as string[]).push(`LONG0=${long.slice(0, 100_000)}`);
      c["annotations"] = { "org.example.long": long };
    });
    expect(big).toMatchObject({ status: 0, stdout: "100000\n" });
  });

  describe("made by a user who is not root", () => {
    const asNobody = ["setpriv", "--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups"];
    const rootless = (change: ConfigChange = () => undefined): ConfigChange => (c: Config) => {
      c.linux.namespaces = [...c.linux.namespaces.filter((ns) => ns["type"] !== "network"), { type: "user" }];
      c.linux["uidMappings"] = [{ containerID: 0, hostID: NOBODY, size: 1 }];
      c.linux["gidMappings"] = [{ containerID: 0, hostID: NOBODY, size: 1 }];
      c.mounts = c.mounts.filter((m) => m["destination"] !== "/sys");
      c.mounts.push({ destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "nosuid", "noexec", "nodev", "ro"] });
      for (const m of c.mounts) if (m["options"] !== undefined) m["options"] = (m["options"] as string[]).filter((o) => !o.startsWith("gid="));
      change(c);
    };
    const state = (): string[] => {
      const dir = join(box.folder, "rootless");
      mkdirSync(dir, { recursive: true });
      chownSync(dir, NOBODY, NOBODY);
      return ["--root", join(dir, "state"), "--rootless", "true"];
    };
    const run = (script: string, change?: ConfigChange, through: readonly string[] = []) => {
      const bundle = box.make(script, rootless(change));
      spawnSync("chown", ["-R", `${NOBODY}:${NOBODY}`, bundle]);
      return box.command([...state(), "run", "--bundle", bundle, box.id()], [...through, ...asNobody]);
    };
    const plain = "echo ran";
    let works = "";
    beforeAll(() => {
      const { status: code, stderr } = run(plain);
      if (code !== 0) works = `no rootless container here: ${stderr.trim()}`;
    });

    it("cannot drop groups (CVE-2014-8989)", (context) => {
      if (works !== "") skip(context, works);
      expect(run("cat /proc/self/setgroups")).toMatchObject({ status: 0, stdout: "deny\n" });
      const more = run(plain, (c) => (c.process["user"] = { uid: 0, gid: 0, additionalGids: [5] }));
      expect(more.status).not.toBe(0);
    });

    // [1.1.5 fails] without a cgroup of its own, as here: the container makes a group within its caller's.
    it("cannot write to its caller's cgroups (CVE-2023-25809)", (context) => {
      if (works !== "") skip(context, works);
      const group = `/sys/fs/cgroup/oci${process.pid}ndelegated`;
      const version2 = `mount --make-rprivate /; while umount -l /sys/fs/cgroup 2> /dev/null; do :; done; mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mkdir -p ${group}; chown -R ${NOBODY}:${NOBODY} ${group}; echo $$ > ${group}/cgroup.procs
        "$@"; s=$?; echo $$ > /sys/fs/cgroup/cgroup.procs; find ${group} -depth -type d -exec rmdir '{}' ';'; exit $s`;
      const script = "cd /sys/fs/cgroup && for d in . $(busybox find . -maxdepth 3 -type d); do mkdir $d/made 2>/dev/null && echo made $d; done; ls -d cgroup.procs */cgroup.procs 2>/dev/null | head -n 1";
      const rw: ConfigChange = (c) => c.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw", "nosuid", "noexec", "nodev", "relatime"] });
      const ownGroup = run(script, rw, ["unshare", "-m", "sh", "-c", version2, "sh"]);
      expect(ownGroup).toMatchObject({ status: 0, stdout: "cgroup.procs\n" }); // it is seen, and nothing was made in it
      const asHere = run(script, rw);
      expect(asHere.stdout).not.toContain("made");
      expect(asHere.status).toBe(0);
    });
  });

  it("leave a mount or a cgroup behind, once deleted", async () => {
    box.removeAll();
    await until("nothing is left", () => mounts(box.folder).length === 0 && cgroups(`oci${process.pid}n`).length === 0);
  });
});
