// A process in a pid namespace where others are already: it is born there only when nothing of the engine is left of it
// (agent/engine/child/last-steps.ts). What it then is, under filters of every kind, with hooks, with a procfs of its own, and with others who
// stop or kill it before its program begins. What others can see of it meanwhile: oci-security-process.test.ts.
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab, named, outcome, until } from "../helpers/lab.js";
import { Bundles, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { having, suite, when } from "../helpers/suite.js";

suite("a process that goes into a pid namespace of others", { needs: ["agent", "compiler"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
    execFileSync("musl-gcc", ["-static", "-s", "-Os", "-o", join(box.folder, "spy"), "test/host/oci-spy.c"]);
  });
  afterAll(() => box?.stop());

  const pidOf = (id: string): number => (JSON.parse(box.command(["state", id]).stdout) as { pid: number }).pid;
  const sharing = (id: string): ConfigChange => (c) => (c.linux.namespaces = c.linux.namespaces.map((ns) => (ns["type"] === "pid" ? { type: "pid", path: `/proc/${pidOf(id)}/ns/pid` } : ns)));

  describe("under a seccomp filter", () => {
    /** What a small static program and the engine's most frugal way need; the stub's own clone, setsid, ppoll and execveat are not among it. */
    const FEW = ["read", "write", "execve", "exit_group", "exit", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address", "rt_sigprocmask", "rt_sigaction", "getuid", "geteuid", "setuid", "setgid", "getpid", "getppid", "readlink", "prctl",
      "capset", "capget", "ioctl", "fstat", "newfstatat", "stat", "lstat", "open", "openat", "close", "fcntl", "getcwd", "uname", "poll", "faccessat2", "statx", "access", "writev", "sendto", "gettid", "getrandom", "prlimit64", "accept4", "dup3"];
    const KINDS: readonly (readonly [string, Record<string, unknown>])[] = [
      ["that forbids one call", { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }] }],
      ["that allows few and refuses others", { defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1, syscalls: [{ names: FEW, action: "SCMP_ACT_ALLOW" }] }],
      ["that refuses the stub's clone", { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat", "clone", "clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }] }],
      ["that kills at the stub's calls", { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }, { names: ["execveat", "ppoll", "setsid"], action: "SCMP_ACT_KILL_PROCESS" }] }],
    ];
    const cases = KINDS.flatMap(([what, seccomp]) => [true, false].flatMap((nnp) => [0, 1000].map((uid) => [what, nnp ? "with" : "without", uid, seccomp] as const)));
    it.each(cases)("%s, %s no_new_privs, as user %i, it runs and is held", (_what, nnp, uid, seccomp) => {
      const change: ConfigChange = (c) => {
        c.linux["seccomp"] = { architectures: ["SCMP_ARCH_X86_64"], ...seccomp };
        c.process["noNewPrivileges"] = nnp === "with";
        c.process["user"] = { uid, gid: uid };
        c.process["args"] = ["/bin/sleep", "1000"];
        c.linux["seccomp"] = { ...(c.linux["seccomp"] as object), syscalls: [...((seccomp["syscalls"] as object[]) ?? []), { names: ["nanosleep", "clock_nanosleep"], action: "SCMP_ACT_ALLOW" }].slice(0, seccomp["defaultAction"] === "SCMP_ACT_ERRNO" ? undefined : -1) };
      };
      const id = box.sleeper(change);
      const ran = box.command(["exec", id, "/bin/mkdir", "/tmp/x"]);
      expect(ran).toMatchObject({ status: 1, stdout: "" });
      expect(ran.stderr).toContain("Operation not permitted");
      const shared = box.run("", (c) => (change(c), sharing(id)(c), (c.process["args"] = ["/bin/mkdir", "/tmp/y"])));
      expect(shared).toMatchObject({ status: 1, stdout: "" });
      expect(shared.stderr).toContain("Operation not permitted");
    });
  });

  it("is not loaded with the engine's rights, limits or groups", () => {
    const rlimits = [{ type: "RLIMIT_NOFILE", soft: 16, hard: 17 }, { type: "RLIMIT_NPROC", soft: 30, hard: 30 }, { type: "RLIMIT_AS", soft: 33554432, hard: 33554432 }];
    const id = box.sleeper((c) => (c.process["rlimits"] = rlimits));
    const script = "ulimit -n; ulimit -Hn; ulimit -v; grep -E '^(CapEff|CapPrm|CapAmb|Groups|Seccomp:|NSpid)' /proc/self/status | tr -s '\\t ' ' '; cut -d' ' -f6 /proc/self/stat";
    const first = box.run(script, (c) => (c.process["rlimits"] = rlimits)).stdout.split("\n");
    const further = box.command(["exec", id, "sh", "-c", script]).stdout.split("\n");
    const shared = box.run(script, (c) => (sharing(id)(c), (c.process["rlimits"] = rlimits))).stdout.split("\n");
    const told = (lines: string[]): string[] => lines.filter((l) => !l.startsWith("NSpid"));
    expect(told(further).slice(0, -2)).toEqual(told(first).slice(0, -2));
    expect(told(shared).slice(0, -2)).toEqual(told(first).slice(0, -2));
    expect(first.slice(0, 3)).toEqual(["16", "17", "32768"]);
    for (const lines of [further, shared]) expect(Number(lines.at(-2))).toBeGreaterThan(1); // a session of its own in the namespace
  });

  it("says what is wrong: no program, a program that cannot run, a namespace that is gone", () => {
    const id = box.sleeper();
    expect(box.command(["exec", id, "/bin/nosuch"]).stderr).toContain("no such file or directory");
    writeFileSync(join(box.folder, "text"), "no program\n");
    const bundle = box.make("sleep 1000");
    writeFileSync(join(bundle, "rootfs/bin/text"), "\x7fELF nonsense", { mode: 0o755 });
    const broken = box.id();
    expect(box.quiet(["run", "--detach", "--bundle", bundle, broken])).toMatchObject({ status: 0 });
    expect(box.command(["exec", broken, "/bin/text"]).stderr).toContain("exec /bin/text: exec format error");
    const join_ = sharing(id);
    const gone = box.make("true", join_);
    expect(box.command(["kill", id, "KILL"]).status).toBe(0);
    const refused = box.command(["run", "--bundle", gone, box.id()]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/pid namespace|No such file/);
  });

  it("is known by its own pid from create to delete, and its procfs shows the processes of both", async () => {
    const first = box.sleeper((c) => (c.process["args"] = ["/bin/sleep", "2001"]));
    const bundle = box.make("exec sleep 2002", sharing(first));
    const second = box.id();
    expect(box.quiet(["create", "--bundle", bundle, second])).toMatchObject({ status: 0 });
    const pid = pidOf(second);
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/^NSpid:\s+\d+\s+\d+$/m);
    expect(box.quiet(["start", second])).toMatchObject({ status: 0 });
    expect(pidOf(second)).toBe(pid);
    const list = box.command(["exec", second, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; mount | grep ' /proc '"]).stdout;
    expect(list).toContain("sleep 2001");
    expect(list).toContain("sleep 2002");
    expect(list).toContain("proc on /proc type proc (rw");
    expect(box.command(["kill", second, "KILL"]).status).toBe(0);
    expect(box.command(["delete", "--force", second]).status).toBe(0);
    await until("it has been reaped", () => !existsSync(`/proc/${pid}`));
    expect(JSON.parse(box.command(["state", first]).stdout)).toMatchObject({ status: "running" });
  });

  it("has a procfs with the options of its mount", () => {
    const first = box.sleeper();
    const ran = box.run("mount | grep ' /proc '; ls -d /proc/1", (c) => {
      sharing(first)(c);
      for (const m of c.mounts) if (m["type"] === "proc") m["options"] = ["nosuid", "nodev", "noexec", "hidepid=2"];
    });
    expect(ran.stdout).toMatch(/proc on \/proc type proc \(rw,nosuid,nodev,noexec,.*hidepid=(2|invisible)\)/);
  });

  it("has its startContainer hooks run in the container, with its rights, before it", () => {
    const first = box.sleeper();
    const hooked = (path: string, args?: string[]): ConfigChange => (c) => {
      sharing(first)(c);
      c["hooks"] = { startContainer: [{ path, ...(args === undefined ? {} : { args }), env: ["PATH=/bin", "WORD=hook"] }] };
    };
    const ran = box.run("cat /tmp/said", hooked("/bin/sh", ["sh", "-c", "cat > /tmp/state; grep NoNewPrivs /proc/self/status > /tmp/said; echo $WORD >> /tmp/said; grep -o '\"status\":\"created\"' /tmp/state >> /tmp/said"]));
    expect(ran.stderr).toBe("");
    expect(ran.stdout.split("\n").map((l) => l.replace(/\s+/, " "))).toEqual(["NoNewPrivs: 1", "hook", "\"status\":\"created\"", ""]);
    const failed = box.run("echo ran", hooked("/bin/sh", ["sh", "-c", "echo because; exit 3"]));
    expect(failed).toMatchObject({ status: 1, stdout: "" });
    expect(failed.stderr).toContain("error running startContainer hook #0: /bin/sh: exit status 3: because");
  });

  having(when(spawnSync("chrt", ["-d", "--sched-runtime", "1000000", "--sched-deadline", "10000000", "--sched-period", "10000000", "0", "true"]).status === 0, "needs chrt and the right to deadlines"))("has a scheduler that children do not inherit", () => {
    const scheduled: ConfigChange = (c) => (c.process["scheduler"] = { policy: "SCHED_OTHER", nice: 5, flags: ["SCHED_FLAG_RESET_ON_FORK"] });
    const id = box.sleeper(scheduled);
    expect(box.command(["exec", id, "sh", "-c", "read -r line < /proc/self/stat; set -- $line; echo ${19}"]).stdout).toBe("5\n");
  });

  describe("while somebody in there", () => {
    /** A container in which every process but the first gets that signal all the time. */
    const hostile = async (signal: number): Promise<string> => {
      const bundle = box.make("", (c: Config) => (c.process["args"] = ["/spy", "signal", String(signal), "/found"]));
      copyFileSync(join(box.folder, "spy"), join(bundle, "rootfs/spy"));
      const id = box.id();
      expect(box.quiet(["run", "--detach", "--bundle", bundle, id])).toMatchObject({ status: 0 });
      await until("it has begun", () => existsSync(join(bundle, "rootfs/found")));
      return id;
    };
    it.each([[9, "kills"], [19, "stops"]])("(signal %i) %s every process, an exec ends soon, and so does the container", async (signal) => {
      const id = await hostile(signal);
      const ends = Array.from({ length: signal === 19 ? 3 : 20 }, () => box.quiet(["exec", "--detach", id, "/bin/sleep", "1000"]));
      for (const { status, stderr } of ends) {
        expect(status === 0 || status === 255, `${status}: ${stderr}`).toBe(true);
        if (status === 255) expect(stderr).toMatch(/has stopped it|was killed before its program began|the child|is gone/);
      }
      expect(box.quiet(["delete", "--force", id])).toMatchObject({ status: 0 });
    });

    // Failed when whoever opens its procfs was waited for without an end.
    it.each([[9, "kills"], [19, "stops"]])("(signal %i) %s every process, a container that joins the pid namespace ends soon too", async (signal) => {
      const id = await hostile(signal);
      const { status, stderr } = box.quiet(["run", "--detach", "--bundle", box.make("sleep 1000", sharing(id)), box.id()]);
      expect(status === 0 || (status === 1 && /has stopped it|was killed before|stop or kill whoever comes in|the child|is gone|went/.test(stderr)), `${status}: ${stderr}`).toBe(true);
      expect(box.quiet(["delete", "--force", id])).toMatchObject({ status: 0 });
    });
  });
});

suite("the same over RPC", { needs: ["agent", "compiler"] }, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start();
    execFileSync("musl-gcc", ["-static", "-s", "-Os", "-o", join(lab.root, "bin/spy"), "test/host/oci-spy.c"]);
    mkdirSync(join(lab.root, "found"), { recursive: true });
  });
  afterAll(() => lab?.stop());

  it("in a sandbox's pid namespace: the second container sees the first, its end is told, nothing is left", async () => {
    const before = lab.state();
    const first = await lab.up("exec sleep 3001");
    const id = lab.name();
    await lab.client.createContainer({ ...(lab.request(id, ["/bin/sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; exit 7"]) as object), sandboxPidns: true } as never);
    await lab.client.startContainer({ containerId: id });
    const out = await lab.readAll(named(id));
    expect(await lab.wait(named(id))).toBe(7);
    expect(out).toContain("cat");
    await lab.remove(id);
    await lab.remove(first);
    await lab.settled(before);
  });

  // Failed when masks lay on the old root and went in its place: who entered the namespace was in the agent's own root.
  it("begins in the container's root, and no other is mounted in its namespace", async () => {
    const id = await lab.up();
    const { stdout } = await lab.execRun(id, "cat /proc/1/comm; cut -d' ' -f5 /proc/self/mountinfo");
    const [comm, ...places] = stdout.trim().split("\n");
    expect(comm).toBe("sleep");
    expect(places.filter((at) => at === "/")).toHaveLength(1);
    expect(lab.agent.inside(`nsenter -t $(cat /proc/${lab.agent.pid}/task/${lab.agent.pid}/children) -m /bin/busybox cat /proc/1/comm`)).toBe("sleep");
    await lab.remove(id);
  });

  it("a further process that is killed or stopped before its program begins costs nobody else anything", async () => {
    const before = lab.state();
    for (const signal of [9, 19]) {
      const id = await lab.create(["/bin/spy", "signal", String(signal), `/found/${signal}`]);
      await lab.client.startContainer({ containerId: id });
      await until("it has begun", () => existsSync(join(lab.root, `found/${signal}`)));
      const ends = await Promise.all(Array.from({ length: 20 }, () => outcome(lab.exec(id, "sleep 1000"))));
      for (const end of ends) expect(end === "OK" || /has stopped it|was killed before|the child|is gone/.test(end), end).toBe(true);
      expect((await lab.run("echo fine")).stdout).toBe("fine\n");
      await lab.remove(id);
    }
    await lab.settled(before);
  });
});
