// containerd's shim and ctr (as Debian has them) run containers through the command line, which they know only by its path.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { BINARY } from "../helpers/private-agent.js";
import { skip, suite } from "../helpers/suite.js";

const IMAGE = resolve("dist/sample-image");
const NAMESPACE = `kata${process.pid}`;

interface Outcome { readonly status: number | null; readonly stdout: string; readonly stderr: string }

/** containerd with folders and sockets of its own. */
class Containerd {
  readonly folder = mkdtempSync(join(tmpdir(), "kata-ctr-"));
  readonly runtime = join(this.folder, "kata-oci");
  readonly #daemon: ChildProcess;
  constructor() {
    symlinkSync(BINARY, this.runtime);
    const at = (name: string): string => JSON.stringify(join(this.folder, name));
    writeFileSync(join(this.folder, "config.toml"), `version = 2\nroot = ${at("root")}\nstate = ${at("state")}\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = ${at("c.sock")}\n[ttrpc]\naddress = ${at("t.sock")}\n`);
    const log = openSync(join(this.folder, "log"), "w");
    this.#daemon = spawn("containerd", ["--config", join(this.folder, "config.toml")], { stdio: ["ignore", log, log] });
  }
  words(args: readonly string[]): readonly string[] {
    return ["ctr", "--address", join(this.folder, "c.sock"), "--namespace", NAMESPACE, ...args];
  }
  ctr(...args: readonly string[]): Outcome {
    const [program = "", ...rest] = this.words(args);
    const { status, stdout, stderr } = spawnSync(program, rest, { encoding: "utf8", timeout: 120_000, stdio: ["ignore", "pipe", "pipe"] });
    return { status, stdout: stdout.trim(), stderr: stderr.trim() };
  }
  onTerminal(...args: readonly string[]): Outcome {
    const { status, stdout, stderr } = spawnSync("script", ["-qec", this.words(args).map((word) => `'${word}'`).join(" "), "/dev/null"], { encoding: "utf8", timeout: 120_000, stdio: ["ignore", "pipe", "pipe"] });
    return { status, stdout: stdout.replaceAll("\r", "").replaceAll("\0", "").replaceAll("^@", "").trim(), stderr };
  }
  run(...args: readonly string[]): Outcome {
    return this.ctr("run", "--snapshotter", "native", "--runc-binary", this.runtime, ...args);
  }
  async stop(): Promise<void> {
    for (const id of this.ctr("container", "ls", "--quiet").stdout.split("\n").filter((line) => line !== "")) {
      this.ctr("task", "rm", "--force", id);
      this.ctr("container", "rm", id);
    }
    const gone = once(this.#daemon, "exit");
    this.#daemon.kill("SIGTERM");
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

suite("containerd's ctr", { needs: ["agent", "program:containerd", "program:ctr", "sample image"] }, () => {
  let box: Containerd;
  let image: string;
  const good = (outcome: Outcome): string => {
    expect(outcome).toMatchObject({ status: 0 });
    return outcome.stdout;
  };
  const status = (id: string): string | undefined => good(box.ctr("task", "ls")).split("\n").find((line) => line.startsWith(`${id} `))?.split(/ +/)[2];
  beforeAll(async () => {
    box = new Containerd();
    await until("containerd answers", () => box.ctr("version").status === 0);
    const tar = join(box.folder, "image.tar");
    spawnSync("tar", ["-C", IMAGE, "-cf", tar, "."]);
    good(box.ctr("image", "import", "--snapshotter", "native", "--base-name", "local/sample", tar));
    image = good(box.ctr("image", "ls", "--quiet"));
  });
  afterAll(() => box?.stop());

  it("runs a program to its end and hands on how it ended", () => {
    expect(box.run("--rm", image, "one", "echo", "hello")).toEqual({ status: 0, stdout: "hello", stderr: "" });
    expect(box.run("--rm", image, "two", "sh", "-c", "exit 7").status).toBe(7);
    expect(box.run("--rm", image, "three", "nosuch")).toMatchObject({ status: 1, stderr: expect.stringContaining("OCI runtime create failed: create container three: process.args[0]: the file nosuch was not found: executable file not found in $PATH") });
    expect(good(box.run("--rm", "--memory-limit", "64000000", "--cwd", "/tmp", "--env", "A=b", image, "four", "sh", "-c", "pwd; echo $A"))).toBe("/tmp\nb");
  });

  it("leads one through exec, pause, resume, ps, ls, kill and rm", async () => {
    good(box.run("--detach", image, "task", "sleep", "1000"));
    expect(status("task")).toBe("RUNNING");
    expect(good(box.ctr("task", "exec", "--exec-id", "a", "task", "echo", "inside"))).toBe("inside");
    expect(box.ctr("task", "exec", "--exec-id", "b", "task", "sh", "-c", "exit 9").status).toBe(9);
    expect(box.ctr("task", "exec", "--exec-id", "c", "task", "nosuch").stderr).toContain("executable file not found in $PATH");
    good(box.ctr("task", "exec", "--detach", "--exec-id", "d", "task", "sleep", "500"));
    expect(good(box.ctr("task", "ps", "task")).split("\n")).toHaveLength(3); // a title and two
    good(box.ctr("task", "pause", "task"));
    expect(status("task")).toBe("PAUSED");
    good(box.ctr("task", "resume", "task"));
    expect(status("task")).toBe("RUNNING");
    good(box.ctr("task", "kill", "--signal", "SIGKILL", "task"));
    await until("its end is known", () => status("task") === "STOPPED");
    box.ctr("task", "rm", "task"); // tells the program's status, 137, by its own
    expect(status("task")).toBe(undefined);
    good(box.ctr("container", "rm", "task"));
  });

  it("sees the end of a further process that is over before its command is", () => {
    good(box.run("--detach", image, "brief", "sleep", "1000"));
    for (let i = 0; i < 10; i++) expect(box.onTerminal("task", "exec", "--tty", "--exec-id", `t${i}`, "brief", "tty")).toMatchObject({ status: 0, stdout: expect.stringContaining("/dev/pts/") });
    for (let i = 0; i < 10; i++) expect(box.ctr("task", "exec", "--exec-id", `p${i}`, "brief", "true").status).toBe(0);
  });

  it("gives a container its terminal", () => {
    expect(box.onTerminal("run", "--snapshotter", "native", "--runc-binary", box.runtime, "--rm", "--tty", image, "terminal", "tty")).toMatchObject({ status: 0, stdout: "/dev/pts/0" });
  });

  it("gets figures of it", (context) => {
    const answer = box.ctr("task", "metrics", "brief");
    if (answer.status !== 0) skip(context, `containerd cannot read the cgroups of this machine: ${answer.stderr}`);
    expect(answer.stdout).toMatch(/pids/);
  });
});
