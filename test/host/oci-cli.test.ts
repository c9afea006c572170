// The command line as its callers use it, called through a link: each command, its exit status, what it prints, and what it says
// to those who use it wrongly.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, openSync, closeSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { Bundles } from "../helpers/oci-bundle.js";
import { BINARY } from "../helpers/private-agent.js";
import { errorsIn } from "../helpers/said.js";
import { having, suite } from "../helpers/suite.js";
import { noTerminal, Terminal } from "../helpers/terminal.js";

suite("the command line", { needs: ["agent"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles(BINARY, true);
  });
  afterAll(() => box?.stop());

  const fails = (args: readonly string[], text: string, status = 1): void => {
    const outcome = box.quiet(args);
    expect({ args, status: outcome.status, stderr: outcome.stderr }).toEqual({ args, status, stderr: expect.stringContaining(text) });
  };
  const works = (args: readonly string[]): string => {
    const { status, stdout, stderr } = box.command(args);
    expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: "" });
    return stdout;
  };
  const quietly = (args: readonly string[]): void => expect({ args, ...box.quiet(args) }).toEqual({ args, status: 0, stdout: "", stderr: "" });
  const stateOf = (id: string): { readonly status: string; readonly pid: number } & Record<string, unknown> => JSON.parse(works(["state", id])) as never;
  /** Dead ones are reaped by whoever has inherited them. */
  const lives = (pid: number): boolean => existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  const isStopped = (id: string): Promise<void> => until(`${id} has stopped`, () => stateOf(id).status === "stopped");

  it("knows no container that was not made", () => {
    for (const command of ["state", "start", "kill", "delete", "pause", "resume", "ps", "events", "update"]) fails([command, "nobody"], 'container "nobody" does not exist');
    fails(["exec", "nobody", "true"], 'container "nobody" does not exist', 255);
    quietly(["delete", "--force", "nobody"]);
    for (const id of ["", "../x", "a/b", ".", ".."]) fails(["state", "--", id], "id");
  });

  it("leads a container from create to delete, and says what does not fit", async () => {
    const id = box.id();
    const bundle = box.make("sleep 1000", (c) => (c["annotations"] = { who: "me" }));
    quietly(["create", id, "--bundle", bundle]);
    expect(stateOf(id)).toMatchObject({ id, status: "created", bundle, ociVersion: "1.2.0", annotations: { who: "me" } });
    fails(["create", "--bundle", bundle, id], "container with given ID already exists");
    fails(["resume", id], "not paused");
    quietly(["start", id]);
    const { pid, status } = stateOf(id);
    expect(status).toBe("running");
    expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).toBe("sleep\0" + "1000\0");
    fails(["start", id], "cannot start an already running container");
    fails(["delete", id], "running");
    quietly(["pause", id]);
    expect(stateOf(id).status).toBe("paused");
    fails(["pause", id], "paused");
    fails(["exec", id, "true"], "paused", 255);
    quietly(["resume", id]);
    expect(works(["list", "-q"]).split("\n")).toContain(id);
    expect(JSON.parse(works(["list", "--format", "json"])) as unknown[]).toContainEqual(expect.objectContaining({ id, pid, status: "running", owner: "0" }));
    expect(works(["list"]).split("\n").find((line) => line.startsWith(id))).toMatch(new RegExp(`^${id} +${pid} +running +${bundle} +[0-9TZ:.-]+ +root$`));
    fails(["kill", id, "NOSUCH"], "NOSUCH");
    quietly(["kill", id, "KILL"]);
    await isStopped(id);
    fails(["start", id], "cannot start a container that has stopped");
    fails(["kill", id], "container not running");
    fails(["pause", id], "container not running");
    fails(["events", id], "container not running");
    fails(["update", "--pids-limit", "5", id], "container not running");
    fails(["exec", id, "true"], "container not running", 255);
    expect(works(["ps", "--format", "json", id])).toBe("[]\n");
    quietly(["delete", id]);
    fails(["state", id], "does not exist");
    fails(["delete", id], "does not exist");
  });

  it("deletes what was created and never started, and by force what runs", async () => {
    const [created, running] = [box.id(), box.sleeper()];
    quietly(["create", "--bundle", box.make("true"), created]);
    const pids = [created, running].map((id) => stateOf(id).pid);
    quietly(["delete", created]);
    quietly(["delete", "-f", running]);
    expect(pids.filter(lives)).toEqual([]);
    const several = [box.sleeper(), box.sleeper()];
    quietly(["delete", "--force", ...several, "nobody"]);
    expect(works(["list", "-q"])).toBe("");
  });

  it("refuses options and arguments that it does not know", () => {
    fails(["nosuch"], 'unknown command "nosuch"');
    fails(["state"], "too few arguments");
    fails(["state", "a", "b"], "too many arguments");
    fails(["create", "--nosuch", "a"], "unknown option --nosuch");
    fails(["create", "a", "--bundle"], "--bundle needs a value");
    fails(["list", "--format", "xml"], '"xml" is not table or json');
    fails(["ps", "--format", "xml", "a"], '"xml" is not table or json');
    fails(["create", "--preserve-fds", "x", "--bundle", box.make("true"), box.id()], '"x" is not a number');
    for (const words of [["--log-format", "xml"], ["--rootless", "maybe"], ["--systemd-cgroup"], ["--cgroup-manager", "systemd"], ["--root", "/"], ["--root", ""], ["--root", "/a/.."]]) {
      const { status, stderr } = spawnSync(join(box.folder, "kata-oci"), [...words, "list"], { encoding: "utf8" });
      expect({ words, status, stderr }).toMatchObject({ words, status: 1, stderr: expect.stringContaining(words[0] as string) });
    }
    const { status, stdout } = spawnSync(join(box.folder, "kata-oci"), [], { encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  });

  it("takes a relative root from the working directory, and says when a root that was named is missing", () => {
    const at = (root: string): unknown => {
      const { status, stdout, stderr } = spawnSync(join(box.folder, "kata-oci"), ["--root", root, "list", "-q"], { encoding: "utf8", cwd: box.folder });
      return { status, stdout, stderr };
    };
    const id = box.sleeper();
    for (const root of ["state", "./state/", "plain/../state"]) expect(at(root)).toMatchObject({ status: 0, stdout: expect.stringContaining(`${id}\n`), stderr: "" });
    for (const root of ["missing", join(box.folder, "missing")]) expect(at(root)).toEqual({ status: 1, stdout: "", stderr: expect.stringMatching(`${join(box.folder, "missing")}.*No such file`) });
    quietly(["delete", "--force", id]);
  });

  it("prints help and its version", () => {
    const help = works(["--help"]);
    for (const command of ["create", "run", "start", "state", "kill", "delete", "exec", "list", "ps", "pause", "resume", "update", "events", "features", "spec"]) {
      expect(help).toContain(`\n  ${command} `);
      expect(works([command, "--help"])).toContain(`${command} [OPTION...]`);
    }
    expect(works(["--version"])).toMatch(/^kata-oci version \S+\n(.*\n)*spec: 1\.\d\.\d/);
    expect(works(["-v"])).toBe(works(["--version"]));
    expect(JSON.parse(works(["features"]))).toMatchObject({ ociVersionMin: "1.0.0" });
  });

  it("refuses a bundle that it cannot read, and keeps nothing of it", () => {
    const empty = join(box.folder, "empty");
    mkdirSync(empty);
    fails(["create", "--bundle", empty, "bad"], "no such file or directory");
    fails(["create", "--bundle", join(box.folder, "absent"), "bad"], "No such file or directory");
    for (const [text, said] of [["{", "config.json"], ["[]", "is not an object"], ['{"ociVersion":"2.0.0"}', "ociVersion"], ["\u0000", "config.json"]]) {
      writeFileSync(join(empty, "config.json"), text as string);
      fails(["create", "--bundle", empty, "bad"], said as string);
    }
    rmSync(join(empty, "config.json"));
    execFileSync("mkfifo", [join(empty, "config.json")]);
    fails(["create", "--bundle", empty, "bad"], "is not a regular file");
    fails(["create", "--bundle", box.make("true", (c) => (c.root["path"] = "absent")), "bad"], "root.path");
    expect(works(["list", "-q"]).split("\n")).not.toContain("bad");
  });

  it("ends with the program's status", () => {
    expect(box.run("exit 7").status).toBe(7);
    expect(box.run("kill -9 $$", (c) => (c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] !== "pid"))).status).toBe(128 + 9);
    expect(box.run("kill -TERM $$; exit 3").status).toBe(3); // the first process of a pid namespace is not ended by its own TERM
    const absent = box.run("", (c) => (c.process["args"] = ["nosuch"]));
    expect(absent).toMatchObject({ status: 1, stderr: expect.stringContaining("executable file not found in $PATH") });
    expect(box.run("", (c) => (c.process["args"] = ["/etc"])).stderr).toMatch(/permission denied|is a directory/);
    expect(box.run("", (c) => (c.process["args"] = ["/no/such"])).stderr).toContain("no such file or directory");
    const id = box.sleeper();
    expect(box.command(["exec", id, "sh", "-c", "exit 9"]).status).toBe(9);
    expect(box.command(["exec", id, "sh", "-c", "kill -9 $$"]).status).toBe(128 + 9);
    expect(box.command(["exec", id, "nosuch"])).toMatchObject({ status: 255, stderr: expect.stringContaining("executable file not found in $PATH") });
    expect(box.command(["exec", id, "/no/such"])).toMatchObject({ status: 255, stderr: expect.stringContaining("no such file or directory") });
    expect(box.command(["exec", id])).toMatchObject({ status: 255 });
  });

  it("runs on its own with -d, and is kept with --keep", async () => {
    const [detached, kept] = [box.id(), box.id()];
    const pidFile = join(box.folder, "pid");
    quietly(["run", "-d", "--pid-file", pidFile, "--bundle", box.make("sleep 1000"), detached]);
    expect(readFileSync(pidFile, "utf8")).toBe(String(stateOf(detached).pid));
    expect(box.command(["run", "--keep", "--bundle", box.make("exit 4"), kept]).status).toBe(4);
    expect(stateOf(kept)).toMatchObject({ status: "stopped", pid: 0 });
    quietly(["delete", kept]);
    quietly(["kill", detached, "9"]);
    await isStopped(detached);
  });

  it("hands over descriptors, and only those that it is told to", () => {
    const file = openSync("/etc/hostname", "r");
    const run = (keep: readonly string[]): string => {
      const words = box.words(["run", ...keep, "--bundle", box.make("ls /proc/self/fd | tr '\\n' ' '"), box.id()]);
      return spawnSync(words[0] as string, words.slice(1), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe", file, file] }).stdout;
    };
    expect(run([])).toBe("0 1 2 3 "); // 3: ls's own
    expect(run(["--preserve-fds", "2"])).toBe("0 1 2 3 4 5 ");
    closeSync(file);
  });

  it("runs further processes as it is told", () => {
    const id = box.sleeper();
    const exec = (...words: readonly string[]): string => works(["exec", ...words]);
    expect(exec("-u", "5:6", "-g", "7", "--cwd", "/bin", "-e", "A=b", id, "sh", "-c", "id -u; id -g; id -G; pwd; echo $A")).toBe("5\n6\n6 7\n/bin\nb\n");
    expect(exec(id, "echo", "--help", "-x")).toBe("--help -x\n"); // behind the id all words are the program's
    const effective = (...words: readonly string[]): bigint => BigInt(`0x${exec(...words, id, "grep", "CapEff", "/proc/self/status").split("\t")[1]?.trim()}`);
    const before = effective();
    expect(effective("--cap", "CAP_SYS_PTRACE") - before).toBe(1n << 19n);
    const file = join(box.folder, "process.json");
    writeFileSync(file, JSON.stringify({ args: ["/bin/sh", "-c", "pwd; exit 6"], cwd: "/dev", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } }));
    expect(box.command(["exec", "--process", file, id])).toMatchObject({ status: 6, stdout: "/dev\n" });
    const pidFile = join(box.folder, "exec.pid");
    quietly(["exec", "-d", "--pid-file", pidFile, id, "sleep", "500"]);
    const pids = JSON.parse(works(["ps", "-f", "json", id])) as number[];
    expect(pids).toEqual([stateOf(id).pid, Number(readFileSync(pidFile, "utf8"))].sort((a, b) => a - b));
    fails(["exec", "--process", join(box.folder, "absent"), id], "--process", 255);
    fails(["exec", "-u", "root", id, "true"], "--user", 255);
    fails(["exec", "-t", "-d", id, "true"], "--console-socket", 255);
  });

  having("program:python3")("leaves the end of a further process to whoever inherits it, however soon that is", () => {
    // as shims do: they adopt what a command leaves behind, and wait for it
    const adopt = `
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) # PR_SET_CHILD_SUBREAPER
for i in range(20):
    subprocess.check_call(sys.argv[2:])
    print(os.waitstatus_to_exitcode(os.waitpid(int(open(sys.argv[1]).read()), 0)[1]))
`;
    const pidFile = join(box.folder, "adopted.pid");
    const words = box.words(["exec", "--detach", "--pid-file", pidFile, box.sleeper(), "sh", "-c", "exit 3"]);
    const { stdout, stderr } = spawnSync("python3", ["-c", adopt, pidFile, ...words], { encoding: "utf8", timeout: 120_000, stdio: ["ignore", "pipe", "pipe"] });
    expect({ stdout, stderr }).toEqual({ stdout: "3\n".repeat(20), stderr: "" });
  });

  it("writes a log as containerd's shim reads it: the last line tells the error", () => {
    const log = join(box.folder, "log.json");
    const words = box.words(["state", "nobody"]);
    const { status, stderr } = spawnSync(words[0] as string, ["--log", log, "--log-format", "json", ...words.slice(1)], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toBe('container "nobody" does not exist\n'); // callers read it there too
    const last = JSON.parse(readFileSync(log, "utf8").trim().split("\n").at(-1) as string) as Record<string, string>;
    expect(last).toMatchObject({ level: "error", msg: expect.stringContaining('container "nobody" does not exist') });
    expect(Number.isNaN(Date.parse(last["time"] as string))).toBe(false);
  });

  it("tells errors as runc's logger does where nobody sits: on a standard error that is no terminal", async () => {
    const [program = "", ...words] = box.words(["state", "nobody"]);
    const stderrOf = (...more: readonly string[]): string => spawnSync(program, [...more, ...words], { encoding: "utf8" }).stderr;
    expect(stderrOf()).toMatch(/^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg="container \\"nobody\\" does not exist"\n$/);
    expect(JSON.parse(stderrOf("--log-format", "json"))).toEqual({ level: "error", msg: 'container "nobody" does not exist', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) });
    const log = join(box.folder, "plain.log");
    expect(stderrOf("--log", log)).toBe('container "nobody" does not exist\n');
    expect(errorsIn(readFileSync(log, "utf8"))).toEqual(['container "nobody" does not exist']);
    // bytes that are no text, and what would change a terminal
    const odd = spawnSync("sh", ["-c", '"$0" state "$(printf \'a\\033\\377"\')"', program], { encoding: "utf8" }).stderr;
    expect(odd).toContain('the ID \\"a\\x1b\\xff\\"\\":');
    if (noTerminal() !== undefined) return;
    const terminal = new Terminal([program, ...words]);
    expect((await terminal.end()).status).toBe(1);
    expect(terminal.rest.toString()).toBe('kata-oci: container "nobody" does not exist\r\n');
    await terminal.stop();
  });

  it("leaves nothing of all that", () => {
    box.removeAll();
    expect(readdirSync(join(box.folder, "state"))).toEqual([]);
  });
});
