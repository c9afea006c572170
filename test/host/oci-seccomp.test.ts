// Seccomp by the command line: what a filter does to the program and to further processes, when it is loaded, and who is asked
// about the calls that it does not decide itself (test/host/seccomp-agent.c).
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Bundles, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";

type Json = Record<string, unknown>;
const ENOMEDIUM = 123;
const filter = (seccomp: Json, nnp: boolean, more: ConfigChange = () => undefined): ConfigChange => (c) => {
  c.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", ...seccomp };
  c.process["noNewPrivileges"] = nnp;
  more(c);
};
const asUser = (c: Config): void => void (c.process["user"] = { uid: 1000, gid: 1000 });

suite("a seccomp filter", { needs: ["agent", "compiler"] }, () => {
  let box: Bundles;
  let agent: ChildProcess | undefined;
  const socket = (): string => join(box.folder, "agent.sock");
  const records = (): string => join(box.folder, "records");

  /** An agent that answers with that errno, or lets calls go on with 0. */
  async function listen(errno: number, at = socket()): Promise<void> {
    rmSync(records(), { force: true });
    rmSync(at, { force: true });
    agent = spawn(join(box.folder, "agent"), [at, records(), String(errno)], { stdio: ["ignore", "pipe", "inherit"] });
    await once(agent.stdout!, "data");
  }
  const asking = (names: string[], nnp: boolean, more?: ConfigChange): ConfigChange =>
    filter({ listenerPath: socket(), listenerMetadata: "who", architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], syscalls: [{ names, action: "SCMP_ACT_NOTIFY" }] }, nnp, more);
  const told = (): Json[] => readFileSync(records(), "utf8").split("\n").filter((l) => l.startsWith("{")).map((l) => JSON.parse(l) as Json);

  beforeAll(() => {
    box = new Bundles();
    execFileSync("musl-gcc", ["-static", "-s", "-Os", "-o", join(box.folder, "agent"), "test/host/seccomp-agent.c"]);
  });
  afterEach(() => {
    agent?.kill("SIGKILL"); // what it has forked ends with the filters
    agent = undefined;
  });
  afterAll(() => box?.stop());

  const MKDIR = ["mkdir", "mkdirat"];
  for (const nnp of [true, false]) {
    const title = nnp ? "with no_new_privs" : "without no_new_privs";

    it(`asks an agent, which gets the listener with a record of the container, ${title}`, async () => {
      await listen(ENOMEDIUM);
      const change = asking(MKDIR, nnp, (c) => {
        asUser(c);
        c["annotations"] = { "org.example.long": "x".repeat(20_000) };
      });
      const { status, stdout, stderr } = box.run("mkdir /tmp/x; echo /proc/self/fd/*", change);
      expect({ status, stdout }).toEqual({ status: 0, stdout: "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n" });
      expect(stderr).toContain("No medium found");
      const [record] = told();
      const state = record?.["state"] as Json;
      expect(record).toEqual({ ociVersion: "1.2.0", fds: ["seccompFd"], pid: state["pid"], metadata: "who", state });
      expect(state).toEqual({ ociVersion: "1.2.0", id: expect.any(String), status: "creating", pid: expect.any(Number), bundle: expect.stringContaining(box.folder), annotations: { "org.example.long": "x".repeat(20_000) } });
      expect(state["pid"]).toBeGreaterThan(1);
    });

    it(`asks about the calls that a program begins with, ${title}`, async () => {
      await listen(0);
      const { status, stdout } = box.run("echo ran", asking(["execve", "openat", "open", "read", "close"], nnp));
      expect({ status, stdout }).toEqual({ status: 0, stdout: "ran\n" });
      expect(readFileSync(records(), "utf8")).toContain("call 59\n"); // execve
    });

    it(`has a listener for each further process, ${title}`, async () => {
      await listen(ENOMEDIUM);
      const id = box.sleeper(asking(MKDIR, nnp));
      expect(box.command(["exec", id, "/bin/mkdir", "/tmp/y"]).stderr).toContain("No medium found");
      const [first, second] = told();
      expect(second).toMatchObject({ metadata: "who", state: { id, status: "running", pid: first?.["pid"] } });
      expect(second?.["pid"]).not.toBe(first?.["pid"]);
    });

    it(`needs of the program no calls but its own, ${title}`, () => {
      // what the engine still does after loading: with no_new_privs only execve, else also capset, prctl and the talk with its parent
      const denied = ["getcwd", "chdir", "openat", "open", "faccessat2", "newfstatat", "setresuid", "setresgid", "setgroups", "fchown", "umask", "sendto", "recvfrom", "close_range", "memfd_create", "clone", "rt_sigprocmask"];
      const more = nnp ? ["capset", "prctl", "fcntl", "dup3", "execveat", "accept4"] : [];
      const change = filter({ syscalls: [{ names: [...denied, ...more], action: "SCMP_ACT_KILL_PROCESS" }] }, nnp, (c) => {
        asUser(c);
        c.process["args"] = ["/spin"];
      });
      const bundle = box.make("", change);
      execFileSync("musl-gcc", ["-static", "-nostartfiles", "-Os", "-x", "c", "-o", join(bundle, "rootfs/spin"), "-"], { input: "void _start(void) { __asm__ volatile(\"syscall\" :: \"a\"(231), \"D\"(7)); }" });
      expect(box.command(["run", "--bundle", bundle, box.id()])).toMatchObject({ status: 7 });
      const id = box.id();
      expect(box.quiet(["create", "--bundle", bundle, id])).toMatchObject({ status: 0 });
      expect(box.quiet(["start", id])).toMatchObject({ status: 0 });
    });

    it(`holds startContainer hooks, ${title}`, () => {
      const { status, stderr } = box.run("echo ran", filter({ syscalls: [{ names: MKDIR, action: "SCMP_ACT_KILL" }] }, nnp, (c) => (c["hooks"] = { startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "exec mkdir /tmp/x"] }] })));
      expect(status).toBe(1);
      expect(stderr).toContain("error running startContainer hook #0: /bin/sh: bad system call");
    });
  }

  it("reaches an agent in the abstract space, and one behind a long path", async () => {
    const name = `@kata-test-${process.pid}`;
    await listen(ENOMEDIUM, name);
    expect(box.run("mkdir /tmp/x", asking(MKDIR, true, (c) => ((c.linux["seccomp"] as Json)["listenerPath"] = name))).stderr).toContain("No medium found");
    agent?.kill("SIGKILL");
    await listen(ENOMEDIUM);
    const long = `${box.folder}${"/.".repeat(100)}/agent.sock`;
    expect(box.run("mkdir /tmp/x", asking(MKDIR, true, (c) => ((c.linux["seccomp"] as Json)["listenerPath"] = long))).stderr).toContain("No medium found");
  });

  it("answers ENOSYS when its agent has gone", async () => {
    await listen(ENOMEDIUM);
    const bundle = box.make("mkdir /tmp/x; cat /tmp/gate; mkdir /tmp/x", asking(["mkdir"], false));
    execFileSync("mkfifo", [join(bundle, "rootfs/tmp/gate")]);
    const run = spawn(box.binary, ["oci", "--root", join(box.folder, "state"), "run", "--bundle", bundle, box.id()], { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    run.stderr.on("data", (text) => (stderr += String(text)));
    await expect.poll(() => stderr).toContain("No medium found");
    const children = `/proc/${agent!.pid}/task/${agent!.pid}/children`;
    for (const pid of readFileSync(children, "utf8").trim().split(" ")) {
      process.kill(Number(pid), "SIGKILL");
      await expect.poll(() => readFileSync(`/proc/${pid}/stat`, "utf8")).toContain(") Z ");
    }
    writeFileSync(join(bundle, "rootfs/tmp/gate"), "\n");
    await once(run, "close");
    expect(stderr).toContain("Function not implemented");
  });

  it("fails without a trace when nobody listens", () => {
    const id = box.id();
    const { status, stderr } = box.command(["run", "--bundle", box.make("echo ran", asking(MKDIR, false, (c) => ((c.linux["seccomp"] as Json)["listenerPath"] = "/no/such.sock"))), id]);
    expect(status).toBe(1);
    expect(stderr).toContain("failed to connect with seccomp agent /no/such.sock");
    expect(box.command(["state", id])).toMatchObject({ status: 1, stderr: expect.stringContaining("does not exist") });
  });

  it("ignores a listenerPath that no rule needs", () => {
    expect(box.run("echo ran", filter({ listenerPath: "/no/such.sock", listenerMetadata: "x" }, false))).toEqual({ status: 0, stdout: "ran\n", stderr: "" });
  });

  it("answers ENOSYS to calls newer than those it names, else its default", () => {
    const names = ["execve", "exit_group", "exit", "write", "brk", "mmap", "mprotect", "munmap", "arch_prctl", "set_tid_address", "read", "close", "rt_sigaction", "ioctl", "getuid", "prlimit64", "getrandom", "uname", "readlink", "rt_sigprocmask", "set_robust_list", "rseq", "newfstatat", "fstat"];
    const bundle = box.make("", filter({ defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 100, architectures: ["SCMP_ARCH_X86"], syscalls: [{ names, action: "SCMP_ACT_ALLOW" }] }, true, (c) => (c.process["args"] = ["/call"])));
    // rseq (334) is the largest: 333 gets the default's errno, 400 ENOSYS; with int 0x80 386 is rseq's number, 385 and 450 the same
    const code = 'long c(long n) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(0), "S"(0), "d"(0) : "rcx", "r11"); return r; } long i(long n) { long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(n) : "memory"); return r; } #\nvoid _start(void) { c(231) ; }';
    const ends = "void _start(void) { __asm__ volatile(\"syscall\" :: \"a\"(231), \"D\"((c(333) == -100) | (c(400) == -38) << 1 | (i(385) == -100) << 2 | (i(450) == -38) << 3)); }";
    execFileSync("musl-gcc", ["-static", "-nostartfiles", "-Os", "-x", "c", "-o", join(bundle, "rootfs/call"), "-"], { input: `${code.split("#")[0]}\n${ends}` });
    expect(box.command(["run", "--bundle", bundle, box.id()])).toMatchObject({ status: 15 });
  });

  it.each([
    ["NOTIFY without a listenerPath", { syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }] }, "linux.seccomp.listenerPath: is needed"],
    ["NOTIFY for write", { listenerPath: "/x", syscalls: [{ names: ["read", "write"], action: "SCMP_ACT_NOTIFY" }] }, "SCMP_ACT_NOTIFY cannot be used for the write syscall"],
    ["NOTIFY as default", { listenerPath: "/x", defaultAction: "SCMP_ACT_NOTIFY" }, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot"],
    ["metadata for nobody", { listenerMetadata: "x" }, "linux.seccomp.listenerMetadata: needs a listenerPath"],
  ])("refuses %s", (_what, seccomp, message) => {
    expect(box.run("true", filter(seccomp, true))).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining(message) });
  });

  it.each(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])("takes the flag %s, with and without an agent", async (flag) => {
    await listen(ENOMEDIUM);
    const flags = (c: Config): void => void ((c.linux["seccomp"] as Json)["flags"] = [flag]);
    expect(box.run("mkdir /tmp/x", asking(["mkdir"], true, flags)).stderr).toContain("No medium found");
    expect(box.run("mkdir /tmp/x", filter({ syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: ENOMEDIUM }] }, true, flags)).stderr).toContain("No medium found");
  });
});
