// What a process is and may, and what reaches it and comes out of it, as seen from inside.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { collectStream } from "../../ctl/client/stdio.js";
import { Box } from "../helpers/engine-box.js";
import { containerRequest, execIn, finish } from "../helpers/guest.js";
import { failure } from "../helpers/private-agent.js";
import { having, suite } from "../helpers/suite.js";

const DEFAULT_FILTER = {
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [
    { names: ["mkdir", "mkdirat", "no_such_call_for_sure"], action: "SCMP_ACT_ERRNO", errnoRet: 95 },
    { names: ["personality"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }] },
  ],
};

suite("a process", { needs: ["agent"] }, () => {
  let box: Box;
  let before: string[];
  beforeAll(async () => {
    box = await Box.start();
    before = box.state();
  });
  afterAll(() => box?.stop());

  it("is the user, with exactly the groups, umask and directory that were asked for", async () => {
    const { stdout } = await box.run("id -u; id -g; id -G; umask; pwd; touch /tmp/mine; stat -c %u:%a /tmp/mine", (s) => {
      s.process["user"] = { uid: 1000, gid: 100, additionalGids: [7, 8] };
      s.process["cwd"] = "/made/here";
    }, withTmp(box.root()));
    expect(stdout.split("\n").slice(0, 6)).toEqual(["1000", "100", "100 7 8", "0022", "/made/here", "1000:644"]);
  });

  it("has only the environment that was given, HOME added, the last of two values", async () => {
    const root = box.root();
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nbob:x:1000:100::/home/bob:/bin/sh\n");
    const { stdout } = await box.run("env | grep -v -E '^(SHLVL|PWD|OLDPWD|_)=' | sort", (s) => {
      s.process["env"] = ["PATH=/bin", "A=1", "B=x=y", "A=2"];
      s.process["user"] = { uid: 1000, gid: 100 };
    }, root);
    expect(stdout.trim().split("\n")).toEqual(["A=2", "B=x=y", "HOME=/home/bob", "PATH=/bin"]);
  });

  it("may open its own streams again though it is not root", async () => {
    const { stdout, stderr } = await box.run("echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/null", (s) => (s.process["user"] = { uid: 1000, gid: 1000 }));
    expect([stdout, stderr]).toEqual(["out\n", "err\n"]);
  });

  it("has its limits, oom score and no_new_privs", async () => {
    const { stdout } = await box.run("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status", (s) => {
      s.process["rlimits"] = [{ type: "RLIMIT_NOFILE", hard: 99, soft: 77 }, { type: "RLIMIT_CORE", hard: 0, soft: 0 }];
      s.process["oomScoreAdj"] = 321;
      s.process["noNewPrivileges"] = true;
    });
    expect(stdout).toBe("77\n0\n321\nNoNewPrivs:\t1\n");
  });

  it("with fewer descriptors than the agent has open", async () => {
    const few = await box.run("ulimit -n", (s) => (s.process["rlimits"] = [{ type: "RLIMIT_NOFILE", hard: 12, soft: 12 }]));
    expect(few).toMatchObject({ status: 0, stdout: "12\n" });
  });

  it("gets no signal mask or ignored signal of the agent's", async () => {
    const { stdout } = await box.run("exec cat /proc/self/status");
    expect(stdout).toMatch(/SigBlk:\s0{16}/);
    expect(stdout).toMatch(/SigIgn:\s0{16}/);
  });

  it("has the limit of descriptors that the agent was started with, though the agent raises its own", async () => {
    const other = await Box.start("ulimit -Sn 512");
    try {
      const { stdout } = await other.run("ulimit -n; ulimit -Hn", (s) => (s.process["rlimits"] = []));
      const hard = execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" });
      expect(stdout).toBe(`512\n${hard}`);
      expect(readFileSync(`/proc/${other.agent.pid}/limits`, "utf8")).toMatch(new RegExp(`^Max open files +${hard.trim()} `, "m"));
    } finally {
      await other.stop();
    }
  });

  it.each([true, false])("is held by its seccomp filter (no_new_privs %s)", async (nnp) => {
    const { stdout, stderr } = await box.run("mkdir /tmp/x; grep -E '^Seccomp:' /proc/self/status; touch /tmp/y && echo fine", (s) => {
      s.process["noNewPrivileges"] = nnp;
      s.linux["seccomp"] = DEFAULT_FILTER;
    }, withTmp(box.root()));
    expect(stderr).toContain("Operation not supported");
    expect(stdout).toBe("Seccomp:\t2\nfine\n");
  });

  having("compiler")("gets ENOSYS for a call that its profile does not know yet, and the profile's errno for one it leaves out", async () => {
    const root = box.root();
    writeFileSync(join(box.folder, "call.c"), `#include <errno.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(void) { for (int n = 450; n < 1000; n += 549) { syscall(n, -1, 0, 0); printf("%d ", errno); } syscall(165, 0, 0, 0); printf("%d\\n", errno); return 0; }\n`);
    execFileSync("musl-gcc", ["-static", "-O1", "-o", join(root, "bin/call"), join(box.folder, "call.c")]);
    const allowed = "read write writev open openat close close_range fstat newfstatat statx mmap munmap brk mprotect ioctl exit exit_group arch_prctl set_tid_address execve readlink getuid getgid rt_sigprocmask rt_sigaction fcntl capset prctl setgroups setresuid setresgid faccessat2 getcwd recvfrom sendto".split(" ");
    const { stdout, status } = await box.run("exec /bin/call", (s) => {
      s.process["noNewPrivileges"] = true;
      s.linux["seccomp"] = { defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], syscalls: [{ names: [...allowed, "getpid", "getppid", "geteuid", "getegid", "wait4", "uname", "prlimit64", "getrandom", "rseq", "set_robust_list", "lseek", "access", "poll", "sigaltstack"], action: "SCMP_ACT_ALLOW" }] };
    }, root);
    expect([stdout, status]).toEqual(["38 38 1\n", 0]); // ENOSYS, ENOSYS, EPERM
  });

  it("and its execs have the container's filter, limits and capabilities", async () => {
    const id = await box.sleeper((s) => {
      s.linux["seccomp"] = DEFAULT_FILTER;
      s.process["rlimits"] = [{ type: "RLIMIT_NOFILE", hard: 99, soft: 77 }];
      s.process["capabilities"] = { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] };
    });
    const inside = await execIn(box.agent.client, id, "e", ["/bin/sh", "-c", "ulimit -n; grep -E 'Seccomp:|CapEff|CapInh' /proc/self/status; readlink /proc/self/ns/pid > /dev/null && echo same; cat /proc/1/comm; ls /proc/self/fd"]);
    expect(inside.stdout).toMatch(/^77\n/);
    expect(inside.stdout).toMatch(/CapInh:\s0{16}\nCapEff:\s0{14}20\nSeccomp:\s2\n/);
    expect(inside.stdout).toContain("sleep\n0\n1\n2\n3\n");
    await box.remove(id);
  });

  it("of two containers in one pid namespace sees the other, until the first one goes", async () => {
    const { client } = box.agent;
    const shared = async (id: string): Promise<void> => {
      await client.createContainer({ ...structuredClone(containerRequest({ id, rootPath: box.root(), args: ["/bin/sh", "-c", "cat /proc/1/comm; echo $$"] })), sandboxPidns: true } as never);
      await client.startContainer({ containerId: id });
    };
    const first = await box.sleeper();
    const id = `${first}shared`;
    await shared(id);
    const { stdout, status } = await finish(client, { containerId: id, execId: id });
    expect(stdout).toMatch(/^sleep\n([2-9]|[1-9][0-9]+)\n$/);
    expect(status).toBe(0);
    await box.remove(id);
    await box.remove(first);
    await shared(id);
    expect((await finish(client, { containerId: id, execId: id })).stdout).toBe("sh\n1\n");
    await box.remove(id);
  });

  it("in a user namespace is its root, and nobody outside", async () => {
    const root = box.root();
    chmodSync(box.folder, 0o755);
    const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const id = await box.create(["/bin/sleep", "1000"], (s) => {
      (s.linux["namespaces"] as object[]).push({ type: "user" });
      s.linux["uidMappings"] = map;
      s.linux["gidMappings"] = map;
      s.mounts = s.mounts.filter((m) => !["sysfs", "cgroup", "mqueue"].includes(m["type"] as string)); // they belong to the shared namespaces
      s.linux["sysctl"] = {};
    }, root);
    await box.start(id);
    const { stdout } = await execIn(box.agent.client, id, "who", ["/bin/sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %t:%T /dev/null; head -c1 /dev/zero | wc -c"]);
    expect(stdout).toBe("0\n 0 100000 65536\n1:3\n1\n");
    const pid = readFileSync(`/proc/${box.agent.pid}/task/${box.agent.pid}/children`, "utf8").trim().split(" ")[0];
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/Uid:\s100000/);
    await box.remove(id);
  });

  it("in a user namespace sees through binds what was mounted before, with ids of its own, wherever its root may go", async () => {
    const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const shown = box.outside();
    mkdirSync(join(shown, "x"));
    writeFileSync(join(shown, "x/who"), "the mount's\n");
    for (const mode of [0o755, 0o700]) {
      const root = box.root();
      for (const dir of ["m/x", "f", "g"]) mkdirSync(join(root, dir), { recursive: true });
      chmodSync(shown, mode);
      chmodSync(box.folder, mode);
      const { stdout, status } = await box.run("cat /f/who /g/who; stat -c %u /f/who /g/who", (s) => {
        (s.linux["namespaces"] as object[]).push({ type: "user" });
        s.linux["uidMappings"] = s.linux["gidMappings"] = map;
        s.mounts = s.mounts.filter((it) => !["sysfs", "cgroup", "mqueue"].includes(it["type"] as string)); // they belong to the shared namespaces
        s.linux["sysctl"] = {};
        const bind = (destination: string, source: string, ...options: string[]): Record<string, unknown> => ({ destination, type: "bind", source, options: ["bind", ...options] });
        s.mounts.push(bind("/m", shown), bind("/f", `${root}/m/x`, "idmap"), bind("/g", `${root}/m/x`));
      }, root);
      expect([status, stdout]).toEqual([0, "the mount's\nthe mount's\n0\n65534\n"]);
    }
  });

  it("at a terminal has it as its own, can be resized, and sees the end of input", async () => {
    const { client } = box.agent;
    const id = await box.create(["/bin/sh", "-c", "tty; stty size; stat -c %t /dev/console; cat; echo over; exit 4"], (s) => {
      s.process["terminal"] = true;
    });
    const name = { containerId: id, execId: id };
    await client.ttyWinResize({ ...name, row: 33, column: 77 });
    await box.start(id);
    await client.writeStdin({ ...name, data: Buffer.from("typed\n") });
    await client.closeStdin(name);
    const { stdout, status } = await finish(client, name);
    for (const line of ["/dev/pts/0", "33 77", "88", "over"]) expect(stdout.split("\r\n")).toContain(line); // the echo of what is typed may come anywhere
    expect(stdout.match(/typed\r\n/g)).toHaveLength(2);
    expect(stdout).toMatch(/over\r\n$/);
    expect(status).toBe(4);
    await box.remove(id);
  });

  it("at an exec's terminal too, and without one it has no size", async () => {
    const id = await box.sleeper();
    const { client } = box.agent;
    expect((await execIn(client, id, "t", ["/bin/sh", "-c", "tty; exit 3"], { terminal: true })).stdout).toBe("/dev/pts/0\r\n");
    expect(await failure(client.ttyWinResize({ containerId: id, execId: id, row: 1, column: 1 }))).toContain("no tty");
    await box.remove(id);
  });

  it("gets all its input, and all its output comes out, however it is read", async () => {
    const { client } = box.agent;
    const id = await box.create(["/bin/sh", "-c", "sha256sum; yes | head -c 3000000; echo gone >&2"]);
    const name = { containerId: id, execId: id };
    await box.start(id);
    const hash = createHash("sha256");
    for (let i = 0; i < 40; i++) {
      const data = Buffer.alloc(50_000, i);
      hash.update(data);
      await client.writeStdin({ ...name, data });
    }
    await client.closeStdin(name);
    const { stdout, stderr, status } = await finish(client, name);
    expect(stdout.slice(0, 64)).toBe(hash.digest("hex"));
    expect(stdout.length).toBe(68 + 3_000_000);
    expect([stderr, status]).toEqual(["gone\n", 0]);
    await box.remove(id);
  });

  it("that was waited for before it was read has lost nothing", async () => {
    const { client } = box.agent;
    for (let i = 0; i < 20; i++) {
      const id = await box.create(["/bin/echo", "kept"]);
      const name = { containerId: id, execId: id };
      await box.start(id);
      expect((await client.waitProcess(name)).status).toBe(0);
      expect((await collectStream(client, name, "stdout")).toString()).toBe("kept\n");
      await box.remove(id);
    }
  });

  it("of a container that ends takes the rest with it", async () => {
    const { client } = box.agent;
    const id = await box.create(["/bin/sh", "-c", "sleep 1000 & setsid sleep 1000 & echo up; sleep 1000"]);
    await box.start(id);
    await client.signalProcess({ containerId: id, signal: 9 });
    expect((await finish(client, { containerId: id, execId: id })).status).toBe(137);
    await box.remove(id);
  });

  it("leaves nothing behind", () => {
    expect(box.state()).toEqual(before);
  });
});

function withTmp(root: string): string {
  chmodSync(join(root, "tmp"), 0o1777);
  return root;
}
