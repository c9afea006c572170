// What a process sees of itself in its container: identity, rights, limits, environment, place; and what a spec may not ask for.
// The real binary, natively; nothing of what a container does may show outside (agent-api 8.3, 11, 12, 26; container-engine 3.2b).
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Lab, named, outcome, type Change, type Json } from "../helpers/lab.js";
import { suite } from "../helpers/suite.js";

suite("a process in a container", { needs: ["agent"] }, () => {
  let lab: Lab;
  let before: Json;
  beforeAll(async () => {
    // what the agent was started with must not come through: ignored signals, descriptors, variables
    lab = await Lab.start("", "trap '' HUP INT QUIT USR1 USR2 PIPE CHLD; exec 7</etc/passwd 9</etc; export SECRET=1; umask 077");
    writeFileSync(join(lab.root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nuser:x:1234:5678::/home/user:/bin/sh\nbroken\n:::\n");
    writeFileSync(join(lab.root, "bin/noexec"), "#!/bin/sh\n", { mode: 0o644 });
    writeFileSync(join(lab.root, "bin/script"), "echo no interpreter line\n", { mode: 0o755 });
    writeFileSync(join(lab.root, "bin/badline"), "#!/bin/nonesuch\n", { mode: 0o755 });
    writeFileSync(join(lab.root, "bin/empty"), "", { mode: 0o755 });
    mkdirSync(join(lab.root, "root/only"), { recursive: true });
    chmodSync(join(lab.root, "root"), 0o700);
    mkdirSync(join(lab.root, "mnt"));
    before = lab.state();
  });
  afterAll(() => lab?.stop());
  afterEach(() => lab.settled(before));

  /** Runs it as the container's first process and as an exec: the answers must be the same. */
  const both = async (script: string, change: Change, execAs: Json): Promise<string> => {
    const first = await lab.run(script, change);
    const id = await lab.up(undefined, change);
    const second = await lab.execRun(id, script, execAs);
    await lab.remove(id);
    expect([second.status, second.stdout]).toEqual([first.status, first.stdout]);
    return first.stdout;
  };

  it("is clean of what the agent has and was started with", async () => {
    expect(await both("exec grep -E '^(SigBlk|SigIgn|SigCgt|SigPnd):' /proc/self/status", () => undefined, {})).toBe(
      "SigPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
    expect(await both("exec ls /proc/self/fd", () => undefined, {})).toBe("0\n1\n2\n3\n"); // 3 is the folder that ls reads
    const more: Change = (s) => (s.process["env"] = ["PATH=/bin", "A=1"]);
    expect(await both("tr '\\0' '\\n' < /proc/$$/environ; :", more, { env: ["PATH=/bin", "A=1"] })).toBe("PATH=/bin\nA=1\nHOME=/root\n");
    expect(await both("umask", () => undefined, {})).toBe("0022\n");
    expect(await lab.run("echo $$ $PPID; readlink /proc/self/exe; pwd")).toMatchObject({ stdout: "1 0\n/bin/busybox\n/\n" });
  });

  it("has the user and the groups that were asked for", async () => {
    const User = { uid: 1234, gid: 5678, additionalGids: [7, 42] };
    const change: Change = (s) => (s.process["user"] = User);
    expect(await both("id -u; id -g; grep -E '^(Uid|Gid|Groups):' /proc/self/status | tr '\\t' ' '; touch /root/x 2>/dev/null || echo denied", change, { user: User })).toBe(
      "1234\n5678\nUid: 1234 1234 1234 1234\nGid: 5678 5678 5678 5678\nGroups: 7 42 \ndenied\n");
    expect(await both("echo err > /proc/self/fd/2; echo out > /dev/stdout; : < /dev/stdin && echo in", change, { user: User })).toBe("out\nin\n");
    const odd: Change = (s) => (s.process["user"] = { uid: 4294967294, gid: 4294967294 });
    expect((await lab.run("id -u; id -g", odd)).stdout).toBe("4294967294\n4294967294\n");
  });

  it("knows its home, unless it is told another", async () => {
    const home = (User: Json, Env: string[] = ["PATH=/bin"]): Promise<string> => both("echo $HOME", (s) => { s.process["user"] = User; s.process["env"] = Env; }, { user: User, env: Env });
    expect(await home({ uid: 1234 })).toBe("/home/user\n");
    expect(await home({ uid: 99 })).toBe("/\n");
    expect(await home({ uid: 0 }, ["PATH=/bin", "HOME=/else"])).toBe("/else\n");
  });

  it("has an environment as given: the last of two wins, what is no assignment goes", async () => {
    const Env = ["PATH=/bin", "A=1", "A=2", "B", "=x", "C=", "D=a=b c\nd", "HOME=/"];
    const change: Change = (s) => (s.process["env"] = Env);
    expect(await both("echo \"$A|$B|${C-unset}|$D\"", change, { env: Env })).toBe("2|||a=b c\nd\n");
  });

  it("has arguments with any characters", async () => {
    const odd = ["", " ", "a b", "'\"$`\\", "ünï→😀", "\x01\x7f\t\n", "-n", "x".repeat(100_000)];
    const id = await lab.create(["/bin/sh", "-c", 'for a; do printf "%s|" "$a"; done', "sh", ...odd]);
    await lab.client.startContainer({ containerId: id });
    expect(await lab.readAll(named(id))).toBe(odd.map((a) => `${a}|`).join(""));
    await lab.wait(named(id));
    await lab.remove(id);
    expect(await outcome(lab.create(["/bin/echo", "a\0b"]))).toMatch(/^INVALID_ARGUMENT: .*process\.args\[1\]: has a NUL byte/);
    expect(await outcome(lab.create(["/bin/true"], (s) => (s.process["env"] = ["A=\0"])))).toMatch(/^INVALID_ARGUMENT: .*process\.env\[0\]/);
  });

  it("starts in its working directory, made if it is missing, never in one of the agent's", async () => {
    expect(await both("pwd", (s) => (s.process["cwd"] = "/etc"), { cwd: "/etc" })).toBe("/etc\n");
    expect(await both("pwd", (s) => (s.process["cwd"] = ""), { cwd: "" })).toBe("/\n");
    expect(await both("pwd; stat -c %a .", (s) => (s.process["cwd"] = "/tmp/made/new"), { cwd: "/tmp/made/new" })).toBe("/tmp/made/new\n755\n");
    expect(await outcome(lab.create(["/bin/true"], (s) => (s.process["cwd"] = "etc")))).toMatch(/^INVALID_ARGUMENT: .*process\.cwd/);
    expect(await outcome(lab.create(["/bin/true"], (s) => (s.process["cwd"] = "/bin/busybox/x")))).toMatch(/ENOTDIR/);
    const id = await lab.up();
    for (let n = 3; n <= 20; n++) {
      const Cwd = `/proc/self/fd/${n}`;
      expect(await outcome(lab.create(["/bin/true"], (s) => (s.process["cwd"] = Cwd))), Cwd).toMatch(/^(INTERNAL|PERMISSION_DENIED|INVALID_ARGUMENT)/);
      expect(await outcome(lab.exec(id, "true", { cwd: Cwd })), Cwd).toMatch(/^(INTERNAL|PERMISSION_DENIED|INVALID_ARGUMENT)/);
    }
    await lab.remove(id);
    // one that only the user may enter, or that it may not
    const User = { uid: 1234, gid: 5678 };
    expect(await outcome(lab.create(["/bin/true"], (s) => { s.process["cwd"] = "/root/only"; s.process["user"] = User; s.process["capabilities"] = {}; }))).toMatch(/^(OK|INTERNAL: .*EACCES)/);
  });

  it("has the capabilities that were given, in every set", async () => {
    const caps = "grep -E '^Cap' /proc/self/status | tr -d '\\t'";
    const some = ["CAP_CHOWN", "CAP_KILL"]; // bits 0 and 5
    const bits = "0000000000000021";
    const none = "0000000000000000";
    const Capabilities = { bounding: some, effective: some, permitted: some, inheritable: some, ambient: some };
    expect(await both(caps, (s) => (s.process["capabilities"] = Capabilities), { capabilities: Capabilities })).toBe(`CapInh:${bits}\nCapPrm:${bits}\nCapEff:${bits}\nCapBnd:${bits}\nCapAmb:${bits}\n`);
    expect(await both(caps, (s) => (s.process["capabilities"] = { bounding: some }), { capabilities: { bounding: some } })).toMatch(new RegExp(`CapInh:${none}\nCapPrm:${bits}\nCapEff:${bits}\nCapBnd:${bits}\nCapAmb:${none}`));
    // a user gets by ambient capabilities what it would lose
    const User = { uid: 1234, gid: 1 };
    expect(await both(caps, (s) => { s.process["capabilities"] = Capabilities; s.process["user"] = User; }, { user: User, capabilities: Capabilities })).toBe(`CapInh:${bits}\nCapPrm:${bits}\nCapEff:${bits}\nCapBnd:${bits}\nCapAmb:${bits}\n`);
    // an exec that says nothing has the container's
    const id = await lab.up(undefined, (s) => (s.process["capabilities"] = Capabilities));
    expect((await lab.execRun(id, caps)).stdout).toContain(`CapEff:${bits}`);
    await lab.remove(id);
  });

  it("has no_new_privs, limits, and a score for the lack of memory", async () => {
    const script = "grep NoNewPrivs /proc/self/status | tr -d '\\t'; ulimit -n; ulimit -Hn; ulimit -c; ulimit -f; cat /proc/self/oom_score_adj";
    const change: Change = (s) => {
      s.process["noNewPrivileges"] = true;
      s.process["oomScoreAdj"] = 321;
      s.process["rlimits"] = [{ type: "RLIMIT_NOFILE", soft: 77, hard: 99 }, { type: "RLIMIT_CORE", soft: 0, hard: "18446744073709551615" }, { type: "RLIMIT_FSIZE", soft: 5120, hard: 5120 }];
    };
    expect(await both(script, change, { noNewPrivileges: true })).toMatch(/^NoNewPrivs:1\n77\n99\n0\n(5|10)\n321\n$/);
    expect((await lab.run("grep 'core file' /proc/self/limits | tr -s ' '", change)).stdout).toContain("0 unlimited");
    expect(await outcome(lab.create(["/bin/true"], (s) => (s.process["rlimits"] = [{ type: "RLIMIT_NOFILE", soft: 2, hard: 1 }])))).toMatch(/^INVALID_ARGUMENT: .*rlimits\[0\]\.soft/);
    expect(await outcome(lab.create(["/bin/true"], (s) => (s.process["oomScoreAdj"] = 1001)))).toMatch(/^INVALID_ARGUMENT: .*oomScoreAdj/);
  });

  it("has as an exec its own limits and score, and the container's where it asks for none", async () => {
    const script = "ulimit -n; ulimit -Hn; ulimit -f; cat /proc/self/oom_score_adj";
    const id = await lab.up(undefined, (s) => {
      s.process["oomScoreAdj"] = 321;
      s.process["rlimits"] = [{ type: "RLIMIT_NOFILE", soft: 77, hard: 99 }];
    });
    expect((await lab.execRun(id, script)).stdout).toBe("77\n99\nunlimited\n321\n");
    const own = await lab.execRun(id, script, { oomScoreAdj: 400, rlimits: [{ type: "RLIMIT_NOFILE", soft: 55, hard: 66 }, { type: "RLIMIT_FSIZE", soft: 0, hard: 0 }] });
    expect(own.stdout).toBe("55\n66\n0\n400\n");
    expect(await outcome(lab.exec(id, "true", { rlimits: [{ type: "RLIMIT_NOFILE", soft: 2, hard: 1 }] }))).toMatch(/^INVALID_ARGUMENT: .*rlimits\[0\]\.soft/);
    await lab.remove(id);
  });

  it("is held by its seccomp profile, with and without no_new_privs, first and exec", async () => {
    for (const NoNewPrivileges of [false, true]) {
      for (const [profile, expected] of [
        [{ defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 95 }] }, "not supported"],
        [{ defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }] }, "not permitted"],
      ] as const) {
        const change: Change = (s) => { s.linux["seccomp"] = profile; s.process["noNewPrivileges"] = NoNewPrivileges; };
        expect(await both("mkdir /tmp/x 2>&1; grep ^Seccomp: /proc/self/status | tr -d '\\t'; exit 0", change, { noNewPrivileges: NoNewPrivileges })).toMatch(new RegExp(`${expected}\nSeccomp:2\n`));
      }
    }
    const kill: Change = (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS" }] });
    expect((await lab.run("exec mkdir /tmp/x", kill)).status).toBe(128 + 31);
    const args: Change = (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["kill"], action: "SCMP_ACT_ERRNO", errnoRet: 1, args: [{ index: 1, value: 10, op: "SCMP_CMP_EQ" }] }] });
    expect((await lab.run("trap 'echo usr2' USR2; kill -USR1 $$ 2>/dev/null || echo refused; kill -USR2 $$", args)).stdout).toBe("refused\nusr2\n");
  });

  it("finds what is masked empty and what is read-only read-only", async () => {
    mkdirSync(join(lab.root, "tmp/secret/deep"), { recursive: true });
    writeFileSync(join(lab.root, "tmp/secret/deep/file"), "s3cret");
    writeFileSync(join(lab.root, "tmp/file"), "s3cret");
    mkdirSync(join(lab.root, "tmp/still"), { recursive: true });
    symlinkSync("secret", join(lab.root, "tmp/linked"));
    const change: Change = (s) => {
      s.linux["maskedPaths"] = ["/tmp/secret", "/tmp/file", "/tmp/none", "/proc/kcore", "/sys/firmware"];
      s.linux["readonlyPaths"] = ["/tmp/still", "/proc/sys", "/tmp/none2"];
    };
    const script = [
      "ls -A /tmp/secret; cat /tmp/file; cat /tmp/secret/deep/file /tmp/linked/deep/file 2>/dev/null", "touch /tmp/secret/x 2>&1 | grep -c Read-only", "head -c 10 /proc/kcore; ls -A /sys/firmware",
      "touch /tmp/still/x 2>&1 | grep -c Read-only", "(echo x > /proc/sys/kernel/hostname) 2>&1 | grep -c Read-only", "touch /tmp/free && echo free", "mount -o remount,rw /tmp/still 2>&1 | grep -c -E 'denied|permitted'",
    ].join("; ");
    expect(await both(script, change, {})).toBe("1\n1\n1\nfree\n1\n");
  });

  it("has a read-only root when that is asked for, with its mounts still to be written", async () => {
    const change: Change = (s) => {
      s.root["readonly"] = true;
      s.mounts.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["size=1m", "mode=1777"] });
    };
    expect(await both("touch /x 2>&1 | grep -c Read-only; touch /tmp/x && echo tmp; touch /dev/shm/x && echo shm; stat -c %a /tmp", change, {})).toBe("1\ntmp\nshm\n1777\n");
  });

  it("never runs in the agent's own root", async () => {
    const bare: Change = (s) => {
      s.linux.namespaces = [];
      delete s["hostname"];
      s.linux["maskedPaths"] = [];
      s.linux["readonlyPaths"] = [];
    };
    expect((await lab.run("ls /; ls /run | wc -l", bare)).stdout).toBe("bin\ndev\netc\nmnt\nproc\nroot\nrun\nsys\ntmp\n0\n");
  });

  it("sees only itself of the machine's processes and mounts", async () => {
    const { stdout } = await lab.run("ls -d /proc/[0-9]* | wc -l; grep -c kata /proc/self/mountinfo; ls /proc/1/root/bin | grep busybox; ls -l /proc/1/ns/pid > /dev/null && echo ok", (s) => {
      s.mounts = s.mounts.filter((m) => m["destination"] !== "/dev/shm");
    });
    expect(stdout.split("\n").slice(2)).toEqual(["busybox", "ok", ""]);
    expect(Number(stdout.split("\n")[0])).toBeLessThan(5);
  });

  it.each<[string, string[], RegExp]>([
    ["that is not there", ["/bin/nonesuch"], /^INTERNAL: .*the file \/bin\/nonesuch was not found/],
    ["that is nowhere in PATH", ["nonesuch"], /^INTERNAL: .*the file nonesuch was not found/],
    ["that may not be executed", ["/bin/noexec"], /permission denied|EACCES/i],
    ["that is a folder", ["/bin"], /^(INTERNAL|INVALID_ARGUMENT): /],
    ["that has no name", [""], /^INVALID_ARGUMENT: .*process\.args/],
    ["that is missing", [], /^INVALID_ARGUMENT: .*process\.args/],
    ["beyond a link that leads nowhere", ["/bin/dangling"], /the file \/bin\/dangling was not found/],
  ])("does not come from a command %s", async (_what, args, text) => {
    if (args[0] === "/bin/dangling") symlinkSync("/nowhere", join(lab.root, "bin/dangling"));
    expect(await outcome(lab.create(args))).toMatch(text);
    const id = await lab.up();
    expect(await outcome(lab.client.execProcess({ containerId: id, execId: "x", process: { args, env: ["PATH=/bin"], cwd: "/", user: {} } }))).toMatch(text);
    expect(await outcome(lab.client.execProcess({ containerId: id, execId: "x", process: { args, env: ["PATH=/bin"], cwd: "/", user: {}, terminal: true } }))).toMatch(text);
    await lab.remove(id);
  });

  it.each([["/bin/script", "ENOEXEC"], ["/bin/badline", "ENOENT"], ["/bin/empty", "ENOEXEC"]])("cannot be what the kernel does not execute: %s", async (program, code) => {
    const id = await lab.create([program]);
    expect(await outcome(lab.client.startContainer({ containerId: id }))).toMatch(new RegExp(`^INTERNAL: .*${code}`));
    expect(await outcome(lab.client.startContainer({ containerId: id }))).toMatch(/^FAILED_PRECONDITION/);
    await lab.wait(named(id));
    await lab.remove(id);
    const up = await lab.up();
    for (const Terminal of [false, true]) {
      expect(await outcome(lab.client.execProcess({ containerId: up, execId: "x", process: { args: [program], cwd: "/", terminal: Terminal } }))).toMatch(new RegExp(`^INTERNAL: .*${code}`));
    }
    await lab.remove(up);
  });

  it.each<[string, Change]>([
    ["no process", (s) => Reflect.deleteProperty(s, "process")],
    ["no root", (s) => Reflect.deleteProperty(s, "root")],
    ["no linux", (s) => Reflect.deleteProperty(s, "linux")],
    ["a root without path", (s) => (s.root["path"] = "")],
    ["a relative root", (s) => (s.root["path"] = "rootfs")],
    ["a root that is a file", (s) => (s.root["path"] = "/etc/passwd")],
    ["an unknown capability", (s) => (s.process["capabilities"] = { ambient: ["CAP_NOTHING"] })],
    ["an unknown limit", (s) => (s.process["rlimits"] = [{ type: "NOFILE", hard: 1, soft: 1 }])],
    ["a limit twice", (s) => (s.process["rlimits"] = [1, 2].map((n) => ({ type: "RLIMIT_NOFILE", hard: n, soft: n })))],
    ["an unknown namespace", (s) => s.linux.namespaces.push({ type: "mnt" })],
    ["a namespace twice", (s) => s.linux.namespaces.push({ type: "mount" })],
    ["a namespace that is not there", (s) => s.linux.namespaces.push({ type: "network", path: "/proc/1/ns/nonesuch" })],
    ["a namespace of another kind", (s) => s.linux.namespaces.push({ type: "network", path: "/proc/self/ns/uts" })],
    ["an unknown seccomp action", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], action: "ALLOW" }] })],
    ["no seccomp action", (s) => (s.linux["seccomp"] = { syscalls: [] })],
    ["an unknown seccomp operator", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, op: "==" }] }] })],
    ["a seccomp argument that no call has", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], action: "SCMP_ACT_ERRNO", args: [{ index: 6, op: "SCMP_CMP_EQ" }] }] })],
    ["an unknown seccomp flag", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_X"] })],
    ["an unknown seccomp architecture", (s) => (s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["x86_64"] })],
    ["a sysctl of the machine", (s) => (s.linux["sysctl"] = { "kernel.core_pattern": "|/bin/sh" })],
    ["a sysctl by a path", (s) => (s.linux["sysctl"] = { "net/../kernel/core_pattern": "x" })],
    ["a sysctl that is not there", (s) => (s.linux["sysctl"] = { "net.no.such": "1" })],
    ["a mount over /proc", (s) => s.mounts.push({ destination: "/proc", type: "tmpfs", source: "tmpfs" })],
    ["a mount inside /proc", (s) => s.mounts.push({ destination: "/proc/self", type: "tmpfs", source: "tmpfs" })],
    ["a mount inside /proc by a detour", (s) => s.mounts.push({ destination: "/etc/../proc//sys", type: "tmpfs", source: "tmpfs" })],
    ["a mount without destination", (s) => s.mounts.push({ type: "tmpfs", source: "tmpfs" })],
    ["a mount on a file's inside", (s) => s.mounts.push({ destination: "/etc/passwd/x", type: "tmpfs", source: "tmpfs" })],
    ["an unknown device type", (s) => (s.linux["devices"] = [{ path: "/dev/x", type: "z" }])],
    ["a device where a folder is", (s) => (s.linux["devices"] = [{ path: "/etc", type: "c", major: 1, minor: 3 }])],
    ["an unknown device rule", (s) => (s.linux.resources["devices"] = [{ allow: true, type: "x", access: "rwm" }])],
    ["access of a device that there is not", (s) => (s.linux.resources["devices"] = [{ allow: true, type: "c", access: "rwx" }])],
    ["AppArmor", (s) => (s.process["apparmorProfile"] = "p")],
    ["a cgroup above its tree", (s) => (s.linux["cgroupsPath"] = "../../x")],
    ["the root of the cgroups", (s) => (s.linux["cgroupsPath"] = "/")],
    ["a CPU that is not there", (s) => (s.linux.resources["cpu"] = { cpus: "4000" })],
    ["a list of CPUs that is none", (s) => (s.linux.resources["cpu"] = { cpus: "a-b" })],
    ["masked paths without a mount namespace", (s) => (s.linux.namespaces = [{ type: "ipc" }, { type: "uts" }])],
    ["a host name without a uts namespace", (s) => (s.linux.namespaces = [{ type: "mount" }])],
    ["user maps without a user namespace", (s) => (s.linux["uidMappings"] = [{ hostID: 0, containerID: 0, size: 1 }])],
    ["an unknown propagation", (s) => (s.linux["rootfsPropagation"] = "everywhere")],
    ["a user namespace without maps", (s) => s.linux.namespaces.push({ type: "user" })],
  ])("does not come from a spec with %s", async (_what, change) => {
    const said = await outcome(lab.create(["/bin/true"], change));
    expect(said).toMatch(/^(INVALID_ARGUMENT|INTERNAL|PERMISSION_DENIED|ALREADY_EXISTS|NOT_FOUND): .{8}/);
    expect(said).not.toMatch(/undefined|not a function|\[object|TypeError/);
  });

  it("cannot send its mounts out of its root by links", async () => {
    const outside = join(lab.folder, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "kept"), "kept");
    const root = join(lab.folder, "hostile");
    cpSync(lab.root, root, { recursive: true, verbatimSymlinks: true });
    const up = "../".repeat(20);
    symlinkSync(`${up}${outside.slice(1)}`, join(root, "relative"));
    symlinkSync(outside, join(root, "absolute"));
    symlinkSync(`${outside}/new`, join(root, "dangling"));
    symlinkSync("/proc/self/root", join(root, "magic"));
    const at = (destination: string): Json => ({ destination, type: "tmpfs", source: "tmpfs", options: ["mode=777"] });
    const bound = (destination: string): Json => ({ destination, type: "bind", source: "/etc/hostname", options: ["bind"] });
    for (const mount of [at("/relative"), at("/relative/deep/er"), at("/absolute/x"), at("/dangling"), at(`/tmp/../../../..${outside}`), at(`/magic${outside}`), bound("/relative/file"), bound("/dangling"), bound("/absolute")]) {
      const said = await outcome(lab.run("true", (s) => s.mounts.push(mount), root)); // inside or refused, both are good
      expect(said, JSON.stringify(mount)).toMatch(/^(OK|INTERNAL|INVALID_ARGUMENT|ALREADY_EXISTS)/);
      expect(lab.agent.inside(`ls -A ${outside}; cat ${outside}/kept; grep -c outside /proc/self/mountinfo || true`)).toBe("kept\nkept0");
    }
    symlinkSync("rootfs", join(lab.folder, "rootlink"));
    expect(await outcome(lab.create(["/bin/true"], undefined, join(lab.folder, "rootlink")))).toMatch(/^(INTERNAL|INVALID_ARGUMENT): .*root/);
  });

  it("has the mounts it asked for, in their order, with their options", async () => {
    const source = join(lab.folder, "source");
    mkdirSync(source);
    writeFileSync(join(source, "f"), "data");
    const { stdout } = await lab.run("cat /mnt/ro/f /mnt/file; touch /mnt/ro/x 2>&1 | grep -c Read-only; touch /mnt/rw/x && ls /mnt/rw; stat -c %a /mnt/t; grep ' /mnt/t ' /proc/self/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(no|size)' | sort | tr '\\n' ' '", (s) => {
      s.mounts.push({ destination: "/mnt", type: "tmpfs", source: "tmpfs" });
      s.mounts.push({ destination: "/mnt/ro", type: "bind", source, options: ["rbind", "ro"] });
      s.mounts.push({ destination: "/mnt/rw", type: "bind", source, options: ["bind", "rw", "rprivate"] });
      s.mounts.push({ destination: "/mnt/file", type: "bind", source: join(source, "f"), options: ["bind"] });
      s.mounts.push({ destination: "mnt/t", type: "tmpfs", source: "tmpfs", options: ["nosuid", "noexec", "nodev", "size=64k", "mode=0700"] });
    });
    expect(stdout).toBe("datadata1\nf\nx\n700\nnodev noexec nosuid size=64k ");
  });

  it("shares the sandbox's names and memory, not those of others", async () => {
    const a = await lab.up();
    const b = await lab.up();
    const id = async (c: string, kind: string): Promise<string> => (await lab.execRun(c, `readlink /proc/self/ns/${kind}`)).stdout;
    for (const kind of ["ipc", "uts"]) expect(await id(a, kind), kind).toBe(await id(b, kind));
    for (const kind of ["pid", "mnt"]) expect(await id(a, kind), kind).not.toBe(await id(b, kind));
    await lab.execRun(a, "echo shared > /dev/shm/note");
    expect((await lab.execRun(b, "cat /dev/shm/note; rm /dev/shm/note")).stdout).toBe("shared\n");
    await Promise.all([lab.remove(a), lab.remove(b)]);
  });
});
