// What the command line makes of the process section and of what else a process is born with: each property is looked at from
// inside the container.
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createServer } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ONLY_V2 } from "../helpers/engine-box.js";
import { until } from "../helpers/lab.js";
import { Bundles, type Config } from "../helpers/oci-bundle.js";
import { having, suite } from "../helpers/suite.js";

const userNamespace = (c: Config): void => {
  c.linux.namespaces.push({ type: "user" });
  c.linux["uidMappings"] = [{ containerID: 0, hostID: 0, size: 2000 }];
  c.linux["gidMappings"] = [{ containerID: 0, hostID: 0, size: 2000 }];
};

suite("the process of a bundle", { needs: ["agent"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());
  const ok = (stdout: string): object => ({ status: 0, stdout, stderr: "" });
  const allowed = "grep Cpus_allowed_list /proc/self/status | tr -dc '0-9,-'";

  it("is scheduled as it asks, and so are its children", () => {
    const seen = "cut -d' ' -f19,40,41 /proc/self/stat"; // nice, real-time priority, policy
    expect(box.run(seen, (c) => (c.process["scheduler"] = { policy: "SCHED_BATCH", nice: 7 }))).toEqual(ok("7 0 3\n"));
    expect(box.run("cut -d' ' -f40,41 /proc/self/stat", (c) => (c.process["scheduler"] = { policy: "SCHED_IDLE" }))).toEqual(ok("0 5\n"));
    const sees = "read -r line < /proc/self/stat; set -- $line; echo ${40} ${41}";
    expect(box.run(sees, (c) => (c.process["scheduler"] = { policy: "SCHED_RR", priority: 9 }))).toEqual(ok("9 2\n"));
    expect(box.run(`${sees}; ${seen} | tail -n 1`, (c) => (c.process["scheduler"] = { policy: "SCHED_FIFO", priority: 5, flags: ["SCHED_FLAG_RESET_ON_FORK"] }))).toEqual(ok("5 1\n0 0 0\n"));
  });

  it("says which scheduler the kernel refused", () => {
    const { status, stderr } = box.run("true", (c) => (c.process["scheduler"] = { policy: "SCHED_ISO" }));
    expect(status).toBe(1);
    expect(stderr).toContain("set the scheduler SCHED_ISO: sched_setattr: EINVAL");
  });

  having("two CPUs")("keeps its deadlines, but not in a cpuset of fewer CPUs than there are", () => {
    const deadline = { policy: "SCHED_DEADLINE", flags: ["SCHED_FLAG_RESET_ON_FORK"], runtime: 42000, deadline: 100000, period: 1000000 };
    expect(box.run("cut -d' ' -f41 /proc/$$/stat; true", (c) => (c.process["scheduler"] = deadline), ["taskset", "-c", "0"])).toEqual(ok("6\n"));
    const { status, stderr } = box.run("true", (c) => {
      c.process["scheduler"] = deadline;
      c.linux["resources"] = { cpu: { cpus: "0" } };
    });
    expect(status).toBe(1);
    expect(stderr).toContain("process scheduler can't be used together with AllowedCPUs");
  });

  it("has the I/O priority, personality and memory policy that it asks for", () => {
    expect(box.run("ionice -p $$", (c) => (c.process["ioPriority"] = { class: "IOPRIO_CLASS_BE", priority: 2 }))).toEqual(ok("best-effort: prio 2\n"));
    expect(box.run("ionice -p $$", (c) => (c.process["ioPriority"] = { class: "IOPRIO_CLASS_IDLE", priority: 0 })).stdout).toContain("idle");
    expect(box.run("uname -m; cat /proc/self/personality", (c) => (c.linux["personality"] = { domain: "LINUX32" }))).toEqual(ok(`${process.arch === "x64" ? "i686" : "armv8l"}\n00000008\n`));
  });

  having("numa")("takes its memory from the nodes that it asks for", () => {
    const policy = "cut -d' ' -f2 /proc/self/numa_maps | head -n 1";
    expect(box.run(policy, (c) => (c.linux["memoryPolicy"] = { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] }))).toEqual(ok("bind=static:0\n"));
    expect(box.run(policy, (c) => (c.linux["memoryPolicy"] = { mode: "MPOL_LOCAL" }))).toEqual(ok("local\n"));
    const absent = box.run("true", (c) => (c.linux["memoryPolicy"] = { mode: "MPOL_BIND", nodes: "1000" }));
    expect(absent).toMatchObject({ status: 1, stderr: expect.stringContaining("set the memory policy MPOL_BIND: set_mempolicy: EINVAL") });
  });

  it("gives a further process the same", () => {
    const id = box.sleeper((c) => {
      c.process["scheduler"] = { policy: "SCHED_BATCH", nice: 3 };
      c.process["ioPriority"] = { class: "IOPRIO_CLASS_BE", priority: 1 };
      c.linux["personality"] = { domain: "LINUX32" };
    });
    const script = "cut -d' ' -f19,41 /proc/self/stat; ionice -p $$; cat /proc/self/personality";
    expect(box.command(["exec", id, "/bin/sh", "-c", script])).toEqual(ok("3 3\nbest-effort: prio 1\n00000008\n"));
    const own = join(box.folder, "own.json");
    writeFileSync(own, JSON.stringify({ args: ["/bin/sh", "-c", script], cwd: "/", user: { uid: 0, gid: 0 }, env: ["PATH=/bin"], scheduler: { policy: "SCHED_OTHER", nice: 5 } }));
    expect(box.command(["exec", "--process", own, id])).toEqual(ok("5 0\nbest-effort: prio 1\n00000008\n"));
  });

  having("two CPUs")("runs on all CPUs whatever its caller was kept to", () => {
    const everywhere = box.run(allowed).stdout;
    expect(everywhere).not.toBe("0");
    expect(box.run(allowed, undefined, ["taskset", "-c", "0"]).stdout).toBe(everywhere);
    const id = box.sleeper();
    expect(box.command(["exec", id, "/bin/sh", "-c", allowed], ["taskset", "-c", "0"]).stdout).toBe(everywhere);
  });

  having("two CPUs")("is kept to its cpuset", () => {
    expect(box.run(allowed, (c) => (c.linux["resources"] = { cpu: { cpus: "1" } }), ["taskset", "-c", "0"]).stdout).toBe("1");
  });

  having("two CPUs")("of an exec runs on the CPUs of execCPUAffinity, the first never", () => {
    expect(box.run(allowed, (c) => (c.process["execCPUAffinity"] = { initial: "0", final: "1" })).stdout).not.toBe("1");
    const id = box.sleeper((c) => (c.process["execCPUAffinity"] = { initial: "0", final: "1" }));
    expect(box.command(["exec", id, "/bin/sh", "-c", allowed]).stdout).toBe("1");
    const first = box.sleeper((c) => (c.process["execCPUAffinity"] = { initial: "0" }));
    expect(box.command(["exec", first, "/bin/sh", "-c", allowed]).stdout).toBe("0");
    const debug = box.command(["--debug", "exec", first, "/bin/true"]);
    expect([debug.status, debug.stderr]).toEqual([0, expect.stringContaining("nsexec: affinity: 0x1")]);
    const none = box.sleeper((c) => (c.process["execCPUAffinity"] = { final: "8000-8191" }));
    expect(box.command(["exec", none, "/bin/true"])).toMatchObject({ status: 255, stderr: expect.stringContaining("process.execCPUAffinity.final: sched_setaffinity: EINVAL") });
  });

  having("two CPUs")("has its CPUs where cgroups are of version 2, and it is born in its own", () => {
    const v2 = (...more: string[]): string[] => ["unshare", "-m", "sh", "-c", `${ONLY_V2} && exec "$@"`, "sh", ...more];
    const everywhere = box.run(allowed).stdout;
    expect(box.run(allowed, undefined, v2("taskset", "-c", "0"))).toEqual(ok(everywhere));
    for (const [asked, seen] of [[{ initial: "0", final: "1" }, "1"], [{ initial: "0" }, "0"], [{ final: "1" }, "1"], [{}, everywhere]] as const) {
      const id = box.sleeper((c) => (c.process["execCPUAffinity"] = asked), v2());
      expect(box.command(["exec", id, "/bin/sh", "-c", allowed], v2("taskset", "-c", "0"))).toEqual(ok(seen));
      expect(box.quiet(["delete", "--force", id], v2())).toMatchObject({ status: 0 });
    }
  });

  having("program:setpriv")("has its limits and oom score when nobody is root", () => {
    const bundle = box.make("ulimit -n; cat /proc/self/oom_score_adj", (c) => {
      c.process["rlimits"] = [{ type: "RLIMIT_NOFILE", hard: 99, soft: 77 }];
      c.process["oomScoreAdj"] = 777;
      c.mounts = c.mounts.filter((m) => m["destination"] === "/proc");
      c.linux.namespaces.push({ type: "user" });
      c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 1000, size: 1 }];
    });
    spawnSync("chown", ["-R", "1000:1000", bundle]);
    chmodSync(box.folder, 0o755);
    const state = mkdtempSync("/tmp/kata-nobody-");
    chownSync(state, 1000, 1000);
    try {
      const { status, stdout, stderr } = spawnSync("setpriv", ["--reuid", "1000", "--regid", "1000", "--clear-groups", box.binary, "oci", "--root", join(state, "state"), "run", "--bundle", bundle, box.id()], { encoding: "utf8" });
      expect({ status, stdout, stderr }).toEqual(ok("77\n777\n"));
    } finally {
      rmSync(state, { recursive: true, force: true });
    }
  });

  it("has its limits and oom score, also as the root of a user namespace", () => {
    // a machine that is itself a container may have no right to go beyond its own
    const mayRaise = ((parseInt(/CapEff:\s*(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0", 16) / 2 ** 24) & 1) === 1;
    const [most, score] = mayRaise ? [1048577, -500] : [999, 500];
    const change = (c: Config): void => {
      c.process["rlimits"] = [{ type: "RLIMIT_NOFILE", hard: most, soft: 77 }, { type: "RLIMIT_RTTIME", hard: 12345, soft: 12345 }, { type: "RLIMIT_CORE", hard: 0, soft: 0 }];
      c.process["oomScoreAdj"] = score;
    };
    const script = "ulimit -n; ulimit -H -n; ulimit -c; grep 'realtime timeout' /proc/self/limits | tr -s ' ' | cut -d' ' -f4; cat /proc/self/oom_score_adj";
    const expected = ok(`77\n${most}\n0\n12345\n${score}\n`);
    expect(box.run(script, change)).toEqual(expected);
    expect(box.run(script, (c) => (change(c), userNamespace(c)))).toEqual(expected);
    const id = box.sleeper(change);
    expect(box.command(["exec", id, "/bin/sh", "-c", script])).toEqual(expected);
  });

  // Failed with EMFILE, or ENOMEM, while the child was still at work under them.
  it.each([["RLIMIT_NOFILE", 1], ["RLIMIT_AS", 3 << 20], ["RLIMIT_FSIZE", 0], ["RLIMIT_DATA", 1 << 20]])("begins under a %s of %i", (type, n) => {
    const change = (c: Config): void => {
      c.process["rlimits"] = [{ type, soft: n, hard: n }];
    };
    const runs = (c: Config): void => (change(c), void (c.process["args"] = ["/bin/true"]));
    expect(box.run("", runs)).toEqual(ok(""));
    expect(box.run("", (c) => (runs(c), userNamespace(c)))).toEqual(ok(""));
    const bundle = box.make("", (c) => (runs(c), userNamespace(c)));
    const id = box.id();
    for (const args of [["create", "--bundle", bundle, id], ["start", id]]) expect(box.quiet(args)).toMatchObject({ status: 0 });
    const sleeper = box.sleeper(change);
    expect(box.command(["exec", sleeper, "/bin/true"])).toEqual(ok(""));
  });

  it("gets the sockets that a service manager has passed, and is told of them as process 1", () => {
    const script = 'echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; readlink /proc/self/fd/3; test -e /proc/self/fd/4 || echo no more';
    const passed = (before: string): string[] => ["sh", "-c", `exec 3< /etc/hostname 4< /etc/hostname; ${before} exec "$0" "$@"`];
    expect(box.run(script, undefined, passed("LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$")).stdout).toMatch(/^1 1 web\n.*hostname\nno more\n$/);
    expect(box.run("echo $LISTEN_PID; ls /proc/self/fd | grep -c 3", undefined, passed("LISTEN_FDS=1"))).toMatchObject({ status: 0, stdout: "1\n1\n" });
    expect(box.run("echo -$LISTEN_PID-", undefined, passed("LISTEN_FDS=1 LISTEN_PID=1"))).toEqual(ok("--\n")); // they are somebody else's
  });

  it("gets a directory that is not there made by root, whoever the user is, and on a read-only root too", () => {
    const change = (c: Config): void => {
      c.process["user"] = { uid: 1000, gid: 100, umask: 0o77 };
      c.process["cwd"] = "/new/deep";
    };
    const bundle = box.make("pwd; stat -c %u:%a .", change);
    expect(box.command(["run", "--bundle", bundle, box.id()])).toEqual(ok("/new/deep\n0:755\n"));
    expect(statSync(join(bundle, "rootfs/new")).mode & 0o777).toBe(0o755);
    expect(box.run("pwd", (c) => (change(c), (c.root["readonly"] = true)))).toEqual(ok("/new/deep\n"));
  });

  it("does not get the machine's devices for its own, though they are its streams", () => {
    const owner = (): string => JSON.stringify([statSync("/dev/null").uid, statSync("/dev/zero").uid]);
    const before = owner();
    const { status } = box.run("true", (c) => (c.process["user"] = { uid: 1234, gid: 0 }), ["sh", "-c", 'exec "$0" "$@" < /dev/zero > /dev/null']);
    expect([status, owner()]).toEqual([0, before]);
  });

  it("may open its own streams again though it is not root", () => {
    const { stdout, stderr } = box.run("echo out > /dev/stdout; id -u; id -g; id -G", (c) => (c.process["user"] = { uid: 1000, gid: 7, additionalGids: [8, 9] }), ["sh", "-c", '"$0" "$@" | cat']);
    expect([stdout, stderr]).toEqual(["out\n1000\n7\n7 8 9\n", ""]);
  });

  it.each(["TERM", "INT", "HUP", "QUIT", "USR1", "40"])("is ended by SIG%s before its start, as any other, though it is process 1 of its pid namespace", async (name) => {
    const id = box.id();
    const status = (): string => (JSON.parse(box.command(["state", id]).stdout) as { status: string }).status;
    expect(box.quiet(["create", "--bundle", box.make("true"), id]).status).toBe(0);
    for (const harmless of ["CHLD", "WINCH", "CONT", "URG", "TSTP", "0"]) expect(box.command(["kill", id, harmless]).status).toBe(0);
    expect(status()).toBe("created");
    expect(box.command(["kill", id, name])).toMatchObject({ status: 0, stderr: "" });
    await until("it has stopped", () => status() === "stopped", 120_000);
    expect(box.command(["delete", id])).toMatchObject({ status: 0 });
  });

  it("sets the name of a shared uts namespace, as its own", () => {
    const first = box.sleeper((c) => (c["hostname"] = "one"));
    const { pid } = JSON.parse(box.command(["state", first]).stdout) as { pid: number };
    const joined = (c: Config): void => {
      c.linux.namespaces = [...c.linux.namespaces.filter((n) => n["type"] !== "uts"), { type: "uts", path: `/proc/${pid}/ns/uts` }];
      c["hostname"] = "two";
      c["domainname"] = "inside";
    };
    expect(box.run("hostname; cat /proc/sys/kernel/domainname", joined)).toEqual(ok("two\ninside\n"));
    expect(box.command(["exec", first, "/bin/hostname"])).toEqual(ok("two\n"));
  });

  it.each([["create", false], ["exec", true]])("has a terminal of the size that consoleSize says (%s)", async (_what, further) => {
    const path = join(box.folder, `console${Number(further)}.sock`);
    const server = createServer({ pauseOnConnect: true }); // what is sent stays in the socket: the terminal lives
    await new Promise<void>((done) => server.listen(path, done));
    try {
      const process = { terminal: true, consoleSize: { height: 33, width: 77 }, args: ["/bin/sh", "-c", "stty size > /size; sleep 1000"], cwd: "/", user: { uid: 0, gid: 0 }, env: ["PATH=/bin"] };
      const bundle = box.make("sleep 1000", (c) => !further && Object.assign(c.process, process));
      const id = box.id();
      const made = box.quiet(["create", ...(further ? [] : ["--console-socket", path]), "--bundle", bundle, id]);
      expect(made).toMatchObject({ status: 0, stderr: "" });
      expect(box.quiet(["start", id])).toMatchObject({ status: 0, stderr: "" });
      if (further) {
        writeFileSync(join(box.folder, "further.json"), JSON.stringify(process));
        expect(box.quiet(["exec", "--detach", "--console-socket", path, "--process", join(box.folder, "further.json"), id])).toMatchObject({ status: 0, stderr: "" });
      }
      const size = join(bundle, "rootfs/size");
      await until("the program has written", () => existsSync(size) && readFileSync(size, "utf8") !== "");
      expect(readFileSync(size, "utf8")).toBe("33 77\n");
    } finally {
      server.close();
    }
  });

  it("has HOME of its user, where none or an empty one is given", () => {
    const bundle = (env: string[], uid: number): string => {
      const dir = box.make("echo $HOME", (c) => {
        c.process["env"] = env;
        c.process["user"] = { uid, gid: 0 };
      });
      writeFileSync(join(dir, "rootfs/etc/passwd"), "root:x:0:0::/root:/bin/sh\n0:x:77:77::/trap:/bin/sh\nbob:x:5:5::/home/bob:/bin/sh\n");
      return dir;
    };
    const home = (env: string[], uid: number): string => box.command(["run", "--bundle", bundle(env, uid), box.id()]).stdout.trim();
    const odd = box.make("echo $HOME", (c) => (c.process["env"] = []));
    spawnSync("mkfifo", [join(odd, "rootfs/etc/passwd")]);
    expect(box.command(["run", "--bundle", odd, box.id()])).toEqual(ok("/\n"));
    expect([home([], 0), home(["HOME="], 5), home(["HOME=/x"], 5), home(["HOME=/x", "HOME="], 5), home([], 99)]).toEqual(["/root", "/home/bob", "/x", "/home/bob", "/"]);
  });

  it("has the capabilities that are there, with a warning of the others", () => {
    const { status, stdout, stderr } = box.run("grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t'", (c) => {
      c.process["capabilities"] = { bounding: ["CAP_KILL", "CAP_FLY"], permitted: ["kill", "CAP_FLY"], effective: ["CAP_KILL"], inheritable: ["CAP_KILL"], ambient: ["CAP_KILL", "CAP_SWIM"] };
    });
    expect([status, stdout.trim().split("\n")]).toEqual([0, ["CapInh:0000000000000020", "CapPrm:0000000000000020", "CapEff:0000000000000020", "CapBnd:0000000000000020", "CapAmb:0000000000000020"]]);
    expect(stderr).toContain("unknown names are left out: CAP_FLY CAP_SWIM");
    expect(box.run("grep -c 0000000000000000 /proc/self/status", (c) => delete c.process["capabilities"]).stdout.trim()).toBe(box.run("grep -E -c '(Cap|Sig|Shd).*0000000000000000' /proc/self/status", (c) => delete c.process["capabilities"]).stdout.trim());
  });

  it("has what can be had of sets that do not go together", () => {
    const { status, stdout, stderr } = box.run("grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t'", (c) => {
      c.process["user"] = { uid: 1000, gid: 0 };
      c.process["capabilities"] = { bounding: ["CAP_KILL"], permitted: ["CAP_KILL", "CAP_CHOWN"], effective: ["CAP_KILL", "CAP_SYS_ADMIN"], inheritable: ["CAP_KILL", "CAP_CHOWN"], ambient: ["CAP_KILL", "CAP_CHOWN"] };
    });
    expect([status, stdout.trim().split("\n")]).toEqual([0, ["CapInh:0000000000000020", "CapPrm:0000000000000020", "CapEff:0000000000000020", "CapBnd:0000000000000020", "CapAmb:0000000000000020"]]);
    for (const words of ["effective: CAP_SYS_ADMIN is left out: it is not permitted", "inheritable: CAP_CHOWN is left out: it is not in the bounding set", "can't raise ambient capability CAP_CHOWN: operation not permitted"]) expect(stderr).toContain(words);
  });

  having("program:setpriv")("is not refused for capabilities that the caller has not itself", () => {
    const few = ["setpriv", "--bounding-set", "-sys_boot"];
    const { status, stdout, stderr } = box.run("grep CapEff /proc/self/status | tr -d '\\t'", (c) => (c.process["capabilities"] = { bounding: ["CAP_KILL", "CAP_SYS_BOOT"], permitted: ["CAP_KILL", "CAP_SYS_BOOT"], effective: ["CAP_KILL", "CAP_SYS_BOOT"] }), few);
    expect([status, stdout]).toEqual([0, "CapEff:0000000000000020\n"]);
    expect(stderr).toContain("process.capabilities.permitted: CAP_SYS_BOOT is left out: the engine has not got it itself");
  });

  it.each<[string, (c: Config) => void, string]>([
    ["a user that the user namespace has not", (c) => {
      userNamespace(c);
      c.process["user"] = { uid: 2000, gid: 0 };
    }, "process.user.uid: 2000 is not in linux.uidMappings"],
    ["a group that the user namespace has not", (c) => {
      userNamespace(c);
      c.process["user"] = { uid: 0, gid: 0, additionalGids: [1, 2000] };
    }, "process.user.additionalGids[1]: 2000 is not in linux.gidMappings"],
    ["a working directory that is a file", (c) => (c.process["cwd"] = "/bin/busybox"), 'process.cwd: chdir to "/bin/busybox": chdir: ENOTDIR'],
    ["a working directory by a descriptor", (c) => (c.process["cwd"] = "/proc/self/fd/9"), 'process.cwd: chdir to "/proc/self/fd/9"'],
    ["an entry of env without =", (c) => (c.process["env"] = ["A"]), 'process.env[0]: "A" has no ='],
    ["an entry of env without a name", (c) => (c.process["env"] = ["A=", "=b"]), "process.env[1]"],
    ["a net sysctl in the machine's network", (c) => {
      c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] !== "network");
      c.linux["sysctl"] = { "net.ipv4.ip_forward": "1" };
    }, 'linux.sysctl["net.ipv4.ip_forward"]: needs a network namespace'],
    ["a net sysctl in the machine's network by its path", (c) => {
      c.linux.namespaces = [...c.linux.namespaces.filter((n) => n["type"] !== "network"), { type: "network", path: `/proc/${process.pid}/ns/net` }];
      c.linux["sysctl"] = { "net.ipv4.ip_forward": "1" };
    }, 'linux.sysctl["net.ipv4.ip_forward"]: needs a network namespace'],
    ["a namespace of another kind", (c) => {
      c.linux.namespaces = [...c.linux.namespaces.filter((n) => n["type"] !== "uts"), { type: "uts", path: "/proc/self/ns/net" }];
      c["hostname"] = "x";
    }, "is a namespace of another kind"],
    ["a host name without a uts namespace", (c) => {
      c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] !== "uts");
      c["hostname"] = "x";
    }, "hostname: needs a uts namespace"],
    ["network devices without a network", (c) => {
      c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] !== "network");
      c.linux["netDevices"] = { lo: {} };
    }, 'linux.netDevices["lo"]: unable to move network devices without a NET namespace'],
    ["a device that is not there", (c) => (c.linux["netDevices"] = { nosuch0: {} }), 'linux.netDevices["nosuch0"]: no interface nosuch0'],
  ])("%s is refused, and nothing is left", (_what, change, message) => {
    const { status, stderr } = box.run("true", change);
    expect(status).toBe(1);
    expect(stderr).toContain(message);
    expect(box.command(["list", "--quiet"]).stdout.split("\n").filter((id) => id.startsWith(`oci${process.pid}`)).length).toBe(box.command(["list", "--quiet"]).stdout.split("\n").filter(Boolean).length);
  });
});
